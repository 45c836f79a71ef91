//! The trust boundary of what a guest returns: counts, sizes, names, and that it answers what was asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datakit_model::{GuestLimits, TableId};

use crate::error::{Call, Limit, WasmError};
use crate::filled;
use crate::text::Text;
use datakit_columnar::{ColumnarError, WireField, schema_from_wire};
use datakit_model::changes::{ColumnRole, ROLE_KEY};
use datakit_model::datakit::{
    Discovery, Info, InvalidTable, Partition, Role, RoleColumns, Table, TableKind, TablePlan,
};
use datakit_model::quality::{Check, Rule};

/// One name of a table, column or role, in bytes. SQL Server's are 128 UTF-16 units at most.
const MAX_NAME_BYTES: usize = 1024;
/// A datakit's own name; a registry and a file system have to hold it.
const MAX_DATAKIT_NAME_BYTES: usize = 64;
/// A sentence for a person.
const MAX_SENTENCE_BYTES: usize = 4096;
/// The metadata of a column that the WIT names.
const EXTENSION_NAME: &str = "ARROW:extension:name";
const UUID_EXTENSION: &str = "arrow.uuid";
const SOURCE_TYPE: &str = "datakit.source-type";
/// The source may change the values before it sends them; the run's record says so.
const ALTERED: &str = "datakit.altered";
/// The source leaves the column out of `SELECT *`.
const HIDDEN: &str = "datakit.hidden";
/// Roles of a datakit, and kinds of a role.
const MAX_ROLES: usize = 64;
/// Rules of quality of one table.
pub(crate) const MAX_RULES: u64 = 1000;
/// Rows or bytes that a datakit may estimate: more is no count, and sums of estimates stay within 64 bits.
const MAX_ESTIMATE: u64 = i64::MAX as u64;
/// A settings schema, in bytes.
const MAX_SETTINGS_SCHEMA_BYTES: usize = 1024 * 1024;
/// The settings of a datakit that has none.
const NO_SETTINGS: &str = r#"{"type": "object", "additionalProperties": false}"#;

/// What `describe` returned.
pub(crate) fn info(info: filled::Description) -> Result<Info, WasmError> {
    describe(info).map_err(|problem| WasmError::BadInfo { problem })
}

fn describe(info: filled::Description) -> Result<Info, String> {
    if !is_datakit_name(&info.name) {
        let name = Text::name(&info.name).into_inner();
        return Err(format!(
            "the name `{name}` is not of lower-case letters, digits and hyphens, up to {MAX_DATAKIT_NAME_BYTES}"
        ));
    }
    if info.version.len() > MAX_DATAKIT_NAME_BYTES || semver::Version::parse(&info.version).is_err() {
        let version = Text::name(&info.version).into_inner();
        return Err(format!("the version `{version}` is not a semantic version such as 0.1.0"));
    }
    let settings_schema = info.settings_schema.unwrap_or_else(|| NO_SETTINGS.to_owned());
    if settings_schema.len() > MAX_SETTINGS_SCHEMA_BYTES {
        return Err(format!(
            "the settings schema has {} bytes, {MAX_SETTINGS_SCHEMA_BYTES} are allowed",
            settings_schema.len()
        ));
    }
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&settings_schema) {
        return Err(format!("the settings schema is not JSON: {error}"));
    }
    if info.roles.len() > MAX_ROLES {
        return Err(format!("{} roles, {MAX_ROLES} are allowed", info.roles.len()));
    }
    let mut roles: Vec<Role> = Vec::with_capacity(info.roles.len());
    for declared in info.roles {
        let checked = role(declared)?;
        if roles.iter().any(|other| other.name == checked.name) {
            return Err(format!("the role `{}` twice", checked.name));
        }
        roles.push(checked);
    }
    Ok(Info {
        name: info.name,
        version: info.version,
        summary: Text::escaped(&info.summary, MAX_SENTENCE_BYTES).into_inner(),
        roles,
        settings_schema,
    })
}

fn role(role: filled::Role) -> Result<Role, String> {
    named("role", &role.name)?;
    if role.kinds.is_empty() || role.kinds.len() > MAX_ROLES {
        return Err(format!("the role `{}` has {} kinds; 1 to {MAX_ROLES} are allowed", role.name, role.kinds.len()));
    }
    role.kinds.iter().try_for_each(|kind| named("kind of a role", kind))?;
    let purpose = Text::escaped(&role.purpose, MAX_SENTENCE_BYTES).into_inner();
    Ok(Role { name: role.name, kinds: role.kinds, purpose })
}

fn is_datakit_name(name: &str) -> bool {
    (1..=MAX_DATAKIT_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// A name for a person to type: not empty, not long, nothing invisible.
fn named(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("a {what} with an empty name"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("a {what} with a name of {} bytes, {MAX_NAME_BYTES} are allowed", name.len()));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("a {what} with the control character {} in its name", c.escape_default())),
        None => Ok(()),
    }
}

