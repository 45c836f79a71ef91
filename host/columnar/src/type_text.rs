//! The one text form of an Arrow type on the boundary: `Int32`, `Decimal128(18, 4)`, `Timestamp(us, UTC)`,
//! `List(Utf8)`, `Struct("a": Int32, "b": Utf8 not null)`.
//!
//! Every supported type has exactly one text, and every other text is refused, spaces included. Metadata of nested
//! fields is not carried.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datakit_model::GuestLimits;

/// The widest `FixedSizeBinary`, in bytes.
const MAX_FIXED_BYTES: i32 = 1 << 20;
/// The longest time zone name, in bytes.
const MAX_ZONE_BYTES: usize = 64;
/// Types nest at most this deep, whatever the operator allows: they are walked by recursion.
const DEPTH_CEILING: u64 = 64;

/// What one schema may hold, counted down while it is read.
#[derive(Debug)]
pub(super) struct TypeBudget {
    depth: u64,
    max_depth: u64,
    fields: u64,
    max_fields: u64,
}

/// Why a type is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TypeRefusal {
    /// Not of the fixed form, or of a type the boundary does not carry.
    Unsupported(String),
    /// Nested deeper than `limits.guest.max_type_depth`.
    Depth(u64),
    /// More fields, nested ones included, than `limits.guest.max_columns`.
    Fields(u64),
}

impl TypeBudget {
    pub(super) fn new(limits: &GuestLimits) -> Self {
        Self {
            depth: 0,
            max_depth: limits.max_type_depth.min(DEPTH_CEILING),
            fields: 0,
            max_fields: limits.max_columns,
        }
    }

