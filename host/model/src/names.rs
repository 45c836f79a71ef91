//! Table names, and the patterns that select and grant them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::glob::Glob;
pub use crate::glob::plain;

/// A table or view of a source, by its names as the server spells them: two, or three where the system has catalogs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct TableId {
    /// The catalog, unquoted; none where the system has none, or where a connection reaches only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// The schema, unquoted: `dbo`.
    pub schema: String,
    /// The name in the schema, unquoted.
    pub name: String,
}

impl TableId {
    /// A table from its two names.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { catalog: None, schema: schema.into(), name: name.into() }
    }

    /// The same table in a catalog.
    #[must_use]
    pub fn in_catalog(self, catalog: impl Into<String>) -> Self {
        Self { catalog: Some(catalog.into()), ..self }
    }
}

impl fmt::Display for TableId {
    /// `schema.name` or `catalog.schema.name` as a [`TablePattern`] of this table alone: a part that would be read as something
    /// else stands in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(catalog) = &self.catalog {
            write_part(f, catalog, &['.', '*', '?'], &['[', '"', '!'])?;
            f.write_str(".")?;
        }
        write_part(f, &self.schema, &['.', '*', '?'], &['[', '"', '!'])?;
        f.write_str(".")?;
        write_part(f, &self.name, &['*', '?'], &['[', '"'])
    }
}

/// One part of a name, in brackets where it holds or begins with one of these.
fn write_part(f: &mut fmt::Formatter<'_>, part: &str, odd: &[char], odd_at_start: &[char]) -> fmt::Result {
    if part.contains(odd) || part.starts_with(odd_at_start) {
        write!(f, "[{}]", part.replace(']', "]]"))
    } else {
        f.write_str(part)
    }
}

/// One pattern of a `tables` list: `dbo.*`, `sales.order_?`, `!dbo.audit_*`.
///
/// `*` stands for any number of characters and `?` for one, both within a name. Which names are the same is the source's
/// to say ([`NameRule`]). The first dot parts schema from name, unless the schema stands in brackets or double quotes
/// (`[odd.schema].*`). In the name, `[` has no special meaning; a name in brackets is taken literally, so that
/// `dbo.[50%*]` matches the table `50%*` alone.
///
/// A table in a catalog is matched by a pattern of three parts: the first two dots part them. So `main.sales.*` means the
/// tables of the schema `sales` in the catalog `main`, and in a system without catalogs the tables of the schema `main` whose
/// names begin with `sales.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    exclude: bool,
    in_schema: Names,
    /// The same text read as three parts; none where it has two.
    in_catalog: Option<(Glob, Names)>,
}

/// A schema and a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    schema: Glob,
    name: Glob,
}

impl Names {
    /// Both names by one way to compare.
    fn compare(&self, table: &TableId, same: impl Fn(&Glob, &str) -> bool) -> bool {
        same(&self.schema, &table.schema) && same(&self.name, &table.name)
    }

    fn has_no_wildcard(&self) -> bool {
        self.schema.is_literal() && self.name.is_literal()
    }
}

/// How a source compares the names of its tables, the least strict first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NameRule {
    /// Upper and lower case are the same, as in SQL Server's default collations, and what else is the same is not known: an
    /// exclusion takes away whatever it could mean.
    #[default]
    CaseIgnored,
    /// Case counts. Whether accents, widths or characters without weight count is not known.
    CaseCounts,
    /// Names that differ are names of different tables, as in PostgreSQL.
    Bytes,
}

/// Why a text is not a table pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no dot between schema and name.
    #[error("`{0}` names no schema: a table pattern is SCHEMA.TABLE, for example `dbo.*`")]
    NoSchema(String),
    /// The schema or the name is empty.
    #[error("`{0}` has an empty schema or table name")]
    Empty(String),
    /// A bracket or quote that opens and does not close at the end of its part.
    #[error("`{0}` opens a bracket or quote that does not close")]
    Unclosed(String),
}

impl TablePattern {
    /// Whether this pattern takes tables away (`!`).
    #[must_use]
    pub fn is_exclusion(&self) -> bool {
        self.exclude
    }

    /// The pattern's text, without the `!` of one that takes tables away.
    #[must_use]
    pub fn selector(&self) -> &str {
        self.text.strip_prefix('!').unwrap_or(&self.text)
    }

