//! Generated tables as virtual tables of SQLite, so that any query over them works.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::ffi;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor};

use crate::fast::FastTable;
use crate::sql::{convert, errors, store};

/// Registers generated table number `n` as the SQLite table `fast_n`.
pub fn register(connection: &Connection, tables: &[Arc<FastTable>]) -> rusqlite::Result<()> {
    const MODULE: Module<'_, GeneratedTable> = Module::eponymous_only_module();
    for (at, table) in tables.iter().enumerate() {
        connection.create_module(format!("fast_{at}").as_str(), &MODULE, Some(Arc::clone(table)))?;
    }
    Ok(())
}

const EQUAL: c_int = 1;
const AT_LEAST: c_int = 2;
const ABOVE: c_int = 4;
const AT_MOST: c_int = 8;
const BELOW: c_int = 16;
const DESCENDING: c_int = 32;

#[repr(C)]
struct GeneratedTable {
    /// Must be first.
    base: ffi::sqlite3_vtab,
    table: Arc<FastTable>,
}

// SAFETY: `repr(C)` with `sqlite3_vtab` as the first field, as the trait asks.
#[expect(unsafe_code, reason = "rusqlite's trait for virtual tables is unsafe to implement")]
unsafe impl<'vtab> VTab<'vtab> for GeneratedTable {
    type Aux = Arc<FastTable>;
    type Cursor = GeneratedRows<'vtab>;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Arc<FastTable>>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let table = aux.ok_or_else(|| rusqlite::Error::ModuleError("no generated table".to_owned()))?;
        let columns: Vec<String> = (1..=table.columns.len()).map(|id| format!("c{id}")).collect();
        let declaration = format!("CREATE TABLE x({})", columns.join(", "));
        let declaration = std::ffi::CString::new(declaration).map_err(rusqlite::Error::NulError)?;
        let generated = Self { base: ffi::sqlite3_vtab::default(), table: Arc::clone(table) };
        Ok((Cow::Owned(declaration), generated))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let key = self.table.key_column().and_then(|at| c_int::try_from(at).ok()).unwrap_or(-2);
        let mut plan = 0;
        let mut arguments = Vec::new();
        for (at, constraint) in info.constraints().enumerate() {
            let bit = match constraint.operator() {
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => EQUAL,
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => AT_LEAST,
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => ABOVE,
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => AT_MOST,
                IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => BELOW,
                _ => continue,
            };
            if constraint.is_usable() && constraint.column() == key && plan & bit == 0 {
                plan |= bit;
                arguments.push((bit, at));
            }
        }
        // Arguments arrive in the order of their bits.
        arguments.sort_unstable();
        for (position, (_, at)) in (1..).zip(&arguments) {
            info.constraint_usage(*at).set_argv_index(position);
        }
        let order = {
            let mut order = info.order_bys();
            order.next().filter(|first| first.column() == key).map(|first| first.is_order_by_desc())
        };
        if let Some(descending) = order.filter(|_| info.num_of_order_by() == 1) {
            plan |= if descending { DESCENDING } else { 0 };
            info.set_order_by_consumed(true);
        }
        let rows = self.table.rows as f64;
        let share = if plan & EQUAL != 0 { 1.0 / rows.max(1.0) } else { 0.5_f64.powi(arguments.len() as i32) };
        info.set_estimated_cost(rows * share);
        info.set_idx_num(plan);
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<GeneratedRows<'vtab>> {
        Ok(GeneratedRows {
            base: ffi::sqlite3_vtab_cursor::default(),
            table: Arc::clone(&self.table),
            at: 0,
            remaining: 0,
            descending: false,
            phantom: PhantomData,
        })
    }
}

#[repr(C)]
struct GeneratedRows<'vtab> {
    /// Must be first.
    base: ffi::sqlite3_vtab_cursor,
    table: Arc<FastTable>,
    /// The current row, from 0.
    at: u64,
    /// Rows still to come, this one included.
    remaining: u64,
    descending: bool,
    phantom: PhantomData<&'vtab GeneratedTable>,
}

/// The whole number an argument is, rounded towards the wider range: SQLite checks every row again.
fn bound_of(value: ValueRef<'_>, up: bool) -> Option<i64> {
    match value {
        ValueRef::Integer(integer) => Some(integer),
        ValueRef::Real(real) => Some(if up { real.ceil() } else { real.floor() } as i64),
        _ => None,
    }
}

// SAFETY: `repr(C)` with `sqlite3_vtab_cursor` as the first field, as the trait asks.
#[expect(unsafe_code, reason = "rusqlite's trait for cursors is unsafe to implement")]
unsafe impl VTabCursor for GeneratedRows<'_> {
    fn filter(&mut self, plan: c_int, _: Option<&str>, arguments: &Filters<'_>) -> rusqlite::Result<()> {
        let (mut from, mut to) = (None::<i64>, None::<i64>);
        let mut values = arguments.iter();
        let mut nothing = false;
        for bit in [EQUAL, AT_LEAST, ABOVE, AT_MOST, BELOW] {
            if plan & bit == 0 {
                continue;
            }
            let Some(value) = values.next() else { break };
            nothing |= matches!(value, ValueRef::Null);
            if bit & (EQUAL | AT_LEAST | ABOVE) != 0 {
                from = from.max(bound_of(value, false));
            }
            if bit & (EQUAL | AT_MOST | BELOW) != 0 {
                let last = bound_of(value, true);
                to = match (to, last) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        let rows = self.table.rows_of_keys(from, to.map(|last| last.saturating_add(1)));
        self.descending = plan & DESCENDING != 0;
        self.remaining = if nothing { 0 } else { rows.end - rows.start };
        self.at = if self.descending { rows.end.saturating_sub(1) } else { rows.start };
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.remaining = self.remaining.saturating_sub(1);
        self.at = if self.descending { self.at.saturating_sub(1) } else { self.at + 1 };
        Ok(())
    }

    fn eof(&self) -> bool {
        self.remaining == 0
    }

    fn column(&self, context: &mut Context, at: c_int) -> rusqlite::Result<()> {
        let Some((at, column)) =
            usize::try_from(at).ok().and_then(|at| self.table.columns.get(at).map(|column| (at, column)))
        else {
            return context.set_result(rusqlite::types::Null);
        };
        // Generated values may be finer than their type; the type decides.
        let value = self.table.value(self.at, at);
        let value = convert::refit(value, column.sql_type);
        let stored = store::encode(column.sql_type, value).map_err(|error| errors::to_sqlite(&error))?;
        context.set_result(stored)
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(i64::try_from(self.at).unwrap_or(i64::MAX))
    }
}
