//! The functions of the language: which there are, and what they take.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use sqlparser::ast::{
    Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, TrimWhereField,
};

use super::{Translator, Typed};
use crate::error::ColumnarError;
use crate::expression::functions::{self, Function};
use crate::expression::typing::Family;
use crate::expression::{date_trunc, regexp, texts};
use crate::type_text;

/// Names of functions, each with the numbers of arguments that it takes.
const FUNCTIONS: &[(&str, std::ops::RangeInclusive<usize>)] = &[
    ("coalesce", 1..=usize::MAX),
    ("concat", 1..=usize::MAX),
    ("date_trunc", 2..=2),
    ("left", 2..=2),
    ("length", 1..=1),
    ("lower", 1..=1),
    ("nullif", 2..=2),
    ("regexp_like", 2..=2),
    ("regexp_replace", 3..=4),
    ("regexp_substr", 2..=2),
    ("replace", 3..=3),
    ("right", 2..=2),
    ("sha256", 1..=1),
    ("split_part", 3..=3),
    ("strpos", 2..=2),
    ("upper", 1..=1),
];

impl Translator<'_> {
    pub(super) fn trim(
        &self,
        expr: &Expr,
        side: Option<&TrimWhereField>,
        characters: Option<&Expr>,
    ) -> Result<Typed, ColumnarError> {
        let (leading, trailing) = match side {
            Some(TrimWhereField::Leading) => (true, false),
            Some(TrimWhereField::Trailing) => (false, true),
            Some(TrimWhereField::Both) | None => (true, true),
        };
        let mut arguments = vec![self.text(expr, "trim")?];
        if let Some(characters) = characters {
            arguments.push(self.text(characters, "trim")?);
        }
        let arguments = self.unify(arguments, "trim")?;
        self.call(&functions::trim(leading, trailing), arguments)
    }

    pub(super) fn substr(
        &self,
        text: &Expr,
        from: Option<&Expr>,
        length: Option<&Expr>,
    ) -> Result<Typed, ColumnarError> {
        let mut arguments = vec![self.text(text, "substr")?];
        let Some(from) = from else { return self.refuse("substr without a start") };
        for position in [Some(from), length].into_iter().flatten() {
            arguments.push(self.count(position, "the positions of substr are integers")?);
        }
        self.call(&functions::substr(), arguments)
    }

    pub(super) fn function(&self, call: &Call) -> Result<Typed, ColumnarError> {
        let name = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] if name.quote_style.is_none() => name.value.to_ascii_lowercase(),
            _ => return self.refuse(&format!("the function {}", call.name)),
        };
        let arguments = self.plain_arguments(call, &name)?;
        let Some((_, counts)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return self.refuse(&format!("the function {name}"));
        };
        if !counts.contains(&arguments.len()) {
            return self.refuse(&format!("the function {name} with {} arguments", arguments.len()));
        }
        match (name.as_str(), arguments.as_slice()) {
            ("upper", _) => self.text_function(&functions::upper(), &arguments, &name),
            ("lower", _) => self.text_function(&functions::lower(), &arguments, &name),
            ("length", _) => self.text_function(&functions::length(), &arguments, &name),
            ("replace", _) => self.text_function(&functions::replace(), &arguments, &name),
            ("concat", _) => self.text_function(&functions::concat(), &arguments, &name),
            ("strpos", _) => self.text_function(&texts::strpos(), &arguments, &name),
            ("coalesce", _) => {
                let arguments = self.alike(&arguments, "COALESCE")?;
                self.call(&functions::coalesce(), arguments)
            }
            ("nullif", _) => {
                let arguments = self.comparable(&arguments, "NULLIF")?;
                self.call(&functions::nullif(), arguments)
            }
            ("left", [text, count]) => self.counted(&texts::left(), &[text], count, &name),
            ("right", [text, count]) => self.counted(&texts::right(), &[text], count, &name),
            ("split_part", [text, delimiter, count]) => {
                self.counted(&texts::split_part(), &[text, delimiter], count, &name)
            }
            ("sha256", [value]) => self.sha256(value),
            ("date_trunc", [unit, value]) => self.date_trunc(unit, value),
            ("regexp_like" | "regexp_replace" | "regexp_substr", [text, rest @ ..]) => self.regexp(&name, text, rest),
            _ => self.refuse(&format!("the function {name}")),
        }
    }

    /// The arguments of a call with nothing around them: no DISTINCT, FILTER, OVER, names or wildcards.
    fn plain_arguments<'e>(&self, call: &'e Call, name: &str) -> Result<Vec<&'e Expr>, ColumnarError> {
        let what = format!("the function {name} with more than plain arguments");
        let plain = !call.uses_odbc_syntax
            && matches!(call.parameters, FunctionArguments::None)
            && call.filter.is_none()
            && call.null_treatment.is_none()
            && call.over.is_none()
            && call.within_group.is_empty();
        let FunctionArguments::List(list) = &call.args else { return self.refuse(&what) };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return self.refuse(&what);
        }
        let arguments = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => self.refuse(&what),
        });
        arguments.collect()
    }

    fn text_function(&self, function: &Function, arguments: &[&Expr], name: &str) -> Result<Typed, ColumnarError> {
        let arguments = arguments.iter().map(|argument| self.text(argument, name)).collect::<Result<Vec<_>, _>>()?;
        let arguments = self.unify(arguments, name)?;
        self.call(function, arguments)
    }

    /// An integer, as `Int64`.
    fn count(&self, count: &Expr, expected: &str) -> Result<Typed, ColumnarError> {
        let count = self.expression(count)?;
        if !(count.data_type.is_integer() || count.data_type == DataType::Null) {
            return Err(self.mismatch(expected));
        }
        self.convert(count, &DataType::Int64)
    }

    /// A function of texts and an integer behind them.
    fn counted(&self, function: &Function, texts: &[&Expr], count: &Expr, name: &str) -> Result<Typed, ColumnarError> {
        let texts = texts.iter().map(|text| self.text(text, name)).collect::<Result<Vec<_>, _>>()?;
        let mut arguments = self.unify(texts, name)?;
        arguments.push(self.count(count, &format!("the last argument of {name} is an integer"))?);
        self.call(function, arguments)
    }

    fn sha256(&self, value: &Expr) -> Result<Typed, ColumnarError> {
        let value = self.expression(value)?;
        let value = match Family::of(&value.data_type) {
            Family::Text | Family::Binary => value,
            Family::Null => self.convert(value, &DataType::Utf8)?,
            _ => {
                let found = type_text::print(&value.data_type);
                return Err(self.mismatch(&format!("sha256 takes text or binary, not {found}")));
            }
        };
        self.call(&texts::sha256(), vec![value])
    }

    fn date_trunc(&self, unit: &Expr, value: &Expr) -> Result<Typed, ColumnarError> {
        let unit = self.literal_text(unit, "the unit of date_trunc")?;
        let Some(unit) = date_trunc::Unit::of(&unit) else {
            return Err(self.mismatch(&format!("date_trunc to `{unit}`; the units are {}", date_trunc::Unit::names())));
        };
        let value = self.expression(value)?;
        let value = match Family::of(&value.data_type) {
            Family::Timestamp | Family::ZonedTimestamp => value,
            Family::Date if unit.is_of_days() => value,
            Family::Null => self.convert(value, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
            _ => {
                let found = type_text::print(&value.data_type);
                return Err(self.mismatch(&format!(
                    "date_trunc takes a timestamp, or a date and a unit of whole days, not {found}"
                )));
            }
        };
        self.call(&date_trunc::date_trunc(unit), vec![value])
    }

    fn regexp(&self, name: &str, text: &Expr, rest: &[&Expr]) -> Result<Typed, ColumnarError> {
        let parts = ["pattern", "replacement", "flags"].into_iter().zip(rest);
        let literals = parts.map(|(part, literal)| self.literal_text(literal, &format!("the {part} of {name}")));
        let literals = literals.collect::<Result<Vec<_>, _>>()?;
        let text = self.text(text, name)?;
        self.patterns.set(self.patterns.get() + 1);
        if self.patterns.get() > regexp::MAX_PATTERNS {
            return self.refuse(&format!("more than {} regular expressions", regexp::MAX_PATTERNS));
        }
        let compiled = match (name, literals.as_slice()) {
            ("regexp_like", [pattern]) => regexp::like(pattern),
            ("regexp_substr", [pattern]) => regexp::substr(pattern),
            ("regexp_replace", [pattern, replacement]) => regexp::replace(pattern, replacement, ""),
            ("regexp_replace", [pattern, replacement, flags]) => regexp::replace(pattern, replacement, flags),
            _ => return self.refuse(&format!("the function {name} with {} arguments", rest.len() + 1)),
        };
        match compiled {
            Ok(function) => self.call(&function, vec![text]),
            Err(reason) => Err(self.mismatch(&format!("{name}: {reason}"))),
        }
    }

    /// A text literal.
    fn literal_text(&self, expr: &Expr, what: &str) -> Result<String, ColumnarError> {
        match self.expression(expr)?.literal {
            Some(ScalarValue::Utf8(Some(text))) => Ok(text),
            _ => Err(self.mismatch(&format!("{what} is a text literal"))),
        }
    }
}
