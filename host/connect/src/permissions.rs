//! Which tables a login may read, and what to say where it may not.

use std::borrow::Cow;

use datakit_model::{Diagnostic, Kind, NameRule, TableId, TablePatterns, printable};

/// How a role gets all rows.
pub const ROW_SECURITY_HINT: &str = "let the role read all rows (ALTER ROLE … BYPASSRLS, or make it the table's \
    owner), or leave the table out of `tables`; if a part of the rows is what you want, set `row_security = \"filter\"` in the \
    connection";

/// No message names more tables or statements than this.
const MAX_NAMED: usize = 20;

/// What a login may read of all that it can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// The user, as the server knows it.
    pub user: String,
    /// Tables and views that people made.
    pub tables: Vec<TablePermission>,
    /// How the server compares the names of tables.
    pub names: NameRule,
    /// The codes of its errors.
    pub codes: Codes,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePermission {
    /// The table or view.
    pub table: TableId,
    /// The statements that would let the user read it; none: it may.
    pub missing_grants: Vec<String>,
    /// The columns that may not be read, where others may; none: all or no column.
    pub denied_columns: Vec<String>,
    /// Row-level security hides rows, and the connection does not allow that.
    pub hides_rows: bool,
}

impl TablePermission {
    /// Its name, and the columns that may not be read.
    fn named(&self) -> String {
        let columns: Vec<String> = self.denied_columns.iter().map(|column| format!("`{column}`")).collect();
        match columns.as_slice() {
            [] => self.table.to_string(),
            [one] => format!("{} (column {one})", self.table),
            several => format!("{} (columns {})", self.table, several.join(", ")),
        }
    }
}

/// The codes of a source for these errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// The user may not read a table.
    pub denied: &'static str,
    /// There is no such table.
    pub not_found: &'static str,
}

/// Why a run would not get all that was chosen.
#[derive(Debug, thiserror::Error)]
pub enum PermissionError {
    /// Tables that are chosen and may not be read.
    #[error("`{user}` may not read {} of {chosen} chosen tables: {}", denied.len(), named(denied.iter().map(TablePermission::named)))]
    Denied {
        /// The user.
        user: String,
        /// How many tables are chosen.
        chosen: usize,
        /// Those that may not be read.
        denied: Vec<TablePermission>,
        /// The code.
        code: &'static str,
    },
    /// Tables that are chosen, of which the user would get a part of the rows.
    #[error("row-level security hides rows of {} of {chosen} chosen tables from `{user}`: {}", names.len(), named(names.iter().cloned()))]
    HiddenRows {
        /// The user.
        user: String,
        /// How many tables are chosen.
        chosen: usize,
        /// The tables.
        names: Vec<String>,
    },
    /// Tables that are chosen by name and not to be seen.
    #[error("chosen by name, and not there or hidden from `{user}`: {}", named(names.iter().cloned()))]
    NotFound {
        /// The user.
        user: String,
        /// As they were written.
        names: Vec<String>,
        /// The code.
        code: &'static str,
    },
    /// Nothing that can be seen is chosen.
    #[error("none of the {visible} tables that `{user}` can see is chosen by `{patterns}`")]
    NothingChosen {
        /// The user.
        user: String,
        /// As they were written.
        patterns: String,
        /// How many tables can be seen.
        visible: usize,
        /// The code.
        code: &'static str,
    },
}

fn named(names: impl Iterator<Item = String>) -> String {
    printable::some(names, MAX_NAMED)
}

