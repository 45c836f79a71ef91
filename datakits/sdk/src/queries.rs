//! Small results of a source, as rows the guest can look at.

use crate::bindings::datakit::kit::connections::{Connection, QueryOptions};
use crate::bindings::datakit::kit::types::{Error, Value};
use crate::rows::Rows;

/// Whatever answers queries: the host's connection, or a test's fake of it.
///
/// Every row is copied into the guest: for catalogs and counts. Rows of tables stay in the host; see
/// [`Connection::query`] and [`crate::Projection`].
pub trait Queries {
    /// All rows of one query, batch by batch, in the server's order.
    ///
    /// # Errors
    /// What the host or the server refused, or rows of a type [`Rows`] does not read.
    fn query(&self, sql: &str, parameters: &[Value], options: QueryOptions) -> Result<Vec<Rows>, Error>;
}

impl Queries for Connection {
    fn query(&self, sql: &str, parameters: &[Value], options: QueryOptions) -> Result<Vec<Rows>, Error> {
        // The inherent method of the resource, which this one is named after.
        let reader = Connection::query(self, sql, parameters, options)?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next()? {
            batches.push(Rows::from_ipc(&batch.to_arrow()?)?);
        }
        Ok(batches)
    }
}
