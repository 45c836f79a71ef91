//! The settings of each kind of connection and sink. Each module uses the public API of the other modules alone, so that a
//! connector can bring it.

pub(crate) mod delta;
pub(crate) mod files;
pub(crate) mod postgres;
pub(crate) mod sqlserver;

use crate::SectionKind;

/// Every kind there is, in the order of the documentation.
pub(crate) const KINDS: [SectionKind; 5] =
    [sqlserver::KIND, postgres::CONNECTION, files::KIND, delta::KIND, postgres::SINK];
