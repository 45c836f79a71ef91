//! The rows of a reader, each batch shaped by one projection: what most extractions are.

use crate::bindings::datakit::kit::batches::{Batch, Reader};
use crate::bindings::datakit::kit::projections::Projection;
use crate::bindings::datakit::kit::types::{Error, Schema};
use crate::datakit::Extraction;
use crate::projections::Column;

/// A reader and its projection; the guest never looks at the rows. `S` is what the reader belongs to: a connection, a folder, a
/// feed of changes.
#[derive(Debug)]
pub struct ProjectedRows<S> {
    // Dropped in this order: the reader before what it belongs to.
    reader: Reader,
    projection: Projection,
    source: S,
}

impl<S> ProjectedRows<S> {
    /// Compiles the columns for the reader's schema.
    ///
    /// # Errors
    /// What [`Projection::compile`] says.
    pub fn new(reader: Reader, columns: &[Column], source: S) -> Result<Self, Error> {
        let projection = Projection::compile(&reader.schema(), columns, None)?;
        Ok(Self { reader, projection, source })
    }

    /// What the reader belongs to.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: 'static> Extraction for ProjectedRows<S> {
    fn output(&self) -> Schema {
        self.projection.output()
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        self.reader.next()?.map(|batch| self.projection.apply(&batch)).transpose()
    }
}