/// A name as a server may have it: any character but U+0000.
fn server_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{what} with an empty name"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("{what} with a name of {} bytes, {MAX_NAME_BYTES} are allowed", name.len()));
    }
    if name.contains('\0') { Err(format!("{what} with U+0000 in its name")) } else { Ok(()) }
}

fn table_id(id: TableId) -> Result<TableId, String> {
    id.catalog.iter().try_for_each(|catalog| server_name("a table's catalog", catalog))?;
    server_name("a table's schema", &id.schema)?;
    server_name("a table", &id.name)?;
    Ok(id)
}

fn shown(table: &TableId) -> String {
    Text::name(&table.to_string()).into_inner()
}

/// What `discover` returned. A table whose description is invalid is kept with the reason; only names that are invalid, or
/// there twice, fail the whole discovery, since nothing can be said of such a table.
pub(crate) fn tables(tables: Vec<filled::TableDescription>, limits: &GuestLimits) -> Result<Discovery, WasmError> {
    if tables.len() as u64 > limits.max_tables {
        let what = format!("the datakit reports {} tables", tables.len());
        return Err(WasmError::over(Limit::Tables, limits.max_tables, what, Call::Discover));
    }
    let bad = |problem: String| WasmError::BadTables { problem };
    let mut seen = HashSet::with_capacity(tables.len());
    let mut discovery = Discovery { tables: Vec::with_capacity(tables.len()), invalid: Vec::new() };
    for table in tables {
        let id = table_id(table.id.clone()).map_err(bad)?;
        if !seen.insert(id.clone()) {
            return Err(bad(format!("the table {} twice", shown(&id))));
        }
        match discovered(id.clone(), table, limits) {
            Ok(table) => discovery.tables.push(table),
            Err(error) => discovery.invalid.push(InvalidTable { id, failure: error.into() }),
        }
    }
    Ok(discovery)
}

fn discovered(id: TableId, table: filled::TableDescription, limits: &GuestLimits) -> Result<Table, WasmError> {
    let bad = |problem: String| WasmError::BadTables { problem };
    let claims = |field: &&WireField| field.metadata.iter().any(|(key, _)| key == ROLE_KEY);
    if let Some(field) = table.columns.iter().find(claims) {
        let column = Text::name(&field.name).into_inner();
        return Err(bad(format!("the column `{column}` of {} claims a role, which only the host gives", shown(&id))));
    }
    let columns = schema(table.columns, limits, Call::Discover).map_err(|refused| match refused {
        Refused::Limit(WasmError::OverLimit { limit, value, what, call }) => {
            WasmError::over(limit, value, format!("{what} of {}", shown(&id)), call)
        }
        Refused::Limit(error) => error,
        Refused::Problem(problem) => bad(format!("columns of {}: {problem}", shown(&id))),
    })?;
    let mut key = HashSet::new();
    for column in &table.primary_key {
        if columns.index_of(column).is_err() || !key.insert(column) {
            let column = Text::name(column).into_inner();
            return Err(bad(format!(
                "the primary key of {} names `{column}` twice, or without such a column",
                shown(&id)
            )));
        }
    }
    for (what, estimate) in [("rows", table.estimated_rows), ("bytes", table.estimated_bytes)] {
        if estimate.is_some_and(|estimate| estimate > MAX_ESTIMATE) {
            return Err(bad(format!("{} has an estimate of more than {MAX_ESTIMATE} {what}", shown(&id))));
        }
    }
    Ok(Table {
        id,
        kind: if table.is_view { TableKind::View } else { TableKind::Table },
        columns,
        primary_key: table.primary_key,
        estimated_rows: table.estimated_rows,
        estimated_bytes: table.estimated_bytes,
    })
}

