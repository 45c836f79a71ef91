//! The codes of this datakit's own errors. They never change their meaning.

/// A setting names a column that the table does not have.
pub const UNKNOWN_COLUMN: &str = "POSTGRES-BRONZE-001";
/// The settings leave no column of a table.
pub const NO_COLUMNS: &str = "POSTGRES-BRONZE-002";
/// A numeric whose digits are not bounded, or too many.
pub const UNSUPPORTED_TYPE: &str = "POSTGRES-BRONZE-003";
/// A table to be read is not there, or excluded by the settings.
pub const NO_TABLE: &str = "POSTGRES-BRONZE-004";
/// The server's answer is not what the question allows.
pub const UNEXPECTED_ANSWER: &str = "POSTGRES-BRONZE-005";
