//! Which file belongs to which table: the operator's rules, and so the grant.
//!
//! Without rules a folder directly below the root is a table, and a file there by its name without extensions. Names that
//! begin with `.` or `_` are no files of rows, by the convention of Hive, Spark and Delta.

use datakit_model::TableId;

use super::error::FilesError;

/// The schema of tables whose rule names none.
pub const DEFAULT_SCHEMA: &str = "files";

/// Extensions of files that are taken for rows where no rule names them.
const EXTENSIONS: [&str; 6] = ["csv", "tsv", "txt", "json", "jsonl", "ndjson"];
/// Extensions that say how such a file is compressed.
const COMPRESSED: [&str; 4] = ["gz", "gzip", "zst", "zstd"];

/// The operator's rules.
#[derive(Debug, Clone, Default)]
pub struct TableRules(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    table: TableId,
    include: Vec<PathPattern>,
    exclude: Vec<PathPattern>,
}

impl TableRules {
    /// Rules from the names of tables (`NAME` or `SCHEMA.NAME`) and patterns of paths, those with `!` taking away.
    ///
    /// # Errors
    /// [`FilesError::Pattern`] for a pattern that is none.
    pub fn new<'a>(rules: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, FilesError> {
        let rule = |(name, patterns): (&str, &[String])| {
            let (schema, name) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
            let mut rule = Rule { table: TableId::new(schema, name), include: Vec::new(), exclude: Vec::new() };
            for text in patterns {
                let (list, pattern) = match text.strip_prefix('!') {
                    Some(pattern) => (&mut rule.exclude, pattern),
                    None => (&mut rule.include, text.as_str()),
                };
                let wrong = |problem| FilesError::Pattern { table: rule.table.clone(), pattern: text.clone(), problem };
                list.push(PathPattern::parse(pattern).map_err(wrong)?);
            }
            Ok(rule)
        };
        Ok(Self(rules.into_iter().map(rule).collect::<Result<_, FilesError>>()?))
    }

    /// The tables that the rules name, whether they have files or not.
    pub(super) fn named(&self) -> impl Iterator<Item = &TableId> {
        self.0.iter().map(|rule| &rule.table)
    }

    /// The table a file belongs to; none: it is of no table.
    pub(super) fn table_of(&self, path: &str) -> Result<Option<TableId>, FilesError> {
        if path.split('/').any(|name| name.starts_with(['.', '_'])) {
            return Ok(None);
        }
        if self.0.is_empty() {
            return Ok(table_by_place(path));
        }
        let segments: Vec<&str> = path.split('/').collect();
        let mut fitting = self.0.iter().filter(|rule| rule.has(&segments));
        match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => Err(FilesError::Ambiguous {
                path: path.to_owned(),
                first: first.table.to_string(),
                second: second.table.to_string(),
            }),
            (only, _) => Ok(only.map(|rule| rule.table.clone())),
        }
    }
}

impl Rule {
    fn has(&self, path: &[&str]) -> bool {
        let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.matches(path));
        any(&self.include) && !any(&self.exclude)
    }
}

fn table_by_place(path: &str) -> Option<TableId> {
    let file = path.rsplit('/').next()?;
    let stem = stem_of_rows(file)?;
    let name = path.split_once('/').map_or(stem, |(folder, _)| folder);
    // A folder `dt=2026-01-01` at the top is a partition of nothing that has a name.
    (!name.is_empty()).then(|| TableId::new(DEFAULT_SCHEMA, name))
}

/// A file's name without the extensions that say that it holds rows; none when they do not.
fn stem_of_rows(file: &str) -> Option<&str> {
    let (stem, extension) = file.rsplit_once('.')?;
    let among = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(extension));
    if among(&COMPRESSED) {
        return stem_of_rows(stem);
    }
    among(&EXTENSIONS).then_some(stem)
}

/// A pattern of a path: names parted by `/`, each with `*` and `?`, or `**` for any number of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    AnyFolders,
    Name(Vec<char>),
}

impl PathPattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut segments = Vec::new();
        for segment in text.split('/') {
            segments.push(match segment {
                "**" => Segment::AnyFolders,
                "" => return Err("begins or ends with `/`, or is empty"),
                "." | ".." => return Err("leaves its folder"),
                name if name.contains("**") => return Err("has `**` within a name"),
                name => Segment::Name(name.chars().collect()),
            });
        }
        if segments.last() == Some(&Segment::AnyFolders) {
            segments.push(Segment::Name(vec!['*']));
        }
        Ok(Self(segments))
    }

    fn matches(&self, path: &[&str]) -> bool {
        wild_match(
            &self.0,
            path,
            |segment| *segment == Segment::AnyFolders,
            |segment, name| match segment {
                Segment::AnyFolders => true,
                Segment::Name(pattern) => {
                    let name: Vec<char> = name.chars().collect();
                    wild_match(pattern, &name, |c| *c == '*', |pattern, c| *pattern == '?' || pattern == c)
                }
            },
        )
    }
}

