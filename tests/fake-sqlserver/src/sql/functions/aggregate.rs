//! Sums and averages of decimals, exact where SQLite's own would be floats.

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::Value as Stored;

use super::{is_null, type_at, value_at};
use crate::sql::number::{self, Operator};
use crate::sql::{errors, store, types};
use crate::values::{SqlType, Value};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_aggregate_function("t_sum", 3, flags, Sum { average: false })?;
    connection.create_aggregate_function("t_avg", 3, flags, Sum { average: true })
}

struct Sum {
    average: bool,
}

/// What has been added up so far.
#[derive(Default)]
struct Total {
    unscaled: i128,
    scale: u8,
    count: i128,
    result: Option<SqlType>,
}

impl Aggregate<Total, Option<Stored>> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Total> {
        Ok(Total::default())
    }

    fn step(&self, context: &mut Context<'_>, total: &mut Total) -> rusqlite::Result<()> {
        if is_null(context, 0) {
            return Ok(());
        }
        let sql_error = |error| errors::to_sqlite(&error);
        let from = type_at(context, 1).map_err(sql_error)?;
        let to = type_at(context, 2).map_err(sql_error)?;
        if let Value::Decimal { unscaled, scale } = value_at(context, 0, from).map_err(sql_error)? {
            let sum = total.unscaled.checked_add(unscaled);
            total.unscaled = sum.ok_or_else(|| errors::to_sqlite(&errors::overflow(to)))?;
            total.scale = scale;
            total.count += 1;
            total.result = Some(to);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> rusqlite::Result<Option<Stored>> {
        let Some((total, result)) = total.and_then(|total| total.result.map(|result| (total, result))) else {
            return Ok(None);
        };
        let scale = types::as_decimal(result).map_or(0, |(_, scale)| scale);
        let overflow = || errors::to_sqlite(&errors::overflow(result));
        let unscaled = if self.average {
            Operator::Divide.apply((total.unscaled, total.scale), (total.count, 0), scale).map_err(|_| overflow())?
        } else {
            number::rescale(total.unscaled, total.scale, scale).ok_or_else(overflow)?
        };
        let value = Value::Decimal { unscaled, scale };
        store::encode(result, value).map(Some).map_err(|error| errors::to_sqlite(&error))
    }
}
