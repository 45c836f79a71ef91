//! Calls: which function a name means, and the type it yields.

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Binder, Bound, Scope};
use crate::sql::{errors, types};
use crate::values::{Length, SqlError, SqlType, Value};

impl Binder<'_> {
    /// Binds a call.
    pub(super) fn function(&self, function: &Function, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        if function.filter.is_some() || function.null_treatment.is_some() {
            return Err(errors::syntax_near("("));
        }
        let parts = self.without_database(super::name_parts(&function.name)?);
        if let [schema, name] = parts.as_slice()
            && schema.eq_ignore_ascii_case("sys")
            && let Some(bound) = self.captured_call(name, &plain_arguments(&function.args)?, scope)?
        {
            return Ok(bound);
        }
        let [name] = parts.as_slice() else {
            return Err(errors::unsupported(format_args!("the function '{}'", function.name)));
        };
        let name = name.to_uppercase();
        if let Some(bound) = self.aggregate(&name, function, scope)? {
            return Ok(bound);
        }
        if function.over.is_some() || !function.within_group.is_empty() {
            return Err(errors::unsupported(format_args!("OVER after '{name}'")));
        }
        let arguments = plain_arguments(&function.args)?;
        self.scalar(&name, &arguments, scope)
    }

    fn scalar(&self, name: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let bind = |at: usize, count: &str| -> Result<Bound, SqlError> {
            let argument = arguments.get(at).ok_or_else(|| errors::argument_count(&name.to_lowercase(), count))?;
            self.expression(argument, scope)
        };
        let exactly = |count: usize| {
            if arguments.len() == count {
                Ok(())
            } else {
                Err(errors::argument_count(&name.to_lowercase(), &count.to_string()))
            }
        };
        match name {
            "ISNULL" => {
                exactly(2)?;
                let (value, otherwise) = (bind(0, "2")?, bind(1, "2")?);
                let target = if value.is_null_literal() { otherwise.sql_type } else { value.sql_type };
                super::predicate::refuse_clash(target, otherwise.sql_type)?;
                let sql = format!("IFNULL({}, {})", self.coerce(&value, target)?, self.coerce(&otherwise, target)?);
                Ok(Bound { nullable: value.nullable && otherwise.nullable, ..Bound::new(sql, target) })
            }
            "COALESCE" => {
                let mut values = Vec::new();
                for at in 0..arguments.len() {
                    values.push(bind(at, "2")?);
                }
                let last = values.pop().ok_or_else(|| errors::syntax_near(")"))?;
                let nullable = last.nullable && values.iter().all(|value| value.nullable);
                let tests: Vec<String> = values.iter().map(|value| format!("{} IS NOT NULL", value.sql)).collect();
                Ok(Bound { nullable, ..self.case(&tests, values, last)? })
            }
            "NULLIF" => {
                exactly(2)?;
                let (value, other) = (bind(0, "2")?, bind(1, "2")?);
                let equal = self.comparison(&value, "=", &other)?;
                Ok(Bound::new(format!("CASE WHEN {equal} THEN NULL ELSE {} END", value.sql), value.sql_type))
            }
            "IIF" => {
                exactly(3)?;
                let test = self.predicate(arguments[0], scope)?;
                self.case(&[test], vec![bind(1, "3")?], bind(2, "3")?)
            }
            "CHOOSE" => {
                let index = bind(0, "2")?;
                let index = self.coerce(&index, SqlType::Int)?;
                let mut results = Vec::new();
                for at in 1..arguments.len() {
                    results.push(bind(at, "2")?);
                }
                let tests: Vec<String> = (1..=results.len()).map(|at| format!("{index} = {at}")).collect();
                self.case(&tests, results, Bound::constant(SqlType::Int, Value::Null)?)
            }
            "NEWID" | "NEWSEQUENTIALID" => {
                exactly(0)?;
                Ok(Bound::new("t_newid()", SqlType::UniqueIdentifier).not_null())
            }
            "SQL_VARIANT_PROPERTY" => {
                exactly(2)?;
                let (value, property) = (bind(0, "2")?, self.as_text(arguments[1], scope)?);
                let declared = types::declaration(value.sql_type);
                let sql = format!("t_variant_property({}, '{declared}', {property})", value.sql);
                Ok(Bound::new(sql, SqlType::SqlVariant))
            }
            "DATALENGTH" => {
                exactly(1)?;
                let value = bind(0, "1")?;
                let wide = types::length_of(value.sql_type) == Some(Length::Max);
                let sql = format!("t_datalength({}, '{}')", value.sql, types::declaration(value.sql_type));
                let sql_type = if wide { SqlType::BigInt } else { SqlType::Int };
                Ok(Bound { nullable: value.nullable, ..Bound::new(sql, sql_type) })
            }
            "CHECKSUM" | "BINARY_CHECKSUM" | "HASHBYTES" | "FORMAT" | "STUFF" | "PATINDEX" => {
                Err(errors::unsupported(format_args!("the function '{name}'")))
            }
            _ => {
                if let Some(bound) = self.temporal_call(name, arguments, scope)? {
                    return Ok(bound);
                }
                if super::text::is_text_function(name) {
                    return self.text_function(name, arguments, scope);
                }
                if is_number_function(name) {
                    return self.number_function(name, arguments, scope);
                }
                if let Some(bound) = self.metadata_call(name, arguments, scope)? {
                    return Ok(bound);
                }
                Err(errors::unknown_function(name))
            }
        }
    }

    /// ABS, ROUND and the like: computed in the argument's own type.
    pub(super) fn number_function(
        &self,
        name: &str,
        arguments: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        let first = arguments.first().ok_or_else(|| errors::argument_count(&name.to_lowercase(), "1"))?;
        let value = self.expression(first, scope)?;
        let second = match arguments.get(1) {
            Some(argument) => {
                let bound = self.expression(argument, scope)?;
                self.coerce(&bound, if name == "POWER" { SqlType::Float } else { SqlType::Int })?
            }
            None if matches!(name, "ROUND" | "POWER") => {
                return Err(errors::argument_count(&name.to_lowercase(), "2"));
            }
            None => "0".to_owned(),
        };
        let float = matches!(name, "SQRT" | "EXP" | "LOG" | "LOG10");
        let target = match value.sql_type {
            _ if float => SqlType::Float,
            _ if types::is_text(value.sql_type) => SqlType::Float,
            SqlType::TinyInt | SqlType::SmallInt | SqlType::Bit => SqlType::Int,
            SqlType::Real => SqlType::Float,
            SqlType::SmallMoney => SqlType::Money,
            other => other,
        };
        if types::as_decimal(target).is_none() && target != SqlType::Float {
            return Err(errors::clash(value.sql_type, SqlType::Float));
        }
        let result = match (name, target) {
            ("FLOOR" | "CEILING", SqlType::Decimal { precision, .. }) => SqlType::Decimal { precision, scale: 0 },
            ("FLOOR" | "CEILING", SqlType::Numeric { precision, .. }) => SqlType::Numeric { precision, scale: 0 },
            _ => target,
        };
        let sql = format!(
            "t_number('{name}', {}, '{}', {second}, '{}')",
            self.coerce(&value, target)?,
            types::declaration(target),
            types::declaration(result)
        );
        Ok(Bound { nullable: value.nullable, ..Bound::new(sql, result) })
    }
}

fn is_number_function(name: &str) -> bool {
    matches!(name, "ABS" | "SIGN" | "ROUND" | "FLOOR" | "CEILING" | "POWER" | "SQRT" | "EXP" | "LOG" | "LOG10")
}

/// The arguments of a call that takes nothing but expressions.
///
/// # Errors
///
/// 102 for `*`, named arguments and clauses.
pub(super) fn plain_arguments(arguments: &FunctionArguments) -> Result<Vec<&Expr>, SqlError> {
    match arguments {
        FunctionArguments::None => Ok(Vec::new()),
        FunctionArguments::Subquery(_) => Err(errors::syntax_near("SELECT")),
        FunctionArguments::List(list) => {
            if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
                return Err(errors::syntax_near("DISTINCT"));
            }
            list.args
                .iter()
                .map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression),
                    other => Err(errors::syntax_near(&other.to_string())),
                })
                .collect()
        }
    }
}
