//! Aggregates and windows.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, WindowFrameBound, WindowSpec,
    WindowType,
};

use super::{Binder, Bound, Scope, comparable};
use crate::sql::{errors, types};
use crate::values::{Length, SqlError, SqlType};

impl Binder<'_> {
    /// Binds an aggregate or window function; `None` when the name is no such function.
    pub(super) fn aggregate(
        &self,
        name: &str,
        function: &Function,
        scope: &Scope<'_>,
    ) -> Result<Option<Bound>, SqlError> {
        if matches!(name, "ROW_NUMBER" | "RANK" | "DENSE_RANK" | "NTILE" | "PERCENT_RANK" | "CUME_DIST") {
            return self.ranking(name, function, scope).map(Some);
        }
        if matches!(name, "LAG" | "LEAD" | "FIRST_VALUE" | "LAST_VALUE") {
            return self.neighbour(name, function, scope).map(Some);
        }
        if !matches!(name, "COUNT" | "COUNT_BIG" | "MIN" | "MAX" | "SUM" | "AVG" | "STRING_AGG") {
            return Ok(None);
        }
        if !function.within_group.is_empty() {
            return Err(errors::unsupported("WITHIN GROUP"));
        }
        let FunctionArguments::List(list) = &function.args else {
            return Err(errors::argument_count(&name.to_lowercase(), "1"));
        };
        let windowed = function.over.is_some();
        if !windowed {
            scope.saw_aggregate.set(true);
        }
        let before = scope.inside_aggregate.replace(scope.inside_aggregate.get() || !windowed);
        let arguments = self.aggregate_arguments(&list.args, scope);
        scope.inside_aggregate.set(before);
        let distinct = match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => "DISTINCT ",
            _ => "",
        };
        let bound = self.aggregate_call(name, distinct, &arguments?, windowed)?;
        let Some(over) = &function.over else { return Ok(Some(bound)) };
        let window = self.window(over, scope)?;
        Ok(Some(Bound { sql: bound.sql.replace(WINDOW, &format!(" OVER ({window})")), ..bound }))
    }

    /// `None` stands for `*`.
    fn aggregate_arguments(
        &self,
        arguments: &[FunctionArg],
        scope: &Scope<'_>,
    ) -> Result<Vec<Option<Bound>>, SqlError> {
        arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(None),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => self.expression(expression, scope).map(Some),
                other => Err(errors::syntax_near(&other.to_string())),
            })
            .collect()
    }

    fn aggregate_call(
        &self,
        name: &str,
        distinct: &str,
        arguments: &[Option<Bound>],
        windowed: bool,
    ) -> Result<Bound, SqlError> {
        // The mark is where OVER goes; without a window it goes away.
        let mark = if windowed { WINDOW } else { "" };
        if matches!(name, "COUNT" | "COUNT_BIG") {
            let inside = match arguments {
                [None] => "*".to_owned(),
                [Some(bound)] => format!("{distinct}{}", comparable(&bound.sql, bound.sql_type)),
                _ => return Err(errors::argument_count(&name.to_lowercase(), "1")),
            };
            let sql_type = if name == "COUNT" { SqlType::Int } else { SqlType::BigInt };
            return Ok(Bound::new(format!("COUNT({inside}){mark}"), sql_type).not_null());
        }
        let Some(Some(value)) = arguments.first() else {
            return Err(errors::argument_count(&name.to_lowercase(), "1"));
        };
        let sql_type = value.sql_type;
        let invalid = || {
            let shown = types::facts(sql_type).name;
            SqlError::new(8117, format!("Operand data type {shown} is invalid for {} operator.", name.to_lowercase()))
        };
        match name {
            "STRING_AGG" => {
                let Some(Some(separator)) = arguments.get(1) else {
                    return Err(errors::argument_count("string_agg", "2"));
                };
                let text = SqlType::NVarChar(Length::Max);
                let sql =
                    format!("group_concat({}, {}){mark}", self.coerce(value, text)?, self.coerce(separator, text)?);
                let long = types::length_of(sql_type) == Some(Length::Max);
                Ok(Bound::new(sql, if long { text } else { SqlType::NVarChar(Length::Limited(4000)) }))
            }
            "MIN" | "MAX" => {
                if types::is_incomparable(sql_type) || sql_type == SqlType::Bit {
                    return Err(invalid());
                }
                // Of a datetimeoffset the whole value is wanted back; its bytes order as its moments do.
                let inside =
                    if types::is_text(sql_type) { comparable(&value.sql, sql_type) } else { value.sql.clone() };
                Ok(Bound::new(format!("{name}({inside}){mark}"), sql_type))
            }
            _ => {
                let integer = match sql_type {
                    SqlType::TinyInt | SqlType::SmallInt | SqlType::Int => Some(SqlType::Int),
                    SqlType::BigInt => Some(SqlType::BigInt),
                    _ => None,
                };
                let sum = |sql: &str| format!("SUM({distinct}{sql}){mark}");
                match (name, integer, sql_type) {
                    ("SUM", Some(result), _) => {
                        // The sum must fit the type, whatever SQLite's own integers hold.
                        let wide = Bound::new(sum(&value.sql), SqlType::BigInt);
                        Ok(Bound::new(self.coerce(&wide, result)?, result))
                    }
                    (_, Some(result), _) => {
                        let sql = format!("({} / COUNT({distinct}{}){mark})", sum(&value.sql), value.sql);
                        Ok(Bound::new(sql, result))
                    }
                    ("SUM", None, SqlType::Float | SqlType::Real) => Ok(Bound::new(sum(&value.sql), SqlType::Float)),
                    (_, None, SqlType::Float | SqlType::Real) => {
                        Ok(Bound::new(format!("AVG({distinct}{}){mark}", value.sql), SqlType::Float))
                    }
                    _ => self.decimal_aggregate(name, distinct, value, windowed).ok_or_else(invalid),
                }
            }
        }
    }

    fn decimal_aggregate(&self, name: &str, distinct: &str, value: &Bound, windowed: bool) -> Option<Bound> {
        let (_, scale) = types::as_decimal(value.sql_type).filter(|_| value.sql_type != SqlType::Bit && !windowed)?;
        let result = match (value.sql_type, name) {
            (SqlType::Money | SqlType::SmallMoney, _) => SqlType::Money,
            (SqlType::Numeric { .. }, "SUM") => SqlType::Numeric { precision: 38, scale },
            (SqlType::Numeric { .. }, _) => SqlType::Numeric { precision: 38, scale: scale.max(6) },
            (_, "SUM") => SqlType::Decimal { precision: 38, scale },
            _ => SqlType::Decimal { precision: 38, scale: scale.max(6) },
        };
        // SQLite knows DISTINCT only in aggregates of one argument.
        if !distinct.is_empty() {
            return None;
        }
        let (from, to) = (types::declaration(value.sql_type), types::declaration(result));
        Some(Bound::new(format!("t_{}({}, '{from}', '{to}')", name.to_lowercase(), value.sql), result))
    }

    fn ranking(&self, name: &str, function: &Function, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let arguments = super::function::plain_arguments(&function.args)?;
        let Some(over) = &function.over else {
            return Err(SqlError::new(10753, format!("The function '{name}' must have an OVER clause.")).with_class(15));
        };
        if !has_order(over) {
            return Err(SqlError::new(4112, format!("The function '{name}' must have an OVER clause with ORDER BY."))
                .with_class(15));
        }
        let inside = match (name, arguments.as_slice()) {
            ("NTILE", [groups]) => {
                let groups = self.expression(groups, scope)?;
                self.coerce(&groups, SqlType::BigInt)?
            }
            ("NTILE", _) => return Err(errors::argument_count("ntile", "1")),
            (_, []) => String::new(),
            _ => return Err(errors::argument_count(&name.to_lowercase(), "0")),
        };
        let sql_type = if matches!(name, "PERCENT_RANK" | "CUME_DIST") { SqlType::Float } else { SqlType::BigInt };
        Ok(Bound::new(format!("{name}({inside}) OVER ({})", self.window(over, scope)?), sql_type))
    }

    fn neighbour(&self, name: &str, function: &Function, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let arguments = super::function::plain_arguments(&function.args)?;
        let (Some(over), Some(value)) = (&function.over, arguments.first()) else {
            return Err(SqlError::new(10753, format!("The function '{name}' must have an OVER clause.")).with_class(15));
        };
        let value = self.expression(value, scope)?;
        let mut inside = value.sql.clone();
        if let Some(distance) = arguments.get(1) {
            let distance = self.expression(distance, scope)?;
            inside.push_str(&format!(", {}", self.coerce(&distance, SqlType::BigInt)?));
        }
        if let Some(otherwise) = arguments.get(2) {
            let otherwise = self.expression(otherwise, scope)?;
            inside.push_str(&format!(", {}", self.coerce(&otherwise, value.sql_type)?));
        }
        Ok(Bound::new(format!("{name}({inside}) OVER ({})", self.window(over, scope)?), value.sql_type))
    }

    fn window(&self, over: &WindowType, scope: &Scope<'_>) -> Result<String, SqlError> {
        let WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame }) = over
        else {
            return Err(errors::unsupported("named windows"));
        };
        let mut parts = Vec::new();
        if !partition_by.is_empty() {
            let keys = self.keys(partition_by.iter(), scope)?;
            parts.push(format!("PARTITION BY {}", keys.join(", ")));
        }
        if !order_by.is_empty() {
            let keys = self.keys(order_by.iter().map(|item| &item.expr), scope)?;
            let keys: Vec<String> = keys
                .iter()
                .zip(order_by)
                .map(|(key, item)| super::query::ordered(key, item))
                .collect::<Result<_, _>>()?;
            parts.push(format!("ORDER BY {}", keys.join(", ")));
        }
        if let Some(frame) = window_frame {
            let end = frame.end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow);
            parts.push(format!("{} BETWEEN {} AND {}", frame.units, frame.start_bound, end));
        }
        Ok(parts.join(" "))
    }

    fn keys<'e>(&self, keys: impl Iterator<Item = &'e Expr>, scope: &Scope<'_>) -> Result<Vec<String>, SqlError> {
        keys.map(|key| {
            let bound = self.expression(key, scope)?;
            if types::is_incomparable(bound.sql_type) {
                return Err(errors::incomparable());
            }
            Ok(comparable(&bound.sql, bound.sql_type))
        })
        .collect()
    }
}

/// Stands in a call's text where its window goes.
const WINDOW: &str = "\u{1}window\u{1}";

fn has_order(over: &WindowType) -> bool {
    matches!(over, WindowType::WindowSpec(specification) if !specification.order_by.is_empty())
}
