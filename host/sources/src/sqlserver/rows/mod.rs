//! Catalog and control queries, and the second reader, on tiberius.
//!
//! tiberius decodes a row into values before anyone sees them. Where it loses something on the way (money as a float,
//! text of a UTF-8 collation), the value is refused here unless it is certainly exact.

mod check;
mod connect;
mod decode;
mod describe;
mod errors;
mod task;

pub use self::check::ServerInfo;
pub(super) use self::check::check;
pub(super) use self::connect::RowConnection;
pub(super) use self::errors::of_query;
pub(super) use self::task::{Texts, run};
