//! Changes of a table by a column that only grows.
//!
//! The newest value and the rows are of the run's one snapshot, so that nothing comes between them.

use async_trait::async_trait;
use datakit_connect::changes::columns::choose;
use datakit_connect::changes::roles::VERSION_COLUMN;
use datakit_connect::changes::watermark;
use datakit_connect::changes::{Chosen, Form, Span, WatermarkColumn, WatermarkTable, texts};
use datakit_model::changes::{ChangeFeed, ChangeRequest};
use datakit_model::source::Reader;
use datakit_model::{Failure, NameRule, TableId};

use crate::source::error::PostgresError;
use crate::source::statement::{quote, quote_table, quote_text};
use crate::source::{PostgresSession, catalog};

/// What the server orders above all numbers, and above all dates and moments.
const BEYOND_NUMBERS: &str = "NaN";
const BEYOND_TIMES: &str = "infinity";

/// Asks the catalog for the table's columns, then for the newest value.
pub(in crate::source) async fn open(
    session: PostgresSession,
    request: &ChangeRequest,
    column: &str,
    lag: u64,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let table = request.table.clone();
    let answer = texts(session.ask(catalog::question(&table), Vec::new()).await?).await?;
    let columns: Option<Vec<_>> = answer.into_iter().map(catalog::column).collect();
    let columns =
        columns.ok_or_else(|| PostgresError::Internal("the catalog answers otherwise than asked".to_owned()))?;
    let Chosen { columns, watermark } = choose(&columns, request, column, NameRule::Bytes)?;
    let table = Table { session, table, columns, watermark: watermark.clone() };
    watermark::open(table, &watermark, request, lag).await
}

struct Table {
    session: PostgresSession,
    table: TableId,
    columns: Vec<String>,
    watermark: WatermarkColumn,
}

#[async_trait]
impl WatermarkTable for Table {
    async fn newest(&self) -> Result<Option<String>, Failure> {
        let text = newest(&self.table, &self.watermark);
        let answer = texts(self.session.ask(text, vec![self.table.clone()]).await?).await?;
        Ok(answer.into_iter().flatten().next().flatten())
    }

    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
        let text = rows(&self.table, &self.columns, &self.watermark, span);
        self.session.ask(text, vec![self.table.clone()]).await
    }
}

/// A text of the role's search path: only the system's own operators and types are meant.
fn newest(table: &TableId, column: &WatermarkColumn) -> String {
    let (name, table) = (quote(&column.name), quote_table(table));
    let conditions: Vec<String> = match column.measure.form {
        Form::Integer | Form::Bytes => Vec::new(),
        Form::Decimal { .. } => vec![compared(column, "<", BEYOND_NUMBERS)],
        Form::Date | Form::Moment { .. } => {
            vec![compared(column, ">", "-infinity"), compared(column, "<", BEYOND_TIMES)]
        }
    };
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("SELECT pg_catalog.max({name})::pg_catalog.text AS newest FROM {table}{condition}")
}

fn rows(table: &TableId, columns: &[String], column: &WatermarkColumn, span: &Span) -> String {
    let name = quote(&column.name);
    let mut list: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    list.push(format!("coalesce({name}::pg_catalog.text, '') AS {}", quote(VERSION_COLUMN)));
    let condition = condition(column, span).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    format!("SELECT {} FROM {}{condition}", list.join(", "), quote_table(table))
}

/// None: all rows, of which none has a value. What has no place in the order is read once, with the first copy.
fn condition(column: &WatermarkColumn, span: &Span) -> Option<String> {
    let upto = compared(column, "<=", span.upto.as_ref()?);
    if let Some(after) = &span.after {
        return Some(format!("{} AND {upto}", compared(column, ">", after)));
    }
    let beyond = match column.measure.form {
        Form::Integer | Form::Bytes => String::new(),
        Form::Decimal { .. } => format!(" OR {}", compared(column, "=", BEYOND_NUMBERS)),
        Form::Date | Form::Moment { .. } => format!(" OR {}", compared(column, "=", BEYOND_TIMES)),
    };
    Some(format!("{upto}{beyond} OR {} IS NULL", quote(&column.name)))
}

fn compared(column: &WatermarkColumn, operator: &str, value: &str) -> String {
    format!("{} OPERATOR(pg_catalog.{operator}) {}", quote(&column.name), literal(column, value))
}

/// A value in the column's own type, so that an index of the column serves.
fn literal(column: &WatermarkColumn, value: &str) -> String {
    let text = match column.measure.form {
        // In the server's own form: a blank between date and time, the zone as a number, the era behind all.
        Form::Moment { .. } => value.replace('T', " ").replace('Z', "+00"),
        _ => value.to_owned(),
    };
    format!("({}::pg_catalog.{})", quote_text(&text), column.type_name)
}

#[cfg(test)]
mod tests {
    use datakit_connect::changes::Measure;

    use super::*;

    fn column(form: Form, type_name: &str) -> WatermarkColumn {
        WatermarkColumn { name: "at\"".into(), type_name: type_name.into(), measure: Measure::new(form, 0) }
    }

    #[test]
    fn texts_compare_the_bare_column_with_literals_of_its_type() {
        let table = TableId::new("s", "t");
        let at = column(Form::Moment { digits: 6, of_utc: true }, "timestamptz");
        let span = |after: Option<&str>, upto: Option<&str>| {
            let span = Span { after: after.map(str::to_owned), upto: upto.map(str::to_owned) };
            rows(&table, &["a".to_owned(), "b c".to_owned()], &at, &span)
        };
        let texts = [
            newest(&table, &at),
            span(Some("2026-01-01T00:00:00.000001Z"), Some("4713-01-01T00:00:00.000000Z BC")),
            span(None, Some("2026-01-01T00:00:00.000001Z")),
            span(None, None),
            newest(&table, &column(Form::Integer, "int8")),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r#"
        SELECT pg_catalog.max("at""")::pg_catalog.text AS newest FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.>) ('-infinity'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<) ('infinity'::pg_catalog.timestamptz)
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version" FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.>) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('4713-01-01 00:00:00.000000+00 BC'::pg_catalog.timestamptz)
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version" FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.<=) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) OR "at""" OPERATOR(pg_catalog.=) ('infinity'::pg_catalog.timestamptz) OR "at""" IS NULL
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version" FROM "s"."t"
        SELECT pg_catalog.max("at""")::pg_catalog.text AS newest FROM "s"."t"
        "#);
    }
}
