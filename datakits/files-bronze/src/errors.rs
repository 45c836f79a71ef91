//! The codes of this datakit's own errors. They never change their meaning.

/// A setting that cannot be what it is.
pub const SETTING: &str = "FILES-BRONZE-001";
/// The settings leave no column of a table, or name one that it does not have.
pub const NO_COLUMNS: &str = "FILES-BRONZE-002";
/// A table to be read is not there, or excluded by the settings.
pub const NO_TABLE: &str = "FILES-BRONZE-003";
/// A column of files is named like one that the datakit adds, or like a folder's.
pub const COLUMN_TWICE: &str = "FILES-BRONZE-004";
/// A file that was loaded has changed since.
pub const CHANGED_FILE: &str = "FILES-BRONZE-005";
/// What the last commit remembers is not of this version of the datakit.
pub const WATERMARK: &str = "FILES-BRONZE-006";
/// The host's answer is not what the request allows.
pub const UNEXPECTED_ANSWER: &str = "FILES-BRONZE-007";
/// Folders have a column that the table does not have.
pub const NEW_FOLDER: &str = "FILES-BRONZE-008";
/// A column of files has a name that no table can have.
pub const COLUMN_NAME: &str = "FILES-BRONZE-009";
/// No record of a file can be read, so that nothing says its columns.
pub const NO_RECORD: &str = "FILES-BRONZE-010";
/// The files of a table have no row yet, so that nothing says the types of its columns.
pub const NO_ROW: &str = "FILES-BRONZE-011";
