//! What a client's message asks of its session, and the doing of it. Runs on a blocking thread.

use std::collections::HashMap;

use super::response::{Response, Transaction};
use crate::engine::{Event, Parameter, Request, Session, TransactionChange};
use crate::tds::declaration;
use crate::tds::reader::{Malformed, Reader, decode_utf16};
use crate::tds::rpc::{self, Argument, Call, Calls, Procedure, number};
use crate::values::{SqlError, Value};

/// Most statements a connection may have prepared at a time.
const MAX_PREPARED: usize = 10_000;

/// A client's request, read.
#[derive(Debug)]
pub enum Work {
    /// A batch.
    Batch(String),
    /// Calls.
    Calls(Vec<Call>),
    /// Begin a transaction with an isolation level.
    Begin(u8),
    /// Commit; perhaps begin another.
    Commit(Option<u8>),
    /// Roll back; perhaps begin another.
    Rollback(Option<u8>),
    /// Something this server does not do; the answer is this error.
    Refused(SqlError),
}

impl Work {
    /// Reads a SQL batch message.
    pub fn batch(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "SQL batch");
        reader.skip_headers()?;
        let text = reader.take(reader.remaining())?;
        if !text.len().is_multiple_of(2) {
            return Err(reader.malformed());
        }
        Ok(match decode_utf16(text) {
            Some(text) => Self::Batch(text),
            None => {
                Self::Refused(SqlError::new(102, "Incorrect syntax: the batch is not valid UTF-16.").with_class(15))
            }
        })
    }

    /// Reads a message of calls.
    pub fn calls(bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(match rpc::parse(bytes)? {
            Calls::All(calls) => Self::Calls(calls),
            Calls::UnknownType(type_byte) => Self::Refused(SqlError::new(
                8009,
                format!(
                    "The incoming tabular data stream (TDS) RPC protocol stream has an unsupported type 0x{type_byte:02X}."
                ),
            )),
        })
    }

    /// Reads a transaction manager request (MS-TDS 2.2.6.9).
    pub fn transaction(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "transaction request");
        reader.skip_headers()?;
        let kind = reader.u16()?;
        Ok(match kind {
            5 => Self::Begin(reader.u8()?),
            7 | 8 => {
                reader.short_name()?;
                let again = if reader.u8()? & 1 != 0 { Some(reader.u8()?) } else { None };
                if kind == 7 { Self::Commit(again) } else { Self::Rollback(again) }
            }
            other => Self::Refused(SqlError::new(3933, format!("Transaction request {other} is not supported here."))),
        })
    }
}

/// A connection's session with what the wire adds to it.
pub struct SessionState {
    /// The engine's session.
    pub session: Box<dyn Session>,
    /// Its transaction.
    pub transaction: Transaction,
    prepared: HashMap<i32, Prepared>,
    last_handle: i32,
}

#[derive(Debug, Clone)]
struct Prepared {
    text: String,
    declaration: String,
}

impl SessionState {
    /// The state after login.
    pub fn new(session: Box<dyn Session>) -> Self {
        Self { session, transaction: Transaction::default(), prepared: HashMap::new(), last_handle: 0 }
    }

    /// Resets what a pooled connection must not inherit.
    pub fn reset(&mut self) {
        self.session.reset();
        self.transaction = Transaction::default();
        self.prepared.clear();
    }
}

/// The parts of [`SessionState`] that run while a response borrows the transaction.
pub struct Runner<'a> {
    session: &'a mut dyn Session,
    prepared: &'a mut HashMap<i32, Prepared>,
    last_handle: &'a mut i32,
}

impl SessionState {
    /// Splits the state: who runs, and the transaction that the response tells the client of.
    pub fn split(&mut self) -> (Runner<'_>, &mut Transaction) {
        let runner =
            Runner { session: self.session.as_mut(), prepared: &mut self.prepared, last_handle: &mut self.last_handle };
        (runner, &mut self.transaction)
    }
}

