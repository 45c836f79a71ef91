//! SQL Server's errors: numbers, severities, states and texts as `sys.messages` has them.

use super::types;
use crate::values::{SqlError, SqlType};

/// Error of something this server does not know, although SQL Server does.
pub const UNSUPPORTED: i32 = 40_000;

/// Inside the fake SQL Server: a row is locked by another transaction, the statement is to be tried again.
pub const LOCKED: i32 = UNSUPPORTED + 2;

/// What SQL Server can do and the fake SQL Server cannot.
pub fn unsupported(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(UNSUPPORTED, format!("The fake SQL Server does not support {what}."))
}

/// A failure of the storage below: never the client's fault.
pub fn storage(error: &rusqlite::Error) -> SqlError {
    from_sqlite(error)
        .unwrap_or_else(|| SqlError::new(UNSUPPORTED + 1, format!("The fake SQL Server's storage failed: {error}")))
}

/// 208
pub fn invalid_object(name: &str) -> SqlError {
    SqlError::new(208, format!("Invalid object name '{name}'."))
}

/// 207
pub fn invalid_column(name: &str) -> SqlError {
    SqlError::new(207, format!("Invalid column name '{name}'."))
}

/// 209
pub fn ambiguous_column(name: &str) -> SqlError {
    SqlError::new(209, format!("Ambiguous column name '{name}'."))
}

/// 4104
pub fn unbound(name: &str) -> SqlError {
    SqlError::new(4104, format!("The multi-part identifier \"{name}\" could not be bound."))
}

/// 102
pub fn syntax_near(near: &str) -> SqlError {
    SqlError::new(102, format!("Incorrect syntax near '{near}'.")).with_class(15)
}

/// 137
pub fn undeclared(name: &str) -> SqlError {
    SqlError::new(137, format!("Must declare the scalar variable \"{name}\".")).with_class(15).with_state(2)
}

/// 1087
pub fn undeclared_table(name: &str) -> SqlError {
    SqlError::new(1087, format!("Must declare the table variable \"{name}\".")).with_class(15).with_state(2)
}

/// 195
pub fn unknown_function(name: &str) -> SqlError {
    SqlError::new(195, format!("'{name}' is not a recognized built-in function name.")).with_class(15).with_state(10)
}

/// 174
pub fn argument_count(name: &str, expected: &str) -> SqlError {
    SqlError::new(174, format!("The {name} function requires {expected} argument(s).")).with_class(15)
}

/// 2715
pub fn unknown_type(name: &str) -> SqlError {
    SqlError::new(2715, format!("Cannot find data type {name}.")).with_state(6)
}

/// 1001
pub fn type_parameter(name: &str, parameters: &[String]) -> SqlError {
    let parameters = parameters.join(",");
    SqlError::new(1001, format!("Length, precision or scale specification ({parameters}) is invalid for type {name}."))
        .with_class(15)
}

/// 8134
pub fn divide_by_zero() -> SqlError {
    SqlError::new(8134, "Divide by zero error encountered.")
}

/// 8115
pub fn overflow(target: SqlType) -> SqlError {
    let name = types::facts(target).name;
    SqlError::new(8115, format!("Arithmetic overflow error converting expression to data type {name}.")).with_state(2)
}

/// 245
pub fn conversion(from: SqlType, text: &str, target: SqlType) -> SqlError {
    let (from, target) = (types::facts(from).name, types::facts(target).name);
    SqlError::new(245, format!("Conversion failed when converting the {from} value '{text}' to data type {target}."))
}

/// 241
pub fn conversion_of_date() -> SqlError {
    SqlError::new(241, "Conversion failed when converting date and/or time from character string.")
}

/// 242
pub fn out_of_range(from: SqlType, target: SqlType) -> SqlError {
    let (from, target) = (types::facts(from).name, types::facts(target).name);
    SqlError::new(
        242,
        format!("The conversion of a {from} data type to a {target} data type resulted in an out-of-range value."),
    )
    .with_state(3)
}

/// 8114
pub fn converting(from: SqlType, target: SqlType) -> SqlError {
    let (from, target) = (types::facts(from).name, types::facts(target).name);
    SqlError::new(8114, format!("Error converting data type {from} to {target}.")).with_state(5)
}

