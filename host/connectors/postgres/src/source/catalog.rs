//! The columns of a table, as the catalog has them: which the role may read, and which can be a watermark.

use datakit_connect::changes::{Form, Measure, SourceColumn, Texts};
use datakit_model::TableId;

use super::statement::quote_text;
use super::types::{self, Shape};

/// The question, of a table whose names the host puts in. A domain is what it is made of; types that are not the system's own
/// have no base.
///
/// Columns: name, declared type, base type, modifier, whether it may be read.
pub(super) fn question(table: &TableId) -> String {
    let (schema, name) = (quote_text(&table.schema), quote_text(&table.name));
    format!(
        "\
WITH RECURSIVE declared AS (\
SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable \
FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid \
WHERE n.nspname = {schema} AND c.relname = {name} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
AND a.attnum > 0 AND NOT a.attisdropped), \
based (attnum, oid, modifier) AS (SELECT d.attnum, d.atttypid, d.atttypmod FROM declared AS d UNION ALL \
SELECT b.attnum, t.typbasetype, CASE WHEN t.typtypmod < 0 THEN b.modifier ELSE t.typtypmod END \
FROM based AS b INNER JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd') \
SELECT d.attname::text AS name, format_type(d.atttypid, d.atttypmod)::text AS declared, \
CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END AS base, \
b.modifier::text AS modifier, d.readable::text AS readable \
FROM declared AS d INNER JOIN based AS b ON b.attnum = d.attnum INNER JOIN pg_catalog.pg_type AS t ON t.oid = b.oid \
WHERE t.typtype <> 'd' ORDER BY d.attnum"
    )
}

/// One row of the answer.
pub(super) fn column(row: Texts) -> Option<SourceColumn> {
    let [name, declared, base, modifier, readable] = <[Option<String>; 5]>::try_from(row).ok()?;
    let (base, modifier) = (base?, modifier?.parse().ok()?);
    let measure = measure(&base, modifier);
    // A position names the type by which values are compared: that of a domain has other names.
    let type_name = if measure.is_ok() { base } else { declared? };
    Some(SourceColumn { name: name?, type_name, is_readable: readable? == "true", measure })
}

/// What values of a type of the system are as watermarks.
fn measure(base: &str, modifier: i32) -> Result<Measure, String> {
    let of = |form: Form, least: &str| {
        let measure = Measure::new(form, 0);
        Ok(Measure { least: measure.parse(least).unwrap_or(i128::MIN), ..measure })
    };
    let moment = |of_utc| of(Form::Moment { digits: 6, of_utc }, "4714-11-24 00:00:00 BC");
    match base {
        "int2" => of(Form::Integer, "-32768"),
        "int4" => of(Form::Integer, "-2147483648"),
        "int8" => of(Form::Integer, "-9223372036854775808"),
        "numeric" => match types::decimal(modifier) {
            Some(Shape::Decimal { precision, scale }) => {
                let (least, scale) = (1 - 10_i128.pow(precision.into()), u8::try_from(scale).unwrap_or(0));
                Ok(Measure::new(Form::Decimal { scale }, least))
            }
            _ => Err("its precision is not declared, or above 38 digits".to_owned()),
        },
        "date" => of(Form::Date, "4714-11-24 BC"),
        "timestamp" => moment(false),
        "timestamptz" => moment(true),
        "float4" | "float8" => {
            Err("two sums of the same values may differ, and many values have no exact text".to_owned())
        }
        "text" | "varchar" | "bpchar" | "name" => Err("the order of texts depends on the collation".to_owned()),
        "uuid" => Err("its values have no order in time".to_owned()),
        "time" | "timetz" => Err("it starts again each day".to_owned()),
        "oid" | "xid" | "xid8" | "cid" => Err("it is a number of the server that starts again".to_owned()),
        _ => Err("its values are not numbers, dates or moments".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_a_certain_order_are_watermarks() {
        for base in ["int2", "int4", "int8", "date", "timestamp", "timestamptz"] {
            assert!(measure(base, -1).unwrap().least < 0, "{base}");
        }
        let numeric = (20 << 16 | 3) + 4;
        assert_eq!(measure("numeric", numeric), Ok(Measure::new(Form::Decimal { scale: 3 }, 1 - 10_i128.pow(20))));
        for base in ["numeric", "float8", "text", "uuid", "timetz", "xid", "bool", "jsonb", "bytea", "interval", ""] {
            assert!(measure(base, -1).is_err(), "{base}");
        }
    }
}
