//! Procedures that change the database or the fake SQL Server itself, and statements that are read as such.

use super::SqlSession;
use crate::engine::Parameter;
use crate::sql::{SqlEngine, capture, catalog, collate, convert, errors, log};
use crate::values::{Length, SqlError, SqlType, Value};

/// The arguments of a call.
pub(super) struct Arguments<'a> {
    procedure: &'a str,
    given: &'a [Parameter],
}

impl<'a> Arguments<'a> {
    /// Those of a procedure.
    pub(super) fn new(procedure: &'a str, given: &'a [Parameter]) -> Self {
        Self { procedure, given }
    }

    /// An argument by name or place, in a type; null where it is not given.
    fn value(&self, name: &str, at: usize, target: SqlType) -> Result<Value, SqlError> {
        let named = self.given.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name));
        match named.or_else(|| self.given.get(at).filter(|parameter| parameter.name.is_empty())) {
            Some(parameter) => convert::convert(parameter.value.clone(), parameter.sql_type, target, None),
            None => Ok(Value::Null),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str, at: usize) -> Result<Option<String>, SqlError> {
        match self.value(name, at, SqlType::NVarChar(Length::Max))? {
            Value::Text(text) => Ok(Some(text)),
            _ => Ok(None),
        }
    }

    /// An LSN.
    fn lsn(&self, name: &str, at: usize) -> Result<Option<Vec<u8>>, SqlError> {
        match self.value(name, at, SqlType::Binary { length: 10 })? {
            Value::Bytes(lsn) => Ok(Some(lsn)),
            _ => Ok(None),
        }
    }

    /// A number; 0 where it is not given.
    fn number(&self, name: &str, at: usize) -> Result<i64, SqlError> {
        match self.value(name, at, SqlType::BigInt)? {
            Value::Int(number) => Ok(number),
            _ => Ok(0),
        }
    }

    /// A text that must be given.
    pub(super) fn needed(&self, name: &str, at: usize) -> Result<String, SqlError> {
        self.text(name, at)?.ok_or_else(|| {
            let procedure = self.procedure;
            SqlError::new(
                201,
                format!("Procedure or function '{procedure}' expects parameter '{name}', which was not supplied."),
            )
        })
    }
}

impl SqlSession {
    /// Runs a procedure; false where there is none of this name.
    pub(super) fn own_call(&mut self, name: &str, given: &[Parameter]) -> Result<bool, SqlError> {
        let arguments = Arguments::new(name, given);
        match name {
            "__alter_database" => self.defining(|session| session.alter_database(&arguments))?,
            "__alter_column" => {
                let (table, column) = (arguments.needed("@table", 0)?, arguments.needed("@column", 1)?);
                let definition = arguments.needed("@definition", 2)?;
                self.defining(|session| session.alter_column(&table, &column, &definition))?;
            }
            "sp_rename" => {
                let (name, new) = (arguments.needed("@objname", 0)?, arguments.needed("@newname", 1)?);
                let kind = arguments.text("@objtype", 2)?;
                self.defining(|session| session.rename(&name, &new, kind.as_deref()))?;
            }
            "__change_tracking" => self.defining(|session| session.track_table(&arguments))?,
            "__save_transaction" => self.save_transaction(&arguments.needed("@name", 0)?)?,
            "__roll_back_to" => self.roll_back_to(&arguments.needed("@name", 0)?)?,
            "sp_cdc_enable_db" => self.defining(|session| session.enable_capture())?,
            "sp_cdc_disable_db" => self.defining(|session| session.disable_capture())?,
            "sp_cdc_enable_table" => self.defining(|session| session.capture_table(&arguments))?,
            "sp_cdc_disable_table" => self.defining(|session| session.release_table(&arguments))?,
            "sp_cdc_scan" => self.defining(|session| session.scan())?,
            "sp_cdc_cleanup_change_table" => {
                let instance = arguments.needed("@capture_instance", 0)?;
                let low = arguments.lsn("@low_water_mark", 1)?;
                self.defining(|session| session.clean_captured(Some(&instance), low.clone()))?;
            }
            "fake_clean_captured" => {
                let low = arguments.lsn("@low_water_mark", 0)?;
                self.defining(|session| session.clean_captured(None, low.clone()))?;
            }
            "fake_idle" => self.defining(|session| {
                capture::idle(&session.connection, session.created()).map_err(|error| session.write_error(&error))
            })?,
            "fake_clean_tracked" => {
                let (table, version) = (arguments.text("@table", 1)?, arguments.number("@version", 0)?);
                self.engine().clean_change_tracking(table.as_deref(), version)?;
            }
            "fake_set_change_tracking_version" => {
                self.engine().set_change_tracking_version(arguments.number("@version", 0)?)?;
            }
            "fake_set_row_version" => self.engine().set_last_row_version(arguments.number("@last", 0)?)?,
            "fake_deny" => {
                let (permission, table) = (arguments.needed("@permission", 0)?, arguments.needed("@table", 1)?);
                let denied = arguments.number("@denied", 2)? != 0;
                match permission.to_uppercase().as_str() {
                    "SELECT" => self.engine().set_denied(&table, denied),
                    "VIEW CHANGE TRACKING" => self.engine().set_tracking_denied(&table, denied),
                    _ => return Err(errors::unsupported(format_args!("to deny {permission}"))),
                }
            }
            "fake_switch" => {
                let (switch, value) = (arguments.needed("@switch", 0)?, arguments.needed("@value", 1)?);
                let mut switches = self.shared.switches();
                switches.set(&switch, &value).map_err(errors::unsupported)?;
                self.shared.set_switches(|own| *own = switches);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn engine(&self) -> SqlEngine {
        SqlEngine::of(std::sync::Arc::clone(&self.shared))
    }

    /// `ALTER DATABASE name SET option`
    fn alter_database(&mut self, arguments: &Arguments<'_>) -> Result<(), SqlError> {
        let database = arguments.needed("@database", 0)?;
        if !collate::same(&database, &self.surroundings.database) && !database.eq_ignore_ascii_case("CURRENT") {
            return Err(errors::no_such_database(&database));
        }
        let option = arguments.needed("@option", 1)?.to_uppercase();
        let value = arguments.needed("@value", 2)?.to_uppercase();
        let name = match option.as_str() {
            "CHANGE_TRACKING" => {
                return self.track_database(&value, &arguments.text("@details", 3)?.unwrap_or_default());
            }
            "ALLOW_SNAPSHOT_ISOLATION" => catalog::SNAPSHOT_ISOLATION,
            "READ_COMMITTED_SNAPSHOT" => catalog::READ_COMMITTED_SNAPSHOT,
            _ => return Err(errors::unsupported(format_args!("ALTER DATABASE with '{option}'"))),
        };
        let on = match value.as_str() {
            "ON" => 1,
            "OFF" => 0,
            _ => return Err(errors::syntax_near(&value)),
        };
        log::set_value(&self.connection, name, on).map_err(|error| self.write_error(&error))
    }
}
