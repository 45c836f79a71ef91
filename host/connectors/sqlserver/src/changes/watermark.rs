//! Changes of a table by a column that only grows.
//!
//! Where the database allows it, each query reads row versions (SNAPSHOT), so that it neither waits for writers nor misses rows that
//! move while it reads. The rows are bounded by the newest value that was asked for before: a later row is for the next feed.

use async_trait::async_trait;
use datakit_connect::changes::columns::choose;
use datakit_connect::changes::roles::{KEPT_COLUMN, KNOWN_COLUMN, VERSION_COLUMN};
use datakit_connect::changes::watermark;
use datakit_connect::changes::{Chosen, Distances, Form, Range, Span, Texts, WatermarkColumn, WatermarkTable, texts};
use datakit_model::changes::{ChangeFeed, ChangeRequest};
use datakit_model::source::{Isolation, QueryOptions, Reader, Value};
use datakit_model::{Failure, NameRule, TableId};

use super::{catalog, quote_table, unexpected};
use crate::SqlServerConnection;
use crate::error::SourceError;
use crate::statement::quote;

/// Asks the catalog for the table's columns, then for the newest value.
pub(super) async fn open(
    session: SqlServerConnection,
    request: &ChangeRequest,
    names: NameRule,
    column: &str,
    distances: Distances,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let table = request.table.clone();
    let knows_masks = session.catalog(catalog::KNOWS_MASKS.to_owned(), &[]).await?;
    let knows_masks =
        knows_masks.first().and_then(|row| row.first()).is_some_and(|count| count.as_deref() != Some("0"));
    let of_table = [Value::Text(table.schema.clone()), Value::Text(table.name.clone())];
    let answer = session.catalog(catalog::question(knows_masks), &of_table).await?;
    let columns: Option<Vec<_>> = answer.into_iter().map(catalog::column).collect();
    let columns = columns.ok_or_else(unexpected)?;
    let (columns, allows_snapshot): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let Chosen { columns, watermark } = choose(&columns, request, column, names)?;
    let isolation = allows_snapshot.first().is_some_and(|allowed| *allowed).then_some(Isolation::Snapshot);
    let table = Table { session, table, columns, watermark: watermark.clone(), isolation };
    watermark::open(table, &watermark, request, distances).await
}

struct Table {
    session: SqlServerConnection,
    table: TableId,
    columns: Vec<String>,
    watermark: WatermarkColumn,
    isolation: Option<Isolation>,
}

impl Table {
    async fn ask(&self, text: String, values: &[Value]) -> Result<Box<dyn Reader>, Failure> {
        let options = QueryOptions { isolation: self.isolation, ..QueryOptions::default() };
        self.session.ask(text, values, options, false).await
    }
}

const CLOCK: &str = "SELECT CONVERT(nvarchar(41), SYSUTCDATETIME(), 126) AS clock";

#[async_trait]
impl WatermarkTable for Table {
    async fn clock(&self) -> Result<String, Failure> {
        let clock = first(texts(self.ask(CLOCK.to_owned(), &[]).await?).await?);
        Ok(clock.ok_or_else(|| SourceError::Internal("the server does not say what time it is".to_owned()))?)
    }

    async fn newest(&self, upto: Option<&str>) -> Result<Option<String>, Failure> {
        let mut bounds = Bounds::of(&self.watermark);
        let text = newest(&self.table, &mut bounds, upto);
        Ok(first(texts(self.ask(text, &bounds.values()?).await?).await?))
    }

    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
        let mut bounds = Bounds::of(&self.watermark);
        let text = rows(&self.table, &self.columns, &mut bounds, span);
        self.ask(text, &bounds.values()?).await
    }
}

/// The first value of an answer.
fn first(answer: Vec<Texts>) -> Option<String> {
    answer.into_iter().flatten().next().flatten()
}

/// By the order rather than MAX, which does not take a rowversion; an index of the column serves both.
fn newest(table: &TableId, bounds: &mut Bounds<'_>, upto: Option<&str>) -> String {
    let (name, text) = (bounds.name(), text_of(bounds.column));
    let upto = upto.map(|upto| format!(" AND {}", bounds.compared("<=", upto))).unwrap_or_default();
    format!(
        "SELECT TOP (1) {text} AS newest FROM {} AS t WHERE {name} IS NOT NULL{upto} ORDER BY {name} DESC",
        quote_table(table)
    )
}