    /// Enters one type; [`Self::leave`] it afterwards.
    pub(super) fn enter(&mut self) -> Result<(), TypeRefusal> {
        self.depth += 1;
        self.fields += 1;
        if self.depth > self.max_depth {
            return Err(TypeRefusal::Depth(self.max_depth));
        }
        if self.fields > self.max_fields {
            return Err(TypeRefusal::Fields(self.max_fields));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

/// Whether a type may cross the boundary at all: the same set that has a text.
pub(super) fn check(data_type: &DataType, budget: &mut TypeBudget) -> Result<(), TypeRefusal> {
    budget.enter()?;
    match data_type {
        DataType::List(item) => check(item.data_type(), budget)?,
        DataType::Struct(fields) => {
            if fields.is_empty() {
                return unsupported("a struct needs at least one field");
            }
            for field in fields {
                check(field.data_type(), budget)?;
            }
        }
        DataType::FixedSizeBinary(width) => check_width(*width)?,
        DataType::Decimal128(precision, scale) => check_decimal(*precision, *scale)?,
        DataType::Timestamp(_, Some(zone)) => check_zone(zone)?,
        leaf => {
            if leaf_text(leaf).is_none() {
                return unsupported(&format!("{leaf} is not a type of the boundary"));
            }
        }
    }
    budget.leave();
    Ok(())
}

fn unsupported<T>(reason: &str) -> Result<T, TypeRefusal> {
    Err(TypeRefusal::Unsupported(reason.to_owned()))
}

fn check_width(width: i32) -> Result<(), TypeRefusal> {
    if (1..=MAX_FIXED_BYTES).contains(&width) {
        Ok(())
    } else {
        unsupported(&format!("a fixed width is 1 to {MAX_FIXED_BYTES} bytes"))
    }
}

fn check_decimal(precision: u8, scale: i8) -> Result<(), TypeRefusal> {
    if (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision {
        Ok(())
    } else {
        unsupported("a decimal has a precision of 1 to 38 and a scale of 0 to the precision")
    }
}

fn check_zone(zone: &str) -> Result<(), TypeRefusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | ':' | '/');
    if !zone.is_empty() && zone.len() <= MAX_ZONE_BYTES && zone.chars().all(plain) {
        Ok(())
    } else {
        unsupported("a time zone is a short plain name such as UTC, +02:00 or Europe/Berlin")
    }
}

/// The text of a type without parameters of its own, or with a unit only.
fn leaf_text(data_type: &DataType) -> Option<&'static str> {
    LEAVES.iter().find(|(leaf, _)| leaf == data_type).map(|(_, text)| *text)
}

/// Every type whose text is a constant.
static LEAVES: &[(DataType, &str)] = &[
    (DataType::Null, "Null"),
    (DataType::Boolean, "Boolean"),
    (DataType::Int8, "Int8"),
    (DataType::Int16, "Int16"),
    (DataType::Int32, "Int32"),
    (DataType::Int64, "Int64"),
    (DataType::UInt8, "UInt8"),
    (DataType::UInt16, "UInt16"),
    (DataType::UInt32, "UInt32"),
    (DataType::UInt64, "UInt64"),
    (DataType::Float32, "Float32"),
    (DataType::Float64, "Float64"),
    (DataType::Utf8, "Utf8"),
    (DataType::LargeUtf8, "LargeUtf8"),
    (DataType::Binary, "Binary"),
    (DataType::LargeBinary, "LargeBinary"),
    (DataType::Date32, "Date32"),
    (DataType::Time32(TimeUnit::Second), "Time32(s)"),
    (DataType::Time32(TimeUnit::Millisecond), "Time32(ms)"),
    (DataType::Time64(TimeUnit::Microsecond), "Time64(us)"),
    (DataType::Time64(TimeUnit::Nanosecond), "Time64(ns)"),
    (DataType::Timestamp(TimeUnit::Second, None), "Timestamp(s)"),
    (DataType::Timestamp(TimeUnit::Millisecond, None), "Timestamp(ms)"),
    (DataType::Timestamp(TimeUnit::Microsecond, None), "Timestamp(us)"),
    (DataType::Timestamp(TimeUnit::Nanosecond, None), "Timestamp(ns)"),
];

const UNITS: &[(TimeUnit, &str)] = &[
    (TimeUnit::Second, "s"),
    (TimeUnit::Millisecond, "ms"),
    (TimeUnit::Microsecond, "us"),
    (TimeUnit::Nanosecond, "ns"),
];

/// The text of a type. A type the boundary does not carry is written as Arrow prints it, which [`parse`] refuses.
pub(super) fn print(data_type: &DataType) -> String {
    let mut text = String::new();
    print_into(data_type, &mut text);
    text
}

fn print_into(data_type: &DataType, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = match data_type {
        DataType::FixedSizeBinary(width) => write!(text, "FixedSizeBinary({width})"),
        DataType::Decimal128(precision, scale) => write!(text, "Decimal128({precision}, {scale})"),
        DataType::Timestamp(unit, Some(zone)) => {
            let unit = UNITS.iter().find(|(u, _)| u == unit).map_or("", |(_, text)| *text);
            write!(text, "Timestamp({unit}, {zone})")
        }
        DataType::List(item) => {
            text.push_str("List(");
            if item.name() != Field::LIST_FIELD_DEFAULT_NAME {
                print_name(item.name(), text);
            }
            print_nested(item, text);
            text.push(')');
            Ok(())
        }
        DataType::Struct(fields) => {
            text.push_str("Struct(");
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                print_name(field.name(), text);
                print_nested(field, text);
            }
            text.push(')');
            Ok(())
        }
        leaf => match leaf_text(leaf) {
            Some(constant) => {
                text.push_str(constant);
                Ok(())
            }
            None => write!(text, "{leaf}"),
        },
    };
}

fn print_name(name: &str, text: &mut String) {
    text.push('"');
    text.push_str(&name.replace('"', "\"\""));
    text.push_str("\": ");
}

fn print_nested(field: &Field, text: &mut String) {
    print_into(field.data_type(), text);
    if !field.is_nullable() {
        text.push_str(" not null");
    }
}

/// The type of a text.
pub(super) fn parse(text: &str, budget: &mut TypeBudget) -> Result<DataType, TypeRefusal> {
    let mut reader = Reader { rest: text, budget };
    let data_type = reader.data_type()?;
    if !reader.rest.is_empty() {
        return unsupported("text follows the type");
    }
    // The form is fixed: what prints differently (`Decimal128(018,4)`) is not it.
    if print(&data_type) != text {
        return unsupported(&format!("write it as `{}`", print(&data_type)));
    }
    Ok(data_type)
}

