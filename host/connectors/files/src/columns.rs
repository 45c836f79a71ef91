//! Columns being filled, row by row, from text.
//!
//! A row is in all columns or in none: what a bad row has left is taken back.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef,
    Time64NanosecondType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use datakit_model::ReadLimits;
use datakit_model::files::FileOrigin;

use super::json;
use super::request::{Column, Format, FormatKind};
use super::values::{self, FieldType, Form, TimeFormat};
use datakit_connect::arrays::{offset, primitive, take, taken_offsets};

/// How text becomes values, for all columns alike.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    null_values: Vec<String>,
    only_empty_is_null: bool,
    trim: bool,
    decimal_comma: bool,
}

impl Reading {
    pub(super) fn new(format: &Format) -> Self {
        let null_values = format.null_values.clone();
        let only_empty_is_null = matches!(null_values.as_slice(), [only] if only.is_empty());
        // JSON has its own numbers.
        let decimal_comma = format.decimal_comma && format.kind == FormatKind::Csv;
        Self { null_values, only_empty_is_null, trim: format.trim, decimal_comma }
    }

    fn is_null(&self, text: &str) -> bool {
        if self.only_empty_is_null { text.is_empty() } else { self.null_values.iter().any(|null| null == text) }
    }
}

/// Values of one type.
enum Values {
    Boolean(Vec<bool>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Text { offsets: Vec<i32>, bytes: Vec<u8> },
}

/// A column being filled.
struct Builder {
    name: String,
    field_type: FieldType,
    format: Option<TimeFormat>,
    form: Form,
    values: Values,
    present: Vec<bool>,
}

/// Why a value is none of its column.
type Reason = String;

impl Builder {
    fn new(column: &Column) -> Self {
        let values = match column.field_type {
            FieldType::Boolean => Values::Boolean(Vec::new()),
            FieldType::Int16 => Values::Int16(Vec::new()),
            FieldType::Int32 => Values::Int32(Vec::new()),
            FieldType::Int64 => Values::Int64(Vec::new()),
            FieldType::Float32 => Values::Float32(Vec::new()),
            FieldType::Float64 => Values::Float64(Vec::new()),
            FieldType::Decimal { .. } => Values::Decimal(Vec::new()),
            FieldType::Date => Values::Date(Vec::new()),
            FieldType::Time => Values::Time(Vec::new()),
            FieldType::Timestamp | FieldType::TimestampUtc => Values::Timestamp(Vec::new()),
            FieldType::Text => Values::Text { offsets: vec![0], bytes: Vec::new() },
        };
        let (name, format) = (column.name.clone(), column.format.clone());
        let form = if column.strict { Form::Strict } else { Form::Lenient };
        Self { name, field_type: column.field_type, format, form, values, present: Vec::new() }
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Text { offsets, bytes } => offsets.push(offset(bytes.len())),
        }
        self.present.push(false);
    }

    /// A value from its text. How many bytes of text the column has got.
    fn push_text(&mut self, text: &str, reading: &Reading) -> Result<usize, Reason> {
        let (format, form) = (self.format.as_ref(), self.form);
        let comma = reading.decimal_comma;
        let mut text_bytes = 0;
        let pushed = match (&mut self.values, self.field_type) {
            (Values::Text { offsets, bytes }, _) => {
                bytes.extend_from_slice(text.as_bytes());
                offsets.push(offset(bytes.len()));
                text_bytes = text.len();
                true
            }
            (Values::Boolean(values), _) => push(values, values::boolean(text, form)),
            (Values::Int16(values), _) => push(values, values::integer(text, form)),
            (Values::Int32(values), _) => push(values, values::integer(text, form)),
            (Values::Int64(values), _) => push(values, values::integer(text, form)),
            (Values::Float32(values), _) => {
                push(values, values::with_point(text, comma).and_then(|t| values::real(&t)))
            }
            (Values::Float64(values), _) => {
                push(values, values::with_point(text, comma).and_then(|t| values::double(&t, form)))
            }
            (Values::Decimal(values), FieldType::Decimal { precision, scale }) => {
                push(values, values::with_point(text, comma).and_then(|t| values::decimal(&t, precision, scale, form)))
            }
            (Values::Decimal(_), _) => false,
            (Values::Date(values), _) => push(values, values::date(text, format)),
            (Values::Time(values), _) => push(values, values::time(text, format)),
            (Values::Timestamp(values), FieldType::TimestampUtc) => push(values, values::timestamp_utc(text, format)),
            (Values::Timestamp(values), _) => push(values, values::timestamp(text, format)),
        };
        if !pushed {
            return Err(self.refusal(text));
        }
        self.present.push(true);
        Ok(text_bytes)
    }

