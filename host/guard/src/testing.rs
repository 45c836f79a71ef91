//! What the tests of both guards share.

use std::path::PathBuf;

/// What the fuzz targets hold to: what is accepted is accepted again as it is sent, and means the same.
///
/// A text is the bytes themselves, or words of the dialect, one a byte, or a query made by the dialect's grammar, as the first byte
/// says.
pub(crate) fn fuzz<T: PartialEq + std::fmt::Debug>(
    input: &[u8],
    words: &[&str],
    grammar: &Grammar,
    check: impl Fn(&str) -> Option<(String, T)>,
) {
    let Some((first, rest)) = input.split_first() else { return };
    let text = match first % 4 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => rest.iter().map(|byte| words[usize::from(*byte) % words.len()]).collect::<Vec<_>>().join(" "),
        _ => grammar.query(rest),
    };
    if let Some((sent, meaning)) = check(&text) {
        let again = check(&sent).unwrap_or_else(|| panic!("accepted once and then refused: {sent}"));
        assert_eq!(again, (sent, meaning));
    }
}

/// The words that queries of a dialect are made of. Most of them are harmless, and some are not.
pub(crate) struct Grammar {
    /// In the place of a table.
    pub(crate) tables: &'static [&'static str],
    /// Behind a table.
    pub(crate) aliases: &'static [&'static str],
    /// In the place of a value.
    pub(crate) values: &'static [&'static str],
    /// Functions of one or two values, and what is written like one: `f(`.
    pub(crate) calls: &'static [&'static str],
    /// Between two values.
    pub(crate) operators: &'static [&'static str],
    /// Behind a value.
    pub(crate) suffixes: &'static [&'static str],
    /// Behind SELECT.
    pub(crate) quantifiers: &'static [&'static str],
    /// Behind a query.
    pub(crate) tails: &'static [&'static str],
}

impl Grammar {
    /// A query whose every choice is a byte of the input; without bytes the first choice.
    pub(crate) fn query(&self, input: &[u8]) -> String {
        Making { grammar: self, input, depth: 0 }.query()
    }
}

struct Making<'a> {
    grammar: &'a Grammar,
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

    fn list(&mut self, most: usize, make: impl Fn(&mut Self) -> String) -> String {
        let count = 1 + self.pick(most);
        (0..count).map(|_| make(self)).collect::<Vec<_>>().join(", ")
    }

    /// One level down, where there still is one.
    fn deeper(&mut self, make: impl Fn(&mut Self) -> String, otherwise: &str) -> String {
        if self.depth == 4 {
            return otherwise.to_owned();
        }
        self.depth += 1;
        let text = make(self);
        self.depth -= 1;
        text
    }

    fn query(&mut self) -> String {
        let with = match self.pick(8) {
            7 => {
                let tables = self.list(2, |making| {
                    let name = making.word(&["q", "x", "secret", "t", "q (a)"]);
                    let body = making.deeper(Self::query, "SELECT 1 AS a");
                    format!("{name} AS ({body})")
                });
                format!("WITH {tables} ")
            }
            _ => String::new(),
        };
        let mut body = self.select();
        while self.pick(6) == 5 {
            let operator = self.word(&["UNION ALL", "UNION", "EXCEPT", "INTERSECT"]);
            let right = self.deeper(Self::select, "SELECT 1 AS a");
            body = format!("{body} {operator} {right}");
        }
        let order = match self.pick(5) {
            4 => format!(" ORDER BY {}", self.value()),
            _ => String::new(),
        };
        let tail = self.word(self.grammar.tails);
        format!("{with}{body}{order}{tail}")
    }

    fn select(&mut self) -> String {
        if self.pick(12) == 11 {
            return self.deeper(|making| format!("({})", making.query()), "SELECT 1 AS a");
        }
        let quantifier = self.word(self.grammar.quantifiers);
        let items = self.list(3, |making| {
            let alias = making.word(&["", " AS a", " AS b", " c"]);
            format!("{}{alias}", making.value())
        });
        let from = self.list(2, Self::joined);
        let condition = match self.pick(4) {
            3 => format!(" WHERE {}", self.value()),
            _ => String::new(),
        };
        let group = match self.pick(8) {
            7 => format!(" GROUP BY {} HAVING {}", self.value(), self.value()),
            _ => String::new(),
        };
        format!("SELECT {quantifier}{items} FROM {from}{condition}{group}")
    }

    fn joined(&mut self) -> String {
        let mut text = self.table();
        while self.pick(5) == 4 {
            let join = self.word(&["INNER JOIN", "LEFT JOIN", "CROSS JOIN", "CROSS APPLY", "JOIN"]);
            let right = match join {
                "CROSS APPLY" => self.deeper(|making| format!("({}) AS y", making.query()), "(SELECT 1 AS a) AS y"),
                _ => self.table(),
            };
            let on = if matches!(join, "CROSS JOIN" | "CROSS APPLY") {
                String::new()
            } else {
                format!(" ON {} = {}", self.value(), self.value())
            };
            text = format!("{text} {join} {right}{on}");
        }
        text
    }

    fn table(&mut self) -> String {
        match self.pick(8) {
            6 => {
                self.deeper(|making| format!("({}) AS {}", making.query(), making.word(&["x", "y", "q (a)"])), "dbo.t")
            }
            7 => self.deeper(|making| format!("({})", making.joined()), "dbo.t"),
            _ => format!("{}{}", self.word(self.grammar.tables), self.word(self.grammar.aliases)),
        }
    }

    fn value(&mut self) -> String {
        let value = match self.pick(12) {
            5 => self
                .deeper(|making| format!("{}{})", making.word(making.grammar.calls), making.list(2, Self::value)), "1"),
            6 => self.deeper(
                |making| format!("{} {} {}", making.value(), making.word(making.grammar.operators), making.value()),
                "1",
            ),
            7 => self.deeper(|making| format!("({})", making.value()), "1"),
            8 => self.deeper(|making| format!("({})", making.query()), "1"),
            9 => self.deeper(
                |making| format!("CASE WHEN {} THEN {} ELSE {} END", making.value(), making.value(), making.value()),
                "1",
            ),
            10 => self.deeper(|making| format!("{} IN ({})", making.value(), making.query()), "1"),
            11 => self.deeper(|making| format!("EXISTS ({})", making.query()), "1"),
            _ => self.word(self.grammar.values).to_owned(),
        };
        format!("{value}{}", self.word(self.grammar.suffixes))
    }
}

/// Holds the part of docs/sql.md under `## title` against the lists; `INSTA_UPDATE=always` writes it again.
pub(crate) fn check_page(title: &str, functions: &str, types: &str, catalog: &[(&str, &str, &str)]) {
    let words =
        |list: &str| list.split_ascii_whitespace().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    let mut part = format!("Functions: {}\n\nTypes of casts: {}\n\n", words(functions), words(types));
    part.push_str("| catalog view | readable columns |\n|---|---|\n");
    for (schema, name, columns) in catalog {
        part.push_str(&format!("| `{schema}.{name}` | {} |\n", words(columns)));
    }
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sql.md"));
    let page = std::fs::read_to_string(&path).unwrap();
    let heading = format!("\n## {title}\n\n");
    let start = page.find(&heading).unwrap() + heading.len();
    let end = page[start..].find("\n## ").map_or(page.len(), |end| start + end);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, [&page[..start], &part, &page[end..]].concat()).unwrap();
        return;
    }
    assert!(page[start..end] == part, "docs/sql.md is not up to date: run this test with INSTA_UPDATE=always");
}
