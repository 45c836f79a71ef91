//! Columns of a load that are not those of the table: the statement that alters it.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datakit_connect::sink::SinkError;
use datakit_connect::sink::drift::{Alteration, DefaultValue, Fit, Load, SinkColumn, Table, holds, last_load};
use datakit_model::StateDocument;
use datakit_model::sink::Target;

use super::names::{self, TableName, quote};
use super::types::{Column, Existing, MAX_COLUMNS, TableSchema};

/// The columns of a load against those of the table that is there. `is_part`: the rows have more columns.
pub(crate) fn fit(
    target: &Target,
    existing: &[Existing],
    last: Option<&StateDocument>,
    (location, is_part): (&str, bool),
) -> Result<(Fit, TableSchema), SinkError> {
    let own = TableSchema::new(&target.table, &target.schema)?;
    let columns: Vec<SinkColumn> = existing.iter().map(of_table).collect();
    let table = Table {
        columns: &columns,
        partition_columns: &[],
        last: last_load(last, |name| names::column(name).ok()),
        widens: &widens,
    };
    let load = Load { columns: &own.columns.iter().map(of_load).collect::<Vec<_>>(), is_part };
    let fit = Fit::new(target, &load, &table, location)?;
    let added = fit.alterations.iter().filter(|alteration| matches!(alteration, Alteration::Add(_))).count();
    let columns = existing.len() + added;
    if added > 0 && columns > MAX_COLUMNS {
        let table = target.table.to_string();
        return Err(SinkError::TooManyColumns { table, columns, limit: MAX_COLUMNS, sink: "postgres" });
    }
    let schema = TableSchema::new(&target.table, fit.schema())?;
    Ok((fit, schema))
}

/// The statements that alter the table; none: it stays. `replaces`: it has no rows by then.
pub(crate) fn alter(
    name: &TableName,
    schema: &TableSchema,
    alterations: &[Alteration],
    replaces: bool,
) -> Option<String> {
    if alterations.is_empty() {
        return None;
    }
    let column = |name: &String| schema.columns.iter().find(|column| column.name == *name);
    let action = |alteration: &Alteration| {
        Some(match alteration {
            Alteration::Add(added) => format!("ADD COLUMN {} {}", quote(added), column(added)?.type_name),
            Alteration::Retype(retyped) => {
                let (quoted, to) = (quote(retyped), &column(retyped)?.type_name);
                let using = if replaces { format!(" USING NULL::{to}") } else { String::new() };
                format!("ALTER COLUMN {quoted} TYPE {to}{using}")
            }
            Alteration::Relax(relaxed) => format!("ALTER COLUMN {} DROP NOT NULL", quote(relaxed)),
            Alteration::Drop(dropped) => format!("DROP COLUMN {}", quote(dropped)),
        })
    };
    let actions: Vec<String> = alterations.iter().filter_map(action).collect();
    let comment = |alteration: &Alteration| match alteration {
        Alteration::Add(added) => column(added)?.comment(name),
        _ => None,
    };
    let comments: String = alterations.iter().filter_map(comment).collect();
    Some(format!("ALTER TABLE {name} {};{comments}", actions.join(", ")))
}

/// Whether `ALTER COLUMN … TYPE` keeps every value as it is. A text of a bounded length needs no rewriting, all others do.
fn widens(there: &SinkColumn, wanted: &SinkColumn) -> bool {
    let is_bounded_text = there.type_name.starts_with("character varying") && wanted.type_name == "text";
    let types = there.data_type.as_ref().zip(wanted.data_type.as_ref());
    is_bounded_text || types.is_some_and(|(narrow, wide)| holds(wide, narrow))
}

fn of_load(column: &Column) -> SinkColumn {
    SinkColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        data_type: arrow_type(&column.type_name),
        nullable: column.nullable,
        default: DefaultValue::Null,
    }
}

fn of_table(there: &Existing) -> SinkColumn {
    SinkColumn {
        name: there.name.clone(),
        type_name: there.type_name.clone(),
        data_type: arrow_type(&there.type_name),
        nullable: !there.not_null,
        default: match (there.generated, there.has_default) {
            (true, _) => DefaultValue::Generated,
            (false, true) => DefaultValue::Server,
            (false, false) => DefaultValue::Null,
        },
    }
}

/// The Arrow type whose values are written into a column of this type; none: none is.
fn arrow_type(name: &str) -> Option<DataType> {
    Some(match name {
        "boolean" => DataType::Boolean,
        "smallint" => DataType::Int16,
        "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" => DataType::Float32,
        "double precision" => DataType::Float64,
        "date" => DataType::Date32,
        "time without time zone" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp without time zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamp with time zone" => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        "text" => DataType::Utf8,
        "bytea" => DataType::Binary,
        "uuid" => DataType::FixedSizeBinary(16),
        other => return numeric(other),
    })
}

/// `numeric(18,2)`
fn numeric(name: &str) -> Option<DataType> {
    let (precision, scale) = name.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
    let is_ours = (1..=38).contains(&precision) && (0..=38).contains(&scale);
    is_ours.then_some(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datakit_model::TableId;

    use super::*;

    #[test]
    fn one_statement_alters_all_columns_and_keeps_the_sources_names() {
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("xmin", DataType::Utf8, false),
            Field::new("net \"amount\"", DataType::Decimal128(18, 4), true),
        ];
        let schema = TableSchema::new(&TableId::new("dbo", "t"), &Arc::new(Schema::new(fields))).unwrap();
        let name = TableName::new("ERP", &TableId::new("dbo", "t")).unwrap();
        let text = str::to_owned;
        let alterations = [
            Alteration::Retype(text("id")),
            Alteration::Add(text("%xmin")),
            Alteration::Add(text("net \"amount\"")),
            Alteration::Relax(text("old")),
            Alteration::Drop(text("older")),
        ];
        let all = |replaces| alter(&name, &schema, &alterations, replaces).unwrap().replace(", ", ",\n  ");
        insta::assert_snapshot!(all(false), @r#"
        ALTER TABLE "ERP_dbo"."t" ALTER COLUMN "id" TYPE bigint,
          ADD COLUMN "%xmin" text,
          ADD COLUMN "net ""amount""" numeric(18,4),
          ALTER COLUMN "old" DROP NOT NULL,
          DROP COLUMN "older"; COMMENT ON COLUMN "ERP_dbo"."t"."%xmin" IS 'datakit.original_name=xmin';
        "#);
        assert!(all(true).contains("TYPE bigint USING NULL::bigint"));
        assert_eq!(alter(&name, &schema, &[], false), None);
    }

    #[test]
    fn types_of_other_tables_are_not_taken_for_ours() {
        assert_eq!(arrow_type("numeric(18,2)"), Some(DataType::Decimal128(18, 2)));
        for name in ["numeric", "numeric(50,2)", "numeric(10,-2)", "character varying(10)", "time(3) without time zone"]
        {
            assert_eq!(arrow_type(name), None, "{name}");
        }
    }
}