    /// Whether it names one table, without a wildcard.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.in_schema.has_no_wildcard()
    }

    /// Whether schema and name match, upper and lower case being the same; exclusion or not.
    #[must_use]
    pub fn matches(&self, table: &TableId) -> bool {
        self.compare(table, Glob::matches)
    }

    /// Whether schema and name match in their case too.
    #[must_use]
    pub fn matches_exactly(&self, table: &TableId) -> bool {
        self.compare(table, Glob::matches_exactly)
    }

    /// Whether schema and name match for a server that may fold whatever any collation folds: accents, circled letters, wide
    /// forms, blanks at the end, characters that it gives no weight.
    #[must_use]
    pub fn could_match(&self, table: &TableId) -> bool {
        self.compare(table, Glob::could_match)
    }

    /// All names by one way to compare. A table in a catalog is included by a pattern of three parts alone; an exclusion of two
    /// parts takes its tables away in every catalog.
    fn compare(&self, table: &TableId, same: fn(&Glob, &str) -> bool) -> bool {
        match (&table.catalog, &self.in_catalog) {
            (None, _) => self.in_schema.compare(table, same),
            (Some(found), Some((catalog, names))) => same(catalog, found) && names.compare(table, same),
            (Some(_), None) => self.exclude && self.in_schema.compare(table, same),
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TablePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (exclude, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (first, rest) = Glob::parse_until_dot(rest, text)?;
        let rest = rest.ok_or_else(|| PatternError::NoSchema(text.to_owned()))?;
        let in_catalog = names_in_catalog(rest, text).map(|names| (first.clone(), names));
        // `[a].[b].c` has three parts and cannot be read as two.
        let in_schema = match (Glob::parse_whole(rest, text), &in_catalog) {
            (Ok(name), _) => Names { schema: first, name },
            (Err(_), Some((_, names))) => names.clone(),
            (Err(error), None) => return Err(error),
        };
        if in_schema.schema.is_empty() || in_schema.name.is_empty() {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), exclude, in_schema, in_catalog })
    }
}

/// Schema and name of a pattern of three parts, from behind its first dot; none where there are two parts.
fn names_in_catalog(rest: &str, text: &str) -> Option<Names> {
    let (schema, rest) = Glob::parse_until_dot(rest, text).ok()?;
    let name = Glob::parse_whole(rest?, text).ok()?;
    (!schema.is_empty() && !name.is_empty()).then_some(Names { schema, name })
}

/// A list of patterns: a table is in it when an inclusion matches and no exclusion does; the order does not matter.
///
/// It is a selection (which of the discovered tables to read) and a grant (which tables a datakit may name in SQL).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablePatterns {
    patterns: Arc<[TablePattern]>,
    rule: NameRule,
}

impl TablePatterns {
    /// The list as given. An empty one, and one of exclusions only, holds no table: deny by default.
    #[must_use]
    pub fn new(patterns: Vec<TablePattern>) -> Self {
        Self { patterns: patterns.into(), rule: NameRule::default() }
    }

    /// The same list for a source that compares names by this rule.
    #[must_use]
    pub fn under(&self, rule: NameRule) -> Self {
        Self { patterns: Arc::clone(&self.patterns), rule }
    }

    /// How names are compared.
    #[must_use]
    pub fn rule(&self) -> NameRule {
        self.rule
    }

    /// Whether the table is selected and granted. An exclusion ignores case under every rule: it errs on the side of taking away.
    #[must_use]
    pub fn allows(&self, table: &TableId) -> bool {
        let included = |p: &TablePattern| match self.rule {
            NameRule::CaseIgnored => p.matches(table),
            NameRule::CaseCounts | NameRule::Bytes => p.matches_exactly(table),
        };
        let excluded = |p: &TablePattern| match self.rule {
            NameRule::CaseIgnored | NameRule::CaseCounts => p.matches(table) || p.could_match(table),
            NameRule::Bytes => p.matches(table),
        };
        self.patterns.iter().any(|p| !p.exclude && included(p))
            && !self.patterns.iter().any(|p| p.exclude && excluded(p))
    }

