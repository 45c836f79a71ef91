//! Value and type of every item of the language, and every refusal, as golden files. An upgrade of DataFusion that
//! changes one of them changes a contract.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::util::display::array_value_to_string;
use datakit_model::{Diagnostic, GuestLimits, HashKeys};

use crate::tests::{batch, sample};
use crate::type_text;
use crate::{ColumnExpression, ColumnarError, Projection};

/// Evaluates over the sample; one value a row.
pub(super) fn evaluate(sql: &str, limits: &GuestLimits) -> Result<ArrayRef, ColumnarError> {
    let sample = sample();
    let columns = [("out".to_owned(), ColumnExpression::Sql(sql.to_owned()))];
    let projection = Projection::compile(&sample.schema(), &columns, None, &HashKeys::default(), limits)?;
    let output = projection.apply(&sample)?;
    assert_eq!(projection.output(), output.schema());
    assert!(output.schema().field(0).is_nullable());
    Ok(Arc::clone(output.column(0)))
}

fn show(sql: &str) -> String {
    match evaluate(sql, &GuestLimits::default()) {
        Ok(array) => {
            let value = |row: usize| match array.is_null(row) {
                true => "NULL".to_owned(),
                false => format!("{:?}", array_value_to_string(&array, row).unwrap()),
            };
            let values: Vec<_> = (0..array.len()).map(value).collect();
            format!("{sql}\n    {}: {}", type_text::print(array.data_type()), values.join(" | "))
        }
        Err(error) => format!("{sql}\n    {} {error}", error.code()),
    }
}

pub(super) fn show_all(expressions: &[&str]) -> String {
    expressions.iter().fold(String::new(), |mut text, sql| {
        let _ = writeln!(text, "{}", show(sql).replace('\0', "\\0"));
        text
    })
}

/// One golden file of many expressions.
macro_rules! golden {
    ($name:ident, $($sql:expr),+ $(,)?) => {
        #[test]
        fn $name() {
            let shown = show_all(&[$($sql),+]);
            insta::assert_snapshot!(shown);
        }
    };
}

pub(super) use golden;

golden!(
    columns,
    "quantity",
    "\"quantity\"",
    "\"Odd \"\"name\"\" ]\"",
    "Quantity",
    "QUANTITY",
    "\"no such\"",
    "numbers",
    "id",
    "sample.quantity",
);

golden!(
    literals,
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "007",
    "1.50",
    "-0.005",
    ".5",
    "5.",
    "99999999999999999999999999999999999999",
    "999999999999999999999999999999999999999",
    "1e3",
    "-2.5E-1",
    "1e999",
    "'text'",
    "'it''s'",
    "''",
    "'back\\slash'",
    "TRUE",
    "false",
    "X'00ff'",
    "X'0'",
    "NULL",
    "DATE '2024-02-29'",
    "DATE '2023-02-29'",
    "TIMESTAMP '2024-02-29 12:34:56.123456'",
    "TIME '01:02:03.123456789'",
    "TIMESTAMP '0001-01-01 00:00:00'",
    "INT '7'",
    "UUID 'x'",
    "DATE '9999-12-31'",
    "N'x'",
    "E'x'",
    "$$x$$",
    "1_000",
    "0x10",
);

