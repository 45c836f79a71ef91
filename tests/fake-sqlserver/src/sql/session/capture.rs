//! `sys.sp_cdc_…`: what turns change data capture on and off.

use super::SqlSession;
use super::own::Arguments;
use crate::sql::bind::{Binder, named_object};
use crate::sql::capture;
use crate::sql::catalog::{Access, CatalogColumn, Object, ObjectKind, define};
use crate::sql::switches::{Capture, CommandId};
use crate::sql::{catalog, collate, errors, log, types};
use crate::values::{Column, Length, SqlError, SqlType};

/// Name of the schema of all that belongs to change data capture.
const SCHEMA: &str = "cdc";

impl SqlSession {
    pub(super) fn enable_capture(&mut self) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| self.write_error(&error);
        if !catalog::option(&self.connection, capture::ENABLED).map_err(storage)? {
            define::add_schema(&self.connection, SCHEMA).map_err(storage)?;
            log::set_value(&self.connection, capture::ENABLED, 1).map_err(storage)?;
        }
        Ok(())
    }

    pub(super) fn disable_capture(&mut self) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let instances: Vec<i64> = self
            .connection
            .prepare("SELECT object_id FROM __cdc_instances")
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
            .map_err(storage)?;
        for instance in instances {
            capture::disable(&self.connection, instance).map_err(storage)?;
        }
        log::set_value(&self.connection, capture::ENABLED, 0).map_err(storage)?;
        self.execute_batch(&format!(
            "DELETE FROM __cdc_times; DELETE FROM __cdc_commits; DELETE FROM __schemas WHERE name = '{SCHEMA}'"
        ))
    }

    fn captured_source(&self, arguments: &Arguments<'_>) -> Result<Object, SqlError> {
        if !catalog::option(&self.connection, capture::ENABLED).map_err(|error| errors::storage(&error))? {
            let text = format!(
                "The database '{}' is not enabled for Change Data Capture. Ensure that the correct database context is set \
                 and retry the operation.",
                self.surroundings.database
            );
            return Err(SqlError::new(22_901, text));
        }
        let schema = arguments.needed("@source_schema", 0)?;
        let table = arguments.needed("@source_name", 1)?;
        let quoted = |name: &str| format!("[{}]", name.replace(']', "]]"));
        let name = format!("{}.{}", quoted(&schema), quoted(&table));
        let name = named_object(&name).ok_or_else(|| errors::invalid_object(&name))?;
        let object = Binder::new(&self.connection, &[], &self.surroundings).object(&name)?;
        match object.kind {
            ObjectKind::Table => Ok(object),
            _ => Err(errors::invalid_object(&object.full_name())),
        }
    }

    /// `sys.sp_cdc_enable_table`
    pub(super) fn capture_table(&mut self, arguments: &Arguments<'_>) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let source = self.captured_source(arguments)?;
        self.refuse_while_locked(&source)?;
        let name =
            arguments.text("@capture_instance", 3)?.unwrap_or_else(|| format!("{}_{}", source.schema, source.name));
        if capture::find(&self.connection, &name).map_err(storage)?.is_some() {
            let text = format!(
                "Could not create a capture instance because the capture instance name '{name}' already exists in the current \
                 database. Specify an explicit unique name for the parameter @capture_instance."
            );
            return Err(SqlError::new(22_926, text));
        }
        if capture::of_source(&self.connection, source.id).map_err(storage)?.len() > 1 {
            let text = format!(
                "Two capture instances already exist for source table '{}'. A table can have at most two capture instances. If \
                 the current tracking options are not appropriate, disable change tracking for the obsolete instance by using \
                 sys.sp_cdc_disable_table and retry the operation.",
                source.full_name()
            );
            return Err(SqlError::new(22_962, text));
        }
        let index_name = arguments.text("@index_name", 5)?;
        let key = self.capture_key(&source, index_name.as_deref())?;
        let nets = match arguments.text("@supports_net_changes", 4)? {
            Some(text) => text == "1",
            None => !key.is_empty(),
        };
        if nets && key.is_empty() {
            let text = "The parameter @supports_net_changes is set to 1, but the source table does not have a primary key \
                        defined and no alternate unique index has been specified.";
            return Err(SqlError::new(22_939, text));
        }
        let columns = captured_columns(&source, arguments.text("@captured_column_list", 6)?.as_deref())?;
        let has_command_id = self.shared.switches().command_id == CommandId::Present;
        let change_table = self.create_change_table(&name, &columns, has_command_id)?;
        let enabled_at = log::next_number(&self.connection).map_err(storage)?;
        self.connection
            .execute(
                "INSERT INTO __cdc_instances VALUES (?1, ?2, ?3, NULL, ?4, ?5, ?6, ?7, ?8, NULL, ?9, 1)",
                rusqlite::params![
                    change_table,
                    source.id,
                    name,
                    enabled_at,
                    nets,
                    has_command_id,
                    arguments.text("@role_name", 2)?,
                    index_name.or_else(|| source.primary_key.as_ref().map(|(name, _)| name.clone())),
                    self.created()
                ],
            )
            .and_then(|_| describe(&self.connection, change_table, &columns, &key))
            .map_err(|error| self.write_error(&error))?;
        if self.shared.switches().capture == Capture::AtOnce {
            self.scan()?;
            // The low end is handled, too: from now on there is something to ask for.
            capture::idle(&self.connection, self.created()).map_err(|error| self.write_error(&error))?;
        }
        Ok(())
    }

    fn capture_key(&self, source: &Object, index: Option<&str>) -> Result<Vec<CatalogColumn>, SqlError> {
        let ids: Vec<i64> = match index {
            None => source.primary_key.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default(),
            Some(index) => self
                .connection
                .prepare(
                    "SELECT x.column_id FROM __indexes i JOIN __index_columns x ON x.object_id = i.object_id AND \
                     x.index_id = i.index_id WHERE i.object_id = ?1 AND i.name = ?2 AND i.is_unique ORDER BY x.key_ordinal",
                )
                .and_then(|mut columns| {
                    columns.query_map(rusqlite::params![source.id, index], |row| row.get(0))?.collect()
                })
                .map_err(|error| errors::storage(&error))?,
        };
        Ok(ids.iter().filter_map(|id| source.columns.iter().find(|column| column.id == *id)).cloned().collect())
    }

    /// `cdc.<capture_instance>_CT`
    fn create_change_table(
        &mut self,
        instance: &str,
        captured: &[CatalogColumn],
        has_command_id: bool,
    ) -> Result<i64, SqlError> {
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let lsn = SqlType::Binary { length: 10 };
        let mut columns = vec![
            Column::new("__$start_lsn", lsn).not_null(),
            Column::new("__$end_lsn", lsn),
            Column::new("__$seqval", lsn).not_null(),
            Column::new("__$operation", SqlType::Int).not_null(),
            Column::new("__$update_mask", SqlType::VarBinary(Length::Limited(128))),
        ];
        columns.extend(captured.iter().map(|column| {
            let sql_type = match column.column.sql_type {
                SqlType::RowVersion => SqlType::Binary { length: 8 },
                other => other,
            };
            Column::new(column.column.name.clone(), sql_type)
        }));
        if has_command_id {
            columns.push(Column::new("__$command_id", SqlType::Int));
        }
        let columns = (1..)
            .zip(columns)
            .map(|(id, column)| CatalogColumn { id, column, default: None, identity: None, access: Access::Open })
            .collect();
        let schema_id = catalog::schema_id(&self.connection, SCHEMA).map_err(storage)?.unwrap_or(1);
        let object = Object {
            id: define::next_object_id(&self.connection).map_err(storage)?,
            schema: SCHEMA.to_owned(),
            name: format!("{instance}_CT"),
            kind: ObjectKind::Table,
            columns,
            primary_key: None,
        };
        define::add_object(&self.connection, schema_id, &object, "U ", None, self.created()).map_err(storage)?;
        super::create::create_physical(&self.connection, &object, &[]).map_err(storage)?;
        define::add_heap(&self.connection, object.id).map_err(storage)?;
        Ok(object.id)
    }

    /// `sys.sp_cdc_disable_table`
    pub(super) fn release_table(&mut self, arguments: &Arguments<'_>) -> Result<(), SqlError> {
        let source = self.captured_source(arguments)?;
        let wanted = arguments.needed("@capture_instance", 2)?;
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let mut found = false;
        for instance in capture::of_source(&self.connection, source.id).map_err(storage)? {
            let is_named =
                capture::find(&self.connection, &wanted).map_err(storage)?.is_some_and(|own| own.id == instance.id);
            if is_named || collate::same(&wanted, "all") {
                capture::disable(&self.connection, instance.id).map_err(storage)?;
                found = true;
            }
        }
        if found {
            return Ok(());
        }
        let text = format!(
            "The specified capture instance '{wanted}' does not exist for the source table '{}'.",
            source.full_name()
        );
        Err(SqlError::new(22_960, text))
    }

    /// `sys.sp_cdc_scan`
    pub(super) fn scan(&self) -> Result<(), SqlError> {
        capture::scan(&self.connection, self.shared.switches()).map_err(|error| self.write_error(&error))
    }

    /// `sys.sp_cdc_cleanup_change_table`; without an instance, the clean-up of all.
    pub(super) fn clean_captured(&self, instance: Option<&str>, low: Option<Vec<u8>>) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let id = match instance {
            None => None,
            Some(name) => {
                let found = capture::find(&self.connection, name).map_err(storage)?;
                Some(found.ok_or_else(|| errors::invalid_object(&format!("cdc.{name}_CT")))?.id)
            }
        };
        let Some(low) = low.map_or_else(|| capture::max_lsn(&self.connection).map_err(storage), |low| Ok(Some(low)))?
        else {
            return Ok(());
        };
        capture::clean_up(&self.connection, id, &low).map_err(storage)
    }
}

