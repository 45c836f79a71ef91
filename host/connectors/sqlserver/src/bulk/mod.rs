//! The bulk reader: `mssql-tds` decodes each value straight into the builder of its column.

mod answers;
mod connect;
mod errors;
mod task;
mod transaction;
mod writer;

pub(super) use self::answers::text_of;
pub(super) use self::connect::BulkConnection;
pub(super) use self::errors::of_query;
pub(super) use self::task::run;
pub(super) use self::transaction::Transaction;
