//! Batches from the task that decodes to the reader that hands them out, with this source's errors.

use super::error::SourceError;

/// One step of a result.
pub(super) type Message = crate::delivery::Message<SourceError>;
/// Why a task stops before the end of the rows.
pub(super) type Stop = crate::delivery::Stop<SourceError>;
/// The sending end.
pub(super) type Delivery = crate::delivery::Delivery<SourceError>;
