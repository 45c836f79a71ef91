//! Functions of change data capture.
//!
//! Sources: "cdc.fn_cdc_get_all_changes_<capture_instance>", "cdc.fn_cdc_get_net_changes_<capture_instance>", "Work with Change
//! Data", and the page of each `sys.fn_cdc_…`.

use sqlparser::ast::{Expr, TableAlias};

use super::{Binder, Bound, Scope, prepare};
use crate::sql::capture::{self, Instance};
use crate::sql::switches::{InvalidRange, MaxLsn, MinLsn};
use crate::sql::{catalog, collate, errors, store};
use crate::values::{Column, Length, SqlError, SqlType, Value};

const LSN: SqlType = SqlType::Binary { length: 10 };
const MASK: SqlType = SqlType::VarBinary(Length::Limited(128));
const ZEROS: &str = "X'00000000000000000000'";

/// A range of LSNs, both ends included.
struct Range {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Range {
    /// The condition in SQLite.
    fn condition(&self) -> String {
        format!("c1 BETWEEN X'{}' AND X'{}'", store::hexadecimal(&self.from), store::hexadecimal(&self.to))
    }
}

impl Binder<'_> {
    /// A `sys.fn_cdc_…` that yields a value.
    pub(super) fn captured_call(
        &self,
        name: &str,
        arguments: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Option<Bound>, SqlError> {
        let text = |at: usize| -> Result<String, SqlError> {
            let expression = arguments.get(at).ok_or_else(|| errors::argument_count(&name.to_lowercase(), "more"))?;
            Ok(format!("({} COLLATE {})", self.as_text(expression, scope)?, collate::NAME))
        };
        let value = |at: usize, sql_type: SqlType| -> Result<String, SqlError> {
            let expression = arguments.get(at).ok_or_else(|| errors::argument_count(&name.to_lowercase(), "more"))?;
            let bound = self.expression(expression, scope)?;
            self.coerce(&bound, sql_type)
        };
        let bound = match (name.to_lowercase().as_str(), arguments.len()) {
            ("fn_cdc_get_min_lsn", 1) => Bound::new(self.min_lsn(&text(0)?), LSN),
            ("fn_cdc_get_max_lsn", 0) => Bound::new(self.max_lsn(), LSN),
            ("fn_cdc_increment_lsn", 1) => Bound::new(format!("t_cdc_neighbour({}, 1)", value(0, LSN)?), LSN),
            ("fn_cdc_decrement_lsn", 1) => Bound::new(format!("t_cdc_neighbour({}, 0)", value(0, LSN)?), LSN),
            ("fn_cdc_map_lsn_to_time", 1) => {
                let sql = format!("(SELECT ended FROM __cdc_times WHERE start_lsn = {})", value(0, LSN)?);
                Bound::new(sql, SqlType::DateTime)
            }
            ("fn_cdc_map_time_to_lsn", 2) => {
                let operator = self.value_of(arguments[0], SqlType::NVarChar(Length::Limited(60)))?;
                Bound::new(lsn_at(&operator, &value(1, SqlType::DateTime)?)?, LSN)
            }
            ("fn_cdc_is_bit_set", 2) => {
                Bound::new(format!("t_cdc_bit({}, {})", value(0, SqlType::Int)?, value(1, MASK)?), SqlType::Bit)
            }
            ("fn_cdc_get_column_ordinal", 2) => Bound::new(ordinal(&text(0)?, &text(1)?), SqlType::Int),
            ("fn_cdc_has_column_changed", 3) => {
                let sql = format!("t_cdc_bit({}, {})", ordinal(&text(0)?, &text(1)?), value(2, MASK)?);
                Bound::new(sql, SqlType::Bit)
            }
            _ => return Ok(None),
        };
        self.surroundings.accessed.set(true);
        Ok(Some(bound))
    }

    /// Zeros for an instance that does not exist or may not be read, NULL for one whose low end is not known yet ("sys.fn_cdc_get_min_lsn",
    /// "cdc.change_tables").
    fn min_lsn(&self, instance: &str) -> String {
        match self.surroundings.shared.switches().min_lsn {
            MinLsn::Known => format!(
                "(SELECT CASE COUNT(*) WHEN 0 THEN {ZEROS} ELSE MAX(i.start_lsn) END FROM __cdc_instances i \
                 WHERE i.name = {instance} AND {})",
                self.is_open("i.source_object_id", "")
            ),
            MinLsn::Null => "NULL".to_owned(),
            MinLsn::Zero => ZEROS.to_owned(),
        }
    }

    fn max_lsn(&self) -> String {
        match self.surroundings.shared.switches().max_lsn {
            MaxLsn::Known => "(SELECT MAX(start_lsn) FROM __cdc_times)".to_owned(),
            MaxLsn::Null => "NULL".to_owned(),
            MaxLsn::BelowStart => format!("X'{}'", store::hexadecimal(&capture::LOWEST)),
        }
    }

    /// The value of an expression that reads no row around it.
    fn value_of(&self, expression: &Expr, sql_type: SqlType) -> Result<Value, SqlError> {
        let bound = self.expression(expression, &Scope::default())?;
        let sql = format!("SELECT {}", self.coerce(&bound, sql_type)?);
        let mut prepared = prepare(self.connection, &sql, self.variables)?;
        let mut rows = prepared.raw_query();
        let storage = |error: rusqlite::Error| errors::storage(&error);
        match rows.next().map_err(storage)? {
            Some(row) => store::decode(sql_type, row.get_ref(0).map_err(storage)?),
            None => Ok(Value::Null),
        }
    }

    /// `cdc.fn_cdc_get_all_changes_…` and `cdc.fn_cdc_get_net_changes_…`.
    pub(super) fn changes(
        &self,
        name: &str,
        arguments: &[&Expr],
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let missing = || errors::invalid_object(&format!("cdc.{name}"));
        let lower = name.to_lowercase();
        let is_net = lower.starts_with("fn_cdc_get_net_changes_");
        let prefix = "fn_cdc_get_all_changes_".len();
        if !is_net && !lower.starts_with("fn_cdc_get_all_changes_") {
            return Err(missing());
        }
        let wanted = name.get(prefix..).unwrap_or_default();
        let instance = capture::find(self.connection, wanted).map_err(|error| errors::storage(&error))?;
        let instance = instance.filter(|instance| !is_net || instance.supports_net_changes).ok_or_else(missing)?;
        self.refuse_denied(instance.source)?;
        self.access(instance.id)?;
        let [from, to, option] = arguments else { return Err(errors::missing_arguments(&format!("cdc.{name}"))) };
        let range = self.range(&instance, from, to)?;
        let option = match self.value_of(option, SqlType::NVarChar(Length::Limited(30)))? {
            Value::Text(option) => option.to_lowercase(),
            _ => String::new(),
        };
        let invalid = || match self.surroundings.shared.switches().invalid_range {
            InvalidRange::Arguments => {
                let kind = if is_net { "net" } else { "all" };
                errors::missing_arguments(&format!("cdc.fn_cdc_get_{kind}_changes_ ... "))
            }
            InvalidRange::Object => missing(),
        };
        let range = range.ok_or_else(invalid)?;
        let query = match (is_net, option.as_str()) {
            (false, "all") => all_changes(&instance, &range, false),
            (false, "all update old") => all_changes(&instance, &range, true),
            (true, "all") => net_changes(&instance, &range, false),
            (true, "all with merge") => net_changes(&instance, &range, true),
            (true, "all with mask") => return Err(errors::unsupported("net changes with a mask")),
            _ => return Err(invalid()),
        };
        let mut columns = vec![Column::new("__$start_lsn", LSN)];
        if !is_net {
            columns.push(Column::new("__$seqval", LSN));
        }
        columns.extend([Column::new("__$operation", SqlType::Int), Column::new("__$update_mask", MASK)]);
        columns.extend(instance.columns.iter().map(|column| {
            let sql_type = column.sql_type();
            Column::new(
                column.name.clone(),
                if sql_type == SqlType::RowVersion { SqlType::Binary { length: 8 } } else { sql_type },
            )
        }));
        let shown = alias.map_or(name, |alias| alias.name.value.as_str());
        self.function_source(&query, columns, shown, scope)
    }

    /// The range asked for; `None` where it is no part of the instance's.
    fn range(&self, instance: &Instance, from: &Expr, to: &Expr) -> Result<Option<Range>, SqlError> {
        let (from, to) = (self.value_of(from, LSN)?, self.value_of(to, LSN)?);
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let max = capture::max_lsn(self.connection).map_err(storage)?;
        let (Value::Bytes(from), Value::Bytes(to), Some(low), Some(high)) = (from, to, &instance.start_lsn, max) else {
            return Ok(None);
        };
        Ok((*low <= from && from <= to && to <= high).then_some(Range { from, to }))
    }

    /// 229: whoever reads changes must be allowed to read their table ("Work with Change Data").
    fn refuse_denied(&self, source: i64) -> Result<(), SqlError> {
        let name = catalog::name_of(self.connection, source).map_err(|error| errors::storage(&error))?;
        let Some((schema, table)) = name else { return Ok(()) };
        if self.surroundings.denied.contains(&format!("{schema}.{table}").to_lowercase()) {
            return Err(errors::select_denied(&table, &self.surroundings.database, &schema));
        }
        Ok(())
    }
}

fn captured_columns(instance: &Instance, first: i64) -> String {
    let columns: Vec<String> =
        (first..).zip(&instance.columns).map(|(at, column)| format!("{} AS c{at}", column.physical())).collect();
    columns.join(", ")
}

/// Ordered by commit, and within a transaction as it was changed ("Work with Change Data").
fn all_changes(instance: &Instance, range: &Range, with_old: bool) -> String {
    format!(
        "(SELECT c1, c3 AS c2, c4 AS c3, c5 AS c4, {} FROM t{} WHERE {}{} ORDER BY c1, rowid)",
        captured_columns(instance, 5),
        instance.id,
        range.condition(),
        if with_old { "" } else { " AND c4 <> 3" }
    )
}

/// One row for each key that is not as it was.
fn net_changes(instance: &Instance, range: &Range, merges: bool) -> String {
    let of_key = |id: &i64| instance.columns.iter().find(|column| column.id == *id);
    let key: Vec<String> = instance.key.iter().filter_map(of_key).map(|column| column.physical()).collect();
    let operation = match merges {
        true => "CASE c4 WHEN 1 THEN 1 ELSE 5 END",
        false => "CASE WHEN c4 = 1 THEN 1 WHEN first = 2 THEN 2 ELSE 4 END",
    };
    let key = key.join(", ");
    format!(
        "(SELECT c1, {operation} AS c2, NULL AS c3, {} FROM (SELECT rowid AS place, *, FIRST_VALUE(c4) OVER (PARTITION BY \
         {key} ORDER BY c1, rowid) AS first, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY c1 DESC, rowid DESC) AS n \
         FROM t{} WHERE {} AND c4 <> 3) WHERE n = 1 AND NOT (first = 2 AND c4 = 1) ORDER BY c1, place)",
        captured_columns(instance, 4),
        instance.id,
        range.condition()
    )
}

fn ordinal(instance: &str, column: &str) -> String {
    format!(
        "(SELECT c.ordinal FROM __cdc_columns c JOIN __cdc_instances i ON i.object_id = c.object_id \
         WHERE i.name = {instance} AND c.name = {column})"
    )
}

/// "sys.fn_cdc_map_time_to_lsn"
fn lsn_at(operator: &Value, time: &str) -> Result<String, SqlError> {
    let operator = match operator {
        Value::Text(operator) => operator.to_lowercase(),
        _ => String::new(),
    };
    let (function, sign) = match operator.as_str() {
        "largest less than" => ("MAX", "<"),
        "largest less than or equal" => ("MAX", "<="),
        "smallest greater than" => ("MIN", ">"),
        "smallest greater than or equal" => ("MIN", ">="),
        _ => return Ok("NULL".to_owned()),
    };
    Ok(format!("(SELECT {function}(start_lsn) FROM __cdc_times WHERE ended {sign} {time})"))
}
