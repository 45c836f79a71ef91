//! SELECT: rows flow from SQLite to the client one by one.

use std::ops::ControlFlow;

use sqlparser::ast::Query;

use super::{Flow, SqlSession, cell};
use crate::engine::{Event, Output};
use crate::sql::bind::{Binder, Variable, prepare};
use crate::sql::errors;
use crate::sql::fast::{plan_fast_rows, plan_fast_summary};
use crate::sql::hooks::{self, Place};
use crate::sql::shared::{Effect, Fault};
use crate::values::{Column, SqlError, SqlType};

impl SqlSession {
    /// Runs a query and emits its columns, its rows and its end.
    pub(super) fn read(&mut self, query: &Query, variables: &[Variable], out: Output<'_>) -> Result<Flow, SqlError> {
        let binder = Binder::new(&self.connection, variables, &self.surroundings);
        let bound = binder.query(query, None)?;
        let fault = self.shared.take_fault(&binder.objects.borrow());
        if fault.is_none()
            && let Some((event, rows)) = plan_fast_rows(query, &binder, &self.shared.fast_tables, variables)?
            && are_encoded_alike(&event, &bound.columns)
        {
            for event in [Event::Columns(bound.columns.into()), event] {
                if out(event).is_break() {
                    return Ok(Flow::Stop);
                }
            }
            return Ok(self.done(Some(rows), out));
        }
        if fault.is_none()
            && let Some(values) = plan_fast_summary(query, &binder, &self.shared.fast_tables, variables)?
        {
            for event in [Event::Columns(bound.columns.into()), Event::Row(values)] {
                if out(event).is_break() {
                    return Ok(Flow::Stop);
                }
            }
            return Ok(self.done(Some(1), out));
        }
        let types: Vec<SqlType> = bound.columns.iter().map(|column| column.sql_type).collect();
        let mut prepared = prepare(&self.connection, &bound.sql, variables)?;
        let mut rows = prepared.raw_query();
        if out(Event::Columns(bound.columns.into())).is_break() {
            return Ok(Flow::Stop);
        }
        let mut count = 0;
        let shown = (self.shared.is_watched() && !hooks::is_inside()).then(|| query.to_string());
        loop {
            if let Some(shown) = &shown {
                self.pass_text(shown, Place::Row(count));
            }
            let next = rows.next().map_err(|error| errors::storage(&error))?;
            // A fault strikes at the end of a shorter result as well: it was asked for.
            if let Some(fault) = &fault
                && (count == fault.after_rows || (next.is_none() && count < fault.after_rows))
                && strike(fault)? == Flow::Stop
            {
                let _ = out(Event::Cut);
                return Ok(Flow::Stop);
            }
            let Some(row) = next else { break };
            let mut values = Vec::with_capacity(types.len());
            for (at, sql_type) in types.iter().enumerate() {
                values.push(cell(row, at, *sql_type)?);
            }
            if out(Event::Row(values)) == ControlFlow::Break(()) {
                return Ok(Flow::Stop);
            }
            count += 1;
        }
        drop(rows);
        drop(prepared);
        Ok(self.done(Some(count), out))
    }
}

/// Whether prepared rows are rows of these columns: nullability decides on the bytes of a cell, not only on its metadata.
fn are_encoded_alike(event: &Event, columns: &[Column]) -> bool {
    let Event::FastRows { table, columns: chosen, .. } = event else { return false };
    let alike = |(column, at): (&Column, &usize)| {
        table.columns.get(*at).is_some_and(|own| own.sql_type == column.sql_type && own.nullable == column.nullable)
    };
    columns.len() == chosen.len() && columns.iter().zip(chosen).all(alike)
}

fn strike(fault: &Fault) -> Result<Flow, SqlError> {
    match &fault.effect {
        Effect::Error(error) => Err(error.clone()),
        Effect::Pause(duration) => {
            std::thread::sleep(*duration);
            Ok(Flow::Next)
        }
        Effect::Cut(duration) => {
            std::thread::sleep(*duration);
            Ok(Flow::Stop)
        }
    }
}
