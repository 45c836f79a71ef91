//! The codes of this datakit's own errors. They never change their meaning.

use datakit_sdk::relational::Codes;

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
/// Changes of a table that is loaded by watermark are lost.
pub const LOST_CHANGES: &str = "POSTGRES-BRONZE-006";
/// A table cannot be loaded by watermark, because of one of its columns.
pub const NOT_BY_WATERMARK: &str = "POSTGRES-BRONZE-007";

/// Those that other databases have too.
pub const CODES: Codes = Codes {
    unknown_column: UNKNOWN_COLUMN,
    no_columns: NO_COLUMNS,
    no_table: NO_TABLE,
    unexpected_answer: UNEXPECTED_ANSWER,
    lost_changes: LOST_CHANGES,
    not_by_watermark: NOT_BY_WATERMARK,
};
