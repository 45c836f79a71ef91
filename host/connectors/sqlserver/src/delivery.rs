//! Batches from the task that decodes to the reader that hands them out, with this source's errors.

use super::error::SourceError;

/// One step of a result.
pub(super) type Message = datakit_connect::delivery::Message<SourceError>;
/// Why a task stops before the end of the rows.
pub(super) type Stop = datakit_connect::delivery::Stop<SourceError>;
/// The sending end.
pub(super) type Delivery = datakit_connect::delivery::Delivery<SourceError>;
