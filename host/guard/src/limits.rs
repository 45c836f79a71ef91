//! Bounds on SQL.

use datakit_model::limits::GuestLimits;

/// Bounds on SQL handed over by a datakit; the same settings as in `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// One SQL text, in bytes.
    pub max_sql_bytes: u64,
    /// Tokens of one SQL text, counted before parsing.
    pub max_tokens: u64,
    /// Syntax depth of one SQL text.
    pub max_syntax_depth: u64,
    /// Parameters of one query.
    pub max_parameters: u64,
}

/// The deepest SQL that any setting allows, as for expressions.
const MAX_SYNTAX_DEPTH: u64 = 256;

impl From<&GuestLimits> for SqlLimits {
    fn from(limits: &GuestLimits) -> Self {
        Self {
            max_sql_bytes: limits.max_sql_bytes,
            max_tokens: limits.max_sql_tokens,
            // The walk recurses: no setting of the operator may let a guest exhaust the host's stack.
            max_syntax_depth: limits.max_syntax_depth.min(MAX_SYNTAX_DEPTH),
            max_parameters: limits.max_parameters,
        }
    }
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self::from(&GuestLimits::default())
    }
}
