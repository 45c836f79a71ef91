//! Lies about which tables there are, and how to read them.

use crate::attacks::Attack;
use crate::bindings::datakit::kit::plans::{TableDescription, TablePlan};
use crate::bindings::datakit::kit::types::{Field, TableId};
use crate::{field, handles, settings, table};

/// The tables that `discover` gives to the host.
pub fn discovered(attack: &Attack) -> Vec<TableDescription> {
    let honest = || listed(&table("t"), &[field("id", "Int64"), field("name", "Utf8")]);
    match attack.name() {
        "table-twice" => vec![honest(), honest()],
        "table-handed-over-twice" => {
            let table = honest();
            let again = handles::table_description(table.handle());
            vec![table, again]
        }
        "many-tables" => (0..200_000)
            .map(|i| TableDescription::new(&TableId { catalog: None, schema: "s".to_owned(), name: i.to_string() }))
            .collect(),
        "many-columns" => vec![listed(&table("t"), &vec![field("c", "Int8"); 5_000])],
        "unknown-type" => vec![listed(&table("t"), &[field("id", "Int65")])],
        "listed-role" => vec![listed(&table("t"), &[field("id", "Int64"), with_role(field("name", "Utf8"))])],
        "huge-estimate" => {
            let table = honest();
            table.set_estimated_rows(u64::MAX);
            vec![table]
        }
        "queries" => {
            let names = settings::query_names().into_iter();
            names
                .map(|name| TableDescription::new(&TableId { catalog: None, schema: "query".to_owned(), name }))
                .collect()
        }
        "nameless-table" => vec![listed(&table(""), &[field("id", "Int64")])],
        _ => vec![honest()],
    }
}

fn listed(id: &TableId, columns: &[Field]) -> TableDescription {
    let table = TableDescription::new(id);
    table.set_columns(columns);
    table.set_primary_key(&["id".to_owned()]);
    table.set_estimated_rows(6);
    table
}

/// A field that claims to be the host's.
pub fn with_role(field: Field) -> Field {
    Field { metadata: vec![("datakit.role".to_owned(), "load-id".to_owned())], ..field }
}

/// The plans that `plan` gives to the host.
pub fn planned(attack: &Attack, tables: &[TableId]) -> Vec<TablePlan> {
    let mut plans: Vec<TablePlan> = tables.iter().map(honest).collect();
    let Some((first, wanted)) = plans.first_mut().zip(tables.first()) else { return plans };
    match attack.name() {
        "plan-not-requested" => *first = honest(&table("salaries")),
        "no-partitions" => *first = TablePlan::new(wanted),
        "no-plan" => plans.clear(),
        "plan-twice" => plans.push(honest(wanted)),
        "plan-handed-over-twice" => {
            let again = handles::plan(first.handle());
            plans.push(again);
        }
        // With the honest one.
        "many-partitions" => (1..20_000).for_each(|_| first.add_partition(&[], None)),
        "million-partitions" => (1..1_000_000).for_each(|_| first.add_partition(&[], None)),
        "huge-estimates" => {
            *first = TablePlan::new(wanted);
            (0..3).for_each(|_| first.add_partition(&[], Some(u64::MAX / 2)));
        }
        "huge-state" => first.add_partition(&vec![7; 2 << 20], None),
        "huge-plan" => (0..150).for_each(|_| first.add_partition(&vec![7; 1 << 20], None)),
        "huge-watermark" => first.set_watermark(&"9".repeat((1 << 20) + 1)),
        "huge-strategy" => first.set_strategy(&"x".repeat(60 << 20)),
        "huge-keys" => first.set_keys(&vec!["x".repeat(1 << 20); 60]),
        "keys-that-are-not-there" => first.set_keys(&["salary".to_owned()]),
        "load-id-without-role" => first.set_load_id_column("added"),
        "load-id-of-no-column" => first.set_load_id_column("salary"),
        "operation-without-role" => first.set_operation_column("added"),
        "version-without-role" => first.set_version_column("added"),
        _ => {}
    }
    plans
}

fn honest(table: &TableId) -> TablePlan {
    let plan = TablePlan::new(table);
    plan.add_partition(&[], None);
    plan
}
