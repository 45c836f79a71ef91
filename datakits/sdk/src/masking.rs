//! Masks: output columns that give away less than the source column they are made of.
//!
//! Each is a column of a projection with the name of its source column. A row hash over it is of the masked values. A mask
//! hides values from those who read the table, and makes none that cannot be guessed.

use crate::projections::{Column, Expression};

/// What stands in the place of what is hidden.
const HIDDEN: &str = "'***'";

/// An e-mail address, a text column: its first character and its domain, `j***@example.com`. A local part of one character is
/// hidden; so is a value without an `@` as a whole. Null stays null.
#[must_use]
pub fn email(column: &str) -> Column {
    let text = quoted(column);
    let domain = format!("split_part({text}, '@', -1)");
    masked(
        column,
        format!(
            "CASE WHEN strpos({text}, '@') > 2 THEN concat(left({text}, 1), '***@', {domain}) \
             WHEN strpos({text}, '@') > 0 THEN concat('***@', {domain}) \
             WHEN {text} IS NOT NULL THEN {HIDDEN} END"
        ),
    )
}

/// The last `count` characters behind `***`, of a column of text, numbers, dates or booleans. A value of at most `count`
/// characters is hidden as a whole. Null stays null.
#[must_use]
pub fn keep_last(column: &str, count: u32) -> Column {
    let text = format!("CAST({} AS VARCHAR)", quoted(column));
    masked(
        column,
        format!(
            "CASE WHEN length({text}) > {count} THEN concat({HIDDEN}, right({text}, {count})) \
             WHEN {text} IS NOT NULL THEN {HIDDEN} END"
        ),
    )
}

/// Null in every row, of the type of the source column.
#[must_use]
pub fn null(column: &str) -> Column {
    masked(column, format!("CASE WHEN FALSE THEN {} END", quoted(column)))
}

/// HMAC-SHA-256 of the values, with a key that the operator granted by this name: one value has one pseudonym, and whoever has
/// not the key cannot tell which. Text, whatever the type of the source column. Null stays null.
#[must_use]
pub fn pseudonym(column: &str, key: &str) -> Column {
    let value = Expression::KeyedHash { columns: vec![column.to_owned()], key: key.to_owned() };
    Column { name: column.to_owned(), value }
}

fn masked(column: &str, sql: String) -> Column {
    Column { name: column.to_owned(), value: Expression::Sql(sql) }
}

/// A column's name in the expression language.
fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::util::display::array_value_to_string;
    use datakit_columnar::{ColumnExpression, Projection};
    use datakit_model::{GuestLimits, HashKeys};

    use super::*;

    #[test]
    fn pseudonym_is_a_hash_by_the_key_of_that_name() {
        let value = Expression::KeyedHash { columns: vec![NAME.into()], key: "people".into() };
        assert_eq!(pseudonym(NAME, "people"), Column { name: NAME.into(), value });
    }

    const NAME: &str = "odd \"name\", 1";

    /// What the host makes of a mask of a column: values, null as `NULL`; the type stays that of `masked`.
    fn applied(values: ArrayRef, masked: Column) -> (ArrayRef, Vec<String>) {
        let batch = RecordBatch::try_from_iter_with_nullable([(NAME, values, true)]).unwrap();
        let Expression::Sql(sql) = masked.value else { panic!("a mask is an expression") };
        let columns = [(masked.name, ColumnExpression::Sql(sql))];
        let (keys, limits) = (HashKeys::default(), GuestLimits::default());
        let projection = Projection::compile(&batch.schema(), &columns, None, &keys, &limits).unwrap();
        let output = projection.apply(&batch).unwrap();
        assert_eq!(output.schema().field(0).name(), NAME);
        let column = Arc::clone(output.column(0));
        let show = |row: usize| match column.is_null(row) {
            true => "NULL".to_owned(),
            false => array_value_to_string(&column, row).unwrap(),
        };
        let shown = (0..column.len()).map(show).collect();
        (column, shown)
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn an_email_keeps_its_first_character_and_its_domain() {
        let values = [
            Some("jana@example.com"),
            Some("ž.k@example.cz"),
            Some("j@example.com"),
            Some("@example.com"),
            Some("\"a@b\"@example.com"),
            Some("no address"),
            Some(""),
            None,
        ];
        let (_, shown) = applied(texts(&values), email(NAME));
        assert_eq!(
            shown,
            [
                "j***@example.com",
                "ž***@example.cz",
                "***@example.com",
                "***@example.com",
                "\"***@example.com",
                "***",
                "***",
                "NULL"
            ]
        );
    }

    #[test]
    fn the_last_characters_are_kept_of_longer_values_alone() {
        let (_, shown) = applied(texts(&[Some("4111222233334444"), Some("ůůůů"), Some(""), None]), keep_last(NAME, 4));
        assert_eq!(shown, ["***4444", "***", "***", "NULL"]);
        let (_, shown) = applied(texts(&[Some("aůůůů"), Some("ab")]), keep_last(NAME, 0));
        assert_eq!(shown, ["***", "***"]);
        let (_, shown) = applied(Arc::new(Int64Array::from(vec![Some(123_456), None])), keep_last(NAME, 2));
        assert_eq!(shown, ["***56", "NULL"]);
    }

    #[test]
    fn null_has_the_type_of_its_column() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        for values in [lists, numbers, texts(&[Some("a"), Some("b")])] {
            let (column, shown) = applied(Arc::clone(&values), null(NAME));
            assert_eq!(shown, ["NULL", "NULL"]);
            assert_eq!(column.data_type(), values.data_type());
        }
    }
}
