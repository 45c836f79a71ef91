//! A datakit's parameters, as exactly the server types their names promise.

use std::borrow::Cow;

use datakit_model::source::{Value, ValueType};
use mssql_tds::datatypes::column_values::{SqlDate, SqlDateTime, SqlDateTime2, SqlDateTimeOffset, SqlTime};
use mssql_tds::datatypes::decoder::DecimalParts;
use mssql_tds::datatypes::sql_string::{EncodingType, SqlString};
use mssql_tds::datatypes::sqltypes::SqlType;
use mssql_tds::message::parameters::rpc_parameters::{RpcParameter, RpcTypeMetadata, StatusFlags};
use mssql_tds::token::tokens::SqlCollation;
use tiberius::ColumnData;
use uuid::Uuid;

use super::error::SourceError;
use super::{temporal, text};

/// The longest text of `nvarchar(4000)`, in UTF-16 units, and of `varchar(8000)` and `varbinary(8000)`, in bytes.
const MAX_NVARCHAR: u16 = 4000;
const MAX_BYTES: u16 = 8000;
/// The decimal that a NULL is of.
const NULL_DECIMAL: RpcTypeMetadata = RpcTypeMetadata { precision: Some(38), scale: Some(0) };

/// A checked parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parameter {
    Null(ValueType),
    Bit(bool),
    Int(i32),
    BigInt(i64),
    Float(f64),
    Decimal {
        unscaled: i128,
        precision: u8,
        scale: u8,
    },
    Text(String),
    AnsiText(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    /// Days from 0001-01-01.
    Date(u32),
    /// Day and ticks of 100 ns.
    Datetime2(u32, u64),
    /// Days from 1900-01-01 and 1/300 s.
    Datetime(i32, u32),
    /// Day and ticks in UTC, offset in minutes.
    DatetimeOffset(u32, u64, i16),
}

/// Checks all parameters of a query.
///
/// # Errors
/// [`SourceError::Parameter`] with the number of the first that is not of its type.
pub(super) fn check(values: &[Value]) -> Result<Vec<Parameter>, SourceError> {
    values
        .iter()
        .enumerate()
        .map(|(i, value)| parameter(value).map_err(|reason| SourceError::Parameter { number: i + 1, reason }))
        .collect()
}

fn parameter(value: &Value) -> Result<Parameter, String> {
    let form = |text: &str, form: &str| format!("`{text}` is not {form}");
    Ok(match value {
        Value::Null(value_type) => Parameter::Null(*value_type),
        Value::Boolean(value) => Parameter::Bit(*value),
        Value::Int32(value) => Parameter::Int(*value),
        Value::Int64(value) => Parameter::BigInt(*value),
        Value::Float64(value) if value.is_finite() => Parameter::Float(*value),
        Value::Float64(value) => return Err(format!("{value} is no number for SQL Server")),
        Value::Decimal(text) => {
            decimal(text).ok_or_else(|| form(text, "a decimal of at most 38 digits in plain text, like -12.50"))?
        }
        Value::Text(text) => Parameter::Text(text.clone()),
        Value::AnsiText(text) => Parameter::AnsiText(text.clone()),
        Value::Bytes(bytes) => Parameter::Bytes(bytes.clone()),
        Value::Uuid(text) => {
            let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
            Parameter::Uuid(uuid.ok_or_else(|| form(text, "a hyphenated UUID"))?)
        }
        Value::Date(text) => {
            Parameter::Date(temporal::parse_date(text).ok_or_else(|| form(text, "a date like 2024-12-31"))?)
        }
        Value::Timestamp(text) => {
            let (days, ticks) = temporal::parse_timestamp(text)
                .ok_or_else(|| form(text, "a timestamp like 2024-12-31T23:59:59.9999999"))?;
            Parameter::Datetime2(days, ticks)
        }
        Value::LegacyDatetime(text) => {
            let (days, ticks) = temporal::parse_timestamp(text)
                .and_then(|(days, ticks)| temporal::to_datetime(days, ticks))
                .ok_or_else(|| form(text, "a datetime from 1753 on, like 2024-12-31T23:59:59.997"))?;
            Parameter::Datetime(days, ticks)
        }
        Value::TimestampTz(text) => {
            let (days, ticks, offset) = temporal::parse_timestamp_with_offset(text)
                .ok_or_else(|| form(text, "a timestamp with offset like 2024-12-31T23:59:59+01:00"))?;
            Parameter::DatetimeOffset(days, ticks, offset)
        }
    })
}