golden!(
    casts,
    "CAST(quantity AS BIGINT)",
    "CAST(big AS INT)",
    "TRY_CAST(big AS INT)",
    "CAST(quantity AS VARCHAR)",
    "CAST(quantity AS TEXT)",
    "CAST(digits AS INTEGER)",
    "TRY_CAST(digits AS INTEGER)",
    "TRY_CAST(digits AS SMALLINT)",
    "CAST(price AS DECIMAL(10, 2))",
    "CAST(price AS NUMERIC(38, 10))",
    "CAST(price AS DECIMAL(5, 4))",
    "TRY_CAST(price AS DECIMAL(5, 4))",
    "CAST(price AS VARCHAR)",
    "CAST(price AS INT)",
    "CAST(price AS DOUBLE PRECISION)",
    "CAST(price AS REAL)",
    "CAST(ratio AS VARCHAR)",
    "CAST(ratio AS BIGINT)",
    "TRY_CAST(ratio AS BIGINT)",
    "CAST(real AS DOUBLE)",
    "CAST(ratio AS DECIMAL(10, 3))",
    "TRY_CAST(ratio AS DECIMAL(10, 3))",
    "CAST(flag AS VARCHAR)",
    "CAST(flag AS INT)",
    "CAST(quantity AS BOOLEAN)",
    "CAST('true' AS BOOLEAN)",
    "CAST('1' AS BOOLEAN)",
    "CAST('maybe' AS BOOLEAN)",
    "CAST(day AS VARCHAR)",
    "CAST(day AS TIMESTAMP)",
    "CAST(at AS DATE)",
    "CAST(at AS VARCHAR)",
    "CAST(at_utc AS VARCHAR)",
    "CAST(at AS TIMESTAMP WITH TIME ZONE)",
    "CAST(at_utc AS TIMESTAMP)",
    "CAST(at AS TIME)",
    "CAST(clock AS VARCHAR)",
    "CAST('2024-01-31' AS DATE)",
    "CAST('31.01.2024' AS DATE)",
    "TRY_CAST('31.01.2024' AS DATE)",
    "CAST('2024-01-31 10:00:00' AS TIMESTAMP(6))",
    "CAST('2024-01-31T10:00:00+02:00' AS TIMESTAMP WITH TIME ZONE)",
    "CAST('12:30:00' AS TIME)",
    "CAST(id AS VARBINARY)",
    "CAST(NULL AS VARCHAR)",
    "CAST(NULL AS DECIMAL(5, 2))",
    "TRY_CAST(NULL AS DATE)",
    "CAST(' 42 ' AS INT)",
    "CAST('4.2' AS INT)",
    "CAST('4.25' AS DECIMAL(4, 1))",
    "CAST('1e3' AS DECIMAL(6, 1))",
    "CAST('-0' AS DECIMAL(6, 1))",
    "CAST(1.5 AS INT)",
    "CAST(-1.5 AS INT)",
    "CAST(0.25 AS DECIMAL(3, 1))",
    "CAST(-0.25 AS DECIMAL(3, 1))",
    "CAST(-0.24 AS DECIMAL(3, 1))",
    "CAST(2.5e-1 AS DECIMAL(3, 1))",
    "CAST('2024-01-31 10:00:00.1234567' AS TIMESTAMP)",
    "CAST('2024-01-31 10:00:00 Europe/Berlin' AS TIMESTAMP)",
);

golden!(
    arithmetic,
    "quantity + 1",
    "quantity - small",
    "quantity * 2",
    "quantity / 2",
    "quantity % 2",
    "-quantity",
    "+quantity",
    "-big",
    "7 / 2",
    "-7 / 2",
    "-7 % 2",
    "quantity + 3000000000",
    "small + 1",
    "small + 100000",
    "big * big",
    "quantity / 0",
    "1 / quantity",
    "1 % quantity",
    "price + 1",
    "price + rate",
    "price - rate",
    "price * rate",
    "price / rate",
    "price % rate",
    "price / 0",
    "price * 1.10",
    "-price",
    "ratio / 0",
    "ratio + 1",
    "real * 2",
    "real + ratio",
    "price * 2e0",
    "quantity * 1.5",
    "1 + 2 * 3",
    "(1 + 2) * 3",
    "0.1 + 0.2",
    "NULL + 1",
    "quantity + NULL",
    "9223372036854775807 + 1",
    "-(-9223372036854775808)",
    "CAST(2147483647 AS INT) + 1",
    "CAST(99999999999999999999999999999999999999 AS DECIMAL(38, 0)) * 10",
    "CAST(1 AS DECIMAL(38, 38))",
    "CAST(0.1 AS DECIMAL(38, 38)) * CAST(0.1 AS DECIMAL(38, 38))",
    "name + 1",
    "name + name",
    "day + 1",
    "day - day",
    "at - at",
    "flag + 1",
    "'1' + 1",
    "name || 'x'",
    "quantity & 1",
    "quantity ^ 2",
    "~quantity",
    "quantity << 1",
    "-name",
);

