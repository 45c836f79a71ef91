//! Changes of a table by a column that only grows.
//!
//! Where the database allows it, each query reads row versions (SNAPSHOT), so that it neither waits for writers nor misses rows that
//! move while it reads. The rows are bounded by the newest value that was asked for before: a later row is for the next feed.

use async_trait::async_trait;
use datakit_connect::changes::columns::choose;
use datakit_connect::changes::roles::VERSION_COLUMN;
use datakit_connect::changes::watermark;
use datakit_connect::changes::{Chosen, Form, Span, WatermarkColumn, WatermarkTable, texts};
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
    lag: u64,
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
    watermark::open(table, &watermark, request, lag).await
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

#[async_trait]
impl WatermarkTable for Table {
    async fn newest(&self) -> Result<Option<String>, Failure> {
        let answer = texts(self.ask(newest(&self.table, &self.watermark), &[]).await?).await?;
        Ok(answer.into_iter().flatten().next().flatten())
    }

    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
        let bounds = span.after.iter().chain(&span.upto);
        let values: Result<Vec<Value>, SourceError> = bounds.map(|bound| value(&self.watermark, bound)).collect();
        self.ask(rows(&self.table, &self.columns, &self.watermark, span), &values?).await
    }
}

/// By the order rather than MAX, which does not take a rowversion; an index of the column serves both.
fn newest(table: &TableId, column: &WatermarkColumn) -> String {
    let (name, text) = (quote(&column.name), text_of(column));
    format!(
        "SELECT TOP (1) {text} AS newest FROM {} AS t WHERE t.{name} IS NOT NULL ORDER BY t.{name} DESC",
        quote_table(table)
    )
}

fn rows(table: &TableId, columns: &[String], column: &WatermarkColumn, span: &Span) -> String {
    let name = quote(&column.name);
    let mut list: Vec<String> = columns.iter().map(|column| format!("t.{}", quote(column))).collect();
    list.push(format!("ISNULL({}, N'') AS {}", text_of(column), quote(VERSION_COLUMN)));
    let sql_type = if column.measure.form == Form::Bytes { "binary(8)" } else { &column.type_name };
    let bound = |operator: &str, number: u8| format!("t.{name} {operator} CAST(@P{number} AS {sql_type})");
    let condition = match (&span.after, &span.upto) {
        (Some(_), _) => format!("{} AND {}", bound(">", 1), bound("<=", 2)),
        (None, Some(_)) => format!("{} OR t.{name} IS NULL", bound("<=", 1)),
        (None, None) => format!("t.{name} IS NULL"),
    };
    format!("SELECT {} FROM {} AS t WHERE {condition}", list.join(", "), quote_table(table))
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