    fn refusal(&self, text: &str) -> Reason {
        let (name, shown) = (&self.name, values::shown(text));
        match (&self.format, self.form) {
            (Some(format), _) => format!("column `{name}`: `{shown}` is not of the form `{format}`"),
            (None, Form::Lenient) => format!("column `{name}`: `{shown}` is not {}", self.field_type),
            (None, Form::Strict) => format!(
                "column `{name}`: `{shown}` is not written as {} is, the type that was inferred; the setting `types` declares another",
                self.field_type
            ),
        }
    }

    /// Whether a JSON string is a value of the column.
    fn takes_strings(&self) -> bool {
        self.form == Form::Lenient || self.field_type == FieldType::Text || self.field_type.has_format()
    }

    /// A moment in microseconds, in a column of timestamps.
    fn push_micros(&mut self, micros: i64) {
        if let Values::Timestamp(values) = &mut self.values {
            values.push(micros);
            self.present.push(true);
        } else {
            self.push_null();
        }
    }

    fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Text { offsets, bytes } => {
                offsets.truncate(rows + 1);
                let end = offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
                bytes.truncate(end);
            }
        }
        self.present.truncate(rows);
    }

    /// Bytes that a row takes, text apart.
    fn row_bytes(&self) -> usize {
        match self.field_type {
            FieldType::Boolean => 1,
            FieldType::Int16 => 2,
            FieldType::Int32 | FieldType::Float32 | FieldType::Date | FieldType::Text => 4,
            FieldType::Decimal { .. } => 16,
            _ => 8,
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let present = take(&mut self.present);
        let nulls = if present.iter().all(|present| *present) {
            None
        } else {
            Some(NullBuffer::new(BooleanBuffer::from(present)))
        };
        let data_type = self.field_type.arrow();
        match &mut self.values {
            Values::Boolean(values) => Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(take(values)), nulls))),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, &data_type),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, &data_type),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, &data_type),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, &data_type),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, &data_type),
            Values::Decimal(values) => primitive::<Decimal128Type>(values, nulls, &data_type),
            Values::Date(values) => primitive::<Date32Type>(values, nulls, &data_type),
            Values::Time(values) => primitive::<Time64NanosecondType>(values, nulls, &data_type),
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, &data_type),
            Values::Text { offsets, bytes } => {
                let offsets = taken_offsets(offsets);
                Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(take(bytes)), nulls)?))
            }
        }
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            values.push(value);
            true
        }
        None => false,
    }
}

/// What all rows of one file have in columns that are no fields.
pub(super) struct FileFacts<'a> {
    pub(super) path: &'a str,
    pub(super) modified_micros: i64,
    /// A value for each constant column, in their order.
    pub(super) constants: &'a [Option<String>],
}

/// All columns of a request, being filled.
pub(super) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Places of columns that are fields, in the order of the request.
    fields: Vec<usize>,
    others: Vec<(usize, FileOrigin)>,
    reading: Reading,
    /// Bytes of each row, but for those of text, and those of text in all rows.
    row_bytes: usize,
    text_bytes: usize,
    rows: usize,
    max_rows: usize,
    max_bytes: usize,
}