fn decimal(text: &str) -> Option<Parameter> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let complete = !whole.is_empty() && (digits.len() == whole.len() || !fraction.is_empty());
    if !complete || !plain(whole) || !plain(fraction) {
        return None;
    }
    let significant = whole.trim_start_matches('0').len() + fraction.len();
    let scale = u8::try_from(fraction.len()).ok()?;
    let precision = u8::try_from(significant.max(1)).ok().filter(|precision| *precision <= 38)?;
    let magnitude: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(Parameter::Decimal { unscaled: if negative { -magnitude } else { magnitude }, precision, scale })
}

/// The parameters for mssql-tds, named `@P1`, `@P2`, …
///
/// # Errors
/// [`SourceError::Parameter`] for a varchar text that the database's code page cannot hold: the server would put `?`.
pub(super) fn for_mssql_tds(
    parameters: &[Parameter],
    collation: SqlCollation,
) -> Result<Vec<RpcParameter>, SourceError> {
    parameters
        .iter()
        .enumerate()
        .map(|(i, parameter)| {
            let number = i + 1;
            let value = sql_type(parameter, collation).map_err(|reason| SourceError::Parameter { number, reason })?;
            let sent = RpcParameter::new(Some(format!("@P{number}")), StatusFlags::NONE, value);
            Ok(match parameter {
                Parameter::Null(ValueType::Decimal) => sent.with_type_metadata(NULL_DECIMAL),
                _ => sent,
            })
        })
        .collect()
}

/// NULL of the type that a value would have. The width of a text or a decimal decides nothing where there is no value.
fn null(value_type: ValueType) -> SqlType {
    match value_type {
        ValueType::Boolean => SqlType::Bit(None),
        ValueType::Int32 => SqlType::Int(None),
        ValueType::Int64 => SqlType::BigInt(None),
        ValueType::Float64 => SqlType::Float(None),
        ValueType::Decimal => SqlType::Decimal(None),
        ValueType::Text => SqlType::NVarchar(None, MAX_NVARCHAR),
        ValueType::AnsiText => SqlType::Varchar(None, MAX_BYTES),
        ValueType::Bytes => SqlType::VarBinary(None, MAX_BYTES),
        ValueType::Uuid => SqlType::Uuid(None),
        ValueType::Date => SqlType::Date(None),
        ValueType::Timestamp => SqlType::DateTime2(None),
        ValueType::LegacyDatetime => SqlType::DateTime(None),
        ValueType::TimestampTz => SqlType::DateTimeOffset(None),
    }
}

fn sql_type(parameter: &Parameter, collation: SqlCollation) -> Result<SqlType, String> {
    let fits = |length: usize, most: u16| length <= usize::from(most);
    // `time_nanoseconds` holds ticks of 100 ns in spite of its name.
    let datetime2 = |days: u32, ticks: u64| SqlDateTime2 { days, time: SqlTime { time_nanoseconds: ticks, scale: 7 } };
    Ok(match parameter {
        Parameter::Null(value_type) => null(*value_type),
        Parameter::Bit(value) => SqlType::Bit(Some(*value)),
        Parameter::Int(value) => SqlType::Int(Some(*value)),
        Parameter::BigInt(value) => SqlType::BigInt(Some(*value)),
        Parameter::Float(value) => SqlType::Float(Some(*value)),
        Parameter::Decimal { unscaled, precision, scale } => {
            let parts = DecimalParts::new(*unscaled >= 0, *precision, *scale, unscaled.unsigned_abs());
            SqlType::Decimal(Some(parts))
        }
        Parameter::Text(text) => {
            let string = SqlString::from_utf8_string(text.clone());
            if fits(string.bytes.len() / 2, MAX_NVARCHAR) {
                SqlType::NVarchar(Some(string), MAX_NVARCHAR)
            } else {
                SqlType::NVarcharMax(Some(string))
            }
        }
        Parameter::AnsiText(text) => {
            let bytes = text::encode(text, collation)?;
            let string = SqlString::new(bytes, EncodingType::LcidBased(collation));
            if fits(string.bytes.len(), MAX_BYTES) {
                SqlType::Varchar(Some(string), MAX_BYTES)
            } else {
                SqlType::VarcharMax(Some(string))
            }
        }
        Parameter::Bytes(bytes) if fits(bytes.len(), MAX_BYTES) => SqlType::VarBinary(Some(bytes.clone()), MAX_BYTES),
        Parameter::Bytes(bytes) => SqlType::VarBinaryMax(Some(bytes.clone())),
        Parameter::Uuid(uuid) => SqlType::Uuid(Some(*uuid)),
        Parameter::Date(days) => SqlType::Date(SqlDate::create(*days).ok()),
        Parameter::Datetime2(days, ticks) => SqlType::DateTime2(Some(datetime2(*days, *ticks))),
        Parameter::Datetime(days, time) => SqlType::DateTime(Some(SqlDateTime { days: *days, time: *time })),
        Parameter::DatetimeOffset(days, ticks, offset) => {
            SqlType::DateTimeOffset(Some(SqlDateTimeOffset { datetime2: datetime2(*days, *ticks), offset: *offset }))
        }
    })
}

