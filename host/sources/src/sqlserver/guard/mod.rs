//! The read grant of T-SQL: what the guard shared by all sources has to know of it.

mod lexical;
mod lists;
#[cfg(test)]
mod tests;

use datakit_model::{TableId, TablePatterns};
use sqlparser::ast::{Expr, Ident};
use sqlparser::dialect::MsSqlDialect;

use crate::config::SqlLimits;
pub use crate::guard::Refusal;
use crate::guard::{self, Dialect, Walk};

/// The codes of refusals.
pub(super) const CODES: [&str; 7] =
    ["DK-SRC-070", "DK-SRC-071", "DK-SRC-072", "DK-SRC-073", "DK-SRC-074", "DK-SRC-075", "DK-SRC-076"];

/// A text that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    /// The query from its first token to its last: without comments around it and without a closing semicolon.
    pub(super) query: &'a str,
    /// A table hint lets it read what is not committed.
    pub(super) dirty_reads: bool,
    /// It reads catalog views and nothing else.
    pub(super) catalog: bool,
}

/// Checks one text against the grant.
///
/// # Errors
/// Why it is refused.
pub(super) fn check<'a>(
    sql: &'a str,
    parameters: usize,
    grant: &TablePatterns,
    limits: &SqlLimits,
) -> Result<Accepted<'a>, Refusal> {
    guard::check_size(sql, parameters, limits)?;
    let lexed = lexical::read(sql, parameters, limits)?;
    let query = guard::parse::<TSql>(lexed.tokens, limits)?;
    let mut walk = Walk::<TSql>::new(grant, limits);
    walk.query(&query)?;
    Ok(Accepted {
        query: &sql[lexed.start..lexed.end],
        dirty_reads: walk.dirty_reads,
        catalog: walk.reads_only_the_catalog(),
    })
}

/// T-SQL.
struct TSql;

impl Dialect for TSql {
    const NAME: &'static str = "T-SQL";
    const COMMON_TABLES_SEE_THEMSELVES: bool = true;
    const BOOLEANS: bool = false;
    const LIMIT: bool = false;

    fn parser() -> &'static dyn sqlparser::dialect::Dialect {
        &MsSqlDialect {}
    }

    /// As written: in a case-sensitive database `T` does not hide a table `t`.
    fn compared(ident: &Ident) -> String {
        ident.value.clone()
    }

    fn is_catalog_view(schema: &str, name: &str) -> bool {
        lists::is_catalog_view(schema, name)
    }

    fn is_granted(grant: &TablePatterns, schema: &str, name: &str) -> bool {
        let folded = TableId::new(fold(schema), fold(name));
        let system = lists::is_system_name(schema, name) || lists::is_system_name(&folded.schema, &folded.name);
        !system && grant.allows(&TableId::new(schema, name)) && grant.allows(&folded)
    }

    fn is_function(name: &str) -> bool {
        lists::is_function(name)
    }

    fn is_type(text: &str) -> bool {
        lists::is_type(text)
    }

    fn is_structure_word(word: &str) -> bool {
        lists::is_structure_word(word)
    }

    fn table_hint(hint: &Expr) -> Result<bool, Refusal> {
        match hint {
            Expr::Identifier(ident) if ident.quote_style.is_none() && lists::is_table_hint(&ident.value) => {
                Ok(lists::allows_dirty_reads(&ident.value))
            }
            other => guard::construct(format!("the table hint {other}")),
        }
    }
}

/// The name as a lenient collation compares it: without trailing blanks and characters of no weight, wide forms as
/// plain ones. An exclusion must hold for every spelling under which the server would find the table.
fn fold(name: &str) -> String {
    name.trim_end()
        .chars()
        .filter_map(|c| match c {
            '\u{AD}'
            | '\u{300}'..='\u{36F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' => None,
            '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0),
            '\u{3000}' | '\u{A0}' => Some(' '),
            '\u{17F}' => Some('s'),
            '\u{212A}' => Some('k'),
            c => Some(c),
        })
        .collect()
}