impl Columns {
    pub(super) fn new(columns: &[Column], format: &Format, limits: &ReadLimits) -> Self {
        let builders: Vec<Builder> = columns.iter().map(Builder::new).collect();
        let nullable = |column: &Column| matches!(column.from, FileOrigin::Field | FileOrigin::Constant);
        let fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.field_type.arrow(), nullable(c))).collect();
        let places = || columns.iter().enumerate();
        Self {
            schema: Arc::new(Schema::new(fields)),
            row_bytes: builders.iter().map(Builder::row_bytes).sum::<usize>() + columns.len() / 8,
            builders,
            fields: places().filter(|(_, c)| c.from == FileOrigin::Field).map(|(place, _)| place).collect(),
            others: places().filter(|(_, c)| c.from != FileOrigin::Field).map(|(place, c)| (place, c.from)).collect(),
            reading: Reading::new(format),
            text_bytes: 0,
            rows: 0,
            max_rows: usize::try_from(limits.max_batch_rows).unwrap_or(usize::MAX).max(1),
            max_bytes: usize::try_from(limits.max_batch_bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The names of columns that are fields.
    pub(super) fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|place| self.builders[*place].name.as_str())
    }

    /// One row of delimited fields. `field` gives the text of the field for the n-th column that is one; none: null.
    pub(super) fn push_fields<'a>(
        &mut self,
        mut field: impl FnMut(usize) -> Option<&'a str>,
        facts: &FileFacts<'_>,
    ) -> Result<(), Reason> {
        let pushed = self.try_fields(&mut field).and_then(|bytes| Ok(bytes + self.push_others(facts)?));
        self.complete(pushed)
    }

    /// How many bytes of text the row has.
    fn try_fields<'a>(&mut self, field: &mut impl FnMut(usize) -> Option<&'a str>) -> Result<usize, Reason> {
        let mut text_bytes = 0;
        for (number, place) in self.fields.iter().enumerate() {
            let builder = &mut self.builders[*place];
            let text = field(number).map(|text| if self.reading.trim { text.trim() } else { text });
            match text.filter(|text| !self.reading.is_null(text)) {
                Some(text) => text_bytes += builder.push_text(text, &self.reading)?,
                None => builder.push_null(),
            }
        }
        Ok(text_bytes)
    }

    /// One row of JSON values, as [`Self::push_fields`]: their text as it stands.
    pub(super) fn push_json<'a>(
        &mut self,
        mut value: impl FnMut(usize) -> Option<&'a str>,
        facts: &FileFacts<'_>,
    ) -> Result<(), Reason> {
        let pushed = self.try_json(&mut value).and_then(|bytes| Ok(bytes + self.push_others(facts)?));
        self.complete(pushed)
    }

    fn try_json<'a>(&mut self, value: &mut impl FnMut(usize) -> Option<&'a str>) -> Result<usize, Reason> {
        let mut text_bytes = 0;
        for (number, place) in self.fields.iter().enumerate() {
            let builder = &mut self.builders[*place];
            match value(number) {
                None | Some("null") => builder.push_null(),
                Some(quoted) if quoted.starts_with('"') && !builder.takes_strings() => {
                    return Err(builder.refusal(quoted));
                }
                Some(quoted) if quoted.starts_with('"') => {
                    let text = json::string(quoted)
                        .ok_or_else(|| format!("column `{}` escapes half of a character", builder.name))?;
                    if memchr::memchr(0, text.as_bytes()).is_some() {
                        return Err(format!("column `{}` holds a NUL character", builder.name));
                    }
                    text_bytes += builder.push_text(&text, &self.reading)?;
                }
                Some(text) => text_bytes += builder.push_text(text, &self.reading)?,
            }
        }
        Ok(text_bytes)
    }

    /// Columns that are the same for all rows of a file.
    fn push_others(&mut self, facts: &FileFacts<'_>) -> Result<usize, Reason> {
        let mut constants = facts.constants.iter();
        let mut text_bytes = 0;
        for (place, origin) in &self.others {
            let builder = &mut self.builders[*place];
            match origin {
                FileOrigin::Path => text_bytes += builder.push_text(facts.path, &self.reading)?,
                FileOrigin::Modified => builder.push_micros(facts.modified_micros),
                FileOrigin::Constant | FileOrigin::Field => match constants.next().and_then(Option::as_deref) {
                    Some(text) => text_bytes += builder.push_text(text, &self.reading)?,
                    None => builder.push_null(),
                },
            }
        }
        Ok(text_bytes)
    }

    fn complete(&mut self, pushed: Result<usize, Reason>) -> Result<(), Reason> {
        let text_bytes =
            pushed.inspect_err(|_| self.builders.iter_mut().for_each(|builder| builder.truncate(self.rows)))?;
        self.rows += 1;
        self.text_bytes += text_bytes;
        Ok(())
    }

    /// Whether the batch is as large as it should be.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.rows * self.row_bytes + self.text_bytes >= self.max_bytes
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The rows so far, and begins again.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.text_bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let columns = self.builders.iter_mut().map(Builder::finish).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new_with_options(self.schema(), columns, &options)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_batch_is_over_its_bound_by_one_row_at_most() {
        let column = |name: &str, data_type: DataType| Column {
            name: name.into(),
            field_type: FieldType::try_from(&data_type).unwrap(),
            from: FileOrigin::Field,
            format: None,
            strict: false,
        };
        let limits = ReadLimits { max_batch_bytes: 10_000, ..ReadLimits::default() };
        let mut columns =
            Columns::new(&[column("a", DataType::Int64), column("b", DataType::Utf8)], &Format::default(), &limits);
        let facts = FileFacts { path: "a.csv", modified_micros: 0, constants: &[] };
        let text = "x".repeat(4_000);
        for _ in 0..3 {
            let mut batch = Vec::new();
            while !columns.is_full() {
                // A row that is taken back counts for nothing.
                assert!(columns.push_fields(|column| Some(["x", &text][column]), &facts).is_err());
                columns.push_fields(|column| Some(["1", &text][column]), &facts).unwrap();
                batch.push(columns.rows());
            }
            assert_eq!(batch, [1, 2, 3]);
            assert_eq!(columns.finish().unwrap().num_rows(), 3);
        }
        // Rows of little text are counted as exactly, whatever their number.
        while !columns.is_full() {
            columns.push_fields(|column| Some(["1", "xx"][column]), &facts).unwrap();
        }
        assert_eq!(columns.rows(), 10_000_usize.div_ceil(8 + 4 + 2));
    }
}
