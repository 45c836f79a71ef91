//! Rows that count only if what they rest on still holds at their end.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::source::{ReadReport, Reader};
use datakit_model::{Failure, TrackedBatch};

/// Asks the server whether what rows rest on still holds.
#[async_trait]
pub(super) trait Verify: Send + Sync {
    /// # Errors
    /// It does not hold any more: the rows may lack some. What the server reports.
    async fn verify(&self) -> Result<(), Failure>;
}

/// Rows, and the question at their end.
pub(super) struct Verified<V> {
    inner: Box<dyn Reader>,
    verify: V,
    end: End,
}

/// Whether the rows have ended, and how: a call that is dropped while the server is asked changes nothing.
enum End {
    NotYet,
    Reached(Option<Failure>),
    Told,
}

impl<V: Verify + 'static> Verified<V> {
    /// The rows that a query gives. A query that fails may have failed for want of what it rests on: then that is the error.
    pub(super) async fn of(query: Result<Box<dyn Reader>, Failure>, verify: V) -> Result<Box<dyn Reader>, Failure> {
        match query {
            Ok(inner) => Ok(Box::new(Self { inner, verify, end: End::NotYet })),
            Err(error) => {
                verify.verify().await?;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl<V: Verify> Reader for Verified<V> {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        if matches!(self.end, End::NotYet) {
            self.end = match self.inner.next().await {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => End::Reached(None),
                Err(error) => End::Reached(Some(error)),
            };
        }
        if matches!(self.end, End::Reached(_)) {
            self.verify.verify().await?;
        }
        match std::mem::replace(&mut self.end, End::Told) {
            End::Reached(Some(error)) => Err(error),
            _ => Ok(None),
        }
    }

    fn report(&mut self) -> ReadReport {
        self.inner.report()
    }
}
