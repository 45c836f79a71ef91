//! Fuzz target: any text as an expression over a small batch.

use std::sync::LazyLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datakit_model::{GuestLimits, HashKeys};

use crate::tests::{check_named, sample};
use crate::{ColumnExpression, Meter, Projection, values};

/// Ten seconds of work, which no short text over three rows comes near.
const MOST_UNITS: u64 = 10_000_000_000;

const COLUMNS: &[&str] = &[
    "flag",
    "small",
    "quantity",
    "big",
    "price",
    "rate",
    "ratio",
    "real",
    "name",
    "digits",
    "\"Odd \"\"name\"\" ]\"",
    "day",
    "at",
    "at_utc",
    "clock",
    "bytes",
    "id",
    "numbers",
];

const LITERALS: &[&str] = &[
    "1",
    "0",
    "2.50",
    "9223372036854775807",
    "99999999999999999999999999999999999999",
    "1e3",
    "1e-300",
    "'text'",
    "'2024-02-29'",
    "'%_\\%'",
    "''",
    "' 42 '",
    "'1e9'",
    "'2024-01-31 10:00:00.1234567+02:00'",
    "TRUE",
    "FALSE",
    "NULL",
    "X'00ff'",
    "DATE '9999-12-31'",
    "DATE '0001-01-01'",
    "TIMESTAMP '2024-02-29 12:34:56.123456'",
    "TIME '23:59:59.999999999'",
];

const TYPES: &[&str] = &[
    "BOOLEAN",
    "SMALLINT",
    "INT",
    "BIGINT",
    "REAL",
    "DOUBLE",
    "DECIMAL(5, 2)",
    "DECIMAL(38, 38)",
    "DECIMAL(38, 0)",
    "VARCHAR",
    "VARBINARY",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
];

const OPERATORS: &[&str] =
    &["+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "LIKE", "NOT LIKE", "||"];

const FUNCTIONS: &[(&str, usize)] = &[
    ("trim", 1),
    ("upper", 1),
    ("lower", 1),
    ("length", 1),
    ("substr", 2),
    ("substr", 3),
    ("replace", 3),
    ("concat", 3),
    ("strpos", 2),
    ("left", 2),
    ("right", 2),
    ("split_part", 3),
    ("sha256", 1),
    ("COALESCE", 3),
    ("NULLIF", 2),
];

const UNITS: &[&str] = &["microseconds", "second", "hour", "day", "week", "month", "quarter", "year", "age"];

const PATTERNS: &[&str] = &["", "a", ".", "[^a-z ]+", "(\\d)\\d*", "^.*$", "x|y|", "(", "\\w{2,3}"];

/// What a text of words is made of, besides columns, literals, types and operators.
const WORDS: &[&str] = &[
    "(",
    ")",
    ",",
    "CAST(",
    "TRY_CAST(",
    "AS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "NOT",
    "IN (",
    "BETWEEN",
    "IS NULL",
    "IS NOT TRUE",
    "TRIM(BOTH",
    "FROM",
    "SUBSTRING(",
    "FOR",
    "SELECT",
    "ESCAPE '!'",
    "--",
    "/*",
    "*/",
    ".",
    "::",
    "[",
    "'",
    "\"",
    "DATE",
    "EXTRACT(",
    "OVER (",
    "é",
];

struct Making<'a> {
    input: &'a [u8],
    depth: usize,
}