fn rows(table: &TableId, columns: &[String], bounds: &mut Bounds<'_>, span: &Span) -> String {
    let mut list: Vec<String> = columns.iter().map(|column| format!("t.{}", quote(column))).collect();
    list.push(format!("ISNULL({}, N'') AS {}", text_of(bounds.column), quote(VERSION_COLUMN)));
    for (range, flag) in [(&span.known, KNOWN_COLUMN), (&span.kept, KEPT_COLUMN)] {
        let is_within = match range {
            Some(range) => format!("CASE WHEN {} THEN 1 ELSE 0 END", bounds.within(range)),
            None => "0".to_owned(),
        };
        list.push(format!("CAST({is_within} AS bit) AS {}", quote(flag)));
    }
    let condition = match &span.rows {
        Some(range) => bounds.within(range),
        None => format!("{} IS NULL", bounds.name()),
    };
    format!("SELECT {} FROM {} AS t WHERE {condition}", list.join(", "), quote_table(table))
}

/// Conditions on the watermark column, and the bounds that they name as parameters.
struct Bounds<'a> {
    column: &'a WatermarkColumn,
    sql_type: &'a str,
    /// Each once.
    texts: Vec<String>,
}

impl<'a> Bounds<'a> {
    fn of(column: &'a WatermarkColumn) -> Self {
        let sql_type = if column.measure.form == Form::Bytes { "binary(8)" } else { &column.type_name };
        Self { column, sql_type, texts: Vec::new() }
    }

    fn name(&self) -> String {
        format!("t.{}", quote(&self.column.name))
    }

    fn compared(&mut self, operator: &str, bound: &str) -> String {
        let place = self.texts.iter().position(|text| text == bound).unwrap_or_else(|| {
            self.texts.push(bound.to_owned());
            self.texts.len() - 1
        });
        format!("{} {operator} CAST(@P{} AS {})", self.name(), place + 1, self.sql_type)
    }

    fn within(&mut self, range: &Range) -> String {
        let mut parts = Vec::new();
        match &range.from {
            Some(from) => {
                let from = self.compared(if from.is_excluded { ">" } else { ">=" }, &from.value);
                parts.push(format!("{from} AND {}", self.compared("<=", &range.upto)));
            }
            None => parts.extend([self.compared("<=", &range.upto), format!("{} IS NULL", self.name())]),
        }
        if let Some(later) = &range.later {
            parts.push(format!("{} AND {}", self.compared(">", &later.after), self.compared("<=", &later.upto)));
        }
        parts.join(" OR ")
    }

    /// The parameters.
    fn values(&self) -> Result<Vec<Value>, SourceError> {
        self.texts.iter().map(|bound| value(self.column, bound)).collect()
    }
}

/// The column's values as text, with all their digits, moments in UTC.
fn text_of(column: &WatermarkColumn) -> String {
    let name = format!("t.{}", quote(&column.name));
    let (value, style) = match column.measure.form {
        Form::Integer => (name, ""),
        // Without it money has two digits.
        Form::Decimal { .. } if column.type_name.ends_with("money") => (name, ", 2"),
        Form::Decimal { .. } => (name, ""),
        Form::Moment { of_utc: true, .. } => (format!("SWITCHOFFSET({name}, '+00:00')"), ", 126"),
        Form::Date | Form::Moment { .. } => (name, ", 126"),
        Form::Bytes => (format!("CONVERT(binary(8), {name})"), ", 1"),
    };
    format!("CONVERT(nvarchar(41), {value}{style})")
}

/// A bound as a parameter that no digit is lost in; the text casts it to the column's own type.
fn value(column: &WatermarkColumn, bound: &str) -> Result<Value, SourceError> {
    let text = bound.to_owned();
    let refused =
        || SourceError::Parameter { number: 1, reason: format!("`{bound}` is not of type {}", column.type_name) };
    Ok(match column.measure.form {
        Form::Integer => Value::Int64(bound.parse().map_err(|_| refused())?),
        Form::Decimal { .. } => Value::Decimal(text),
        Form::Date => Value::Date(text),
        Form::Moment { of_utc: true, .. } => Value::TimestampTz(text),
        Form::Moment { .. } if column.type_name.starts_with("datetime2") => Value::Timestamp(text),
        Form::Moment { .. } => Value::LegacyDatetime(text),
        Form::Bytes => {
            let number = column.measure.parse(bound).and_then(|number| u64::try_from(number).ok());
            Value::Bytes(number.ok_or_else(refused)?.to_be_bytes().to_vec())
        }
    })
}