golden!(
    comparison,
    "quantity = 3",
    "quantity <> 3",
    "quantity != 3",
    "quantity < 3",
    "quantity <= 3",
    "quantity > 0",
    "quantity >= 3",
    "quantity = 3.0",
    "quantity < 2.5",
    "quantity = 3e0",
    "price = 1",
    "price > rate",
    "big > quantity",
    "big > 99999999999999999999",
    "name = 'straße_100%'",
    "name < 'a'",
    "name = name",
    "digits > '100'",
    "flag = TRUE",
    "day = '2024-01-01'",
    "day < DATE '2024-01-01'",
    "at > '2023-12-31 00:00:00'",
    "at >= day",
    "clock > '01:00:00'",
    "bytes = X'00ff'",
    "id = id",
    "ratio = 0.5",
    "real = 1.1",
    "0e0 = -0e0",
    "ratio * 0e0 = 0e0",
    "ratio * 0e0 < 0e0",
    "(ratio - ratio) / 0 = (ratio - ratio) / 0",
    "quantity = NULL",
    "NULL = NULL",
    "at_utc = '2023-12-31T23:59:59Z'",
    "at = at_utc",
    "quantity = '3'",
    "name = 1",
    "flag = 1",
    "day = 1",
    "numbers = numbers",
    "day = 'never'",
    "quantity IS DISTINCT FROM 3",
    "quantity <=> 3",
);

golden!(
    boolean_logic,
    "flag AND TRUE",
    "flag OR TRUE",
    "NOT flag",
    "flag AND NULL",
    "flag OR NULL",
    "NULL OR TRUE",
    "NOT NULL",
    "flag AND NOT flag OR flag",
    "quantity > 0 AND 6 / quantity = 2",
    "flag AND 1",
    "NOT quantity",
    "flag IS TRUE",
    "flag XOR TRUE",
);

golden!(
    case_when,
    "CASE WHEN flag THEN 'yes' ELSE 'no' END",
    "CASE WHEN flag THEN 'yes' END",
    "CASE quantity WHEN 3 THEN 'three' WHEN 0 THEN 'zero' END",
    "CASE WHEN quantity > 0 THEN 6 / quantity ELSE 0 END",
    "CASE WHEN quantity = 0 THEN NULL ELSE quantity END",
    "CASE WHEN flag THEN quantity ELSE price END",
    "CASE WHEN flag THEN 1 ELSE 1.5 END",
    "CASE name WHEN NULL THEN 1 ELSE 2 END",
    "CASE WHEN NULL THEN 1 ELSE 2 END",
    "CASE WHEN flag THEN numbers END",
    "CASE WHEN flag THEN NULL END",
    "CASE WHEN flag THEN 1 ELSE 'x' END",
    "CASE WHEN quantity THEN 1 END",
    "CASE quantity WHEN 'x' THEN 1 END",
    "CASE END",
    "CASE WHEN flag THEN day ELSE '2000-01-01' END",
);

golden!(
    coalesce_and_nullif,
    "COALESCE(quantity, 0)",
    "COALESCE(quantity, big)",
    "coalesce(quantity, price, 0)",
    "COALESCE(name, '-')",
    "COALESCE(NULL, NULL, 5)",
    "COALESCE(name)",
    "COALESCE(day, '1900-01-01')",
    "COALESCE(quantity, 3000000000)",
    "COALESCE(flag, FALSE)",
    "COALESCE(name, 0)",
    "COALESCE()",
    "COALESCE(NULL)",
    "NULLIF(quantity, 0)",
    "NULLIF(name, '')",
    "NULLIF(1, 1)",
    "NULLIF(1, 2)",
    "NULLIF(price, 0)",
    "6 / NULLIF(quantity, 0)",
    "NULLIF(quantity)",
    "NULLIF(quantity, 'x')",
    "NULLIF(1, quantity)",
);

