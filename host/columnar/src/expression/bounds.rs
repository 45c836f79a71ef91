//! What an expression may cost: text, tokens, depth, time, stack and memory.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use datakit_model::{Diagnostic, GuestLimits, HashKeys};

use super::goldens::evaluate;
use crate::tests::{batch, decimals, sample};
use crate::{ColumnExpression, Projection};

#[test]
fn regular_expressions_of_an_expression_and_a_projection_are_few() {
    let sample = sample();
    let columns = |each: usize, count: usize| -> Vec<(String, ColumnExpression)> {
        let sql = vec!["regexp_like(name, 'a.{3}')"; each].join(" AND ");
        (0..count).map(|index| (format!("c{index}"), ColumnExpression::Sql(sql.clone()))).collect()
    };
    let compile = |each, count| {
        let (keys, limits) = (HashKeys::default(), GuestLimits::default());
        Projection::compile(&sample.schema(), &columns(each, count), None, &keys, &limits)
    };
    let without =
        Projection::compile(&sample.schema(), &[], None, &HashKeys::default(), &GuestLimits::default()).unwrap();
    assert!(compile(16, 4).unwrap().kept_bytes() >= without.kept_bytes() + 64 * (512 << 10));
    let refused = [compile(17, 1), compile(13, 5)].map(|result| result.unwrap_err().to_string());
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn size_tokens_and_depth_are_bounded_before_parsing() {
    let limits = GuestLimits::default();
    let chain = |terms: usize| vec!["1"; terms].join("+");
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    let wide = format!("quantity IN ({})", vec!["1"; 1_500].join(","));
    assert!(evaluate(&chain(100), &limits).is_ok());
    assert!(evaluate(&wide, &limits).is_ok());
    let loose = GuestLimits { max_expression_bytes: 1 << 30, max_tokens: 1 << 30, ..limits.clone() };
    let looser = GuestLimits { max_syntax_depth: u64::MAX, ..loose.clone() };
    let errors = [
        ("a long chain", evaluate(&chain(200_000), &limits)),
        ("tokens", evaluate(&chain(200_000), &GuestLimits { max_expression_bytes: 1 << 30, ..limits.clone() })),
        ("left-deep", evaluate(&chain(2_000), &limits)),
        ("left-deep, no other limit", evaluate(&chain(20_000), &looser)),
        ("parentheses", evaluate(&nested(500), &limits)),
        ("parentheses, no other limit", evaluate(&nested(20_000), &looser)),
        ("not not", evaluate(&format!("{} flag", "NOT ".repeat(1_000)), &limits)),
        ("minus minus", evaluate(&format!("{}quantity", "- ".repeat(1_000)), &limits)),
        ("casts", evaluate(&format!("quantity{}", "::INT".repeat(1_000)), &limits)),
        ("case", evaluate(&format!("{}1{}", "CASE WHEN flag THEN ".repeat(200), " END".repeat(200)), &limits)),
        ("functions", evaluate(&format!("{}name{}", "trim(".repeat(200), ")".repeat(200)), &limits)),
        ("is null", evaluate(&format!("quantity{}", " IS NULL".repeat(1_000)), &limits)),
    ];
    let lines: Vec<_> = errors
        .into_iter()
        .map(|(name, result)| {
            let error = result.unwrap_err();
            format!("{name}: {} {error}", error.code())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// The parser tries some constructs in several ways: what fails at the innermost must not be tried 2^n times.
#[test]
fn what_fails_deep_inside_fails_soon() {
    for open in [
        "(",
        "CAST(",
        "TRY_CAST(",
        "CASE ",
        "CASE WHEN ",
        "CASE WHEN flag THEN ",
        "NOT ",
        "-",
        "trim(",
        "TRIM(BOTH ",
        "substr(",
        "SUBSTRING(",
        "upper(",
        "coalesce(1, ",
        "1 IN (",
        "1 BETWEEN ",
        "name LIKE ",
        "CONVERT(",
        "EXTRACT(",
        "POSITION(",
        "CEIL(",
        "OVERLAY(",
        "PRIOR ",
        "DATE ",
        "DECIMAL(",
        "IF(",
        "LEFT(",
        "ROW(",
        "MATCH(",
        "DISTINCT ",
        "ANY(",
        "1 = ALL(",
        "CUBE(",
        "GROUPING SETS(",
        "FILTER(",
        "NULLIF(",
        "CAST(1 AS ",
        "CAST(1 AS DECIMAL(",
        "CAST(1 AS VARCHAR(",
        "(WITH ",
        "(SELECT ",
        "SELECT * FROM (",
        "1 + (",
        "a IS ",
        "LISTAGG(",
        "XMLTABLE(",
        "JSON_OBJECT(",
        "TRY_CONVERT(",
        "SAFE_CAST(",
    ] {
        for close in ["", "]", ")", "1", " AS"] {
            assert!(evaluate(&format!("{}{close}", open.repeat(100)), &GuestLimits::default()).is_err());
        }
    }
}

#[test]
fn the_deepest_expressions_allowed_are_evaluated_on_a_small_stack() {
    // Half of what a tokio worker has, as much as a wasmtime fiber has.
    let run = || {
        let limits = GuestLimits { max_syntax_depth: u64::MAX, ..GuestLimits::default() };
        for deep in [
            vec!["quantity"; 256].join("+"),
            format!("{}name{}", "trim(".repeat(254), ")".repeat(254)),
            format!("{}TRUE{}", "CASE WHEN flag THEN ".repeat(254), " END".repeat(254)),
            format!("flag{}", " IS NULL".repeat(254)),
        ] {
            evaluate(&deep, &limits).unwrap();
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn nesting_does_not_multiply_the_work() {
    let nest = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(60), close.repeat(60));
    for sql in [
        nest("COALESCE(", "name", ", '-')"),
        nest("NULLIF(", "name", ", '-')"),
        nest("(", "flag", " BETWEEN FALSE AND TRUE)"),
        nest("(", "flag", " IN (FALSE, TRUE))"),
        nest("(CASE ", "flag", " WHEN TRUE THEN FALSE ELSE TRUE END)"),
    ] {
        evaluate(&sql, &GuestLimits::default()).unwrap();
    }
}

#[test]
fn text_that_would_fill_the_memory_is_refused_before_it_is_made() {
    let long: ArrayRef = Arc::new(StringArray::from_iter_values((0..1_000).map(|_| "x".repeat(1_000))));
    let batch = batch(vec![("long", long)]);
    let limits = GuestLimits { max_live_batch_bytes: 4 << 20, ..GuestLimits::default() };
    let evaluate = |sql: &str| {
        let columns = [("out".to_owned(), ColumnExpression::Sql(sql.to_owned()))];
        Projection::compile(&batch.schema(), &columns, None, &HashKeys::default(), &limits)
            .unwrap()
            .apply(&batch)
            .map(|_| ())
    };
    let six = "concat(long, long, long, long, long, long)";
    let branches: String = (0..60).map(|n| format!("WHEN length(long) = {n} THEN 1 ")).collect();
    assert_eq!(evaluate("concat(long, long, long)"), Ok(()));
    assert_eq!(evaluate("replace(long, 'xxxxxxxxxx', 'yyyyyyyyyyyyyyyyyyyy')"), Ok(()));
    assert_eq!(evaluate("replace(long, 'z', 'yyyyyyyyyyyyyyyyyyyy')"), Ok(()));
    assert_eq!(evaluate("upper(concat(long, long, long))"), Ok(()));
    assert_eq!(evaluate(&format!("CASE {branches} ELSE 0 END")), Ok(()));
    let three = "length(concat(long, long, long))";
    let refused = [
        evaluate(six),
        evaluate(&format!("length({six})")),
        evaluate("replace(long, 'x', 'yyyyyyyyyyyyyyyyyyyy')"),
        evaluate("replace(long, 'x', long)"),
        evaluate(&[three; 12].join("+")),
        evaluate(&format!("CASE WHEN long = 'x' THEN '' ELSE '{}' END", "y".repeat(7_000))),
    ];
    let lines: Vec<_> = refused.into_iter().map(|result| result.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// 128 bits hold more than the 38 digits of the widest decimal.
#[test]
fn a_decimal_of_more_digits_than_its_type_is_an_error() {
    let nines = 10_i128.pow(38) - 1;
    let batch = batch(vec![("wide", Arc::new(decimals(&[Some(nines), None], 38, 0)) as ArrayRef)]);
    let evaluate = |sql: &str| {
        let columns = [("out".to_owned(), ColumnExpression::Sql(sql.to_owned()))];
        Projection::compile(&batch.schema(), &columns, None, &HashKeys::default(), &GuestLimits::default())
            .unwrap()
            .apply(&batch)
            .map(|_| ())
    };
    assert_eq!(evaluate("wide - 1"), Ok(()));
    for sql in ["wide + 1", "-wide - 1", "CASE WHEN wide > 0 THEN wide + wide - wide + 1 END"] {
        let error = evaluate(sql).unwrap_err();
        assert_eq!(error.code(), "DK-KIT-110", "{sql}: {error}");
    }
}

#[test]
fn many_rows_are_evaluated_in_parts_and_put_together() {
    let rows = 200_001;
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    let batch = batch(vec![("n", numbers)]);
    let columns = [("out".to_owned(), ColumnExpression::Sql("n * 2 + CASE WHEN n < 0 THEN 1 ELSE 0 END".to_owned()))];
    let projection =
        Projection::compile(&batch.schema(), &columns, None, &HashKeys::default(), &GuestLimits::default()).unwrap();
    let expected: ArrayRef = Arc::new(Int64Array::from_iter_values((0..i64::from(rows)).map(|n| n * 2)));
    assert_eq!(projection.apply(&batch).unwrap().column(0), &expected);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(sql in "([a-z]{1,3}|quantity|name|flag|price|NULL|CAST|AS|INT|CASE|WHEN|THEN|END|IN|LIKE|AND|NOT|[0-9]{1,20}|[-+*/%()<>=,.'\"]| ){0,14}") {
        let _ = evaluate(&sql, &GuestLimits::default());
    }
}
