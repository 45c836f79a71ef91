//! System procedures that the engine answers itself.

use sqlparser::ast::{BinaryOperator, Expr, ObjectName, Statement};

use super::{Flow, SqlSession};
use crate::engine::{Event, Output, Parameter};
use crate::sql::bind::{Binder, Variable, name_parts};
use crate::sql::{describe, errors, parse};
use crate::tds::declaration;
use crate::values::{Column, SqlError, Value};

const DESCRIBE: &str = "sp_describe_first_result_set";
/// Its parameters, in order.
const DESCRIBE_PARAMETERS: [&str; 3] = ["@tsql", "@params", "@browse_information_mode"];
/// `INSERT @t EXEC procedure …`, as [`crate::sql::rewrite`] puts it.
const INSERT_EXECUTED: &str = "__insert_executed";

impl SqlSession {
    /// `EXEC name @a = …, …` or `EXEC name …, …`.
    pub(super) fn execute_call(
        &mut self,
        name: &ObjectName,
        arguments: &[Expr],
        variables: &[Variable],
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        let parameters = self.reading(|session| session.arguments(arguments, variables))?;
        self.call(&name_parts(name)?.join("."), parameters, out)
    }

    fn arguments(&self, arguments: &[Expr], variables: &[Variable]) -> Result<Vec<Parameter>, SqlError> {
        arguments
            .iter()
            .map(|argument| {
                let (name, value) = match argument {
                    Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match &**left {
                        Expr::Identifier(ident) if ident.value.starts_with('@') => (ident.value.clone(), &**right),
                        _ => (String::new(), argument),
                    },
                    _ => (String::new(), argument),
                };
                let (value, sql_type) = self.evaluate(value, None, variables)?;
                Ok(Parameter { name, sql_type, value, output: false })
            })
            .collect()
    }

    /// A call with its arguments' values.
    pub(super) fn call(&mut self, name: &str, parameters: Vec<Parameter>, out: Output<'_>) -> Result<Flow, SqlError> {
        let plain = name.replace(['[', ']'], "").to_lowercase();
        let here = format!("{}.", self.surroundings.database.to_lowercase());
        let plain = plain.strip_prefix(&here).unwrap_or(&plain);
        let plain = plain.strip_prefix("sys.").unwrap_or(plain);
        if plain == DESCRIBE {
            return self.reading(|session| session.describe(parameters.clone(), out));
        }
        if plain == INSERT_EXECUTED {
            return self.insert_executed(parameters, out);
        }
        if let Some(flow) = self.described_call(plain, &parameters, out)? {
            return Ok(flow);
        }
        if !self.own_call(plain, &parameters)? {
            return Err(SqlError::new(2812, format!("Could not find stored procedure '{name}'.")).with_state(62));
        }
        Ok(self.done(None, out))
    }

    fn describe(&mut self, parameters: Vec<Parameter>, out: Output<'_>) -> Result<Flow, SqlError> {
        let [text, declarations, browse] = in_order(parameters)?;
        if !matches!(browse, Value::Null | Value::Int(0)) {
            return Err(errors::unsupported("a description for browsing"));
        }
        let Some(text) = optional_text(text)? else {
            return Err(SqlError::new(
                201,
                format!("Procedure or function '{DESCRIBE}' expects parameter '@tsql', which was not supplied."),
            ));
        };
        let described = match self.first_result(&text, &optional_text(declarations)?.unwrap_or_default()) {
            Ok(described) => described,
            Err(error) => {
                // The error of the text itself, and then what it means for the procedure.
                if out(Event::Error(error)).is_break() {
                    return Ok(Flow::Stop);
                }
                let message = "The batch could not be analyzed because of compile errors.";
                return Err(SqlError::new(11_501, message).with_state(2));
            }
        };
        let rows = describe::rows(&described, &self.surroundings.database);
        let count = rows.len() as u64;
        let events =
            std::iter::once(Event::Columns(describe::columns().into())).chain(rows.into_iter().map(Event::Row));
        for event in events {
            if out(event).is_break() {
                return Ok(Flow::Stop);
            }
        }
        Ok(self.done(Some(count), out))
    }

    /// The columns of the first query of a batch; none without a query.
    fn first_result(&self, text: &str, declarations: &str) -> Result<Vec<Column>, SqlError> {
        let declared = declaration::parse(declarations).map_err(|at| errors::syntax_near(&at))?;
        let variables: Vec<Variable> = declared
            .into_iter()
            .map(|declared| {
                let sql_type = declared.sql_type.ok_or_else(|| errors::unknown_type(&declared.name))?;
                Ok(Variable { name: declared.name, sql_type, value: Value::Null })
            })
            .collect::<Result<_, SqlError>>()?;
        for parsed in parse::parse_batch(text)?.statements {
            match &parsed.statement {
                Statement::Query(query) => {
                    return Ok(Binder::new(&self.connection, &variables, &self.surroundings)
                        .query(query, None)?
                        .columns);
                }
                Statement::Set(_) => {}
                other => {
                    let shown = other.to_string();
                    let verb = shown.split_whitespace().next().unwrap_or("this").to_owned();
                    return Err(errors::unsupported(format_args!("a description of the statement {verb}")));
                }
            }
        }
        Ok(Vec::new())
    }
}

/// The arguments in the order of the parameters; null for one that was not given.
fn in_order(arguments: Vec<Parameter>) -> Result<[Value; 3], SqlError> {
    let mut ordered = [Value::Null, Value::Null, Value::Null];
    for (at, argument) in arguments.into_iter().enumerate() {
        let place = if argument.name.is_empty() {
            Some(at)
        } else {
            DESCRIBE_PARAMETERS.iter().position(|name| name.eq_ignore_ascii_case(&argument.name))
        };
        let Some(slot) = place.and_then(|place| ordered.get_mut(place)) else {
            let message = if argument.name.is_empty() {
                format!("Procedure or function {DESCRIBE} has too many arguments specified.")
            } else {
                format!("{} is not a parameter for procedure {DESCRIBE}.", argument.name)
            };
            return Err(SqlError::new(if argument.name.is_empty() { 8144 } else { 8145 }, message));
        };
        *slot = argument.value;
    }
    Ok(ordered)
}

/// Unicode text, as the procedure takes it.
fn optional_text(value: Value) -> Result<Option<String>, SqlError> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        _ => Err(SqlError::new(214, "Procedure expects parameter '@tsql' of type 'nvarchar(max)'.")),
    }
}
