//! `host plan`: how each table would be cut.

use std::collections::BTreeMap;

use datakit_app::{ColumnChange, DeclaredBy, PlanRequest, PlannedRule, PlannedTable, Reports, Tables};

use datakit_model::printable;

use super::{Session, drift_of, failures, ingest_of, mode_of};
use crate::arguments::{OutputFormat, Plan};
use crate::terminal::{aligned, grouped};

pub(super) async fn plan(arguments: Plan, session: &Session) -> Result<(), Reports> {
    let output = arguments.ingest.output;
    let (mode, drift) = (mode_of(&arguments.mode), drift_of(&arguments.drift));
    let request = PlanRequest { mode, drift, ingest: ingest_of(arguments.ingest) };
    let Tables { tables, failures: failed } = session.answer(datakit_app::plan(&session.context, &request)).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&render(tables))?,
    }
    failures(failed)
}

/// What every table is read by, as long as nothing says otherwise.
const FULL: &str = "full";

/// What only some datakits propose has a column where one does.
fn render(tables: Vec<PlannedTable>) -> String {
    let has_mode = tables.iter().any(|table| table.write.is_some());
    let has_strategy = tables.iter().any(|table| table.strategy.as_ref().is_some_and(|strategy| strategy != FULL));
    let is_partitioned = tables.iter().any(|table| !table.partition_by.is_empty());
    let below = reasons(&tables) + &drift(&tables) + &rules(&tables);
    let mut heading = vec!["table", "columns", "about rows", "partitions", "key"];
    heading.extend(has_strategy.then_some("strategy"));
    heading.extend(has_mode.then_some("proposed mode"));
    heading.extend(is_partitioned.then_some("partitioned by"));
    heading.push("target");
    let mut rows = vec![heading.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()];
    for table in tables {
        let keys = if table.keys.is_empty() { table.primary_key } else { table.keys };
        let mut row = vec![
            table.table,
            table.columns.to_string(),
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.partitions.len().to_string(),
            keys.join(", "),
        ];
        row.extend(has_strategy.then(|| table.strategy.unwrap_or_default()));
        row.extend(has_mode.then(|| table.write.map(|mode| mode.to_string()).unwrap_or_default()));
        row.extend(is_partitioned.then(|| table.partition_by.join(", ")));
        row.push(table.target.or(table.error.map(|error| format!("fails with {}", error.code))).unwrap_or_default());
        rows.push(row);
    }
    aligned(&rows, &[1, 2, 3]) + &below
}

/// Tables of which a reason is shown by name.
const MAX_NAMED: usize = 5;

/// Why tables are read as they are, a line for each reason.
fn reasons(tables: &[PlannedTable]) -> String {
    let mut by_reason: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for table in tables {
        if let (Some(strategy), Some(why)) = (&table.strategy, &table.why) {
            by_reason.entry((strategy, why)).or_default().push(table.table.clone());
        }
    }
    let line = |((strategy, why), tables): ((&str, &str), Vec<String>)| {
        format!("{strategy} for {}: {why}\n", printable::some(&tables, MAX_NAMED))
    };
    by_reason.into_iter().map(line).collect()
}

/// Columns that a load would find different, a line each.
fn drift(tables: &[PlannedTable]) -> String {
    let line = |table: &PlannedTable, change: &ColumnChange| {
        format!("{}\n", printable::line(&format!("drift: {}: {change}", table.table)))
    };
    tables.iter().flat_map(|table| table.drift.iter().map(move |change| line(table, change))).collect()
}

/// The rules of quality, a line for each table and rule.
fn rules(tables: &[PlannedTable]) -> String {
    let of_table = |table: &PlannedTable| {
        let line = |rule: &PlannedRule| {
            let severity = rule.severity.map_or_else(|| "off".to_owned(), |severity| severity.to_string());
            let PlannedRule { rule: name, summary, declared_by, .. } = rule;
            let by = match declared_by {
                DeclaredBy::Datakit => ", of the datakit",
                DeclaredBy::Operator => "",
            };
            let line = format!("quality of {}: {severity}: `{name}` ({summary}){by}", table.table);
            printable::line(&line).into_owned() + "\n"
        };
        table.quality.iter().map(line).collect::<String>()
    };
    tables.iter().map(of_table).collect()
}

#[cfg(test)]
mod tests {
    use datakit_app::{Severity, WriteMode};

    use super::*;

    fn planned(table: &str) -> PlannedTable {
        PlannedTable {
            table: table.to_owned(),
            columns: 3,
            primary_key: vec!["id".to_owned()],
            estimated_rows: Some(1234),
            partitions: Vec::new(),
            target: Some(format!("bronze/{table}")),
            strategy: Some("full".to_owned()),
            why: None,
            watermark_after: None,
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            drift: Vec::new(),
            quality: Vec::new(),
            error: None,
        }
    }

    fn rule(name: &str, severity: Option<Severity>, declared_by: DeclaredBy) -> PlannedRule {
        PlannedRule { rule: name.to_owned(), summary: "not_null of id".to_owned(), severity, declared_by }
    }

    #[test]
    fn proposals_have_columns_where_there_are_any() {
        let plain = render(vec![planned("dbo.a")]);
        let proposed = PlannedTable {
            strategy: Some("watermark changed_at".to_owned()),
            write: Some(WriteMode::Overwrite),
            keys: vec!["id".to_owned(), "day".to_owned()],
            partition_by: vec!["day".to_owned()],
            quality: vec![
                rule("key", Some(Severity::Stop), DeclaredBy::Operator),
                rule("dates", None, DeclaredBy::Datakit),
            ],
            ..planned("dbo.b")
        };
        let text = format!("{plain}\n{}", render(vec![planned("dbo.a"), proposed]));
        insta::assert_snapshot!(text, @r"
        table  columns  about rows  partitions  key  target
        dbo.a        3       1,234           0  id   bronze/dbo.a

        table  columns  about rows  partitions  key      strategy              proposed mode  partitioned by  target
        dbo.a        3       1,234           0  id       full                                                 bronze/dbo.a
        dbo.b        3       1,234           0  id, day  watermark changed_at  overwrite      day             bronze/dbo.b
        quality of dbo.b: stop: `key` (not_null of id)
        quality of dbo.b: off: `dates` (not_null of id), of the datakit
        ");
    }
}
