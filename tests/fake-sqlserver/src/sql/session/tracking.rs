//! ALTER DATABASE and ALTER TABLE for change tracking.

use super::SqlSession;
use super::own::Arguments;
use crate::sql::bind::{Binder, named_object};
use crate::sql::catalog::ObjectKind;
use crate::sql::{errors, log, tracking};
use crate::values::SqlError;

impl SqlSession {
    /// `SET CHANGE_TRACKING = ON (…)`, `= OFF`, or `(…)` alone.
    pub(super) fn track_database(&mut self, value: &str, details: &str) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let is_on = log::value_of(&self.connection, tracking::ENABLED).map_err(storage)? != 0;
        let database = self.surroundings.database.clone();
        match value {
            "ON" if is_on => {
                let text = format!("Change tracking is already enabled for database '{database}'.");
                return Err(SqlError::new(5088, text));
            }
            "ON" => {
                for (name, value) in [(tracking::ENABLED, 1), (tracking::RETENTION, 2), (tracking::RETENTION_UNIT, 3)] {
                    self.set_number(name, value)?;
                }
                self.set_number(tracking::AUTO_CLEANUP, 1)?;
            }
            "OFF" if tracking::tracked_tables(&self.connection).map_err(storage)? > 0 => {
                let text = format!(
                    "Change tracking is enabled for one or more tables in database '{database}'. Disable change tracking on \
                     each table before disabling it for the database."
                );
                return Err(SqlError::new(22_115, text));
            }
            "OFF" => return self.set_number(tracking::ENABLED, 0),
            "" if is_on => {}
            _ => return Err(errors::syntax_near(value)),
        }
        for (option, value) in settings(details) {
            match (option.as_str(), value.split_whitespace().collect::<Vec<_>>().as_slice()) {
                ("AUTO_CLEANUP", [on]) => self.set_number(tracking::AUTO_CLEANUP, i64::from(*on == "ON"))?,
                ("CHANGE_RETENTION", [period, unit]) => {
                    let unit = ["MINUTES", "HOURS", "DAYS"].iter().position(|name| name == unit);
                    let (Ok(period), Some(unit)) = (period.parse(), unit) else {
                        return Err(errors::syntax_near(&value));
                    };
                    self.set_number(tracking::RETENTION, period)?;
                    self.set_number(tracking::RETENTION_UNIT, i64::try_from(unit).unwrap_or(0) + 1)?;
                }
                _ => return Err(errors::syntax_near(&option)),
            }
        }
        Ok(())
    }

    pub(super) fn set_number(&self, name: &str, value: i64) -> Result<(), SqlError> {
        log::set_value(&self.connection, name, value).map_err(|error| self.write_error(&error))
    }

    /// `ALTER TABLE name ENABLE | DISABLE CHANGE_TRACKING`
    pub(super) fn track_table(&mut self, arguments: &Arguments<'_>) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let shown = arguments.needed("@table", 0)?;
        let object = Binder::new(&self.connection, &[], &self.surroundings)
            .object(&named_object(&shown).ok_or_else(|| errors::syntax_near(&shown))?)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(errors::invalid_object(&object.full_name()));
        }
        self.refuse_while_locked(&object)?;
        let is_tracked = tracking::is_tracked(&self.connection, object.id).map_err(storage)?;
        if arguments.needed("@verb", 1)? == "DISABLE" {
            if !is_tracked {
                let text = format!("Change tracking is not enabled on table '{}'.", object.name);
                return Err(SqlError::new(4998, text));
            }
            self.shared.defined(object.id);
            return tracking::disable(&self.connection, object.id).map_err(|error| self.write_error(&error));
        }
        if log::value_of(&self.connection, tracking::ENABLED).map_err(storage)? == 0 {
            let text = format!(
                "Change tracking is disabled for database '{}'. Change tracking must be enabled on a database to enable \
                 change tracking on a table.",
                self.surroundings.database
            );
            return Err(SqlError::new(5088, text));
        }
        if is_tracked {
            return Err(SqlError::new(
                4996,
                format!("Change tracking is already enabled for table '{}'.", object.name),
            ));
        }
        if object.primary_key.is_none() {
            let text = format!(
                "Cannot enable change tracking on table '{}'. Change tracking requires a primary key on the table. Create a \
                 primary key on the table before enabling change tracking.",
                object.name
            );
            return Err(SqlError::new(4997, text));
        }
        let details = settings(&arguments.needed("@details", 2)?);
        let tracks_columns = details.iter().any(|(name, value)| name == "TRACK_COLUMNS_UPDATED" && value == "ON");
        self.shared.defined(object.id);
        tracking::enable(&self.connection, object.id, tracks_columns).map_err(|error| self.write_error(&error))
    }
}

/// `A = 1 , B = ON` as pairs, in upper case.
fn settings(details: &str) -> Vec<(String, String)> {
    let upper = details.to_uppercase();
    let pairs = upper.split(',').filter_map(|part| part.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}