/// The columns to capture: those of a list of names, or all.
fn captured_columns(source: &Object, list: Option<&str>) -> Result<Vec<CatalogColumn>, SqlError> {
    let Some(list) = list else { return Ok(source.columns.clone()) };
    let names: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches(['[', ']'])).collect();
    if let Some(unknown) = names.iter().find(|name| source.column(name).is_none()) {
        return Err(errors::invalid_column(unknown));
    }
    let is_named = |column: &&CatalogColumn| names.iter().any(|name| collate::same(name, &column.column.name));
    Ok(source.columns.iter().filter(is_named).cloned().collect())
}

fn describe(
    connection: &rusqlite::Connection,
    change_table: i64,
    columns: &[CatalogColumn],
    key: &[CatalogColumn],
) -> rusqlite::Result<()> {
    for (ordinal, column) in (1_i64..).zip(columns) {
        let sql_type = column.column.sql_type;
        connection.execute(
            "INSERT INTO __cdc_columns VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            rusqlite::params![
                change_table,
                column.id,
                column.column.name,
                types::declaration(sql_type),
                types::facts(sql_type).name,
                ordinal
            ],
        )?;
    }
    for (ordinal, column) in (1_i64..).zip(key) {
        connection.execute(
            "INSERT INTO __cdc_index_columns VALUES (?1, ?2, ?3, ?4)",
            rusqlite::params![change_table, column.id, column.column.name, ordinal],
        )?;
    }
    Ok(())
}
