//! From columns and a filter to steps.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::{ColumnOrigin, Derivation, GuestLimits, HashKeys};

use super::bounds::{self, AllTokens};
use super::{ColumnExpression, FILTER, Inner, Projection, Step};
use crate::constant::{Constant, Value};
use crate::error::{ColumnarError, shorten};
use crate::expression::syntax::{self, Parsed};
use crate::expression::{Expression, PATTERN_BYTES};
use crate::row_hash::{KeyedHash, RowHash};
use crate::type_text;

/// Regular expressions of one projection: each may keep much for the length of its text.
const MAX_PATTERNS: u64 = 64;

/// Parses and compiles. To be called with the stack that the largest expression may take.
pub(super) fn compile(
    input: &SchemaRef,
    columns: &[(String, ColumnExpression)],
    tokens: AllTokens,
    keys: &HashKeys,
    limits: &GuestLimits,
) -> Result<Projection, ColumnarError> {
    let kept_bytes = bounds::kept_bytes(input, columns, tokens.total);
    let filter = tokens.filter.map(|tokens| syntax::parse(tokens, FILTER, limits)).transpose()?;
    let parsed = columns
        .iter()
        .zip(tokens.columns)
        .map(|((name, _), tokens)| tokens.map(|tokens| syntax::parse(tokens, name, limits)).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let used = used_columns(input, columns, &parsed, filter.as_ref());
    let working = input.project(&used).map_err(|error| ColumnarError::Unexpected {
        what: "choosing the columns of a projection",
        message: shorten(&error.to_string()),
    })?;
    let compiler = Compiler { working: &working, keys, limits, patterns: Cell::new(0) };
    let filter = filter.map(|parsed| compiler.filter(&parsed)).transpose()?;
    let compiled = columns.iter().zip(&parsed);
    let compiled = compiled.map(|((name, expression), parsed)| compiler.column(name, expression, parsed.as_ref()));
    let (values, fields): (Vec<_>, Vec<_>) = compiled.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let output = Arc::new(Schema::new(fields));
    let steps = columns.iter().zip(values).map(|((name, expression), step)| match (expression, step) {
        (ColumnExpression::RowHash(names), _) => compile_row_hash(name, names, columns, &output).map(Step::RowHash),
        (_, Some(step)) => Ok(step),
        (_, None) => Err(ColumnarError::Unexpected { what: "compiling a column", message: shorten(name) }),
    });
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let patterns = compiler.patterns.get();
    let kept_bytes = kept_bytes.saturating_add(patterns.saturating_mul(PATTERN_BYTES));
    let (origins, max_bytes) = (origins(columns, &parsed), limits.max_live_batch_bytes);
    Ok(Projection(Arc::new(Inner {
        input: Arc::clone(input),
        used,
        filter,
        steps,
        output,
        origins,
        max_bytes,
        kept_bytes,
        patterns,
    })))
}

/// Which input columns each column is made of. A row hash covers columns of the output, and so what they are made of.
fn origins(columns: &[(String, ColumnExpression)], parsed: &[Option<Parsed>]) -> Vec<ColumnOrigin> {
    let inputs_of = |expression: &ColumnExpression, parsed: Option<&Parsed>| match expression {
        ColumnExpression::Input(name) => vec![name.clone()],
        ColumnExpression::KeyedHash { columns, .. } => columns.clone(),
        _ => parsed.map(|parsed| parsed.names().map(str::to_owned).collect()).unwrap_or_default(),
    };
    let direct = columns.iter().zip(parsed).map(|((name, expression), parsed)| {
        let derivation = match expression {
            ColumnExpression::Input(_) => Derivation::Identity,
            ColumnExpression::KeyedHash { .. } | ColumnExpression::RowHash(_) => Derivation::Hash,
            _ => Derivation::Expression,
        };
        ColumnOrigin { column: name.clone(), inputs: inputs_of(expression, parsed.as_ref()), derivation }
    });
    let mut origins: Vec<ColumnOrigin> = direct.collect();
    for (at, (_, expression)) in columns.iter().enumerate() {
        let ColumnExpression::RowHash(covered) = expression else { continue };
        let covered = origins.iter().filter(|origin| covered.contains(&origin.column));
        origins[at].inputs = covered.flat_map(|origin| origin.inputs.iter().cloned()).collect();
    }
    for origin in &mut origins {
        let mut seen = HashSet::new();
        origin.inputs.retain(|input| seen.insert(input.clone()));
    }
    origins
}

/// Positions of the input columns that anything reads, in order.
fn used_columns(
    input: &Schema,
    columns: &[(String, ColumnExpression)],
    parsed: &[Option<Parsed>],
    filter: Option<&Parsed>,
) -> Vec<usize> {
    let mut names: HashSet<&str> = HashSet::new();
    for (_, expression) in columns {
        match expression {
            ColumnExpression::Input(name) => names.extend([name.as_str()]),
            ColumnExpression::KeyedHash { columns, .. } => names.extend(columns.iter().map(String::as_str)),
            _ => {}
        }
    }
    for parsed in parsed.iter().flatten().chain(filter) {
        names.extend(parsed.names());
    }
    let fields = input.fields().iter().enumerate();
    fields.filter(|(_, field)| names.contains(field.name().as_str())).map(|(index, _)| index).collect()
}

/// A row hash covers what the projection gives away, and so no hash of itself.
fn compile_row_hash(
    name: &str,
    names: &[String],
    columns: &[(String, ColumnExpression)],
    output: &Schema,
) -> Result<RowHash, ColumnarError> {
    let is_row_hash =
        |(_, expression): &&(String, ColumnExpression)| matches!(expression, ColumnExpression::RowHash(_));
    let row_hashes: HashSet<&String> = columns.iter().filter(is_row_hash).map(|(name, _)| name).collect();
    match names.iter().find(|name| row_hashes.contains(name)) {
        Some(input) => Err(ColumnarError::HashOfHash { column: shorten(name), input: shorten(input) }),
        None => RowHash::compile(output, name, names),
    }
}

struct Compiler<'a> {
    /// The input columns that anything reads.
    working: &'a Schema,
    keys: &'a HashKeys,
    limits: &'a GuestLimits,
    /// The regular expressions so far.
    patterns: Cell<u64>,
}

