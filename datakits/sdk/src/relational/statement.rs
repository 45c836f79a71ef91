//! Parts of queries that SQL dialects share.

use crate::bindings::datakit::kit::sql::Value;
use crate::bindings::datakit::kit::types::Error;
use crate::ranges::KeyRange;

/// Rows of a table: these items of it, under a condition if there is one.
#[must_use]
pub fn select(items: impl Iterator<Item = String>, from: &str, condition: Option<&str>) -> String {
    let items: Vec<String> = items.collect();
    let condition = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    format!("SELECT {} FROM {from}{condition}", items.join(", "))
}

/// The end of a condition: the value of `name` is one of these, as parameters from the first on; empty for all.
#[must_use]
pub fn and_among(name: &str, prefix: &str, values: Option<&[String]>) -> (String, Vec<Value>) {
    let Some(values) = values else { return (String::new(), Vec::new()) };
    let parameters: Vec<String> = (1..=values.len()).map(|number| format!("{prefix}{number}")).collect();
    let values = values.iter().cloned().map(Value::Text).collect();
    (format!(" AND {name} IN ({})", parameters.join(", ")), values)
}

/// The condition of a range; none for the range of everything. `key` is quoted; parameters are named by `prefix` and their
/// number, from 1.
///
/// # Errors
/// A bound that does not fit the key's type.
pub fn key_condition(
    range: &KeyRange,
    key: &str,
    prefix: &str,
    parameters: &mut Vec<Value>,
) -> Result<Option<String>, Error> {
    let mut parameter = |bound: &str| -> Result<String, Error> {
        parameters.push(range.key_type.parameter(bound)?);
        Ok(format!("{prefix}{}", parameters.len()))
    };
    Ok(match (&range.lower, &range.upper) {
        (None, None) => None,
        (None, Some(upper)) => Some(format!("{key} < {} OR {key} IS NULL", parameter(upper)?)),
        (Some(lower), None) => Some(format!("{key} >= {}", parameter(lower)?)),
        (Some(lower), Some(upper)) => Some(format!("{key} >= {} AND {key} < {}", parameter(lower)?, parameter(upper)?)),
    })
}
