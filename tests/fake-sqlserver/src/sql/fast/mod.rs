//! Generated tables in SQL: whole key ranges go out as pre-encoded rows, all else runs over a virtual table.

mod plan;
mod table;

pub use plan::{plan_fast_rows, plan_fast_summary};
pub use table::register;
