//! The codes of this datakit's own errors. They never change their meaning.

use datakit_sdk::relational::Codes;

/// A numeric whose digits are not bounded, or too many.
pub const UNSUPPORTED_TYPE: &str = "POSTGRES-BRONZE-003";

/// Those that other databases have too.
pub const CODES: Codes = Codes {
    unknown_column: "POSTGRES-BRONZE-001",
    no_columns: "POSTGRES-BRONZE-002",
    no_table: "POSTGRES-BRONZE-004",
    unexpected_answer: "POSTGRES-BRONZE-005",
    lost_changes: "POSTGRES-BRONZE-006",
    not_by_changes: "POSTGRES-BRONZE-007",
};