/// A parameter for tiberius. It has no varchar, so such a text goes as nvarchar: the same rows, at the cost of an index.
#[derive(Debug)]
pub(super) struct TiberiusParameter(pub(super) Parameter);

impl tiberius::ToSql for TiberiusParameter {
    fn to_sql(&self) -> ColumnData<'_> {
        use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, Time};
        let datetime2 = |days: u32, ticks: u64| DateTime2::new(Date::new(days), Time::new(ticks, 7));
        match &self.0 {
            Parameter::Null(value_type) => tiberius_null(*value_type),
            Parameter::Bit(value) => ColumnData::Bit(Some(*value)),
            Parameter::Int(value) => ColumnData::I32(Some(*value)),
            Parameter::BigInt(value) => ColumnData::I64(Some(*value)),
            Parameter::Float(value) => ColumnData::F64(Some(*value)),
            Parameter::Decimal { unscaled, scale, .. } => {
                ColumnData::Numeric(Some(tiberius::numeric::Numeric::new_with_scale(*unscaled, *scale)))
            }
            Parameter::Text(text) | Parameter::AnsiText(text) => ColumnData::String(Some(Cow::Borrowed(text))),
            Parameter::Bytes(bytes) => ColumnData::Binary(Some(Cow::Borrowed(bytes))),
            Parameter::Uuid(uuid) => ColumnData::Guid(Some(*uuid)),
            Parameter::Date(days) => ColumnData::Date(Some(Date::new(*days))),
            Parameter::Datetime2(days, ticks) => ColumnData::DateTime2(Some(datetime2(*days, *ticks))),
            Parameter::Datetime(days, time) => ColumnData::DateTime(Some(DateTime::new(*days, *time))),
            Parameter::DatetimeOffset(days, ticks, offset) => {
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(datetime2(*days, *ticks), *offset)))
            }
        }
    }
}

/// As [`null`]. The type is in the declaration alone.
fn tiberius_null(value_type: ValueType) -> ColumnData<'static> {
    match value_type {
        ValueType::Boolean => ColumnData::Bit(None),
        ValueType::Int32 => ColumnData::I32(None),
        ValueType::Int64 => ColumnData::I64(None),
        ValueType::Float64 => ColumnData::F64(None),
        ValueType::Decimal => ColumnData::Numeric(None),
        ValueType::Text | ValueType::AnsiText => ColumnData::String(None),
        ValueType::Bytes => ColumnData::Binary(None),
        ValueType::Uuid => ColumnData::Guid(None),
        ValueType::Date => ColumnData::Date(None),
        ValueType::Timestamp => ColumnData::DateTime2(None),
        ValueType::LegacyDatetime => ColumnData::DateTime(None),
        ValueType::TimestampTz => ColumnData::DateTimeOffset(None),
    }
}

impl TiberiusParameter {
    /// The type that tiberius declares for the parameter (`ColumnData::type_name`, which it keeps to itself). Together
    /// with the text they decide the types of the result.
    fn declaration(&self) -> String {
        const MAX_TEXT_BYTES: usize = 4000;
        match tiberius::ToSql::to_sql(self) {
            ColumnData::Bit(_) => "bit".to_owned(),
            ColumnData::I32(_) => "int".to_owned(),
            ColumnData::I64(_) => "bigint".to_owned(),
            ColumnData::F64(_) => "float(53)".to_owned(),
            ColumnData::Numeric(Some(n)) => format!("numeric({},{})", n.precision(), n.scale()),
            ColumnData::Numeric(None) => "numeric".to_owned(),
            ColumnData::String(Some(text)) if text.len() > MAX_TEXT_BYTES => "nvarchar(max)".to_owned(),
            ColumnData::Binary(Some(bytes)) if bytes.len() <= usize::from(MAX_BYTES) => "varbinary(8000)".to_owned(),
            ColumnData::Binary(_) => "varbinary(max)".to_owned(),
            ColumnData::Guid(_) => "uniqueidentifier".to_owned(),
            ColumnData::Date(_) => "date".to_owned(),
            ColumnData::DateTime(_) => "datetime".to_owned(),
            ColumnData::DateTime2(_) => "datetime2".to_owned(),
            ColumnData::DateTimeOffset(_) => "datetimeoffset".to_owned(),
            _ => "nvarchar(4000)".to_owned(),
        }
    }
}

