//! The columns every Bronze table ends with: docs/bronze-columns.md.

use crate::bindings::datakit::kit::types::{Error, Field, TableId};
use crate::datakit::Run;
use crate::errors::codes;
use crate::projections::{Column, Expression};

/// When the run that loaded the row began: `Timestamp(us, UTC)`, not null, one value a run.
pub const LOADED_AT: &str = "_bronze_loaded_at";
/// The operator's name for the source system: text of at most 50 characters.
pub const SOURCE_SYSTEM: &str = "_bronze_source_system";
/// The table's schema in the source: text of at most 128 characters.
pub const SOURCE_SCHEMA: &str = "_bronze_source_schema";
/// The table's name in the source: text of at most 128 characters.
pub const SOURCE_TABLE: &str = "_bronze_source_table";
/// The id of the run's load: a UUID with the role `load-id`, which a plan names by `load_id_column`.
pub const BATCH_ID: &str = "_bronze_batch_id";
/// SHA-256 of the row's source columns, in lower-case hexadecimal; null when turned off.
pub const ROW_HASH: &str = "_bronze_row_hash";

/// Of tables that are loaded by their changes: what happened to the row. Behind [`COLUMNS`].
pub const OPERATION: &str = "_bronze_operation";
/// Of tables that are loaded by their changes: the place of the change in the strategy's order. Behind [`OPERATION`].
pub const CHANGE_VERSION: &str = "_bronze_change_version";
/// Of tables that are loaded by their changes: when the change was committed, where the source says. Behind [`CHANGE_VERSION`].
pub const COMMIT_TIME: &str = "_bronze_commit_time";
/// Of tables that are loaded by their changes: the columns whose values the change does not carry, a JSON array of their names; null:
/// it carries all. Behind [`COMMIT_TIME`].
pub const MISSING_COLUMNS: &str = "_bronze_missing_columns";

/// A field's metadata key that says which role of the host a column has.
const ROLE_KEY: &str = "datakit.role";

/// What the names of Bronze columns begin with, and no source column may.
const PREFIX: &str = "_bronze_";

/// All of them, in the order they stand in after the source columns.
pub const COLUMNS: [&str; 6] = [LOADED_AT, SOURCE_SYSTEM, SOURCE_SCHEMA, SOURCE_TABLE, BATCH_ID, ROW_HASH];

/// A null of the type the row hash has.
const NO_HASH: &str = "CAST(NULL AS VARCHAR)";

/// A projection that passes `source_columns` through unchanged, in this order, followed by the Bronze columns; the row hash
/// is of the same columns in the same order.
///
/// # Errors
/// A name longer than its Bronze column holds (names are never cut), or a source column whose name begins with `_bronze_` in
/// whatever case.
pub fn columns<S>(
    run: &Run<S>,
    table: &TableId,
    source_columns: &[String],
    row_hash: bool,
) -> Result<Vec<Column>, Error> {
    check_names(table, source_columns.iter().map(String::as_str))?;
    let text = |name: &'static str, value: &str, limit: usize| bounded(name, value, limit).map(Expression::Text);
    let hash = if row_hash && !source_columns.is_empty() {
        Expression::RowHash(source_columns.to_vec())
    } else {
        Expression::Sql(NO_HASH.to_owned())
    };
    let added = [
        (LOADED_AT, Expression::TimestampMicros(run.started_at_micros)),
        (SOURCE_SYSTEM, text(SOURCE_SYSTEM, &run.source_system, 50)?),
        (SOURCE_SCHEMA, text(SOURCE_SCHEMA, &table.schema, 128)?),
        (SOURCE_TABLE, text(SOURCE_TABLE, &table.name, 128)?),
        (BATCH_ID, Expression::LoadId),
        (ROW_HASH, hash),
    ];
    let passed = source_columns.iter().map(Column::input);
    let added = added.into_iter().map(|(name, value)| Column { name: name.to_owned(), value });
    Ok(passed.chain(added).collect())
}

/// The columns that tables end with which are loaded by their changes, from the schema of a feed's rows: the host's own columns,
/// known by their role, whatever their names.
///
/// # Errors
/// A schema without one of the roles.
pub fn change_columns(schema: &[Field]) -> Result<[Column; 4], Error> {
    let column = |name: &str, role: &str| {
        let has_role = |field: &&Field| field.metadata.iter().any(|(key, value)| key == ROLE_KEY && value == role);
        let field = schema
            .iter()
            .find(has_role)
            .ok_or_else(|| Error::datakit(codes::COLUMN, format!("the changes have no column of the role `{role}`")))?;
        Ok(Column { name: name.to_owned(), value: Expression::Input(field.name.clone()) })
    };
    Ok([
        column(OPERATION, "operation")?,
        column(CHANGE_VERSION, "change-version")?,
        column(COMMIT_TIME, "commit-time")?,
        column(MISSING_COLUMNS, "missing-columns")?,
    ])
}

