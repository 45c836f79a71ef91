//! SET and USE.

use sqlparser::ast::{ObjectName, Set, SetSessionParamKind, TransactionIsolationLevel, TransactionMode, Use};

use super::{Flow, SqlSession};
use crate::engine::{Event, Output};
use crate::sql::bind::{Variable, name_parts};
use crate::sql::isolation::Isolation;
use crate::sql::{collate, errors};
use crate::values::SqlError;

/// Options that change nothing here, but that every client sets.
const ACCEPTED: [&str; 24] = [
    "ANSI_DEFAULTS",
    "ANSI_NULLS",
    "ANSI_NULL_DFLT_OFF",
    "ANSI_NULL_DFLT_ON",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "ARITHABORT",
    "ARITHIGNORE",
    "CONCAT_NULL_YIELDS_NULL",
    "CONTEXT_INFO",
    "CURSOR_CLOSE_ON_COMMIT",
    "DATEFIRST",
    "DATEFORMAT",
    "DEADLOCK_PRIORITY",
    "FMTONLY",
    "LANGUAGE",
    "NOEXEC",
    "NUMERIC_ROUNDABORT",
    "PARSEONLY",
    "QUOTED_IDENTIFIER",
    "REMOTE_PROC_TRANSACTIONS",
    "ROWCOUNT",
    "TEXTSIZE",
    "XACT_ABORT",
];

impl SqlSession {
    pub(super) fn apply_setting(&mut self, set: &Set, variables: &mut [Variable]) -> Result<(), SqlError> {
        match set {
            Set::SingleAssignment { variable, values, .. } => {
                match (name_parts(variable)?.as_slice(), values.as_slice()) {
                    ([name], [expression]) if name.starts_with('@') => self.set_to(name, expression, variables),
                    _ => Err(errors::syntax_near("=")),
                }
            }
            Set::SetTransaction { modes, snapshot: None, session: false } => {
                for mode in modes {
                    let TransactionMode::IsolationLevel(level) = mode else { return Err(errors::syntax_near("READ")) };
                    self.surroundings.isolation = match level {
                        TransactionIsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
                        TransactionIsolationLevel::ReadCommitted => Isolation::ReadCommitted,
                        TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                        TransactionIsolationLevel::Serializable => Isolation::Serializable,
                        TransactionIsolationLevel::Snapshot => Isolation::Snapshot,
                    };
                }
                Ok(())
            }
            Set::SetSessionParam(SetSessionParamKind::Generic(setting)) => {
                for name in &setting.names {
                    self.set_option(name, &setting.value)?;
                }
                Ok(())
            }
            Set::SetSessionParam(SetSessionParamKind::IdentityInsert(setting)) => {
                let object = self.object(&setting.obj)?;
                let on = setting.value.to_string().eq_ignore_ascii_case("ON");
                self.identity_insert = on.then_some(object.id);
                Ok(())
            }
            Set::SetSessionParam(_) => Ok(()),
            other => Err(errors::unsupported(format_args!("'{other}'"))),
        }
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let upper = name.to_ascii_uppercase();
        match upper.as_str() {
            "NOCOUNT" => self.no_count = value.eq_ignore_ascii_case("ON"),
            "IMPLICIT_TRANSACTIONS" => self.implicit = value.eq_ignore_ascii_case("ON"),
            "LOCK_TIMEOUT" => {
                let milliseconds = value.replace(' ', "").parse().map_err(|_| errors::syntax_near(value))?;
                self.surroundings.lock_timeout = milliseconds;
            }
            _ if ACCEPTED.contains(&upper.as_str()) => {}
            _ => {
                return Err(SqlError::new(195, format!("'{name}' is not a recognized SET option."))
                    .with_class(15)
                    .with_state(5));
            }
        }
        Ok(())
    }

    pub(super) fn use_database(&mut self, name: &Use, out: Output<'_>) -> Result<Flow, SqlError> {
        let (Use::Object(name) | Use::Database(name)) = name else { return Err(errors::syntax_near("USE")) };
        let database = single_part(name)?;
        if !collate::same(&database, &self.surroundings.database) {
            return Err(errors::no_such_database(&database));
        }
        if out(Event::Database(self.surroundings.database.clone())).is_break() {
            return Ok(Flow::Stop);
        }
        Ok(self.done(None, out))
    }
}

pub(super) fn single_part(name: &ObjectName) -> Result<String, SqlError> {
    match name_parts(name)?.as_slice() {
        [part] => Ok(part.clone()),
        _ => Err(errors::syntax_near(".")),
    }
}
