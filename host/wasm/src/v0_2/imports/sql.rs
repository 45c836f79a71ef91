//! Connections by role, queries, and what every way of reading shares.

use datakit_model::memory::Starved;
use datakit_model::source::{Access, Query, QueryOptions, Reader};
use datakit_model::{Failure, MemoryBudget};
use std::time::Duration;
use wasmtime::component::Resource;

use super::super::bindings::sql::{Host, HostConnection, HostQuery, Isolation, Value};
use super::super::bindings::types::Error;
use super::convert::{isolation_from_wire, value_from_wire};
use crate::error::{Limit, WasmError};
use crate::guest_error::{ErrorKind, ErrorRecord};
use crate::state::{ConnectionHandle, QueryHandle, ReaderHandle, State, Weight as _};
use crate::text::Text;

impl Host for State {}

impl HostQuery for State {
    async fn new(&mut self, text: String) -> wasmtime::Result<Resource<QueryHandle>> {
        let call = self.budget.host_call()?;
        let (bytes, max) = (text.len() as u64, self.limits.max_sql_bytes);
        if bytes > max {
            let what = format!("the datakit's SQL text has {bytes} bytes");
            return Err(WasmError::over(Limit::SqlBytes, max, what, self.call()).into());
        }
        let bytes = text.weight();
        let query = Query { sql: text, parameters: Vec::new(), options: QueryOptions::default() };
        let handle = self.push_filled(query, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_parameter(&mut self, query: Resource<QueryHandle>, value: Value) -> wasmtime::Result<()> {
        let (count, max) = (self.table.get(&query)?.value.parameters.len(), self.limits.max_parameters);
        if count as u64 >= max {
            let what = format!("the datakit's query has {} parameters", count + 1);
            return Err(WasmError::over(Limit::Parameters, max, what, self.call()).into());
        }
        let bytes = match &value {
            Value::Decimal(text)
            | Value::Text(text)
            | Value::AnsiText(text)
            | Value::Uuid(text)
            | Value::Date(text)
            | Value::Timestamp(text)
            | Value::LegacyDatetime(text)
            | Value::TimestampTz(text) => text.weight(),
            Value::Binary(bytes) => bytes.weight(),
            Value::Null(_) | Value::Boolean(_) | Value::Int32(_) | Value::Int64(_) | Value::Float64(_) => {
                String::new().weight()
            }
        };
        self.set(&query, bytes, |it| it.parameters.push(value_from_wire(value)))
    }

    async fn set_isolation(&mut self, query: Resource<QueryHandle>, isolation: Isolation) -> wasmtime::Result<()> {
        self.set(&query, 0, |it| it.options.isolation = Some(isolation_from_wire(isolation)))
    }

    async fn set_timeout_ms(&mut self, query: Resource<QueryHandle>, timeout_ms: u32) -> wasmtime::Result<()> {
        self.set(&query, 0, |it| it.options.timeout = Some(Duration::from_millis(u64::from(timeout_ms))))
    }

    async fn set_max_parallelism(&mut self, query: Resource<QueryHandle>, processors: u16) -> wasmtime::Result<()> {
        self.set(&query, 0, |it| it.options.max_parallelism = Some(processors))
    }

    async fn drop(&mut self, query: Resource<QueryHandle>) -> wasmtime::Result<()> {
        self.take_filled(query).map(drop)
    }
}

impl HostConnection for State {
    async fn open(&mut self, role: String) -> wasmtime::Result<Result<Resource<ConnectionHandle>, Error>> {
        let call = self.budget.host_call()?;
        let opened = self.connect("sql.connection.open", &role).await?;
        self.budget.host_call_ended(call);
        match opened {
            Ok(handle) => Ok(Ok(self.push(handle)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn kind(&mut self, connection: Resource<ConnectionHandle>) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let kind = self.table.get(&connection)?.kind.to_owned();
        self.budget.host_call_ended(call);
        Ok(kind)
    }

    async fn execute(
        &mut self,
        connection: Resource<ConnectionHandle>,
        query: Resource<QueryHandle>,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let call = self.budget.host_call()?;
        let query = self.take_filled(query)?;
        self.release_covering();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, handle) = (self.starved(), self.table.get(&connection)?);
        let memory = handle.memory.clone();
        // Waiting for the budget with a reservation in hand could wait for itself.
        let started = memory.holding(held_bytes, &idle, handle.connection.query(query)).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        self.started(started, memory)
    }

    async fn drop(&mut self, connection: Resource<ConnectionHandle>) -> wasmtime::Result<()> {
        self.delete(connection)?;
        Ok(())
    }
}

impl State {
    /// A reader that a source has begun, or not.
    pub(super) fn started(
        &mut self,
        started: Result<Box<dyn Reader>, Failure>,
        memory: MemoryBudget,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let mut reader = match self.guest_error(started) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let (schema, number) = (reader.schema(), self.begin_reader(memory));
        let report = reader.report();
        self.note_snapshot(report.snapshot.clone());
        self.note_report(number, report)?;
        Ok(Ok(self.push(ReaderHandle { reader, schema, number, ended: false })?))
    }

    /// Opens what the operator mapped to a declared role. Refusals are errors the guest may handle.
    pub(super) async fn connect(
        &mut self,
        import: &'static str,
        role: &str,
    ) -> Result<Result<ConnectionHandle, ErrorRecord>, WasmError> {
        let session = self.session(import)?;
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
        let access = Access {
            tables: session.tables.clone(),
            run_id: session.run.run_id.clone(),
            memory: memory.clone(),
            rejecting: session.rejecting.clone(),
        };
        match source.connect(access).await {
            Ok(connection) => Ok(Ok(ConnectionHandle { kind, connection, memory })),
            Err(failure) => Ok(Err(self.failures.guest_error(failure))),
        }
    }

    /// A wait of this call that has no end.
    pub(super) fn starved(&self) -> impl FnOnce(Starved) -> WasmError + use<> {
        let call = self.call();
        move |Starved { held_bytes, capacity_bytes }| WasmError::Starved { call, held_bytes, capacity_bytes }
    }

    fn deny(&mut self, error: WasmError) -> ErrorRecord {
        ErrorRecord { kind: ErrorKind::Denied, ..self.failures.guest_error(Failure::from(error)) }
    }
}