/// What `plan` returned for `requested`: each of them once, in any order, and nothing else.
pub(crate) fn plans(
    plans: Vec<filled::TablePlan>,
    requested: &[TableId],
    limits: &GuestLimits,
) -> Result<Vec<TablePlan>, WasmError> {
    let bad = |problem: String| WasmError::BadPlan { problem };
    let wanted: HashSet<&TableId> = requested.iter().collect();
    let mut seen = HashSet::with_capacity(wanted.len());
    let mut checked = Vec::with_capacity(wanted.len());
    for plan in plans {
        let table = table_id(plan.table).map_err(bad)?;
        if !wanted.contains(&table) {
            return Err(bad(format!("a plan for {}, which was not asked for", shown(&table))));
        }
        if !seen.insert(table.clone()) {
            return Err(bad(format!("two plans for {}", shown(&table))));
        }
        watermark(plan.watermark.as_deref(), &shown(&table), limits, Call::Plan)?;
        let partitions = partitions(plan.partitions, &table, limits)?;
        let names = |columns: Vec<String>, of: &str| distinct(columns, of, &table, limits).map_err(bad);
        checked.push(TablePlan {
            partitions,
            watermark_after: plan.watermark,
            write: plan.write,
            keys: names(plan.keys, "keys")?,
            partition_by: names(plan.partition_by, "partition columns")?,
            strategy: plan.strategy.map(|strategy| Text::name(&strategy).into_inner()),
            rules: plan
                .rules
                .into_iter()
                .map(|rule| quality_rule(rule, &table))
                .collect::<Result<_, _>>()
                .map_err(bad)?,
            why: plan.why.map(|why| Text::escaped(&why, MAX_SENTENCE_BYTES).into_inner()),
            roles: RoleColumns {
                load_id: plan.load_id_column,
                operation: plan.operation_column,
                version: plan.version_column,
                commit_time: plan.commit_time_column,
                missing_columns: plan.missing_columns_column,
            },
            fixed: plan.fixed,
            table,
        });
    }
    match requested.iter().find(|table| !seen.contains(*table)) {
        Some(missing) => Err(bad(format!("no plan for {}", shown(missing)))),
        None => Ok(checked),
    }
}

/// More rules than a table may have.
pub(crate) fn too_many_rules(rules: u64) -> WasmError {
    WasmError::BadPlan { problem: format!("{rules} rules of quality for one table, {MAX_RULES} are allowed") }
}

/// A rule of quality, as far as it can be told before the rows are known.
fn quality_rule(rule: filled::QualityRule, table: &TableId) -> Result<Rule, String> {
    let filled::QualityRule { name, columns, check, severity } = rule;
    named("rule of quality", &name)?;
    columns.iter().try_for_each(|column| server_name("a column of a rule", column))?;
    let nothing = || format!("the rule `{}` of {} checks nothing", Text::name(&name).into_inner(), shown(table));
    let check = check.ok_or_else(nothing)?;
    if let Check::Reference { table, columns } = &check {
        table_id(table.clone())?;
        columns.iter().try_for_each(|column| server_name("a column of a rule", column))?;
    }
    Ok(Rule { name, columns, check, severity })
}

/// Refuses a watermark that is too long.
pub(crate) fn watermark(watermark: Option<&str>, of: &str, limits: &GuestLimits, call: Call) -> Result<(), WasmError> {
    let (bytes, max) = (watermark.map_or(0, str::len) as u64, limits.max_watermark_bytes);
    if bytes <= max {
        return Ok(());
    }
    Err(WasmError::over(Limit::WatermarkBytes, max, format!("the watermark of {of} has {bytes} bytes"), call))
}

/// Names of columns, each once.
fn distinct(columns: Vec<String>, of: &str, table: &TableId, limits: &GuestLimits) -> Result<Vec<String>, String> {
    if columns.len() as u64 > limits.max_columns {
        return Err(format!("{} names {} {of}, {} are allowed", shown(table), columns.len(), limits.max_columns));
    }
    let mut seen = HashSet::with_capacity(columns.len());
    match columns.iter().find(|column| !seen.insert(*column)) {
        Some(column) => {
            Err(format!("{} names `{}` twice among its {of}", shown(table), Text::name(column).into_inner()))
        }
        None => Ok(columns),
    }
}

/// At least one, numbered in their order.
fn partitions(
    partitions: Vec<filled::Part>,
    table: &TableId,
    limits: &GuestLimits,
) -> Result<Vec<Partition>, WasmError> {
    let bad = |problem: String| WasmError::BadPlan { problem };
    if partitions.is_empty() {
        return Err(bad(format!("no partition for {}", shown(table))));
    }
    if partitions.len() as u64 > limits.max_partitions {
        let what = format!("the datakit plans {} partitions for {}", partitions.len(), shown(table));
        return Err(WasmError::over(Limit::Partitions, limits.max_partitions, what, Call::Plan));
    }
    let estimates = partitions.iter().filter_map(|partition| partition.estimated_rows);
    if estimates.fold(0, u64::saturating_add) > MAX_ESTIMATE {
        let problem = format!("the partitions of {} have estimates of more than {MAX_ESTIMATE} rows", shown(table));
        return Err(bad(problem));
    }
    let numbered = (0..).zip(partitions).map(|(ordinal, partition)| {
        let (bytes, max) = (partition.state.len() as u64, limits.max_partition_state_bytes);
        if bytes > max {
            let what = format!("the state of partition {ordinal} of {} has {bytes} bytes", shown(table));
            return Err(WasmError::over(Limit::PartitionStateBytes, max, what, Call::Plan));
        }
        let filled::Part { state, estimated_rows } = partition;
        Ok(Partition { table: table.clone(), ordinal, state, estimated_rows })
    });
    numbered.collect()
}

