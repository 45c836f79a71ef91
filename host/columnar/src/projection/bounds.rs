//! What a projection may have, and what it costs, by the sizes of what it is given.

use std::collections::HashSet;

use arrow::datatypes::{Field, Schema};
use datakit_model::GuestLimits;

use super::{ColumnExpression, FILTER, LIVE_BYTES};
use crate::error::{ColumnarError, shorten};
use crate::expression::syntax::{self, Tokens};
use crate::wire::{self, TextBudget};

/// All expressions of one projection may have together this many times the tokens of one.
const EXPRESSIONS_PER_PROJECTION: u64 = 16;
/// What a projection takes, roughly: a field in two schemas, and a token's part of a syntax tree and a physical expression.
const FIELD_BYTES: u64 = 512;
const TOKEN_BYTES: u64 = 512;
/// What compiling costs, in units of work.
const FIELD_UNITS: u64 = 1_000;
const TOKEN_UNITS: u64 = 10_000;

/// About what [`Projection::compile_counted`](super::Projection::compile_counted) counts, by the sizes of what it is given.
#[must_use]
pub fn compile_units(fields: usize, columns: &[(String, ColumnExpression)], filter: Option<&str>) -> u64 {
    let text = columns.iter().map(|(_, expression)| match expression {
        ColumnExpression::Sql(text) => text.len(),
        _ => 0,
    });
    // A token of code has two bytes or more, as a rule.
    let tokens = (text.sum::<usize>() + filter.map_or(0, str::len)).div_ceil(2);
    units_of(fields + columns.len(), tokens)
}

pub(super) fn units_of(fields: usize, tokens: usize) -> u64 {
    (fields as u64).saturating_mul(FIELD_UNITS).saturating_add((tokens as u64).saturating_mul(TOKEN_UNITS))
}

pub(super) fn kept_bytes(input: &Schema, columns: &[(String, ColumnExpression)], tokens: usize) -> u64 {
    let metadata = |field: &Field| field.metadata().iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let fields: usize = input.fields().iter().map(|field| field.name().len() + metadata(field)).sum();
    let text: usize = columns.iter().map(|(name, expression)| name.len() + literal_bytes(expression)).sum();
    let counts = (input.fields().len() + columns.len()) as u64 * FIELD_BYTES + tokens as u64 * TOKEN_BYTES;
    counts.saturating_add((2 * fields + text) as u64)
}

fn literal_bytes(expression: &ColumnExpression) -> usize {
    match expression {
        ColumnExpression::Text(text) => text.len(),
        ColumnExpression::RowHash(names) => names.iter().map(String::len).sum(),
        ColumnExpression::KeyedHash { columns, key } => columns.iter().map(String::len).sum::<usize>() + key.len(),
        _ => 0,
    }
}

/// What can be refused before any expression is looked at.
pub(super) fn check_columns(
    input: &Schema,
    columns: &[(String, ColumnExpression)],
    limits: &GuestLimits,
) -> Result<(), ColumnarError> {
    let check = |what: &'static str, count: usize| {
        ColumnarError::check(|| what.to_owned(), "limits.guest.max_columns", limits.max_columns, count)
    };
    check("input columns of a projection", input.fields().len())?;
    check("output columns of a projection", columns.len())?;
    let hashed = columns.iter().map(|(_, expression)| match expression {
        ColumnExpression::RowHash(names) | ColumnExpression::KeyedHash { columns: names, .. } => names.len(),
        _ => 0,
    });
    check("columns of all hashes of a projection", hashed.sum())?;
    let literals = columns.iter().map(|(_, expression)| literal_bytes(expression)).fold(0, usize::saturating_add);
    ColumnarError::check(
        || "bytes of the literals of a projection".to_owned(),
        LIVE_BYTES,
        limits.max_live_batch_bytes,
        literals,
    )?;
    let mut names = TextBudget::default();
    columns.iter().try_for_each(|(name, _)| names.add(name.len(), limits))?;
    wire::refuse_duplicates(input, "input")?;
    let mut seen = HashSet::with_capacity(columns.len());
    let twice = columns.iter().find(|(name, _)| !seen.insert(name));
    twice.map_or(Ok(()), |(name, _)| Err(ColumnarError::DuplicateColumn { side: "output", column: shorten(name) }))
}

/// Expressions cut into tokens, by column.
pub(super) struct AllTokens {
    pub(super) columns: Vec<Option<Tokens>>,
    pub(super) filter: Option<Tokens>,
    pub(super) total: usize,
}

/// Cuts all expressions into tokens; returns them and the largest count.
pub(super) fn tokenize(
    columns: &[(String, ColumnExpression)],
    filter: Option<&str>,
    limits: &GuestLimits,
) -> Result<(AllTokens, usize), ColumnarError> {
    let mut largest = 0;
    let mut total = 0_usize;
    let mut cut = |text: &str, column: &str| {
        let tokens = syntax::tokenize(text, column, limits)?;
        largest = largest.max(tokens.count());
        total = total.saturating_add(tokens.count());
        let what =
            || format!("tokens of all expressions of a projection (at most {EXPRESSIONS_PER_PROJECTION} × tokens)");
        let value = limits.max_tokens.saturating_mul(EXPRESSIONS_PER_PROJECTION);
        ColumnarError::check(what, "limits.guest.max_tokens", value, total)?;
        Ok(tokens)
    };
    let filter = filter.map(|text| cut(text, FILTER)).transpose()?;
    let columns = columns.iter().map(|(name, expression)| match expression {
        ColumnExpression::Sql(text) => cut(text, name).map(Some),
        _ => Ok(None),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    // An expression without a token is parsed, too, to be refused by the parser.
    let any = filter.is_some() || columns.iter().any(Option::is_some);
    Ok((AllTokens { columns, filter, total }, if any { largest.max(1) } else { 0 }))
}
