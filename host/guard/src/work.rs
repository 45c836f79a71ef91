//! The bound on what the parser does with one text.

use std::cell::Cell;
use std::rc::Rc;

use sqlparser::ast::Expr;
use sqlparser::parser::ParserError;

/// Steps that a token is worth. An honest text takes one or two; a join that begins with parentheses takes two for each pair of
/// them.
const STEPS_PER_TOKEN: usize = 16;

/// Steps left. A step is an attempt at an expression, which every reading of a query begins with.
#[derive(Debug, Clone)]
pub(crate) struct Work(Rc<Cell<usize>>);

impl Work {
    /// The steps that so many tokens may take.
    pub(super) fn of(tokens: usize) -> Self {
        Self(Rc::new(Cell::new(tokens.saturating_mul(STEPS_PER_TOKEN))))
    }

    /// One step: to be returned by the dialect's `parse_prefix`. Past the bound it is the one error that the parser hands on from
    /// every attempt instead of trying another reading.
    pub(crate) fn step(&self) -> Option<Result<Expr, ParserError>> {
        match self.0.get().checked_sub(1) {
            Some(left) => {
                self.0.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    /// Whether the parser asked for more steps than there were.
    pub(super) fn is_exceeded(&self) -> bool {
        self.0.get() == 0
    }
}