impl Compiler<'_> {
    fn filter(&self, parsed: &Parsed) -> Result<Expression, ColumnarError> {
        let filter = self.expression(parsed, FILTER)?;
        match filter.data_type() {
            DataType::Boolean => Ok(filter),
            other => Err(ColumnarError::TypeMismatch {
                column: FILTER.to_owned(),
                message: format!("a filter is Boolean, not {}", type_text::print(other)),
            }),
        }
    }

    fn expression(&self, parsed: &Parsed, column: &str) -> Result<Expression, ColumnarError> {
        let expression = Expression::compile(parsed, column, self.working, self.limits)?;
        self.patterns.set(self.patterns.get() + expression.patterns());
        if self.patterns.get() > MAX_PATTERNS {
            let what =
                format!("more than {MAX_PATTERNS} regular expressions, with the other columns of the projection");
            return Err(ColumnarError::NotInLanguage { column: shorten(column), what });
        }
        Ok(expression)
    }

    /// The step and the field of an output column. A row hash has no step yet: it needs the fields of all others.
    fn column(
        &self,
        name: &str,
        expression: &ColumnExpression,
        parsed: Option<&Parsed>,
    ) -> Result<(Option<Step>, Field), ColumnarError> {
        let hash_field = || Field::new(name, DataType::Utf8, true);
        let constant = |value: Value| {
            let field = value.field(name);
            (Step::Constant(Constant::new(value)), field)
        };
        let (step, field) = match expression {
            ColumnExpression::Input(input) => match self.working.column_with_name(input) {
                Some((index, field)) => (Step::Input(index), field.clone().with_name(name)),
                None => {
                    let (column, input) = (shorten(name), shorten(input));
                    return Err(ColumnarError::UnknownColumn { column, input, side: "input" });
                }
            },
            ColumnExpression::Sql(_) => {
                let Some(parsed) = parsed else {
                    return Err(ColumnarError::Unexpected {
                        what: "compiling an expression",
                        message: name.to_owned(),
                    });
                };
                let expression = self.expression(parsed, name)?;
                let field = Field::new(name, expression.data_type().clone(), true);
                (Step::Expression(expression), field)
            }
            ColumnExpression::Text(text) => constant(Value::Text(text.clone())),
            ColumnExpression::TimestampMicros(micros) => constant(Value::TimestampMicros(*micros)),
            ColumnExpression::Uuid(text) => constant(Value::uuid(name, text)?),
            ColumnExpression::LoadId(id) => constant(Value::LoadId(*id)),
            ColumnExpression::RowHash(_) => return Ok((None, hash_field())),
            ColumnExpression::KeyedHash { columns, key } => {
                (Step::KeyedHash(self.keyed_hash(name, columns, key)?), hash_field())
            }
        };
        Ok((Some(step), field))
    }

    fn keyed_hash(&self, name: &str, columns: &[String], key: &str) -> Result<KeyedHash, ColumnarError> {
        let Some(found) = self.keys.get(key) else {
            let granted = self.keys.names().map(shorten).collect();
            return Err(ColumnarError::UnknownKey { column: shorten(name), key: shorten(key), granted });
        };
        KeyedHash::compile(self.working, name, columns, found)
    }
}