impl Runner<'_> {
    /// Does the work and writes its response.
    pub fn run(&mut self, work: Work, response: &mut Response<'_>) {
        match work {
            Work::Batch(text) => self.execute(Request::Batch { text }, response),
            Work::Calls(calls) => {
                let count = calls.len();
                for (index, call) in calls.into_iter().enumerate() {
                    self.call(call, index + 1 == count, response);
                }
            }
            Work::Begin(isolation) => {
                let begun = self.session.begin(isolation);
                changed(begun, TransactionChange::Began, response);
            }
            Work::Commit(again) => {
                let ended = self.session.commit();
                changed(ended, TransactionChange::Committed, response);
                self.again(again, response);
            }
            Work::Rollback(again) => {
                let ended = self.session.rollback();
                changed(ended, TransactionChange::RolledBack, response);
                self.again(again, response);
            }
            Work::Refused(error) => response.error(&error),
        }
    }

    fn again(&mut self, isolation: Option<u8>, response: &mut Response<'_>) {
        if let Some(isolation) = isolation {
            let begun = self.session.begin(isolation);
            changed(begun, TransactionChange::Began, response);
        }
    }

    fn execute(&mut self, request: Request, response: &mut Response<'_>) {
        self.session.execute(request, &mut |event: Event| response.event(event));
    }

    fn call(&mut self, call: Call, last: bool, response: &mut Response<'_>) {
        let procedure = match &call.procedure {
            Procedure::Number(number) => Some(*number),
            Procedure::Name(name) => well_known(name),
        };
        let mut arguments = call.arguments;
        let returned = match procedure {
            Some(number::EXECUTE_SQL) => self.execute_sql(arguments, response),
            Some(number::PREPARE) => self.prepare(&mut arguments, false, response),
            Some(number::PREPARE_AND_EXECUTE) => self.prepare(&mut arguments, true, response),
            Some(number::EXECUTE) => self.execute_prepared(arguments, response),
            Some(number::UNPREPARE) => self.unprepare(&arguments, response),
            Some(other) => {
                response.error(&SqlError::new(2812, format!("Could not find stored procedure number {other}.")));
                Ok(None)
            }
            None => {
                let name = match call.procedure {
                    Procedure::Name(name) => name,
                    Procedure::Number(number) => number.to_string(),
                };
                let parameters = arguments.into_iter().map(parameter).collect();
                self.execute(Request::Procedure { name, parameters }, response);
                Ok(None)
            }
        };
        let returned = returned.unwrap_or_else(|error| {
            response.error(&error);
            None
        });
        let returned = returned.as_ref().map(|(name, handle)| (0, name.as_str(), *handle));
        response.end_call(returned, last);
    }

    fn execute_sql(&mut self, arguments: Vec<Argument>, response: &mut Response<'_>) -> Returned {
        let mut arguments = arguments.into_iter();
        let text = text(arguments.next(), "sp_executesql", "statement")?;
        let declaration = match arguments.next() {
            Some(argument) => text_or_empty(argument, "sp_executesql")?,
            None => String::new(),
        };
        self.parameterized(text, &declaration, arguments.collect(), response)?;
        Ok(None)
    }

    fn prepare(&mut self, arguments: &mut Vec<Argument>, execute: bool, response: &mut Response<'_>) -> Returned {
        let name = if execute { "sp_prepexec" } else { "sp_prepare" };
        if arguments.len() < 3 {
            return Err(missing(name, "statement"));
        }
        let values = arguments.split_off(3);
        let mut head = arguments.drain(..);
        let handle = head.next();
        if let Some(Value::Int(superseded)) = handle.as_ref().map(|handle| &handle.value) {
            // A client that prepares anew may name the statement it no longer needs.
            i32::try_from(*superseded).ok().and_then(|superseded| self.prepared.remove(&superseded));
        }
        let handle_name = handle.map(|handle| handle.name).unwrap_or_default();
        let declaration = head.next().map_or(Ok(String::new()), |argument| text_or_empty(argument, name))?;
        let text = text(head.next(), name, "statement")?;
        if self.prepared.len() >= MAX_PREPARED {
            return Err(SqlError::new(8179, format!("No more than {MAX_PREPARED} prepared statements a connection.")));
        }
        *self.last_handle += 1;
        let handle = *self.last_handle;
        self.prepared.insert(handle, Prepared { text: text.clone(), declaration: declaration.clone() });
        if execute {
            self.parameterized(text, &declaration, values, response)?;
        }
        Ok(Some((handle_name, handle)))
    }

    fn execute_prepared(&mut self, arguments: Vec<Argument>, response: &mut Response<'_>) -> Returned {
        let mut arguments = arguments.into_iter();
        let prepared = self.find(arguments.next().as_ref())?.1.clone();
        self.parameterized(prepared.text, &prepared.declaration, arguments.collect(), response)?;
        Ok(None)
    }

    fn unprepare(&mut self, arguments: &[Argument], _response: &mut Response<'_>) -> Returned {
        let (handle, _) = self.find(arguments.first())?;
        self.prepared.remove(&handle);
        Ok(None)
    }

    fn find(&self, argument: Option<&Argument>) -> Result<(i32, &Prepared), SqlError> {
        let given = match argument.map(|argument| &argument.value) {
            Some(Value::Int(handle)) => *handle,
            _ => 0,
        };
        let found = i32::try_from(given).ok().and_then(|handle| Some((handle, self.prepared.get(&handle)?)));
        found.ok_or_else(|| SqlError::new(8179, format!("Could not find prepared statement with handle {given}.")))
    }

    fn parameterized(
        &mut self,
        text: String,
        declaration: &str,
        arguments: Vec<Argument>,
        response: &mut Response<'_>,
    ) -> Result<(), SqlError> {
        let parameters = bind(declaration, arguments, &text)?;
        self.execute(Request::Parameterized { text, parameters }, response);
        Ok(())
    }
}

