//! The codes of this datakit's own errors. They never change their meaning.

use datakit_sdk::relational::Codes;

/// Two settings contradict each other.
pub const CONFLICTING_SETTINGS: &str = "SQLSERVER-BRONZE-001";
/// A column is of a type that cannot be represented.
pub const UNSUPPORTED_TYPE: &str = "SQLSERVER-BRONZE-004";
/// A column the datakit would add has the name of another column.
pub const COLUMN_COLLISION: &str = "SQLSERVER-BRONZE-006";
/// A column is encrypted, and the server does not have its key.
pub const ENCRYPTED: &str = "SQLSERVER-BRONZE-008";
/// A table has more columns than one query of SQL Server returns.
pub const TOO_MANY_COLUMNS: &str = "SQLSERVER-BRONZE-009";

/// Those that other databases have too.
pub const CODES: Codes = Codes {
    unknown_column: "SQLSERVER-BRONZE-002",
    no_columns: "SQLSERVER-BRONZE-003",
    no_table: "SQLSERVER-BRONZE-005",
    unexpected_answer: "SQLSERVER-BRONZE-007",
    lost_changes: "SQLSERVER-BRONZE-010",
    not_by_changes: "SQLSERVER-BRONZE-011",
};