struct Reader<'t, 'b> {
    rest: &'t str,
    budget: &'b mut TypeBudget,
}

impl<'t> Reader<'t, '_> {
    fn data_type(&mut self) -> Result<DataType, TypeRefusal> {
        self.budget.enter()?;
        let name = self.word();
        let data_type = match name {
            "FixedSizeBinary" => {
                self.expect("(")?;
                let width = self.number()?;
                check_width(width)?;
                DataType::FixedSizeBinary(width)
            }
            "Decimal128" => {
                self.expect("(")?;
                let precision: u8 = self.number()?;
                self.expect(", ")?;
                let scale: i8 = self.number()?;
                check_decimal(precision, scale)?;
                DataType::Decimal128(precision, scale)
            }
            "Time32" | "Time64" | "Timestamp" => {
                self.expect("(")?;
                self.temporal(name)?
            }
            "List" => {
                self.expect("(")?;
                let item = if self.rest.starts_with('"') {
                    let name = self.quoted_name()?;
                    self.nested(name)?
                } else {
                    self.nested(Field::LIST_FIELD_DEFAULT_NAME.to_owned())?
                };
                DataType::List(Arc::new(item))
            }
            "Struct" => {
                self.expect("(")?;
                self.structure()?
            }
            _ => {
                self.budget.leave();
                let leaf = LEAVES.iter().find(|(_, text)| *text == name).map(|(leaf, _)| leaf.clone());
                return leaf.map_or_else(|| unsupported("no such type"), Ok);
            }
        };
        self.expect(")")?;
        self.budget.leave();
        Ok(data_type)
    }

    fn temporal(&mut self, name: &str) -> Result<DataType, TypeRefusal> {
        let unit_text = self.word();
        let Some((unit, _)) = UNITS.iter().find(|(_, text)| *text == unit_text) else {
            return unsupported("a time unit is s, ms, us or ns");
        };
        let data_type = match (name, unit) {
            ("Time32", TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(*unit),
            ("Time64", TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(*unit),
            ("Timestamp", _) => {
                let zone = self.rest.strip_prefix(", ").and_then(|rest| rest.split_once(')')).map(|(zone, _)| zone);
                if let Some(zone) = zone {
                    check_zone(zone)?;
                    self.rest = &self.rest[2 + zone.len()..];
                }
                DataType::Timestamp(*unit, zone.map(Into::into))
            }
            _ => return unsupported("Time32 counts s or ms, Time64 us or ns"),
        };
        Ok(data_type)
    }

    fn structure(&mut self) -> Result<DataType, TypeRefusal> {
        let mut fields = Vec::new();
        loop {
            let name = self.quoted_name()?;
            fields.push(self.nested(name)?);
            match self.rest.strip_prefix(", ") {
                Some(rest) => self.rest = rest,
                None => return Ok(DataType::Struct(Fields::from(fields))),
            }
        }
    }

    fn nested(&mut self, name: String) -> Result<Field, TypeRefusal> {
        let data_type = self.data_type()?;
        let nullable = match self.rest.strip_prefix(" not null") {
            Some(rest) => {
                self.rest = rest;
                false
            }
            None => true,
        };
        Ok(Field::new(name, data_type, nullable))
    }

    fn quoted_name(&mut self) -> Result<String, TypeRefusal> {
        self.expect("\"")?;
        let mut name = String::new();
        loop {
            let Some((part, rest)) = self.rest.split_once('"') else {
                return unsupported("a name lacks its closing quote");
            };
            name.push_str(part);
            match rest.strip_prefix('"') {
                Some(rest) => {
                    name.push('"');
                    self.rest = rest;
                }
                None => {
                    self.rest = rest;
                    self.expect(": ")?;
                    return Ok(name);
                }
            }
        }
    }

    fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, TypeRefusal> {
        self.word().parse().map_or_else(|_| unsupported("a number is missing or out of range"), Ok)
    }

    fn expect(&mut self, text: &str) -> Result<(), TypeRefusal> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => unsupported(&format!("`{text}` is missing")),
        }
    }
}
