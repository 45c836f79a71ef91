//! Columns of a load that are not those of the table: how the log's entry changes.

use std::collections::HashSet;

use datakit_connect::sink::SinkError;
use datakit_connect::sink::drift::{Alteration, DefaultValue, Fit, Load, SinkColumn, Table, holds, last_load};
use datakit_model::sink::{Target, WriteMode};
use deltalake::kernel::{StructField, StructType};

use crate::commit::Log;
use crate::names;
use crate::schema::{TableSchema, arrow_type, has_default};

/// The columns of a load against those of the table that is there. `is_part`: the rows have more columns.
pub(crate) fn fit(
    target: &Target,
    log: &Log,
    partition_columns: &[String],
    is_part: bool,
) -> Result<(Fit, TableSchema), SinkError> {
    let own = TableSchema::new(&target.table, &target.schema)?;
    let Some(there) = log.columns() else { return Ok((Fit::new_table(target), own)) };
    let replaces = target.mode == WriteMode::Overwrite;
    let columns = sink_columns(&there, target.mode);
    let table = Table {
        columns: &columns,
        partition_columns,
        last: last_load(log.held.document.as_ref(), |name| Some(names::column(name))),
        // Files hold the type that the table had when they were written: only a commit that removes all of them can change it.
        widens: &|there, wanted| {
            let types = there.data_type.as_ref().zip(wanted.data_type.as_ref());
            replaces && types.is_some_and(|(narrow, wide)| holds(wide, narrow))
        },
    };
    let load = Load { columns: &sink_columns(&own.delta, target.mode), is_part };
    let fit = Fit::new(target, &load, &table, &log.location)?;
    let mut schema = TableSchema::new(&target.table, fit.schema())?;
    schema.altered = altered(&there, &schema.delta, &fit.alterations, &log.location)?;
    Ok((fit, schema))
}

/// Rows that are written already, against columns that another writer has changed since.
pub(crate) fn refit(
    target: &Target,
    written: &TableSchema,
    there: &StructType,
    location: &str,
) -> Result<Fit, SinkError> {
    let columns = sink_columns(there, target.mode);
    let table = Table { columns: &columns, partition_columns: &[], last: Default::default(), widens: &|_, _| false };
    let load = Load { columns: &sink_columns(&written.delta, target.mode), is_part: false };
    Fit::new(target, &load, &table, location)
}

fn sink_columns(schema: &StructType, mode: WriteMode) -> Vec<SinkColumn> {
    // A merge reads every column of the rows that it rewrites.
    let is_unreadable = |field: &StructField| mode == WriteMode::Merge && arrow_type(field.data_type()).is_none();
    let column = |field: &StructField| SinkColumn {
        name: field.name().clone(),
        type_name: field.data_type().to_string(),
        data_type: arrow_type(field.data_type()),
        nullable: field.is_nullable(),
        default: if has_default(field) || is_unreadable(field) { DefaultValue::Writer } else { DefaultValue::Null },
    };
    schema.fields().map(column).collect()
}

/// The table's columns after the commit, in their order, new ones last; none: they stay.
fn altered(
    there: &StructType,
    own: &StructType,
    alterations: &[Alteration],
    location: &str,
) -> Result<Option<StructType>, SinkError> {
    if alterations.is_empty() {
        return Ok(None);
    }
    let has = |alteration: Alteration| alterations.contains(&alteration);
    let altered = |field: &StructField| {
        let name = field.name();
        let relaxed = field.is_nullable() || has(Alteration::Relax(name.clone()));
        let field = own.field(name).filter(|_| has(Alteration::Retype(name.clone()))).unwrap_or(field);
        StructField { nullable: relaxed, ..field.clone() }
    };
    let kept = there.fields().filter(|field| !has(Alteration::Drop(field.name().clone())));
    let mut fields: Vec<StructField> = kept.map(altered).collect();
    let added: HashSet<&String> = alterations
        .iter()
        .filter_map(|alteration| match alteration {
            Alteration::Add(name) => Some(name),
            _ => None,
        })
        .collect();
    let added = own.fields().filter(|field| added.contains(field.name()));
    fields.extend(added.map(|field| StructField { nullable: true, ..field.clone() }));
    let failed = |e| SinkError::Encode { location: location.to_owned(), source: Box::new(e) };
    StructType::try_new(fields).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::DataType;

    use super::*;

    #[test]
    fn columns_of_the_table_keep_their_order_and_what_else_is_known_of_them() {
        let commented = StructField::new("b", DataType::INTEGER, false).with_metadata([("comment", "of the table")]);
        let there =
            [StructField::new("a", DataType::INTEGER, false), commented, StructField::new("c", DataType::LONG, true)];
        let own = [StructField::new("new", DataType::STRING, false), StructField::new("a", DataType::LONG, false)];
        let (there, own) = (StructType::try_new(there).unwrap(), StructType::try_new(own).unwrap());
        let name = |name: &str| name.to_owned();
        let all = [
            Alteration::Add(name("new")),
            Alteration::Retype(name("a")),
            Alteration::Relax(name("b")),
            Alteration::Drop(name("c")),
        ];
        let altered = altered(&there, &own, &all, "here").unwrap().unwrap();
        assert_eq!(
            serde_json::to_value(altered).unwrap()["fields"],
            serde_json::json!([
                { "name": "a", "type": "long", "nullable": false, "metadata": {} },
                { "name": "b", "type": "integer", "nullable": true, "metadata": { "comment": "of the table" } },
                { "name": "new", "type": "string", "nullable": true, "metadata": {} },
            ])
        );
    }
}
