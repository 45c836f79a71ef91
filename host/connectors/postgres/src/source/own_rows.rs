//! Rows of a table that the sink wrote, as batches: the types are known, and no limit of a source counts.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datakit_model::ReadLimits;
use futures::TryStreamExt as _;
use tokio_postgres::CopyOutStream;

use super::copy::Decoder;
use super::error::PostgresError;
use super::types::{Column, Shape};

/// Why rows cannot be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The server or the connection fails.
    Server(tokio_postgres::Error),
    /// What arrived is not what the sink writes.
    Value(PostgresError),
}

/// Binary COPY data of columns of a sink's table, as it arrives.
pub(crate) struct OwnRows {
    /// None: the rows have ended.
    stream: Option<Pin<Box<CopyOutStream>>>,
    decoder: Decoder,
}

impl OwnRows {
    /// Of columns that have this schema in the source.
    pub(crate) fn new(stream: CopyOutStream, schema: &Schema) -> Self {
        let columns: Arc<[Column]> = schema.fields().iter().map(|field| column(field)).collect();
        let limits = ReadLimits { max_cell_bytes: u64::MAX, max_row_bytes: u64::MAX, ..ReadLimits::default() };
        Self { stream: Some(Box::pin(stream)), decoder: Decoder::new(columns, &limits) }
    }

    /// The next rows, in the order of the server and in the types that Postgres has for those of the source; none: there are no
    /// more.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Unread> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        while let Some(chunk) = stream.try_next().await.map_err(Unread::Server)? {
            self.decoder.push(&chunk).map_err(Unread::Value)?;
            if self.decoder.is_full() {
                return self.decoder.finish().map(Some).map_err(Unread::Value);
            }
        }
        self.stream = None;
        if !self.decoder.is_complete() {
            let reason = "its COPY ends in the middle of a row".to_owned();
            return Err(Unread::Value(PostgresError::Protocol { address: "the server".to_owned(), reason }));
        }
        self.decoder.finish().map(Some).map_err(Unread::Value)
    }
}

fn column(field: &Field) -> Column {
    let shape = shape(field.data_type());
    Column { name: field.name().clone(), source_type: field.data_type().to_string(), nullable: true, shape }
}

/// Of what the sink writes, by the type of the source's column.
fn shape(data_type: &DataType) -> Shape {
    match data_type {
        DataType::Boolean => Shape::Boolean,
        DataType::Int8 | DataType::Int16 => Shape::Int16,
        DataType::Int32 => Shape::Int32,
        DataType::Int64 => Shape::Int64,
        DataType::Float32 => Shape::Float32,
        DataType::Float64 => Shape::Float64,
        DataType::Decimal128(precision, scale) => Shape::Decimal { precision: *precision, scale: *scale },
        DataType::Date32 => Shape::Date,
        DataType::Time64(_) => Shape::Time,
        DataType::Timestamp(_, None) => Shape::Timestamp,
        DataType::Timestamp(_, Some(_)) => Shape::TimestampUtc,
        DataType::FixedSizeBinary(_) => Shape::Uuid,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Shape::Binary,
        // The sink has refused all types that are not in its table.
        _ => Shape::Text,
    }
}
