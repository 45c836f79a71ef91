//! How columns of two types are made comparable, and hashed.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::row::Rows;
use datakit_model::receipt::{RowChecksum, ValueBytes, has_same_values, times_of_texts, uuids_of_texts};

use super::held::{Lanes, missing_bits};

/// How the values of a column become comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Both sides are.
    Same,
    /// The sink has texts of UUIDs.
    UuidText,
    /// The sink has texts of times.
    TimeText,
    /// The sink has a wider type.
    Widened(DataType),
}

impl Form {
    /// Of a column of these types in the source and in the sink.
    pub(super) fn of(source: &DataType, sink: &DataType) -> Self {
        match source {
            source if has_same_values(source, sink) => Self::Same,
            DataType::FixedSizeBinary(16) if sink.is_string() => Self::UuidText,
            DataType::Time32(_) | DataType::Time64(_) if sink.is_string() => Self::TimeText,
            _ => Self::Widened(sink.clone()),
        }
    }

    /// The type of the values that are compared.
    fn data_type(&self, source: &DataType) -> DataType {
        match self {
            Self::Widened(wide) => wide.clone(),
            _ => source.clone(),
        }
    }

    fn of_source(&self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Widened(wide) => {
                cast_with_options(column, wide, &CastOptions { safe: false, ..CastOptions::default() })
            }
            _ => Ok(Arc::clone(column)),
        }
    }

    /// None: a text stands for no value.
    fn of_sink(&self, column: &ArrayRef) -> Option<ArrayRef> {
        match self {
            Self::UuidText => uuids_of_texts(column),
            Self::TimeText => times_of_texts(column),
            Self::Same | Self::Widened(_) => Some(Arc::clone(column)),
        }
    }
}

/// The compared columns, and how.
#[derive(Debug)]
pub(super) struct Comparable {
    pub(super) fields: Vec<FieldRef>,
    pub(super) keys: Vec<usize>,
    pub(super) lanes: Lanes,
    forms: Vec<Form>,
    key_bytes: ValueBytes,
    of_row: RowChecksum,
    of_columns: Vec<RowChecksum>,
}

impl Comparable {
    /// `sink`: the types of the columns there; empty: those of the source.
    pub(super) fn new(
        fields: &[FieldRef],
        keys: &[usize],
        sink: &[DataType],
        lanes: Lanes,
    ) -> Result<Self, ArrowError> {
        let of_sink = |(place, field): (usize, &FieldRef)| {
            sink.get(place).map_or(Form::Same, |sink| Form::of(field.data_type(), sink))
        };
        let forms: Vec<Form> = fields.iter().enumerate().map(of_sink).collect();
        let compared = |(field, form): (&FieldRef, &Form)| -> FieldRef {
            Arc::new(Field::new(field.name(), form.data_type(field.data_type()), true))
        };
        let compared: Vec<FieldRef> = fields.iter().zip(&forms).map(compared).collect();
        let key_fields: Vec<FieldRef> = keys.iter().filter_map(|key| compared.get(*key)).cloned().collect();
        let of_column = |field: &FieldRef| RowChecksum::new(&Schema::new(vec![FieldRef::clone(field)]));
        Ok(Self {
            key_bytes: ValueBytes::new(&Schema::new(key_fields))?,
            of_row: RowChecksum::new(&Schema::new(compared.clone()))?,
            of_columns: compared.iter().take(lanes.of_columns).map(of_column).collect::<Result<_, _>>()?,
            fields: fields.to_vec(),
            keys: keys.to_vec(),
            lanes,
            forms,
        })
    }

    /// The names of columns by their lanes.
    pub(super) fn names<'a>(&'a self, lanes: &'a [usize]) -> impl Iterator<Item = &'a str> {
        let first = self.lanes.first_column();
        lanes.iter().filter_map(move |lane| Some(self.fields.get(lane.checked_sub(first)?)?.name().as_str()))
    }

    /// The values of keys, a column each.
    pub(super) fn key_values<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        self.key_bytes.values_of(keys)
    }

    /// The columns of rows of the source, of which these are the compared ones.
    pub(super) fn of_source(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.forms.iter().zip(columns).map(|(form, column)| form.of_source(column)).collect()
    }

    /// The columns of rows of the sink.
    pub(super) fn of_sink(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        let value = |(place, (form, column)): (usize, (&Form, &ArrayRef))| {
            let name = || self.fields.get(place).map_or("", |field| field.name());
            let no_value = || format!("the sink holds a text in `{}` that is no time or UUID", name());
            form.of_sink(column).ok_or_else(|| ArrowError::CastError(no_value()))
        };
        self.forms.iter().zip(columns).enumerate().map(value).collect()
    }

    /// The bytes of the keys of rows.
    pub(super) fn key_rows(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        let keys: Vec<ArrayRef> = self.keys.iter().filter_map(|key| columns.get(*key)).map(Arc::clone).collect();
        self.key_bytes.rows(&keys)
    }

    /// The same of rows of the source, of which these are the columns of the key.
    pub(super) fn keys_of_source(&self, keys: &[ArrayRef]) -> Result<Rows, ArrowError> {
        let forms = self.keys.iter().filter_map(|key| self.forms.get(*key));
        let keys: Vec<ArrayRef> = forms.zip(keys).map(|(form, key)| form.of_source(key)).collect::<Result<_, _>>()?;
        self.key_bytes.rows(&keys)
    }

    /// Hashes of rows, a list for each lane.
    pub(super) fn hashes(&self, columns: &[ArrayRef]) -> Result<Vec<Vec<u64>>, ArrowError> {
        let mut lanes = Vec::with_capacity(self.lanes.count());
        if self.lanes.of_row {
            let (mut low, mut high) = (Vec::new(), Vec::new());
            self.of_row.hash(columns, |_, hash| {
                low.push(hash.bits() as u64);
                high.push((hash.bits() >> 64) as u64);
            })?;
            lanes.extend([low, high]);
        }
        for (checksum, column) in self.of_columns.iter().zip(columns) {
            let mut lane = Vec::with_capacity(column.len());
            checksum.hash(std::slice::from_ref(column), |_, hash| lane.push(hash.bits() as u64))?;
            lanes.push(lane);
        }
        Ok(lanes)
    }
}

impl Comparable {
    /// The bits of the columns that a list of names says are not carried.
    pub(super) fn missing(&self, list: &str) -> Vec<u8> {
        // What is not a list of names names nothing.
        let names: Vec<String> = serde_json::from_str(list).unwrap_or_default();
        let first = self.lanes.first_column();
        let columns = self.fields.iter().take(self.lanes.of_columns).enumerate();
        let missing = columns.filter(|(_, field)| names.contains(field.name())).map(|(place, _)| first + place);
        missing_bits(self.lanes, missing)
    }
}
