//! What the parser takes for T-SQL.
//!
//! The parser's own dialect of SQL Server, without what no query here needs: named arguments, for example, make it read each
//! argument of a function twice, so that calls within calls take exponential time.

use std::any::TypeId;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, MsSqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

use crate::Work;

/// T-SQL, read with a bounded number of steps.
#[derive(Debug)]
pub(super) struct Grammar(pub(super) Work);

impl Dialect for Grammar {
    fn dialect(&self) -> TypeId {
        TypeId::of::<MsSqlDialect>()
    }

    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        self.0.step()
    }

    // Texts arrive as tokens: these two are of no use, and the trait wants them.
    fn is_identifier_start(&self, c: char) -> bool {
        MsSqlDialect {}.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        MsSqlDialect {}.is_identifier_part(c)
    }

    fn convert_type_before_value(&self) -> bool {
        true
    }

    fn supports_eq_alias_assignment(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        false
    }

    fn supports_object_name_double_dot_notation(&self) -> bool {
        true
    }

    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        MsSqlDialect {}.is_select_item_alias(explicit, keyword, parser)
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        MsSqlDialect {}.is_table_factor_alias(explicit, keyword, parser)
    }
}
