//! Which rows of the sink are those of now.

use datakit_model::datakit::RoleColumns;
use datakit_model::sink::WriteMode;
use uuid::Uuid;

use super::held::Reduction;

/// Which rows of the sink are compared with the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All rows.
    AllRows,
    /// The rows of the last load: each load has added all rows of the source.
    LastLoad,
    /// Of each key the last change, unless that is a delete.
    LastChanges,
}

/// The scope, and what it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) scope: Scope,
    /// The load whose rows count; none: those of all loads.
    pub(super) load: Option<Uuid>,
}

impl Rows {
    const ALL: Self = Self { scope: Scope::AllRows, load: None };

    pub(super) fn reduction(self) -> Reduction {
        if self.scope == Scope::LastChanges { Reduction::Latest } else { Reduction::Sum }
    }
}

/// What is known of the sink's table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded<'a> {
    /// How loads write into it.
    pub(super) mode: WriteMode,
    /// The columns of the host that it has.
    pub(super) roles: &'a RoleColumns,
    pub(super) has_key: bool,
    /// A column says when each row was loaded.
    pub(super) has_load_time: bool,
    /// How many loads it has had; none: nobody knows.
    pub(super) loads: Option<i64>,
    /// The id of the last load; none: nobody knows.
    pub(super) last_load: Option<Uuid>,
    /// A load goes on from the last one, and adds what is new.
    pub(super) goes_on: bool,
}

impl Loaded<'_> {
    /// The rows that count.
    ///
    /// # Errors
    /// Why nobody can tell them from others.
    pub(super) fn rows(&self) -> Result<Rows, String> {
        let is_first = self.loads.is_some_and(|loads| loads <= 1);
        match (self.mode, &self.roles.operation) {
            (WriteMode::Overwrite | WriteMode::Merge, _) => Ok(Rows::ALL),
            // A first load holds each row once.
            _ if is_first && (self.roles.operation.is_none() || !self.has_key) => Ok(Rows::ALL),
            (WriteMode::Append, Some(_)) => self.last_changes(),
            (WriteMode::Append, None) if self.goes_on => Ok(Rows::ALL),
            (WriteMode::Append, None) => self.last_load(),
        }
    }

    fn last_changes(&self) -> Result<Rows, String> {
        let missing = match (self.has_key, self.has_load_time && self.roles.version.is_some()) {
            (true, true) => return Ok(Rows { scope: Scope::LastChanges, load: None }),
            (false, _) => "its rows are changes, and the table has no key",
            (true, false) => "its rows are changes, and no column says in which order they were loaded",
        };
        Err(missing.to_owned())
    }

    fn last_load(&self) -> Result<Rows, String> {
        let load = self.last_load.filter(|_| self.roles.load_id.is_some());
        let load = load.ok_or("it holds the rows of several loads, and no column says which row is of which load")?;
        Ok(Rows { scope: Scope::LastLoad, load: Some(load) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(load_id: bool, operation: bool) -> RoleColumns {
        let name = |is_there: bool, name: &str| is_there.then(|| name.to_owned());
        RoleColumns {
            load_id: name(load_id, "load"),
            operation: name(operation, "operation"),
            version: name(operation, "version"),
            ..RoleColumns::default()
        }
    }

    fn loaded(roles: &RoleColumns, loads: i64, goes_on: bool) -> Loaded<'_> {
        Loaded {
            mode: WriteMode::Append,
            roles,
            has_key: true,
            has_load_time: true,
            loads: Some(loads),
            last_load: Some(Uuid::from_u128(7)),
            goes_on,
        }
    }

    fn scope(loaded: &Loaded<'_>) -> Result<Scope, String> {
        loaded.rows().map(|rows| rows.scope)
    }

    #[test]
    fn rows_that_count_depend_on_how_they_were_written() {
        let (plain, changes) = (roles(true, false), roles(true, true));
        for mode in [WriteMode::Overwrite, WriteMode::Merge] {
            assert_eq!(scope(&Loaded { mode, ..loaded(&changes, 3, true) }), Ok(Scope::AllRows));
        }
        assert_eq!(scope(&loaded(&plain, 1, false)), Ok(Scope::AllRows), "one load is all there is");
        assert_eq!(scope(&loaded(&plain, 3, true)), Ok(Scope::AllRows), "files are loaded once");
        assert_eq!(scope(&loaded(&plain, 3, false)), Ok(Scope::LastLoad));
        assert_eq!(scope(&Loaded { loads: None, ..loaded(&plain, 1, false) }), Ok(Scope::LastLoad));
        assert_eq!(scope(&loaded(&changes, 3, true)), Ok(Scope::LastChanges));
        assert_eq!(scope(&Loaded { has_key: false, ..loaded(&changes, 1, true) }), Ok(Scope::AllRows));
    }

    #[test]
    fn rows_that_nobody_can_tell_apart_are_not_compared() {
        let (nothing, plain, changes) = (roles(false, false), roles(true, false), roles(true, true));
        let reason = |loaded: Loaded<'_>| scope(&loaded).unwrap_err();
        assert!(reason(loaded(&nothing, 3, false)).contains("several loads"));
        assert!(reason(Loaded { last_load: None, ..loaded(&plain, 3, false) }).contains("several loads"));
        assert!(reason(Loaded { has_key: false, ..loaded(&changes, 2, true) }).contains("no key"));
        assert!(reason(Loaded { has_load_time: false, ..loaded(&changes, 2, true) }).contains("in which order"));
    }
}