    /// Whether the table is in the list only if upper and lower case are the same.
    #[must_use]
    pub fn depends_on_case(&self, table: &TableId) -> bool {
        self.rule == NameRule::CaseIgnored && self.allows(table) && !self.under(NameRule::CaseCounts).allows(table)
    }

    /// The patterns, as given.
    #[must_use]
    pub fn patterns(&self) -> &[TablePattern] {
        &self.patterns
    }
}

impl fmt::Display for TablePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pattern) in self.patterns.iter().enumerate() {
            write!(f, "{}{pattern}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(list: &[&str]) -> TablePatterns {
        TablePatterns::new(list.iter().map(|p| p.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_printed_is_a_pattern_of_that_table_alone() {
        let names = ["dbo", "a.b", "50%*", "wh?t", "[x]", "a]b", "\"q\"", "!no", "with space", "x[1]", "é"];
        for schema in names {
            for name in names {
                let table = TableId::new(schema, name);
                let pattern: TablePattern = table.to_string().parse().unwrap();
                assert!(!pattern.is_exclusion() && pattern.is_literal() && pattern.matches(&table), "{table}");
                let others = names.iter().flat_map(|schema| names.iter().map(|name| TableId::new(*schema, *name)));
                assert_eq!(others.filter(|other| pattern.matches(other)).count(), 1, "{table}");
            }
        }
        assert_eq!(TableId::new("dbo", "a.b").to_string(), "dbo.a.b");
        assert_eq!(TableId::new("odd.schema", "50%*").to_string(), "[odd.schema].[50%*]");
    }

    #[test]
    fn a_table_is_allowed_when_an_inclusion_matches_and_no_exclusion_does() {
        let p = patterns(&["!dbo.audit_*", "dbo.*", "Sales.Order?"]);
        assert!(p.allows(&TableId::new("dbo", "orders")));
        assert!(p.allows(&TableId::new("DBO", "Orders")));
        assert!(p.allows(&TableId::new("sales", "orders")));
        assert!(!p.allows(&TableId::new("sales", "order")));
        assert!(!p.allows(&TableId::new("dbo", "AUDIT_log")));
        assert!(!p.allows(&TableId::new("hr", "people")));
    }

    #[test]
    fn case_counts_where_the_source_says_so() {
        let list = patterns(&["public.t", "public.Big*"]);
        let tables = [("public", "t"), ("public", "T"), ("Public", "t"), ("public", "BIG"), ("public", "Bigger")];
        let allowed = |rule| {
            let list = list.under(rule);
            tables.iter().filter(|(s, n)| list.allows(&TableId::new(*s, *n))).map(|(_, n)| *n).collect::<Vec<_>>()
        };
        assert_eq!(allowed(NameRule::CaseIgnored), ["t", "T", "t", "BIG", "Bigger"]);
        assert_eq!(allowed(NameRule::CaseCounts), ["t", "Bigger"]);
        assert_eq!(allowed(NameRule::Bytes), ["t", "Bigger"]);
        assert!(list.depends_on_case(&TableId::new("public", "T")));
        assert!(!list.depends_on_case(&TableId::new("public", "t")));
        assert!(!list.depends_on_case(&TableId::new("public", "other")));
    }

    /// Each of these is `secret` to some collation of SQL Server: without accents, without width, without case, without the
    /// weight of characters that were not yet in Unicode, without blanks at the end.
    #[test]
    fn exclusion_takes_away_what_any_collation_could_mean() {
        let list = patterns(&["dbo.*", "!dbo.secret", "!dbo.größe", "!dbo.audit_*"]);
        let refused = [
            "SECRET",
            "secret ",
            "sécrèt",
            "s\u{65}\u{301}cret",
            "ⓢecret",
            "ｓｅｃｒｅｔ",
            "se\u{AD}cret",
            "\u{1D4FC}ecret",
            "sec\u{1F980}ret",
            "\u{17F}ecret",
            "secret\u{3000}",
            "s\u{200B}ecret",
            "ſ\u{1D4EE}c\u{301}ret",
            "GRÖSSE",
            "grosse",
            "gro\u{308}ße",
            "Größe",
            "áudit_log",
            "\u{1F980}audit_x",
        ];
        for name in refused {
            for rule in [NameRule::CaseIgnored, NameRule::CaseCounts] {
                assert!(!list.under(rule).allows(&TableId::new("dbo", name)), "{name:?} under {rule:?}");
            }
        }
        for name in ["secrets", "sekret", "секрет", "заказы", "注文", "größer", "audit", "übersicht"] {
            assert!(list.allows(&TableId::new("dbo", name)), "{name:?}");
        }
        // PostgreSQL folds nothing.
        assert!(list.under(NameRule::Bytes).allows(&TableId::new("dbo", "sécrèt")));
    }

    #[test]
    fn three_parts_name_a_table_in_a_catalog() {
        let orders = TableId::new("sales", "orders").in_catalog("main");
        assert_eq!(orders.to_string(), "main.sales.orders");
        let list = patterns(&["main.sales.*", "!main.sales.audit_*"]);
        assert!(list.allows(&orders));
        assert!(list.allows(&TableId::new("Sales", "ORDERS").in_catalog("MAIN")));
        assert!(!list.allows(&TableId::new("sales", "audit_x").in_catalog("main")));
        assert!(!list.allows(&TableId::new("sales", "orders").in_catalog("other")));
        assert!(!list.allows(&TableId::new("sales", "orders")), "no catalog");
        assert!(!patterns(&["sales.*", "*.orders"]).allows(&orders), "two parts grant nothing in a catalog");
        assert!(!patterns(&["main.*.*", "!sales.orders"]).allows(&orders), "an exclusion holds in every catalog");
        assert!(patterns(&["[a.b].[c].[d*]"]).allows(&TableId::new("c", "d*").in_catalog("a.b")));
        assert!(patterns(&["main.sales.*"]).allows(&TableId::new("main", "sales.orders")), "without catalogs");
        let odd = TableId::new("s.x", "50%*").in_catalog("c[1]");
        let pattern: TablePattern = odd.to_string().parse().unwrap();
        assert!(pattern.is_literal() && pattern.matches(&odd), "{odd}");
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(!TablePatterns::default().allows(&TableId::new("dbo", "t")));
        assert!(!patterns(&["!dbo.x"]).allows(&TableId::new("dbo", "t")));
    }

    #[test]
    fn brackets_are_literal() {
        let p = patterns(&["[odd.schema].[50%*]", "dbo.[a]]b]", "\"q\".x"]);
        assert!(p.allows(&TableId::new("odd.schema", "50%*")));
        assert!(p.patterns().iter().all(TablePattern::is_literal));
        assert!(patterns(&["dbo.*", "d?o.x"]).patterns().iter().all(|pattern| !pattern.is_literal()));
        assert!(!p.allows(&TableId::new("odd.schema", "50%x")));
        assert!(p.allows(&TableId::new("dbo", "a]b")));
        assert!(p.allows(&TableId::new("Q", "x")));
    }

    #[test]
    fn bad_patterns_say_why() {
        let err = |t: &str| t.parse::<TablePattern>().unwrap_err().to_string();
        assert_eq!(err("orders"), "`orders` names no schema: a table pattern is SCHEMA.TABLE, for example `dbo.*`");
        assert_eq!(err("dbo."), "`dbo.` has an empty schema or table name");
        assert_eq!(err("[dbo.x"), "`[dbo.x` opens a bracket or quote that does not close");
    }

    proptest! {
        #[test]
        fn what_matches_could_match(pattern in "[a-zA-Zéß*?_]{1,12}\\.[a-zA-Zéß*?_]{1,12}", name in "[a-zA-Zéß_ ]{1,12}") {
            let pattern: TablePattern = pattern.parse().unwrap();
            let table = TableId::new(&name, name.trim_end());
            prop_assert!(!pattern.matches_exactly(&table) || pattern.matches(&table));
            let name = &pattern.in_schema.name;
            prop_assert!(!name.matches(&table.name) || name.could_match(&table.name));
        }

        #[test]
        fn a_bracketed_name_matches_itself(schema in ".{1,20}", name in ".{1,20}") {
            let quote = |s: &str| format!("[{}]", s.replace(']', "]]"));
            let pattern: TablePattern = format!("{}.{}", quote(&schema), quote(&name)).parse().unwrap();
            prop_assert!(pattern.matches(&TableId::new(schema, name)));
        }
    }
}
