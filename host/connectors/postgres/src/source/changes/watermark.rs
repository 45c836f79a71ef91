//! Changes of a table by a column that only grows.
//!
//! The newest value and the rows are of the run's one snapshot, so that nothing comes between them.

use async_trait::async_trait;
use datakit_connect::changes::columns::choose;
use datakit_connect::changes::roles::{KEPT_COLUMN, KNOWN_COLUMN, VERSION_COLUMN};
use datakit_connect::changes::watermark;
use datakit_connect::changes::{Chosen, Distances, Form, Range, Span, WatermarkColumn, WatermarkTable, texts};
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
    distances: Distances,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let table = request.table.clone();
    let answer = texts(session.ask(catalog::question(&table), Vec::new()).await?).await?;
    let columns: Option<Vec<_>> = answer.into_iter().map(catalog::column).collect();
    let columns =
        columns.ok_or_else(|| PostgresError::Internal("the catalog answers otherwise than asked".to_owned()))?;
    let Chosen { columns, watermark } = choose(&columns, request, column, NameRule::Bytes)?;
    let table = Table { session, table, columns, watermark: watermark.clone() };
    watermark::open(table, &watermark, request, distances).await
}

struct Table {
    session: PostgresSession,
    table: TableId,
    columns: Vec<String>,
    watermark: WatermarkColumn,
}

/// As it is now, not when the snapshot was taken: what is of the future then may not be any more.
const CLOCK: &str = "SELECT pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.clock_timestamp()), 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS clock";

impl Table {
    /// The only value of an answer.
    async fn value(&self, text: String, tables: Vec<TableId>) -> Result<Option<String>, Failure> {
        let answer = texts(self.session.ask(text, tables).await?).await?;
        Ok(answer.into_iter().flatten().next().flatten())
    }
}

#[async_trait]
impl WatermarkTable for Table {
    async fn clock(&self) -> Result<String, Failure> {
        let clock = self.value(CLOCK.to_owned(), Vec::new()).await?;
        Ok(clock.ok_or_else(|| PostgresError::Internal("the server does not say what time it is".to_owned()))?)
    }

    async fn newest(&self, upto: Option<&str>) -> Result<Option<String>, Failure> {
        self.value(newest(&self.table, &self.watermark, upto), vec![self.table.clone()]).await
    }

    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
        let text = rows(&self.table, &self.columns, &self.watermark, span);
        self.session.ask(text, vec![self.table.clone()]).await
    }
}

/// A text of the role's search path: only the system's own operators and types are meant.
fn newest(table: &TableId, column: &WatermarkColumn, upto: Option<&str>) -> String {
    let (name, table) = (quote(&column.name), quote_table(table));
    let mut conditions: Vec<String> = match column.measure.form {
        Form::Integer | Form::Bytes => Vec::new(),
        Form::Decimal { .. } => vec![compared(column, "<", BEYOND_NUMBERS)],
        Form::Date | Form::Moment { .. } => {
            vec![compared(column, ">", "-infinity"), compared(column, "<", BEYOND_TIMES)]
        }
    };
    conditions.extend(upto.map(|upto| compared(column, "<=", upto)));
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!("SELECT pg_catalog.max({name})::pg_catalog.text AS newest FROM {table}{condition}")
}

fn rows(table: &TableId, columns: &[String], column: &WatermarkColumn, span: &Span) -> String {
    let name = quote(&column.name);
    let mut list: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    list.push(format!("coalesce({name}::pg_catalog.text, '') AS {}", quote(VERSION_COLUMN)));
    for (range, flag) in [(&span.known, KNOWN_COLUMN), (&span.kept, KEPT_COLUMN)] {
        let is_within =
            range.as_ref().map_or("false".to_owned(), |range| format!("coalesce({}, false)", within(column, range)));
        list.push(format!("{is_within} AS {}", quote(flag)));
    }
    // Without a bound no row has a value: all are read.
    let condition = span.rows.as_ref().map(|range| format!(" WHERE {}", within(column, range))).unwrap_or_default();
    format!("SELECT {} FROM {}{condition}", list.join(", "), quote_table(table))
}