/// What `extraction.output` returned.
pub(crate) fn output(fields: Vec<WireField>, limits: &GuestLimits) -> Result<SchemaRef, WasmError> {
    let bad = |problem: String| WasmError::BadOutput { problem };
    let schema = schema(fields, limits, Call::ExtractionOutput).map_err(|refused| match refused {
        Refused::Limit(error) => error,
        Refused::Problem(problem) => bad(problem),
    })?;
    if schema.fields().is_empty() { Err(bad("a table without columns".to_owned())) } else { Ok(schema) }
}

enum Refused {
    Limit(WasmError),
    Problem(String),
}

fn schema(fields: Vec<WireField>, limits: &GuestLimits, call: Call) -> Result<SchemaRef, Refused> {
    let columns = fields.len() as u64;
    if columns > limits.max_columns {
        let what = format!("the datakit reports {columns} columns");
        return Err(Refused::Limit(WasmError::over(Limit::Columns, limits.max_columns, what, call)));
    }
    for field in &fields {
        server_name("a column", &field.name).map_err(Refused::Problem)?;
    }
    let schema = schema_from_wire(&fields, limits).map_err(|error| match error {
        ColumnarError::Limit { .. } => Refused::Limit(WasmError::host(error.into())),
        // A schema returned has no side of a projection.
        ColumnarError::DuplicateColumn { column, .. } => Refused::Problem(format!("two columns named `{column}`")),
        error => Refused::Problem(error.to_string()),
    })?;
    let known = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(known_metadata(field)));
    Ok(Arc::new(Schema::new(known.collect::<Vec<_>>())))
}

/// What of a column's metadata goes on: what the host knows. Other keys mean something to readers of a table that the
/// datakit has no say in, such as `__CHAR_VARCHAR_TYPE_STRING` to Spark.
fn known_metadata(field: &Field) -> HashMap<String, String> {
    let is_known = |key: &str, value: &str| match key {
        EXTENSION_NAME => value == UUID_EXTENSION,
        ROLE_KEY => ColumnRole::ALL.iter().any(|role| role.name() == value),
        SOURCE_TYPE | ALTERED | HIDDEN => value.len() <= MAX_NAME_BYTES && !value.contains(char::is_control),
        _ => false,
    };
    let pairs = field.metadata().iter().filter(|(key, value)| is_known(key, value));
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The announced columns without their roles, which are nobody's business behind the boundary.
pub(crate) fn without_roles(announced: &SchemaRef) -> SchemaRef {
    let plain = announced.fields().iter().map(|field| {
        let mut field = field.as_ref().clone();
        field.metadata_mut().remove(ROLE_KEY);
        field
    });
    Arc::new(Schema::new(plain.collect::<Vec<_>>()))
}

/// Which announced columns the host fills. Their batches have the same roles, which only the host gives.
pub(crate) fn roles(announced: &SchemaRef) -> RoleColumns {
    let named = |role: ColumnRole| {
        let has = |field: &&Arc<Field>| field.metadata().get(ROLE_KEY).is_some_and(|found| found == role.name());
        announced.fields().iter().find(has).map(|field| field.name().clone())
    };
    RoleColumns {
        load_id: named(ColumnRole::LoadId),
        operation: named(ColumnRole::Operation),
        version: named(ColumnRole::ChangeVersion),
        commit_time: named(ColumnRole::CommitTime),
        missing_columns: named(ColumnRole::MissingColumns),
    }
}

/// Whether a batch has exactly the columns that were announced. Says the first difference.
pub(crate) fn same_columns(announced: &SchemaRef, found: &SchemaRef) -> Result<(), WasmError> {
    let bad = |problem: String| Err(WasmError::BadBatch { problem });
    let (expected, got) = (announced.fields(), found.fields());
    if expected.len() != got.len() {
        return bad(format!("{} columns instead of {}", got.len(), expected.len()));
    }
    for (at, (expected, got)) in expected.iter().zip(got).enumerate() {
        let name = Text::name(got.name()).into_inner();
        if expected.name() != got.name() {
            return bad(format!("column {at} is `{name}` instead of `{}`", Text::name(expected.name()).into_inner()));
        }
        if expected.data_type() != got.data_type() {
            return bad(format!("`{name}` is {} instead of {}", got.data_type(), expected.data_type()));
        }
        if expected.is_nullable() != got.is_nullable() {
            let words = |nullable| if nullable { "nullable" } else { "not nullable" };
            return bad(format!(
                "`{name}` is {} instead of {}",
                words(got.is_nullable()),
                words(expected.is_nullable())
            ));
        }
        // The announced columns have nothing but known metadata.
        if *expected.metadata() != known_metadata(got) {
            return bad(format!("`{name}` has other metadata"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