impl Permissions {
    /// How many tables these patterns choose, all of which may be read.
    ///
    /// # Errors
    /// [`PermissionError`]: a chosen table may not be read, or is not to be seen.
    pub fn check(&self, patterns: &TablePatterns) -> Result<usize, PermissionError> {
        let user = self.user.clone();
        let patterns = &patterns.under(self.names);
        let chosen: Vec<&TablePermission> = self.tables.iter().filter(|it| patterns.allows(&it.table)).collect();
        let denied: Vec<TablePermission> =
            chosen.iter().filter(|it| !it.missing_grants.is_empty()).map(|it| (*it).clone()).collect();
        if !denied.is_empty() {
            return Err(PermissionError::Denied { user, chosen: chosen.len(), denied, code: self.codes.denied });
        }
        let hidden: Vec<String> = chosen.iter().filter(|it| it.hides_rows).map(|it| it.table.to_string()).collect();
        if !hidden.is_empty() {
            return Err(PermissionError::HiddenRows { user, chosen: chosen.len(), names: hidden });
        }
        let is_seen = |pattern: &datakit_model::TablePattern| {
            let only = TablePatterns::new(vec![pattern.clone()]).under(self.names);
            self.tables.iter().any(|it| only.allows(&it.table))
        };
        let by_name = patterns.patterns().iter().filter(|pattern| !pattern.is_exclusion() && pattern.is_literal());
        let names: Vec<String> = by_name.filter(|pattern| !is_seen(pattern)).map(ToString::to_string).collect();
        if !names.is_empty() {
            return Err(PermissionError::NotFound { user, names, code: self.codes.not_found });
        }
        if chosen.is_empty() {
            let (patterns, visible) = (patterns.to_string(), self.tables.len());
            return Err(PermissionError::NothingChosen { user, patterns, visible, code: self.codes.not_found });
        }
        Ok(chosen.len())
    }

    /// The same permissions of some of the tables.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&TableId) -> bool) -> Self {
        let tables = self.tables.iter().filter(|it| keep(&it.table)).cloned().collect();
        Self { tables, ..self.clone() }
    }

    /// The same permissions, of the tables that are read and for the columns that are.
    #[must_use]
    pub fn reading<'a>(&self, columns_of: impl Fn(&TableId) -> Option<&'a [String]>) -> Self {
        let read = |it: &TablePermission| {
            let columns = columns_of(&it.table)?;
            let mut it = it.clone();
            if !it.denied_columns.is_empty() && !it.denied_columns.iter().any(|denied| columns.contains(denied)) {
                it.missing_grants.clear();
            }
            Some(it)
        };
        Self { tables: self.tables.iter().filter_map(read).collect(), ..self.clone() }
    }
}

