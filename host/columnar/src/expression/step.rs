//! One step of an expression: its work is counted, and the place where it stops when it is too much or nobody waits any more.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};

use crate::work::{self, ROW_UNITS};

/// An expression of DataFusion that counts what it looks at and what it makes.
#[derive(Debug)]
pub(super) struct Step {
    inner: Arc<dyn PhysicalExpr>,
    /// How often every row is looked at.
    passes: u64,
    /// The columns it reads itself. What other steps make for it, they count.
    columns: Vec<usize>,
}

impl Step {
    /// An expression that looks at every row once for each of its operands.
    pub(super) fn wrap(inner: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        let passes = inner.children().len().max(1);
        Self::wrap_passes(inner, passes)
    }

    /// An expression that looks at every row so often.
    pub(super) fn wrap_passes(inner: Arc<dyn PhysicalExpr>, passes: usize) -> Arc<dyn PhysicalExpr> {
        if inner.is::<Column>() || inner.is::<Literal>() || inner.is::<Self>() {
            return inner;
        }
        let children = inner.children();
        let columns = children.iter().filter_map(|child| child.downcast_ref::<Column>().map(Column::index)).collect();
        Arc::new(Self { inner, passes: passes as u64, columns })
    }
}

/// How many steps an expression has.
pub(super) fn count(expression: &Arc<dyn PhysicalExpr>) -> u64 {
    let own = expression.downcast_ref::<Step>().map_or(0, |step| step.passes);
    expression.children().into_iter().map(count).fold(own, u64::saturating_add)
}

/// A refusal of the meter, on its way through DataFusion.
pub(super) fn charge(units: u64) -> Result<()> {
    work::charge(units).map_err(|error| DataFusionError::External(Box::new(error)))
}

impl PhysicalExpr for Step {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = (batch.num_rows() as u64).saturating_mul(ROW_UNITS).saturating_mul(self.passes);
        let read = self.columns.iter().filter_map(|index| batch.columns().get(*index)).map(|array| work::units(array));
        charge(read.fold(rows, u64::saturating_add))?;
        let value = self.inner.evaluate(batch)?;
        if let ColumnarValue::Array(array) = &value {
            charge(work::units(array))?;
        }
        Ok(value)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next();
        let passes = usize::try_from(self.passes).unwrap_or(usize::MAX);
        inner
            .map(|inner| Self::wrap_passes(inner, passes))
            .ok_or_else(|| DataFusionError::Plan("a step has one expression".to_owned()))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

// Derived, these would move out of the `dyn`: https://github.com/rust-lang/rust/issues/78808
impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Step {}

impl Hash for Step {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
