//! Connections by role, queries, and their rows.

use datakit_model::memory::Starved;
use datakit_model::source::{Access, Query};
use datakit_model::{Failure, TrackedBatch};
use wasmtime::component::Resource;

use crate::bindings::connections::{Host, HostConnection, HostReader, QueryOptions};
use crate::bindings::types::{Error, ErrorKind, Field, Value};
use crate::convert::{Text, fields_to_wire, options_from_wire, value_from_wire};
use crate::error::{Limit, WasmError};
use crate::state::{BatchHandle, ConnectionHandle, ReaderHandle, State};
use datakit_columnar::{schema_to_wire, wire_units};

impl Host for State {}

impl HostConnection for State {
    async fn open(&mut self, role: String) -> wasmtime::Result<Result<Resource<ConnectionHandle>, Error>> {
        let call = self.budget.host_call()?;
        let opened = self.connect(&role).await?;
        self.budget.host_call_ended(call);
        match opened {
            Ok(handle) => Ok(Ok(self.push(handle)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn kind(&mut self, connection: Resource<ConnectionHandle>) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let kind = self.table.get(&connection)?.kind.to_owned();
        self.budget.host_call_ended(call);
        Ok(kind)
    }

    async fn query(
        &mut self,
        connection: Resource<ConnectionHandle>,
        sql: String,
        parameters: Vec<Value>,
        options: QueryOptions,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let call = self.budget.host_call()?;
        self.check_query(&sql, parameters.len())?;
        let query = Query {
            sql,
            parameters: parameters.into_iter().map(value_from_wire).collect(),
            options: options_from_wire(options),
        };
        // Waiting for the budget with a reservation in hand could wait for itself.
        self.release_covering();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, handle) = (self.starved(), self.table.get(&connection)?);
        let memory = handle.memory.clone();
        let started = memory.holding(held_bytes, &idle, handle.connection.query(query)).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        match started {
            Ok(mut reader) => {
                let (schema, number) = (reader.schema(), self.begin_reader(memory));
                let report = reader.report();
                self.note_snapshot(report.snapshot.clone());
                self.note_report(number, report)?;
                Ok(Ok(self.push(ReaderHandle { reader, schema, number, ended: false })?))
            }
            Err(failure) => Ok(Err(self.failures.guest_error(failure))),
        }
    }

    async fn drop(&mut self, connection: Resource<ConnectionHandle>) -> wasmtime::Result<()> {
        self.delete(connection)?;
        Ok(())
    }
}

impl HostReader for State {
    async fn schema(&mut self, reader: Resource<ReaderHandle>) -> wasmtime::Result<Vec<Field>> {
        let call = self.budget.host_call()?;
        let fields = schema_to_wire(&self.table.get(&reader)?.schema);
        self.budget.charge_work(wire_units(&fields))?;
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn next(
        &mut self,
        reader: Resource<ReaderHandle>,
    ) -> wasmtime::Result<Result<Option<Resource<BatchHandle>>, Error>> {
        let call = self.budget.host_call()?;
        self.release_covering();
        let read = self.read_next(&reader).await?;
        self.budget.host_call_ended(call);
        match read {
            Ok(Some(rows)) => {
                self.read(&rows);
                Ok(Ok(Some(self.push_batch(rows)?)))
            }
            Ok(None) => Ok(Ok(None)),
            Err(failure) => Ok(Err(self.failures.guest_error(failure))),
        }
    }

    async fn drop(&mut self, reader: Resource<ReaderHandle>) -> wasmtime::Result<()> {
        let number = self.delete(reader)?.number;
        self.end_reader(number)?;
        Ok(())
    }
}

impl State {
    /// Opens what the operator mapped to a declared role. Refusals are errors the guest may handle.
    async fn connect(&mut self, role: &str) -> Result<Result<ConnectionHandle, Error>, WasmError> {
        let session = self.session("connection.open")?;
        let Some(declared) = self.roles.iter().find(|declared| declared.name == role) else {
            let declared: Vec<String> = self.roles.iter().map(|role| format!("`{}`", role.name)).collect();
            let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
            let role = Text::name(role).into_inner();
            return Ok(Err(self.deny(WasmError::UndeclaredRole { role, declared })));
        };
        let Some(source) = session.roles.get(role) else {
            return Ok(Err(self.deny(WasmError::UnmappedRole { role: role.to_owned() })));
        };
        let kind = source.kind();
        if !declared.kinds.iter().any(|fits| fits == kind) {
            let (found, needed) = (kind.to_owned(), declared.kinds.join(" or "));
            return Ok(Err(self.deny(WasmError::RoleKind { role: role.to_owned(), found, needed })));
        }
        // One reader of a connection at a time.
        let memory = session.memory.for_reader();
        let access =
            Access { tables: session.tables.clone(), run_id: session.run.run_id.clone(), memory: memory.clone() };
        match source.connect(access).await {
            Ok(connection) => Ok(Ok(ConnectionHandle { kind, connection, memory })),
            Err(failure) => Ok(Err(self.failures.guest_error(failure))),
        }
    }

    /// A wait of this call that has no end.
    fn starved(&self) -> impl FnOnce(Starved) -> WasmError + use<> {
        let call = self.call();
        move |Starved { held_bytes, capacity_bytes }| WasmError::Starved { call, held_bytes, capacity_bytes }
    }

    fn deny(&mut self, error: WasmError) -> Error {
        Error { kind: ErrorKind::Denied, ..self.failures.guest_error(Failure::from(error)) }
    }

    fn check_query(&self, sql: &str, parameters: usize) -> Result<(), WasmError> {
        let (bytes, max) = (sql.len() as u64, self.limits.max_sql_bytes);
        if bytes > max {
            let what = format!("the datakit's SQL text has {bytes} bytes");
            return Err(WasmError::over(Limit::SqlBytes, max, what, self.call()));
        }
        let (count, max) = (parameters as u64, self.limits.max_parameters);
        if count > max {
            let what = format!("the datakit's query has {count} parameters");
            return Err(WasmError::over(Limit::Parameters, max, what, self.call()));
        }
        Ok(())
    }

    /// The reader's next batch; at its end, and after an error, it has no more.
    async fn read_next(
        &mut self,
        reader: &Resource<ReaderHandle>,
    ) -> wasmtime::Result<Result<Option<TrackedBatch>, Failure>> {
        let number = self.table.get(reader)?.number;
        let (held_bytes, idle) = self.held_while_waiting(Some(number));
        let memory = self.live_readers.get(&number).cloned();
        let (starved, handle) = (self.starved(), self.table.get_mut(reader)?);
        if handle.ended {
            return Ok(Ok(None));
        }
        let next = handle.reader.next();
        let read = match memory {
            Some(memory) => memory.holding(held_bytes, &idle, next).await.map_err(starved)?,
            None => next.await,
        };
        handle.ended = !matches!(read, Ok(Some(_)));
        let report = handle.reader.report();
        if let Ok(Some(rows)) = &read {
            rows.delivered();
            self.note_rows(number);
        }
        self.note_report(number, report)?;
        Ok(read)
    }
}