golden!(
    in_and_between,
    "quantity IN (0, 3)",
    "quantity NOT IN (0, 5)",
    "quantity IN (0, NULL)",
    "quantity IN (small, big)",
    "name IN ('a', 'straße_100%')",
    "price IN (1, 123.45)",
    "day IN ('2024-01-01', '2024-01-02')",
    "NULL IN (1)",
    "quantity IN ('a')",
    "quantity IN ()",
    "quantity IN (SELECT 1)",
    "quantity BETWEEN 0 AND 2",
    "quantity NOT BETWEEN 0 AND 2",
    "price BETWEEN -1 AND rate",
    "day BETWEEN '2024-01-01' AND '2024-12-31'",
    "name BETWEEN 'a' AND 'z'",
    "quantity BETWEEN 0 AND NULL",
    "2 BETWEEN 1 AND 3",
    "quantity BETWEEN 'a' AND 'b'",
    "numbers BETWEEN numbers AND numbers",
);

golden!(
    like_and_null,
    "name LIKE 'str%'",
    "name LIKE '%kůň%'",
    "name NOT LIKE 'str%'",
    "name LIKE 'straße\\_100\\%'",
    "name LIKE 'straße_100\\%'",
    "name LIKE '_t%'",
    "name LIKE ''",
    "name LIKE NULL",
    "name LIKE digits",
    "quantity LIKE '3'",
    "name ILIKE 'STR%'",
    "name LIKE 'x' ESCAPE '!'",
    "name SIMILAR TO 'x'",
    "name ~ 'x'",
    "name REGEXP 'x'",
    "quantity IS NULL",
    "quantity IS NOT NULL",
    "numbers IS NULL",
    "NULL IS NULL",
);

golden!(
    functions,
    "trim(name)",
    "TRIM(LEADING ' ' FROM name)",
    "TRIM(TRAILING '%0' FROM name)",
    "TRIM(BOTH 'x' FROM 'xxaxx')",
    "trim(quantity)",
    "upper(name)",
    "LOWER(name)",
    "upper(quantity)",
    "substr(name, 3)",
    "substr(name, 3, 4)",
    "substr(name, -1, 4)",
    "substr(name, 0)",
    "substr(name, 100)",
    "substr(name, 2, -1)",
    "substr(name, 2, 9223372036854775807)",
    "substr(name, -9223372036854775808)",
    "substr(name, quantity, small)",
    "substr(name)",
    "substr(name, '1')",
    "SUBSTRING(name, 1, 2)",
    "SUBSTRING(name FROM 2)",
    "replace(name, ' ', '')",
    "replace(name, '', 'x')",
    "replace(name, '0', digits)",
    "replace(name, 'a')",
    "concat(name, '-', digits)",
    "concat('a', 'b', NULL)",
    "concat(digits)",
    "concat(name, 1)",
    "concat()",
    "length(name)",
    "length('kůň')",
    "length(quantity)",
    "upper(trim(substr(name, 1, 6)))",
);

#[test]
fn large_text_keeps_its_type() {
    let large: ArrayRef = Arc::new(arrow::array::LargeStringArray::from(vec![Some("ab"), None]));
    let small: ArrayRef = Arc::new(StringArray::from(vec![Some("xy"), None]));
    let batch = batch(vec![("large", large), ("small", small)]);
    let expressions = [
        "large",
        "upper(large)",
        "concat(large, small)",
        "replace(small, 'x', large)",
        "COALESCE(small, large)",
        "length(large)",
        "trim(large)",
        "strpos(large, 'b')",
        "strpos(small, large)",
        "left(large, 1)",
        "split_part(large, 'a', 2)",
        "sha256(large)",
        "regexp_replace(large, 'a', 'x')",
        "regexp_like(large, 'a')",
        "substr(large, 2)",
        "large = 'ab'",
        "large LIKE 'a%'",
        "CAST(large AS VARCHAR)",
    ];
    let columns: Vec<_> =
        expressions.iter().map(|sql| ((*sql).to_owned(), ColumnExpression::Sql((*sql).to_owned()))).collect();
    let projection =
        Projection::compile(&batch.schema(), &columns, None, &HashKeys::default(), &GuestLimits::default()).unwrap();
    let output = projection.apply(&batch).unwrap();
    let lines: Vec<_> = output
        .schema()
        .fields()
        .iter()
        .zip(output.columns())
        .map(|(field, array)| {
            let value = array_value_to_string(array, 0).unwrap();
            format!("{}: {} = {value}", field.name(), type_text::print(field.data_type()))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