impl Making<'_> {
    fn pick(&mut self, choices: usize) -> usize {
        let Some((first, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        usize::from(*first) % choices
    }

    fn word(&mut self, words: &'static [&'static str]) -> &'static str {
        words[self.pick(words.len())]
    }

    fn value(&mut self) -> String {
        if self.depth == 6 {
            return self.word(COLUMNS).to_owned();
        }
        self.depth += 1;
        let text = match self.pick(16) {
            0..=3 => self.word(COLUMNS).to_owned(),
            4 | 5 => self.word(LITERALS).to_owned(),
            6 | 7 => {
                let (left, operator) = (self.value(), self.word(OPERATORS));
                format!("{left} {operator} {}", self.value())
            }
            8 => format!("({})", self.value()),
            9 => format!("{}{}", self.word(&["-", "+", "NOT "]), self.value()),
            10 | 11 => {
                let (name, count) = FUNCTIONS[self.pick(FUNCTIONS.len())];
                let arguments: Vec<_> = (0..count).map(|_| self.value()).collect();
                format!("{name}({})", arguments.join(", "))
            }
            12 => {
                let (cast, value) = (self.word(&["CAST", "TRY_CAST"]), self.value());
                format!("{cast}({value} AS {})", self.word(TYPES))
            }
            13 => format!("CASE WHEN {} THEN {} ELSE {} END", self.value(), self.value(), self.value()),
            14 => match self.pick(5) {
                3 => format!("date_trunc('{}', {})", self.word(UNITS), self.value()),
                4 => {
                    let (name, last) =
                        [("regexp_like", ""), ("regexp_substr", ""), ("regexp_replace", ", '<\\&>', 'g'")]
                            [self.pick(3)];
                    format!("{name}({}, '{}'{last})", self.value(), self.word(PATTERNS))
                }
                0 => format!("{} IN ({}, {})", self.value(), self.value(), self.value()),
                1 => format!("{} BETWEEN {} AND {}", self.value(), self.value(), self.value()),
                _ => format!("{} IS {}", self.value(), self.word(&["NULL", "NOT NULL", "TRUE", "NOT FALSE"])),
            },
            _ => {
                let side = self.word(&["BOTH", "LEADING", "TRAILING"]);
                format!("TRIM({side} {} FROM {})", self.value(), self.value())
            }
        };
        self.depth -= 1;
        text
    }
}

/// The bytes themselves, or a word a byte, or what the language's grammar makes of them, as the first byte says.
fn text(input: &[u8]) -> String {
    let Some((first, rest)) = input.split_first() else { return String::new() };
    let word = |byte: &u8| {
        let words = COLUMNS.iter().chain(LITERALS).chain(TYPES).chain(OPERATORS).chain(WORDS);
        words.copied().cycle().nth(usize::from(*byte)).unwrap_or_default()
    };
    match first % 4 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => rest.iter().map(word).collect::<Vec<_>>().join(" "),
        _ => Making { input: rest, depth: 0 }.value(),
    }
}

static SAMPLE: LazyLock<RecordBatch> = LazyLock::new(sample);

fn check(sql: &str) {
    let (batch, limits) = (&*SAMPLE, GuestLimits::default());
    let meter = Meter::new(MOST_UNITS);
    let columns = [("out".to_owned(), ColumnExpression::Sql(sql.to_owned()))];
    let projection =
        match Projection::compile_counted(&batch.schema(), &columns, None, &HashKeys::default(), &limits, &meter) {
            Ok(projection) => projection,
            Err(error) => return check_named(&error),
        };
    let whole = match projection.apply_counted(batch, &meter) {
        Ok(whole) => whole,
        Err(error) => {
            assert!(!meter.is_exhausted(), "{sql}: {error}");
            return check_named(&error);
        }
    };
    assert_eq!((whole.num_rows(), whole.schema()), (batch.num_rows(), projection.output()));
    let column = whole.column(0);
    assert_eq!(column.data_type(), projection.output().field(0).data_type());
    column.to_data().validate_full().unwrap();
    assert_eq!(values::misfit(column), None, "{sql}");
    // No row's value depends on the other rows.
    for row in 0..batch.num_rows() {
        let alone = projection.apply(&batch.slice(row, 1)).unwrap();
        assert_eq!(alone.column(0), &column.slice(row, 1), "{sql}, row {row}");
    }
    if column.data_type() == &DataType::Boolean {
        let columns = [("kept".to_owned(), ColumnExpression::Input("quantity".to_owned()))];
        let filter = Projection::compile(&batch.schema(), &columns, Some(sql), &HashKeys::default(), &limits).unwrap();
        let kept = column.as_boolean().iter().filter(|value| *value == Some(true)).count();
        assert_eq!(filter.apply(batch).unwrap().num_rows(), kept, "{sql}");
    }
}

#[test]
fn fuzz_expressions() {
    bolero::check!().for_each(|input: &[u8]| check(&text(input)));
}
