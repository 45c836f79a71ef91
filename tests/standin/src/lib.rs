//! A SQL Server for laptops and CI: TDS 7.4 over SQLite.
//!
//! Two halves that meet in [`values`] and [`engine`]:
//!
//! - the wire: the protocol of MS-TDS, from the first packet to the last token;
//! - the engine: T-SQL by a parser over SQLite, the catalog views, an ERP's data.
//!
//! [`fast`] describes generated tables that are served from pre-encoded bytes.

pub mod engine;
pub mod fast;
pub mod values;