/// Refuses source columns whose names begin with `_bronze_`, in whatever case. A plan asks too, so that the table fails before
/// anything of it is read.
///
/// # Errors
/// The first such column.
pub fn check_names<'n>(table: &TableId, mut source_columns: impl Iterator<Item = &'n str>) -> Result<(), Error> {
    let Some(name) = source_columns.find(|name| is_reserved(name)) else { return Ok(()) };
    let problem = if COLUMNS.iter().any(|bronze| bronze.eq_ignore_ascii_case(name)) {
        "is named like a Bronze column"
    } else {
        "begins with `_bronze_`, which is reserved for Bronze columns"
    };
    let message = format!("the column `{name}` of {table} {problem}");
    Err(Error::config(codes::BRONZE_COLLISION, message)
        .with_hint("exclude it by the datakit's settings, or rename it in a view")
        .with_context("table", table)
        .with_context("column", name))
}

/// Whether the name begins like a Bronze column's, in whatever case.
fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn bounded(column: &str, value: &str, limit: usize) -> Result<String, Error> {
    let characters = value.chars().count();
    if characters <= limit {
        return Ok(value.to_owned());
    }
    Err(Error::config(
        codes::BRONZE_NAME,
        format!("`{value}` has {characters} characters, and the column {column} holds {limit}"),
    )
    .with_hint("choose a shorter name; names are never cut")
    .with_context("column", column)
    .with_context("limit_characters", limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run<()> {
        Run {
            run_id: "r1".into(),
            load_id: "6f9619ff-8b86-d011-b42d-00c04fc964ff".into(),
            started_at_micros: 1_700_000_000_000_000,
            source_system: "ERP".into(),
            settings: (),
        }
    }

    fn table() -> TableId {
        TableId::new("dbo", "order lines")
    }

    fn input(name: &str) -> Column {
        Column::input(name)
    }

    fn made(name: &str, value: Expression) -> Column {
        Column { name: name.into(), value }
    }

    #[test]
    fn the_columns_stand_in_the_order_of_the_contract() {
        let columns = columns(&run(), &table(), &["b".into(), "a".into()], true).unwrap();
        assert_eq!(
            columns,
            [
                input("b"),
                input("a"),
                made("_bronze_loaded_at", Expression::TimestampMicros(1_700_000_000_000_000)),
                made("_bronze_source_system", Expression::Text("ERP".into())),
                made("_bronze_source_schema", Expression::Text("dbo".into())),
                made("_bronze_source_table", Expression::Text("order lines".into())),
                made("_bronze_batch_id", Expression::LoadId),
                made("_bronze_row_hash", Expression::RowHash(vec!["b".into(), "a".into()])),
            ]
        );
    }

    #[test]
    fn columns_of_changes_are_found_by_their_role() {
        let field = |name: &str, role: Option<&str>| Field {
            name: name.into(),
            arrow_type: "Utf8".into(),
            nullable: false,
            metadata: role.map(|role| ("datakit.role".to_owned(), role.to_owned())).into_iter().collect(),
        };
        let roles =
            [("__op", "operation"), ("__t", "commit-time"), ("__m", "missing-columns"), ("__v", "change-version")];
        let mut schema = vec![field("operation", None)];
        schema.extend(roles.map(|(name, role)| field(name, Some(role))));
        let input = |name: &str| Expression::Input(name.into());
        let expected = [(OPERATION, "__op"), (CHANGE_VERSION, "__v"), (COMMIT_TIME, "__t"), (MISSING_COLUMNS, "__m")]
            .map(|(name, from)| made(name, input(from)));
        assert_eq!(change_columns(&schema).unwrap(), expected);
        schema.pop();
        let error = change_columns(&schema).unwrap_err();
        assert_eq!(error.code, codes::COLUMN);
        assert!(error.message.contains("`change-version`"), "{}", error.message);
    }

    #[test]
    fn without_a_hash_the_column_stays() {
        let columns = columns(&run(), &table(), &["a".into()], false).unwrap();
        assert_eq!(columns[6], made("_bronze_row_hash", Expression::Sql("CAST(NULL AS VARCHAR)".into())));
    }

    #[test]
    fn a_long_name_is_an_error_and_not_cut() {
        let mut long = run();
        long.source_system = "é".repeat(50);
        assert!(columns(&long, &table(), &["a".into()], true).is_ok(), "characters count, not bytes");
        long.source_system.push('x');
        let error = columns(&long, &table(), &["a".into()], true).unwrap_err();
        assert_eq!(error.code, codes::BRONZE_NAME);
        assert!(error.message.contains("51 characters"), "{}", error.message);
    }

    #[test]
    fn a_source_column_may_not_be_named_like_a_bronze_column() {
        for (name, problem) in [("_BRONZE_Row_Hash", "is named like"), ("_bronze_mine", "begins with")] {
            let error = columns(&run(), &table(), &[name.into()], true).unwrap_err();
            assert_eq!(error.code, codes::BRONZE_COLLISION);
            assert!(error.message.contains(problem), "{}", error.message);
        }
        assert!(columns(&run(), &table(), &["_bronz".into()], true).is_ok());
    }
}
