//! Queries as plain data, their way to the host, and small results as rows the guest can look at.

use crate::bindings::datakit::kit::batches::Reader;
use crate::bindings::datakit::kit::sql::{Connection, Isolation, Query, Value};
use crate::bindings::datakit::kit::types::Error;
use crate::rows::Rows;

/// What the host writes around a query.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryOptions {
    /// The isolation; none: the server's default.
    pub isolation: Option<Isolation>,
    /// The query is cancelled when it has not ended after so many milliseconds. The operator's bound holds in any case.
    pub timeout_ms: Option<u32>,
    /// Processors the server may use for the query at once.
    pub max_parallelism: Option<u16>,
}

impl Connection {
    /// Starts one query and returns when its columns are known. One reader at a time.
    ///
    /// # Errors
    /// What the host or the server refused.
    pub fn query(&self, sql: &str, parameters: &[Value], options: QueryOptions) -> Result<Reader, Error> {
        let query = Query::new(sql);
        parameters.iter().for_each(|value| query.add_parameter(value));
        if let Some(isolation) = options.isolation {
            query.set_isolation(isolation);
        }
        if let Some(timeout_ms) = options.timeout_ms {
            query.set_timeout_ms(timeout_ms);
        }
        if let Some(processors) = options.max_parallelism {
            query.set_max_parallelism(processors);
        }
        self.execute(query)
    }
}

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
        all_rows(&Connection::query(self, sql, parameters, options)?)
    }
}

/// Copies all rows of a reader into the guest, batch by batch.
///
/// # Errors
/// What the source refused, or rows of a type [`Rows`] does not read.
pub fn all_rows(reader: &Reader) -> Result<Vec<Rows>, Error> {
    let mut batches = Vec::new();
    while let Some(batch) = reader.next()? {
        batches.push(Rows::from_ipc(&batch.to_arrow(None)?)?);
    }
    Ok(batches)
}
