//! Rows read back before the commit, within its transaction.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::receipt::{compare, count};
use datakit_model::receipt::{Delivered, RowChecksum};
use tokio_postgres::Client;

use super::names::quote;
use super::transaction::Plan;
use crate::source::own_rows::{OwnRows, Unread};

const READ_BACK: &str = "read back the rows of";
/// The transaction's number as rows have it.
const TRANSACTION: &str = "SELECT (txid_current() % 4294967296)::text";

/// Holds the rows that COPY wrote against what was delivered. The server has counted them; their values are read where they are to
/// be compared: every row of the table that this transaction wrote.
pub(super) async fn check(client: &Client, plan: &Plan, delivered: &Delivered, copied: u64) -> Result<(), SinkError> {
    if delivered.checksum.is_none() {
        return compare(&plan.location, delivered, &Delivered { rows: copied, checksum: None });
    }
    let failed = |error| plan.failed(READ_BACK, error);
    let row = client.query_typed_one(TRANSACTION, &[]).await.map_err(failed)?;
    let transaction: String = row.try_get(0).map_err(failed)?;
    let columns: Vec<String> = plan.schema.columns.iter().map(|column| quote(&column.name)).collect();
    let rows = format!("SELECT {} FROM {} WHERE xmin = '{transaction}'::xid", columns.join(", "), plan.name);
    let held = values(client, plan, &plan.schema.source, &rows).await?;
    compare(&plan.location, delivered, &held)
}

/// The rows of a query whose columns have this schema in the source.
async fn values(client: &Client, plan: &Plan, schema: &SchemaRef, query: &str) -> Result<Delivered, SinkError> {
    let failed = |e: ArrowError| SinkError::Encode { location: plan.location.clone(), source: Box::new(e) };
    let (mut values, mut rows) = (RowChecksum::new(schema).map_err(failed)?, 0);
    let copy = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let stream = client.copy_out(copy.as_str()).await.map_err(|error| plan.failed(READ_BACK, error))?;
    let mut held = OwnRows::new(stream, schema);
    loop {
        match held.next().await {
            Ok(Some(batch)) => {
                rows += batch.num_rows() as u64;
                values.add(batch.columns()).map_err(failed)?;
            }
            Ok(None) => return Ok(Delivered { rows, checksum: Some(values.sum()) }),
            Err(Unread::Server(error)) => return Err(plan.failed(READ_BACK, error)),
            Err(Unread::Value(error)) => {
                let difference = format!("a value cannot be read back ({error})");
                return Err(SinkError::ReceiptValues { location: plan.location.clone(), difference });
            }
        }
    }
}

/// What a merge is held against.
pub(super) struct MergeCheck<'c> {
    pub(super) client: &'c Client,
    pub(super) plan: &'c Arc<Plan>,
    /// Keys of the load that are to have a row.
    pub(super) upserts: u64,
}

impl MergeCheck<'_> {
    /// Holds the rows that the statements wrote against the keys; none: a statement for rows that are there already was not needed,
    /// and they have to be counted by their keys.
    pub(super) async fn rows(&self, written: Option<u64>, keys: &[&str]) -> Result<(), SinkError> {
        let rows = match written {
            Some(rows) => rows,
            None => self.sum(keys).await?,
        };
        count(&self.plan.location, "rows of the load's keys", self.upserts, rows)
    }

    /// Holds the rows of the load's keys against the staged ones: `differing` finds staged rows that the table does not hold so.
    pub(super) async fn values(&self, keys: &[&str], differing: &[&str]) -> Result<(), SinkError> {
        self.rows(None, keys).await?;
        match self.sum(differing).await? {
            0 => Ok(()),
            rows => {
                let difference = format!("{rows} rows of the load's keys have other values");
                Err(SinkError::ReceiptValues { location: self.plan.location.clone(), difference })
            }
        }
    }

    /// The sum of counts.
    async fn sum(&self, queries: &[&str]) -> Result<u64, SinkError> {
        let mut sum = 0;
        for query in queries {
            let failed = |error| self.plan.failed(READ_BACK, error);
            let row = self.client.query_typed_one(query, &[]).await.map_err(failed)?;
            sum += u64::try_from(row.try_get::<_, i64>(0).map_err(failed)?).unwrap_or_default();
        }
        Ok(sum)
    }
}
