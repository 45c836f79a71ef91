//! The codes of this datakit's own errors. They never change their meaning.

use datakit_sdk::relational::Codes;

/// Two settings contradict each other.
pub const CONFLICTING_SETTINGS: &str = "SQLSERVER-BRONZE-001";
/// A setting names a column that the table does not have.
pub const UNKNOWN_COLUMN: &str = "SQLSERVER-BRONZE-002";
/// The settings leave no column of a table.
pub const NO_COLUMNS: &str = "SQLSERVER-BRONZE-003";
/// A column is of a type that cannot be represented.
pub const UNSUPPORTED_TYPE: &str = "SQLSERVER-BRONZE-004";
/// A table to be read is not there, or excluded by the settings.
pub const NO_TABLE: &str = "SQLSERVER-BRONZE-005";
/// A column the datakit would add has the name of another column.
pub const COLUMN_COLLISION: &str = "SQLSERVER-BRONZE-006";
/// A column is encrypted, and the server does not have its key.
pub const ENCRYPTED: &str = "SQLSERVER-BRONZE-008";
/// A table has more columns than one query of SQL Server returns.
pub const TOO_MANY_COLUMNS: &str = "SQLSERVER-BRONZE-009";
/// The server's answer is not what the question allows.
pub const UNEXPECTED_ANSWER: &str = "SQLSERVER-BRONZE-007";
/// Changes of a table that is loaded by watermark are lost.
pub const LOST_CHANGES: &str = "SQLSERVER-BRONZE-010";
/// A table cannot be loaded by watermark, because of one of its columns.
pub const NOT_BY_WATERMARK: &str = "SQLSERVER-BRONZE-011";

/// Those that other databases have too.
pub const CODES: Codes = Codes {
    unknown_column: UNKNOWN_COLUMN,
    no_columns: NO_COLUMNS,
    no_table: NO_TABLE,
    unexpected_answer: UNEXPECTED_ANSWER,
    lost_changes: LOST_CHANGES,
    not_by_watermark: NOT_BY_WATERMARK,
};
