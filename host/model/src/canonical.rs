//! The dates that the row hash takes. A source may reject a row with another one instead of failing its table.

/// Days from 1970-01-01 to 0001-01-01.
pub const FIRST_DAY: i64 = -719_162;
/// Days from 1970-01-01 to 9999-12-31.
pub const LAST_DAY: i64 = 2_932_896;
