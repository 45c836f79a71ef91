//! Which statement does what.

use sqlparser::ast::{
    ConditionalStatementBlock, Expr, Ident, IfStatement, ObjectType, Query, SelectItem, Set, SetExpr, Statement,
};

use super::settings::single_part;
use super::{Flow, SqlSession, cell, flow};
use crate::engine::{Event, Output, TransactionChange};
use crate::sql::bind::{Binder, Scope, TableVariable, Variable, prepare};
use crate::sql::{convert, errors, types};
use crate::values::{Column, Length, SqlError, SqlType, Value};

impl SqlSession {
    pub(super) fn statement(
        &mut self,
        statement: &Statement,
        text: &str,
        variables: &mut Vec<Variable>,
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        match statement {
            Statement::Query(query) => match assigned_variables(query) {
                Some(names) => self.reading(|session| session.assign(query, &names, variables, out)),
                None => self.reading(|session| session.read(query, variables, out)),
            },
            Statement::Insert(insert) => {
                let rows = self.writing(|session| session.insert(insert, variables));
                self.changed(rows, out)
            }
            Statement::Update(update) => {
                let rows = self.writing(|session| session.update(update, variables));
                self.changed(rows, out)
            }
            Statement::Delete(delete) => {
                let rows = self.writing(|session| session.delete(delete, variables));
                self.changed(rows, out)
            }
            Statement::Truncate(truncate) => {
                for target in &truncate.table_names {
                    self.writing(|session| session.truncate(&target.name))?;
                }
                Ok(self.done(None, out))
            }
            Statement::Set(set) => self.reading(|session| session.set(set, variables, out)),
            Statement::Declare { stmts } => {
                for declare in stmts {
                    self.reading(|session| session.declare(declare, variables))?;
                }
                Ok(Flow::Next)
            }
            Statement::If(conditional) => self.conditional(conditional, text, variables, out),
            Statement::Print(print) => {
                let message = self.reading(|session| session.evaluate_text(&print.message, variables))?;
                if out(Event::Info(SqlError::new(0, message).with_class(0))).is_break() {
                    return Ok(Flow::Stop);
                }
                Ok(self.done(None, out))
            }
            Statement::RaisError { message, severity, state, arguments, .. } => {
                self.reading(|session| session.raise(message, severity, state, arguments, variables, out))
            }
            Statement::StartTransaction { begin: true, statements, .. } if !statements.is_empty() => {
                for statement in statements {
                    if self.statement(statement, text, variables, out)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Ok(Flow::Next)
            }
            Statement::StartTransaction { .. } => {
                let outermost = self.surroundings.transactions == 0;
                self.begin_transaction();
                self.transaction_changed(outermost, TransactionChange::Began, out)
            }
            Statement::Commit { .. } => {
                self.commit_transaction()?;
                let ended = self.surroundings.transactions == 0;
                self.transaction_changed(ended, TransactionChange::Committed, out)
            }
            Statement::Rollback { savepoint: None, .. } => {
                self.roll_back_transaction()?;
                self.transaction_changed(true, TransactionChange::RolledBack, out)
            }
            Statement::Use(name) => self.use_database(name, out),
            Statement::CreateDatabase { db_name, .. } => {
                self.shared.create_database(&single_part(db_name)?)?;
                Ok(self.done(None, out))
            }
            Statement::Execute { name: Some(name), parameters, .. } => {
                self.execute_call(name, parameters, variables, out)
            }
            definition => {
                self.defining(|session| session.define(definition, text))?;
                Ok(self.done(None, out))
            }
        }
    }

    /// CREATE, ALTER and DROP.
    fn define(&mut self, statement: &Statement, text: &str) -> Result<(), SqlError> {
        match statement {
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateView(create) => self.create_view(create, text),
            Statement::CreateSchema { schema_name, .. } => self.create_schema(schema_name),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::Drop { object_type, if_exists, names, .. } => {
                for name in names {
                    match object_type {
                        ObjectType::Table => self.drop_object(name, *if_exists, false)?,
                        ObjectType::View => self.drop_object(name, *if_exists, true)?,
                        ObjectType::Schema => self.drop_schema(name, *if_exists)?,
                        ObjectType::Database => self.shared.drop_database(&single_part(name)?)?,
                        other => return Err(errors::unsupported(format_args!("DROP {other}"))),
                    }
                }
                Ok(())
            }
            other => {
                let shown = other.to_string();
                let verb = shown.split_whitespace().next().unwrap_or("this").to_owned();
                Err(errors::unsupported(format_args!("the statement {verb}")))
            }
        }
    }

    fn transaction_changed(
        &mut self,
        outermost: bool,
        change: TransactionChange,
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        if outermost && out(Event::Transaction(change)).is_break() {
            return Ok(Flow::Stop);
        }
        Ok(self.done(None, out))
    }

    /// Ends a changing statement: its count, or its error and the message that it has ended.
    fn changed(&mut self, rows: Result<u64, SqlError>, out: Output<'_>) -> Result<Flow, SqlError> {
        match rows {
            Ok(rows) => Ok(self.done(Some(rows), out)),
            Err(error) if matches!(error.number, 515 | 2601 | 2627 | 2628) => {
                self.surroundings.error = i64::from(error.number);
                if out(Event::Error(error)).is_break() {
                    return Ok(Flow::Stop);
                }
                Ok(flow(out(Event::Info(errors::terminated()))))
            }
            Err(error) => Err(error),
        }
    }

    fn conditional(
        &mut self,
        conditional: &IfStatement,
        text: &str,
        variables: &mut Vec<Variable>,
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        let blocks = [Some(&conditional.if_block), conditional.else_block.as_ref()];
        for block in blocks.into_iter().flatten() {
            if !self.reading(|session| session.holds(block, variables))? {
                continue;
            }
            for statement in block.conditional_statements.statements() {
                if self.statement(statement, text, variables, out)? == Flow::Stop {
                    return Ok(Flow::Stop);
                }
            }
            break;
        }
        Ok(Flow::Next)
    }

    fn holds(&self, block: &ConditionalStatementBlock, variables: &[Variable]) -> Result<bool, SqlError> {
        let Some(condition) = &block.condition else { return Ok(true) };
        let predicate =
            Binder::new(&self.connection, variables, &self.surroundings).predicate(condition, &Scope::default())?;
        let mut prepared = prepare(&self.connection, &format!("SELECT {predicate}"), variables)?;
        let mut rows = prepared.raw_query();
        let row = rows.next().map_err(|error| errors::storage(&error))?;
        Ok(row.and_then(|row| row.get::<_, Option<bool>>(0).ok().flatten()).unwrap_or(false))
    }

    /// The value of an expression that reads no table of its own.
    pub(super) fn evaluate(
        &self,
        expression: &Expr,
        target: Option<SqlType>,
        variables: &[Variable],
    ) -> Result<(Value, SqlType), SqlError> {
        let binder = Binder::new(&self.connection, variables, &self.surroundings);
        let bound = binder.expression(expression, &Scope::default())?;
        let from = bound.sql_type;
        let value = match bound.constant {
            Some(value) => value,
            None => {
                let mut prepared = prepare(&self.connection, &format!("SELECT {}", bound.sql), variables)?;
                let mut rows = prepared.raw_query();
                match rows.next().map_err(|error| errors::storage(&error))? {
                    Some(row) => cell(row, 0, from)?,
                    None => Value::Null,
                }
            }
        };
        match target {
            Some(target) => convert::convert(value, from, target, None).map(|value| (value, target)),
            None => Ok((value, from)),
        }
    }

    fn evaluate_text(&self, expression: &Expr, variables: &[Variable]) -> Result<String, SqlError> {
        match self.evaluate(expression, Some(SqlType::NVarChar(Length::Max)), variables)?.0 {
            Value::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    fn evaluate_integer(&self, expression: &Expr, variables: &[Variable]) -> Result<i64, SqlError> {
        match self.evaluate(expression, Some(SqlType::Int), variables)?.0 {
            Value::Int(integer) => Ok(integer),
            _ => Ok(0),
        }
    }

    /// `SELECT @a = …, @b = …`: the last row's values stay.
    fn assign(
        &mut self,
        query: &Query,
        names: &[String],
        variables: &mut [Variable],
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        let mut count = 0;
        let mut last = None;
        {
            let bound = Binder::new(&self.connection, variables, &self.surroundings).query(query, None)?;
            let mut prepared = prepare(&self.connection, &bound.sql, variables)?;
            let mut rows = prepared.raw_query();
            while let Some(row) = rows.next().map_err(|error| errors::storage(&error))? {
                let mut values = Vec::new();
                for (at, column) in bound.columns.iter().enumerate() {
                    values.push((cell(row, at, column.sql_type)?, column.sql_type));
                }
                last = Some(values);
                count += 1;
            }
        }
        for (name, (value, from)) in names.iter().zip(last.unwrap_or_default()) {
            set_variable(name, value, from, variables)?;
        }
        Ok(self.done(Some(count), out))
    }

    fn declare(&mut self, declare: &sqlparser::ast::Declare, variables: &mut Vec<Variable>) -> Result<(), SqlError> {
        use sqlparser::ast::{DataType, DeclareAssignment};
        let Some(data_type) = &declare.data_type else { return Err(errors::unsupported("DECLARE without a type")) };
        if let DataType::Table(Some(columns)) = data_type {
            let columns = columns
                .iter()
                .map(|column| Ok(Column::new(column.name.value.clone(), types::from_ast(&column.data_type)?)))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let of_name =
                |name: &Ident| TableVariable { name: name.value.clone(), columns: columns.clone(), rows: Vec::new() };
            self.surroundings.table_variables.extend(declare.names.iter().map(of_name));
            return Ok(());
        }
        let sql_type = types::from_ast(data_type)?;
        let value = match &declare.assignment {
            None => Value::Null,
            Some(DeclareAssignment::MsSqlAssignment(expression) | DeclareAssignment::Expr(expression)) => {
                self.evaluate(expression, Some(sql_type), variables)?.0
            }
            Some(_) => return Err(errors::syntax_near("DEFAULT")),
        };
        for name in &declare.names {
            if variables.iter().any(|variable| variable.name.eq_ignore_ascii_case(&name.value)) {
                let message = format!(
                    "The variable name '{}' has already been declared. Variable names must be unique within a query \
                     batch or stored procedure.",
                    name.value
                );
                return Err(SqlError::new(134, message).with_class(15));
            }
            variables.push(Variable { name: name.value.clone(), sql_type, value: value.clone() });
        }
        Ok(())
    }

    pub(super) fn set_to(&self, name: &str, expression: &Expr, variables: &mut [Variable]) -> Result<(), SqlError> {
        let (value, from) = self.evaluate(expression, None, variables)?;
        set_variable(name, value, from, variables)
    }

    fn set(&mut self, set: &Set, variables: &mut [Variable], out: Output<'_>) -> Result<Flow, SqlError> {
        self.apply_setting(set, variables)?;
        Ok(self.done(None, out))
    }

    fn raise(
        &mut self,
        message: &Expr,
        severity: &Expr,
        state: &Expr,
        arguments: &[Expr],
        variables: &[Variable],
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        let mut text = self.evaluate_text(message, variables)?;
        for argument in arguments {
            let value = self.evaluate_text(argument, variables)?;
            let place = ["%s", "%d", "%i", "%u"].iter().filter_map(|mark| text.find(mark)).min();
            if let Some(place) = place {
                text.replace_range(place..place + 2, &value);
            }
        }
        let small = |integer: i64| u8::try_from(integer.clamp(0, 25)).unwrap_or(16);
        let class = small(self.evaluate_integer(severity, variables)?);
        let state = u8::try_from(self.evaluate_integer(state, variables)?.clamp(0, 255)).unwrap_or(1);
        let error = SqlError::new(50_000, text).with_class(class).with_state(state);
        if class > 10 {
            return Err(error);
        }
        if out(Event::Info(error)).is_break() {
            return Ok(Flow::Stop);
        }
        Ok(self.done(None, out))
    }
}

fn set_variable(name: &str, value: Value, from: SqlType, variables: &mut [Variable]) -> Result<(), SqlError> {
    let variable = variables
        .iter_mut()
        .find(|variable| variable.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| errors::undeclared(name))?;
    variable.value = convert::convert(value, from, variable.sql_type, None)?;
    Ok(())
}

/// The variables a SELECT assigns, when that is all it does.
fn assigned_variables(query: &Query) -> Option<Vec<String>> {
    let SetExpr::Select(select) = &*query.body else { return None };
    select
        .projection
        .iter()
        .map(|item| match item {
            // The parser reads `@a = 1` as it reads `a = 1`: as another way to write an alias.
            SelectItem::ExprWithAlias { alias, .. } if alias.quote_style.is_none() && alias.value.starts_with('@') => {
                Some(alias.value.clone())
            }
            _ => None,
        })
        .collect()
}