/// The parameters as `sp_describe_first_result_set` takes them: `@P1 int,@P2 nvarchar(4000)`.
pub(super) fn declarations(parameters: &[TiberiusParameter]) -> String {
    let declare = |(i, parameter): (usize, &TiberiusParameter)| format!("@P{} {}", i + 1, parameter.declaration());
    parameters.iter().enumerate().map(declare).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value) -> Result<Parameter, String> {
        check(&[value]).map(|list| list[0].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn decimals_keep_their_digits() {
        let parts = |text: &str| match decimal(text) {
            Some(Parameter::Decimal { unscaled, precision, scale }) => Some((unscaled, precision, scale)),
            _ => None,
        };
        assert_eq!(parts("-12.50"), Some((-1250, 4, 2)));
        assert_eq!(parts("0"), Some((0, 1, 0)));
        assert_eq!(parts("0.0001"), Some((1, 4, 4)));
        assert_eq!(parts(&"9".repeat(38)), Some((10_i128.pow(38) - 1, 38, 0)));
        assert_eq!(parts(&format!("0.{}", "9".repeat(38))), Some((10_i128.pow(38) - 1, 38, 38)));
        for bad in ["", "-", ".5", "5.", "1e3", "+1", "1,5", " 1", "١", &"9".repeat(39)] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_not_of_its_type_is_refused_with_its_number() {
        let error = check(&[Value::Null(ValueType::Uuid), Value::Uuid("nope".into())]).unwrap_err();
        assert_eq!(error.to_string(), "parameter @P2: `nope` is not a hyphenated UUID");
        assert_eq!(one(Value::Float64(f64::NAN)).unwrap_err(), "parameter @P1: NaN is no number for SQL Server");
        assert_eq!(
            one(Value::Date("2023-02-30".into())).unwrap_err(),
            "parameter @P1: `2023-02-30` is not a date like 2024-12-31"
        );
        assert!(one(Value::LegacyDatetime("1752-12-31T00:00:00".into())).is_err());
        assert!(one(Value::Timestamp("2024-01-01 00:00:00".into())).is_err());
        assert!(one(Value::TimestampTz("2024-01-01T00:00:00".into())).is_err());
        assert!(one(Value::Uuid("{6F9619FF-8B86-D011-B42D-00C04FC964FF}".into())).is_err());
    }

    #[test]
    fn declarations_are_those_of_the_driver() {
        let values = [
            Value::Null(ValueType::Text),
            Value::Boolean(true),
            Value::Int32(1),
            Value::Int64(1),
            Value::Float64(1.0),
            Value::Decimal("-12.50".into()),
            Value::Text("é".repeat(2000)),
            Value::Text("é".repeat(2001)),
            Value::Bytes(vec![0; 8000]),
            Value::Bytes(vec![0; 8001]),
            Value::Uuid("6F9619FF-8B86-D011-B42D-00C04FC964FF".into()),
            Value::Date("2024-12-31".into()),
            Value::Timestamp("2024-12-31T00:00:00".into()),
            Value::LegacyDatetime("2024-12-31T00:00:00".into()),
            Value::TimestampTz("2024-12-31T00:00:00+01:00".into()),
            Value::Null(ValueType::Decimal),
            Value::Null(ValueType::Bytes),
            Value::Null(ValueType::LegacyDatetime),
        ];
        let parameters: Vec<TiberiusParameter> = check(&values).unwrap().into_iter().map(TiberiusParameter).collect();
        insta::assert_snapshot!(declarations(&parameters).replace(",@", "\n@"), @r"
        @P1 nvarchar(4000)
        @P2 bit
        @P3 int
        @P4 bigint
        @P5 float(53)
        @P6 numeric(4,2)
        @P7 nvarchar(4000)
        @P8 nvarchar(max)
        @P9 varbinary(8000)
        @P10 varbinary(max)
        @P11 uniqueidentifier
        @P12 date
        @P13 datetime2
        @P14 datetime
        @P15 datetimeoffset
        @P16 numeric
        @P17 varbinary(max)
        @P18 datetime
        ");
        assert_eq!(declarations(&[]), "");
    }
}