/// What has no place in the order is read once, with the first copy.
fn within(column: &WatermarkColumn, range: &Range) -> String {
    let mut parts = Vec::new();
    let upto = compared(column, "<=", &range.upto);
    match &range.from {
        Some(from) => {
            let operator = if from.is_excluded { ">" } else { ">=" };
            parts.push(format!("{} AND {upto}", compared(column, operator, &from.value)));
        }
        None => {
            parts.push(upto);
            match column.measure.form {
                Form::Integer | Form::Bytes => {}
                Form::Decimal { .. } => parts.push(compared(column, "=", BEYOND_NUMBERS)),
                Form::Date | Form::Moment { .. } => parts.push(compared(column, "=", BEYOND_TIMES)),
            }
            parts.push(format!("{} IS NULL", quote(&column.name)));
        }
    }
    if let Some(later) = &range.later {
        parts.push(format!("{} AND {}", compared(column, ">", &later.after), compared(column, "<=", &later.upto)));
    }
    parts.join(" OR ")
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
    use datakit_connect::changes::{Later, Measure, RangeStart};

    use super::*;

    fn column(form: Form, type_name: &str) -> WatermarkColumn {
        WatermarkColumn { name: "at\"".into(), type_name: type_name.into(), measure: Measure::new(form, 0) }
    }

    #[test]
    fn texts_compare_the_bare_column_with_literals_of_its_type() {
        let table = TableId::new("s", "t");
        let at = column(Form::Moment { digits: 6, of_utc: true }, "timestamptz");
        let [early, late, future] =
            ["2026-01-01T00:00:00.000001Z", "2026-01-02T00:00:00.000000Z", "4713-01-01T00:00:00.000000Z BC"]
                .map(str::to_owned);
        let from = |is_excluded| Some(RangeStart { value: early.clone(), is_excluded });
        let range = |from: Option<RangeStart>, later: Option<Later<String>>| Range { from, upto: late.clone(), later };
        let span = |read: Option<Range>, known: Option<Range>, kept: Option<Range>| {
            rows(&table, &["a".to_owned(), "b c".to_owned()], &at, &Span { rows: read, known, kept })
        };
        let later = Some(Later { after: late.clone(), upto: future.clone() });
        let texts = [
            newest(&table, &at, None),
            newest(&table, &column(Form::Integer, "int8"), Some("7")),
            span(Some(range(from(false), None)), Some(range(from(true), None)), Some(range(from(false), None))),
            span(Some(range(None, None)), None, Some(range(from(false), None))),
            span(Some(range(None, later.clone())), None, Some(range(from(true), later))),
            span(None, None, None),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r#"
        SELECT pg_catalog.max("at""")::pg_catalog.text AS newest FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.>) ('-infinity'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<) ('infinity'::pg_catalog.timestamptz)
        SELECT pg_catalog.max("at""")::pg_catalog.text AS newest FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.<=) ('7'::pg_catalog.int8)
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version", coalesce("at""" OPERATOR(pg_catalog.>) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz), false) AS "datakit:known", coalesce("at""" OPERATOR(pg_catalog.>=) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz), false) AS "datakit:kept" FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.>=) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz)
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version", false AS "datakit:known", coalesce("at""" OPERATOR(pg_catalog.>=) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz), false) AS "datakit:kept" FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz) OR "at""" OPERATOR(pg_catalog.=) ('infinity'::pg_catalog.timestamptz) OR "at""" IS NULL
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version", false AS "datakit:known", coalesce("at""" OPERATOR(pg_catalog.>) ('2026-01-01 00:00:00.000001+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz) OR "at""" OPERATOR(pg_catalog.>) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('4713-01-01 00:00:00.000000+00 BC'::pg_catalog.timestamptz), false) AS "datakit:kept" FROM "s"."t" WHERE "at""" OPERATOR(pg_catalog.<=) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz) OR "at""" OPERATOR(pg_catalog.=) ('infinity'::pg_catalog.timestamptz) OR "at""" IS NULL OR "at""" OPERATOR(pg_catalog.>) ('2026-01-02 00:00:00.000000+00'::pg_catalog.timestamptz) AND "at""" OPERATOR(pg_catalog.<=) ('4713-01-01 00:00:00.000000+00 BC'::pg_catalog.timestamptz)
        SELECT "a", "b c", coalesce("at"""::pg_catalog.text, '') AS "datakit:change-version", false AS "datakit:known", false AS "datakit:kept" FROM "s"."t"
        "#);
    }
}
