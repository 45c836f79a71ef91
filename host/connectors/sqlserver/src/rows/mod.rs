//! Catalog and control queries, and the second reader, on tiberius.
//!
//! tiberius decodes a row into values before anyone sees them. A query with a column whose values it does not hand over as the
//! server sent them (text of some code pages, `sql_variant`) goes by the other reader; money, which it reads as a float, is
//! refused where it is not certainly exact.

mod check;
mod connect;
mod decode;
mod describe;
mod errors;
mod metered;
mod task;

pub use self::check::ServerInfo;
pub(super) use self::check::check;
pub(super) use self::connect::RowConnection;
pub(super) use self::errors::of_query;
pub(super) use self::task::{Head, Texts, run};