/// 8169
pub fn conversion_of_uuid() -> SqlError {
    SqlError::new(8169, "Conversion failed when converting from a character string to uniqueidentifier.").with_state(2)
}

/// 529
pub fn no_explicit_conversion(from: SqlType, target: SqlType) -> SqlError {
    let (from, target) = (types::facts(from).name, types::facts(target).name);
    SqlError::new(529, format!("Explicit conversion from data type {from} to {target} is not allowed.")).with_state(2)
}

/// 206
pub fn clash(left: SqlType, right: SqlType) -> SqlError {
    let (left, right) = (types::facts(left).name, types::facts(right).name);
    SqlError::new(206, format!("Operand type clash: {left} is incompatible with {right}")).with_state(2)
}

/// 402
pub fn incompatible(left: SqlType, right: SqlType, operator: &str) -> SqlError {
    let (left, right) = (types::facts(left).name, types::facts(right).name);
    SqlError::new(402, format!("The data types {left} and {right} are incompatible in the {operator} operator."))
}

/// 306
pub fn incomparable() -> SqlError {
    SqlError::new(
        306,
        "The text, ntext, and image data types cannot be compared or sorted, except when using IS NULL or LIKE operator.",
    )
    .with_state(2)
}

/// 2627
pub fn duplicate_key(constraint: &str, object: &str, key: &str) -> SqlError {
    SqlError::new(
        2627,
        format!(
            "Violation of PRIMARY KEY constraint '{constraint}'. Cannot insert duplicate key in object '{object}'. \
             The duplicate key value is ({key})."
        ),
    )
    .with_class(14)
}

/// 515
pub fn null_insert(column: &str, table: &str, statement: &str) -> SqlError {
    SqlError::new(
        515,
        format!(
            "Cannot insert the value NULL into column '{column}', table '{table}'; column does not allow nulls. \
             {statement} fails."
        ),
    )
    .with_state(2)
}

/// 2628
pub fn truncated(table: &str, column: &str, value: &str) -> SqlError {
    SqlError::new(
        2628,
        format!(
            "String or binary data would be truncated in table '{table}', column '{column}'. Truncated value: '{value}'."
        ),
    )
}

/// 229 of SELECT
pub fn select_denied(object: &str, database: &str, schema: &str) -> SqlError {
    denied("SELECT", object, database, schema)
}

/// 229
pub fn denied(permission: &str, object: &str, database: &str, schema: &str) -> SqlError {
    SqlError::new(
        229,
        format!(
            "The {permission} permission was denied on the object '{object}', database '{database}', schema '{schema}'."
        ),
    )
    .with_class(14)
    .with_state(5)
}

/// 230
pub fn column_denied(column: &str, object: &str) -> SqlError {
    SqlError::new(230, format!("The SELECT permission was denied on the column '{column}' of the object '{object}'."))
        .with_class(14)
}

/// 13908
pub fn internal_graph_column(column: &str) -> SqlError {
    SqlError::new(13908, format!("Cannot access internal graph column '{column}'."))
}

/// 1801
pub fn database_exists(name: &str) -> SqlError {
    SqlError::new(1801, format!("Database '{name}' already exists. Choose a different database name.")).with_state(3)
}

/// 262
pub fn create_database_denied(database: &str) -> SqlError {
    SqlError::new(262, format!("CREATE DATABASE permission denied in database '{database}'.")).with_class(14)
}

/// 5118: no file for a database.
pub fn no_storage(error: &dyn std::fmt::Display) -> SqlError {
    SqlError::new(5118, format!("The fake SQL Server cannot create the database's file: {error}."))
}

/// 4060
pub fn cannot_open_database(database: &str) -> SqlError {
    SqlError::new(4060, format!("Cannot open database \"{database}\" requested by the login. The login failed."))
        .with_class(11)
}

/// 911
pub fn no_such_database(database: &str) -> SqlError {
    SqlError::new(911, format!("Database '{database}' does not exist. Make sure that the name is entered correctly."))
}

/// 2714
pub fn already_exists(name: &str) -> SqlError {
    SqlError::new(2714, format!("There is already an object named '{name}' in the database.")).with_state(6)
}

