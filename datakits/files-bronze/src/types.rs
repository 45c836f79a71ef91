//! Types by the names that people use, and by those of the host.

use datakit_sdk::Error;

use crate::errors;

/// Names without parameters, and the Arrow type of each.
const SIMPLE: [(&str, &str); 11] = [
    ("boolean", "Boolean"),
    ("smallint", "Int16"),
    ("integer", "Int32"),
    ("bigint", "Int64"),
    ("real", "Float32"),
    ("double", "Float64"),
    ("date", "Date32"),
    ("time", "Time64(ns)"),
    ("timestamp", "Timestamp(us)"),
    ("timestamptz", "Timestamp(us, UTC)"),
    ("text", "Utf8"),
];

/// The Arrow type of a type's name: `bigint`, `decimal(18,2)`.
///
/// # Errors
/// A name that is none, with those there are.
pub fn arrow_type(name: &str) -> Result<String, Error> {
    let folded = name.trim().to_lowercase();
    if let Some((_, arrow)) = SIMPLE.iter().find(|(known, _)| *known == folded) {
        return Ok((*arrow).to_owned());
    }
    decimal(&folded).ok_or_else(|| {
        let known: Vec<&str> = SIMPLE.iter().map(|(known, _)| *known).collect();
        Error::config(errors::SETTING, format!("there is no type `{name}`"))
            .with_hint(format_args!("one of: {}, decimal(PRECISION,SCALE) of at most 38 digits", known.join(", ")))
            .with_context("type", name)
    })
}

fn decimal(name: &str) -> Option<String> {
    let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    ((1..=38).contains(&precision) && scale <= precision).then(|| format!("Decimal128({precision}, {scale})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_sql() {
        assert_eq!(arrow_type("BIGINT").unwrap(), "Int64");
        assert_eq!(arrow_type("decimal(18, 2)").unwrap(), "Decimal128(18, 2)");
        assert_eq!(arrow_type("timestamptz").unwrap(), "Timestamp(us, UTC)");
        for wrong in ["int64", "decimal", "decimal(39,0)", "decimal(2,3)", "", "varchar(10)"] {
            assert_eq!(arrow_type(wrong).unwrap_err().code, errors::SETTING, "{wrong}");
        }
    }
}