impl Diagnostic for PermissionError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Denied { code, .. } | Self::NotFound { code, .. } | Self::NothingChosen { code, .. } => {
                (*code).into()
            }
            // PostgreSQL alone.
            Self::HiddenRows { .. } => "DK-SRC-361".into(),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Source
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Denied { denied, .. } => {
                let mut statements: Vec<&str> =
                    denied.iter().flat_map(|table| &table.missing_grants).map(String::as_str).collect();
                // Of a schema once, whatever the number of its tables.
                let mut seen = std::collections::BTreeSet::new();
                statements.retain(|statement| seen.insert(*statement));
                let more = statements.len().saturating_sub(MAX_NAMED);
                statements.truncate(MAX_NAMED);
                let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
                let otherwise = if denied.iter().any(|table| !table.denied_columns.is_empty()) {
                    "leave the tables out of `tables`, or the columns out by the datakit's setting `columns`"
                } else {
                    "leave the tables out of `tables`"
                };
                // A name with a line end in it must not look like a statement of its own.
                let statements: Vec<_> = statements.into_iter().map(printable::line).collect();
                format!(
                    "have this done, or {otherwise}:\n  {}{more}\nwhere a DENY stands, it has to be revoked first",
                    statements.join("\n  ")
                )
            }
            Self::HiddenRows { .. } => ROW_SECURITY_HINT.to_owned(),
            Self::NotFound { .. } => {
                "check the spelling in `tables`; a login does not see what it has no permission on".to_owned()
            }
            Self::NothingChosen { .. } => {
                "check `tables`; a login does not see what it has no permission on; `host discover` lists what there is"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(tables: &[(&str, &[&str])]) -> Permissions {
        let table = |(name, grants): &(&str, &[&str])| TablePermission {
            table: TableId::new("dbo", *name),
            missing_grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
            denied_columns: Vec::new(),
            hides_rows: false,
        };
        let codes = Codes { denied: "DK-TST-001", not_found: "DK-TST-002" };
        Permissions {
            user: "svc".into(),
            tables: tables.iter().map(table).collect(),
            names: NameRule::default(),
            codes,
        }
    }

    fn patterns(texts: &[&str]) -> TablePatterns {
        TablePatterns::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_not_chosen_need_not_be_read() {
        let permissions = permissions(&[("a", &[]), ("b", &["GRANT b"])]);
        assert_eq!(permissions.check(&patterns(&["dbo.a"])).unwrap(), 1);
        assert_eq!(permissions.check(&patterns(&["dbo.*", "!dbo.b"])).unwrap(), 1);
    }

    #[test]
    fn each_missing_grant_is_named_once() {
        let permissions =
            permissions(&[("a", &["GRANT USAGE", "GRANT a"]), ("b", &["GRANT USAGE", "GRANT b"]), ("c", &[])]);
        let error = permissions.check(&patterns(&["*.*"])).unwrap_err();
        assert_eq!(error.to_string(), "`svc` may not read 2 of 3 chosen tables: dbo.a, dbo.b");
        let hint = error.hint().unwrap();
        assert!(hint.contains("\n  GRANT USAGE\n  GRANT a\n  GRANT b\n"), "{hint}");
        assert_eq!(permissions.only(|table| table.name == "c").check(&patterns(&["*.*"])).unwrap(), 1);
    }

    #[test]
    fn a_table_of_which_columns_are_refused_is_not_readable_unless_they_are_left_out() {
        let mut permissions = permissions(&[("a", &["GRANT a (x, y)"]), ("b", &[])]);
        permissions.tables[0].denied_columns = vec!["x".into(), "y".into()];
        let error = permissions.check(&patterns(&["*.*"])).unwrap_err();
        assert_eq!(error.to_string(), "`svc` may not read 1 of 2 chosen tables: dbo.a (columns `x`, `y`)");
        assert!(error.hint().unwrap().contains("the datakit's setting `columns`:\n  GRANT a (x, y)\n"));
        let reading = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
            permissions.reading(|_| Some(&columns)).check(&patterns(&["*.*"]))
        };
        assert!(reading(&["id", "y"]).is_err());
        assert_eq!(reading(&["id", "z"]).unwrap(), 2);
    }

    #[test]
    fn hidden_rows_of_a_chosen_table_are_an_error() {
        let mut permissions = permissions(&[("a", &[]), ("b", &[])]);
        permissions.tables[1].hides_rows = true;
        assert_eq!(permissions.check(&patterns(&["dbo.a"])).unwrap(), 1);
        let error = permissions.check(&patterns(&["*.*"])).unwrap_err();
        assert_eq!(error.to_string(), "row-level security hides rows of 1 of 2 chosen tables from `svc`: dbo.b");
        assert!(error.hint().unwrap().contains("row_security = \"filter\""));
    }

    #[test]
    fn a_name_that_nobody_sees_is_told_from_a_pattern_that_matches_nothing() {
        let permissions = permissions(&[("a", &[])]);
        let said = |texts: &[&str]| permissions.check(&patterns(texts)).unwrap_err().to_string();
        assert_eq!(said(&["dbo.a", "dbo.x"]), "chosen by name, and not there or hidden from `svc`: dbo.x");
        assert_eq!(said(&["sales.*"]), "none of the 1 tables that `svc` can see is chosen by `sales.*`");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..30).map(|number| format!("t{number}")).collect();
        let tables: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["GRANT x"] as &[&str])).collect();
        let said = permissions(&tables).check(&patterns(&["*.*"])).unwrap_err().to_string();
        assert!(said.ends_with("dbo.t19 and 10 more"), "{said}");
    }
}