/// 3701
pub fn cannot_drop(kind: &str, name: &str) -> SqlError {
    SqlError::new(
        3701,
        format!("Cannot drop the {kind} '{name}', because it does not exist or you do not have permission."),
    )
    .with_class(11)
    .with_state(5)
}

/// 2760
pub fn no_such_schema(schema: &str) -> SqlError {
    SqlError::new(
        2760,
        format!(
            "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
        ),
    )
}

/// 213
pub fn value_count() -> SqlError {
    SqlError::new(213, "Column name or number of supplied values does not match table definition.")
}

/// 8120
pub fn not_grouped(column: &str) -> SqlError {
    SqlError::new(
        8120,
        format!(
            "Column '{column}' is invalid in the select list because it is not contained in either an aggregate \
             function or the GROUP BY clause."
        ),
    )
}

/// 1205
pub fn deadlock(process: i64) -> SqlError {
    SqlError::new(
        1205,
        format!(
            "Transaction (Process ID {process}) was deadlocked on lock resources with another process and has been \
             chosen as the deadlock victim. Rerun the transaction."
        ),
    )
    .with_class(13)
    .with_state(51)
}

/// [`LOCKED`]
pub fn locked() -> SqlError {
    SqlError::new(LOCKED, "A row is locked.")
}

/// 1222
pub fn lock_timeout() -> SqlError {
    SqlError::new(1222, "Lock request time out period exceeded.").with_state(51)
}

/// 313
pub fn missing_arguments(function: &str) -> SqlError {
    let text = format!("An insufficient number of arguments were supplied for the procedure or function {function}.");
    SqlError::new(313, text).with_state(3)
}

/// 4711
pub fn truncate_of_captured(table: &str) -> SqlError {
    let text = format!(
        "Cannot truncate table '{table}' because it is published for replication or enabled for Change Data Capture."
    );
    SqlError::new(4711, text)
}

/// 3951
pub fn not_begun_in_snapshot(database: &str) -> SqlError {
    SqlError::new(
        3951,
        format!(
            "Transaction failed in database '{database}' because the statement was run under snapshot isolation but the \
             transaction did not start in snapshot isolation. You cannot change the isolation level of the transaction to \
             snapshot after the transaction has started unless the transaction was originally started under snapshot \
             isolation level."
        ),
    )
}

/// 3952
pub fn snapshot_not_allowed(database: &str) -> SqlError {
    SqlError::new(
        3952,
        format!(
            "Snapshot isolation transaction failed accessing database '{database}' because snapshot isolation is not \
             allowed in this database. Use ALTER DATABASE to allow snapshot isolation."
        ),
    )
}

/// 3961
pub fn defined_in_snapshot(database: &str) -> SqlError {
    SqlError::new(
        3961,
        format!(
            "Snapshot isolation transaction failed in database '{database}' because the object accessed by the statement \
             has been modified by a DDL statement in another concurrent transaction since the start of this transaction. \
             It is disallowed because the metadata is not versioned. A concurrent update to metadata can lead to \
             inconsistency if mixed with snapshot isolation."
        ),
    )
}

/// 3621, a message: what SQL Server adds after an error that ended a changing statement.
pub fn terminated() -> SqlError {
    SqlError::new(3621, "The statement has been terminated.").with_class(0).with_state(0)
}

const MARK: char = '\u{1}';

/// Packs an error into the text that SQLite carries from one of our functions to the caller.
pub fn to_sqlite(error: &SqlError) -> rusqlite::Error {
    let packed = format!("{MARK}{}{MARK}{}{MARK}{}{MARK}{}", error.number, error.class, error.state, error.message);
    rusqlite::Error::UserFunctionError(packed.into())
}

/// Unpacks what [`to_sqlite`] packed; `None` for SQLite's own errors.
pub fn from_sqlite(error: &rusqlite::Error) -> Option<SqlError> {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::UserFunctionError(error) => error.to_string(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        _ => return None,
    };
    let mut parts = text.split_once(MARK)?.1.splitn(4, MARK);
    let number = parts.next()?.parse().ok()?;
    let class = parts.next()?.parse().ok()?;
    let state = parts.next()?.parse().ok()?;
    Some(SqlError::new(number, parts.next()?).with_class(class).with_state(state))
}