/// Name and value of the output parameter to return, if there is one.
type Returned = Result<Option<(String, i32)>, SqlError>;

fn changed(result: Result<(), SqlError>, change: TransactionChange, response: &mut Response<'_>) {
    match result {
        Ok(()) => response.transaction_changed(change),
        Err(error) => response.error(&error),
    }
}

fn well_known(name: &str) -> Option<u16> {
    let plain = name.replace(['[', ']'], "").to_ascii_lowercase();
    let plain = plain.rsplit('.').next().unwrap_or(&plain);
    Some(match plain {
        "sp_executesql" => number::EXECUTE_SQL,
        "sp_prepare" => number::PREPARE,
        "sp_execute" => number::EXECUTE,
        "sp_prepexec" => number::PREPARE_AND_EXECUTE,
        "sp_unprepare" => number::UNPREPARE,
        _ => return None,
    })
}

fn parameter(argument: Argument) -> Parameter {
    Parameter { name: argument.name, sql_type: argument.sql_type, value: argument.value, output: argument.output }
}

fn missing(procedure: &str, parameter: &str) -> SqlError {
    SqlError::new(
        201,
        format!("Procedure or function '{procedure}' expects parameter '@{parameter}', which was not supplied."),
    )
}

fn text(argument: Option<Argument>, procedure: &str, name: &str) -> Result<String, SqlError> {
    match argument.map(|argument| argument.value) {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Null) | None => Err(missing(procedure, name)),
        Some(_) => Err(wrong_type(procedure)),
    }
}

fn text_or_empty(argument: Argument, procedure: &str) -> Result<String, SqlError> {
    match argument.value {
        Value::Text(text) => Ok(text),
        Value::Null => Ok(String::new()),
        _ => Err(wrong_type(procedure)),
    }
}

fn wrong_type(procedure: &str) -> SqlError {
    let text = "expects parameter '@statement' of type 'ntext/nchar/nvarchar'";
    SqlError::new(214, format!("Procedure {text} in '{procedure}'."))
}

/// Brings arguments into the order of the declarations and gives them their declared types.
fn bind(declaration: &str, arguments: Vec<Argument>, text: &str) -> Result<Vec<Parameter>, SqlError> {
    let declared = declaration::parse(declaration)
        .map_err(|at| SqlError::new(102, format!("Incorrect syntax near '{at}'.")).with_class(15))?;
    if arguments.len() > declared.len() {
        return Err(SqlError::new(8144, "Procedure or function has too many arguments specified."));
    }
    let mut places: Vec<Option<Parameter>> = declared.iter().map(|_| None).collect();
    for (index, argument) in arguments.into_iter().enumerate() {
        let place = if argument.name.is_empty() {
            Some(index)
        } else {
            declared.iter().position(|declared| declared.name.eq_ignore_ascii_case(&argument.name))
        };
        let found = place.and_then(|place| Some((declared.get(place)?, places.get_mut(place)?)));
        let Some((declared, slot)) = found else {
            return Err(SqlError::new(8145, format!("{} is not a parameter for procedure .", argument.name)));
        };
        *slot = Some(Parameter {
            name: declared.name.clone(),
            sql_type: declared.sql_type.unwrap_or(argument.sql_type),
            value: argument.value,
            output: argument.output,
        });
    }
    let mut parameters = Vec::with_capacity(places.len());
    for (slot, declared) in places.into_iter().zip(&declared) {
        parameters.push(slot.ok_or_else(|| {
            let name = &declared.name;
            SqlError::new(
                8178,
                format!("The parameterized query '({declaration}){text}' expects the parameter '{name}', which was not supplied."),
            )
        })?);
    }
    Ok(parameters)
}