/// Matching with a wildcard for any number of items. On a mismatch only the last wildcard is tried one item further, which
/// is enough, so that no pattern takes more than the product of both lengths.
fn wild_match<P, T>(pattern: &[P], items: &[T], is_any: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut last_any = None;
    while at < items.len() {
        match pattern.get(token) {
            Some(part) if is_any(part) => {
                last_any = Some((token, at));
                token += 1;
            }
            Some(part) if fits(part, &items[at]) => (at, token) = (at + 1, token + 1),
            _ => match last_any {
                Some((any, taken)) => {
                    last_any = Some((any, taken + 1));
                    (at, token) = (taken + 1, any + 1);
                }
                None => return false,
            },
        }
    }
    pattern[token..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(rules: &[(&str, &[&str])]) -> TableRules {
        let owned: Vec<(&str, Vec<String>)> =
            rules.iter().map(|(name, list)| (*name, list.iter().map(|p| (*p).to_owned()).collect())).collect();
        TableRules::new(owned.iter().map(|(name, list)| (*name, list.as_slice()))).unwrap()
    }

    fn table(rules: &TableRules, path: &str) -> Option<String> {
        rules.table_of(path).unwrap().map(|table| table.to_string())
    }

    #[test]
    fn without_rules_folders_and_names_are_tables() {
        let none = TableRules::default();
        let of = |path: &str| table(&none, path);
        assert_eq!(of("orders/2026/a.csv.gz").as_deref(), Some("files.orders"));
        assert_eq!(of("orders/dt=2026-01-01/part-0.jsonl").as_deref(), Some("files.orders"));
        assert_eq!(of("customers.v2.CSV").as_deref(), Some("files.customers.v2"));
        for nothing in
            ["README.md", "a.gz", "csv", "orders/_tmp/a.csv", ".hidden.csv", "orders/_SUCCESS", "x/a.parquet"]
        {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn rules_say_what_belongs_where() {
        let rules = rules(&[
            ("sales.orders", &["orders/**/*.csv", "orders/*.txt", "!orders/**/bad*"]),
            ("people", &["**/people_????.csv"]),
        ]);
        let of = |path: &str| table(&rules, path);
        assert_eq!(of("orders/a.csv").as_deref(), Some("sales.orders"));
        assert_eq!(of("orders/x/y/a.csv").as_deref(), Some("sales.orders"));
        assert_eq!(of("orders/x/bad.csv"), None);
        assert_eq!(of("orders/x/a.txt"), None);
        assert_eq!(of("in/people_2026.csv").as_deref(), Some("files.people"));
        assert_eq!(of("other/a.csv"), None);
        let error = rules.table_of("orders/people_2026.csv").unwrap_err();
        assert!(matches!(error, FilesError::Ambiguous { .. }), "{error}");
    }

    #[test]
    fn a_pattern_stays_below_the_root() {
        for wrong in ["/etc/*", "../*", "a/../b", "a//b", "", "a/**b", "a/"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
        assert!(PathPattern::parse("a/**").unwrap().matches(&["a", "b", "c"]));
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = PathPattern::parse(&format!("{}b", "*a".repeat(200))).unwrap();
        assert!(!pattern.matches(&["a".repeat(2000).as_str()]));
        let pattern = PathPattern::parse(&format!("{}b", "**/a/".repeat(100))).unwrap();
        assert!(!pattern.matches(&vec!["a"; 2000]));
    }

    proptest! {
        #[test]
        fn a_path_fits_itself(names in prop::collection::vec("[^/*?\0]{1,8}", 1..5)) {
            prop_assume!(names.iter().all(|name| name != "." && name != ".."));
            let pattern = PathPattern::parse(&names.join("/")).unwrap();
            let path: Vec<&str> = names.iter().map(String::as_str).collect();
            prop_assert!(pattern.matches(&path));
            prop_assert!(PathPattern::parse("**").unwrap().matches(&path));
        }

        #[test]
        fn any_text_is_a_pattern_or_none(text in any::<String>(), path in any::<String>()) {
            if let Ok(pattern) = PathPattern::parse(&text) {
                let _ = pattern.matches(&path.split('/').collect::<Vec<_>>());
            }
        }
    }
}
