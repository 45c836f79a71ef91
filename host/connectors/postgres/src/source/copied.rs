//! The rows of a COPY that somebody else has begun.

use std::pin::Pin;

use arrow::array::RecordBatch;
use datakit_model::ReadLimits;
use futures::StreamExt as _;
use futures::stream::Fuse;
use tokio_postgres::{Column, CopyOutStream};

use super::copy::Decoder;
use super::error::PostgresError;
use super::types;

/// Rows on their way from a COPY in the binary form.
pub(crate) struct CopiedRows {
    /// Fused: the driver's own must not be asked behind its end.
    stream: Pin<Box<Fuse<CopyOutStream>>>,
    decoder: Decoder,
}

impl CopiedRows {
    /// Of a query with these columns.
    ///
    /// # Errors
    /// A type that is not read.
    pub(crate) fn new(described: &[Column], stream: CopyOutStream) -> Result<Self, PostgresError> {
        let columns = types::columns(described, true, |_, _| false)?;
        Ok(Self { stream: Box::pin(stream.fuse()), decoder: Decoder::new(columns, &ReadLimits::default()) })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// What the server or the connection says; else a value that has no Arrow form.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Result<tokio_postgres::Error, PostgresError>> {
        while !self.decoder.is_full() {
            match self.stream.next().await {
                Some(chunk) => self.decoder.push(&chunk.map_err(Ok)?).map_err(Err)?,
                None => break,
            }
        }
        if self.decoder.rows() == 0 {
            return Ok(None);
        }
        self.decoder.finish().map(Some).map_err(Err)
    }
}
