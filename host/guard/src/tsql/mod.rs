//! The read grant of T-SQL: what the guard shared by all sources has to know of it.

#[cfg(test)]
mod generated;
mod grammar;
mod lexical;
mod lists;
#[cfg(test)]
mod tests;

use datakit_model::names::plain;
use datakit_model::{TableId, TablePatterns};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value};

use self::grammar::Grammar;
use crate::{Dialect, Profile, Refusal, SqlLimits, Walk, Work};

/// The codes of refusals.
pub const CODES: [&str; 8] =
    ["DK-SRC-070", "DK-SRC-071", "DK-SRC-072", "DK-SRC-073", "DK-SRC-074", "DK-SRC-390", "DK-SRC-075", "DK-SRC-076"];

/// A text that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The query from its first token to its last: without comments around it and without a closing semicolon.
    pub query: String,
    /// A table hint lets it read what is not committed.
    pub dirty_reads: bool,
    /// It reads catalog views and nothing else.
    pub catalog: bool,
    /// A table that the grant holds in another case only.
    pub granted_if_case_is_ignored: Option<TableId>,
}

/// Checks one text of a datakit against the grant.
///
/// # Errors
/// Why it is refused.
pub fn check(sql: &str, parameters: usize, grant: &TablePatterns, limits: &SqlLimits) -> Result<Accepted, Refusal> {
    check_as(Profile::Datakit, sql, parameters, grant, limits)
}

/// Checks one text against the grant.
///
/// # Errors
/// Why it is refused.
pub fn check_as(
    profile: Profile,
    sql: &str,
    parameters: usize,
    grant: &TablePatterns,
    limits: &SqlLimits,
) -> Result<Accepted, Refusal> {
    crate::check_size(sql, parameters, limits)?;
    let lexed = lexical::read(sql, parameters, limits)?;
    let query = crate::parse::<TSql>(lexed.tokens, limits)?;
    let mut walk = Walk::<TSql>::new(profile, grant, limits);
    walk.query(&query)?;
    Ok(Accepted {
        query: sql[lexed.start..lexed.end].to_owned(),
        dirty_reads: walk.dirty_reads,
        catalog: walk.reads_only_the_catalog(),
        granted_if_case_is_ignored: walk.tables.into_iter().find(|table| grant.depends_on_case(table)),
    })
}

/// Whether the grant allows to read a table of the connection's own database: none of the system's, whatever a pattern says.
#[must_use]
pub fn is_granted(grant: &TablePatterns, table: &TableId) -> bool {
    table.catalog.is_none() && <TSql as Dialect>::is_granted(grant, table)
}

/// T-SQL.
struct TSql;

impl Dialect for TSql {
    const NAME: &'static str = "T-SQL";
    const COMMON_TABLES_RECUR: bool = true;
    const TABLES_RENAME_COLUMNS: bool = false;
    const SUBSTRING_TAKES_NUMBERS: bool = true;
    const COLUMNS_HAVE_PROPERTIES: bool = true;
    const BOOLEANS: bool = false;
    const LIMIT: bool = false;
    const HAS_CATALOGS: bool = true;

    fn grammar(work: Work) -> Box<dyn sqlparser::dialect::Dialect> {
        Box::new(Grammar(work))
    }

    /// As written: in a case-sensitive database `T` does not hide a table `t`.
    fn compared(ident: &Ident) -> String {
        ident.value.clone()
    }

    fn catalog_columns(schema: &str, name: &str) -> Option<&'static str> {
        lists::catalog_columns(schema, name)
    }

    /// `#t` and `##t`, which other sessions made or could make. Quotes change nothing.
    fn is_temporary(name: &Ident) -> bool {
        name.value.trim_start().starts_with(['#', '\u{FF03}', '\u{FE5F}'])
    }

    fn is_granted(grant: &TablePatterns, table: &TableId) -> bool {
        let TableId { catalog, schema, name } = table;
        let folded = TableId { catalog: catalog.as_deref().map(fold), schema: fold(schema), name: fold(name) };
        let system = [(schema, name), (&folded.schema, &folded.name), (&plain(schema), &plain(name))]
            .iter()
            .any(|(schema, name)| lists::is_system_name(schema, name));
        !system && grant.allows(table) && grant.allows(&folded)
    }

    fn is_function(name: &str) -> bool {
        lists::is_function(name)
    }

    /// Functions of the catalog reach into other databases by a second argument, or by a name of three parts.
    fn check_call(name: &str, arguments: &FunctionArguments) -> Result<(), Refusal> {
        if lists::takes_one_id(name) && single(arguments).is_none() {
            return crate::construct(format!("{} with more than the id", name.to_ascii_uppercase()));
        }
        if lists::takes_one_name(name) && !single(arguments).is_some_and(is_name_of_two_parts) {
            return crate::construct(format!(
                "{} of anything but a name of two parts, written as a literal,",
                name.to_ascii_uppercase()
            ));
        }
        Ok(())
    }

    fn is_function_of_rows(_name: &str) -> bool {
        false
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
            other => crate::construct(format!("the table hint {other}")),
        }
    }
}

/// The one argument of a call.
fn single(arguments: &FunctionArguments) -> Option<&Expr> {
    match arguments {
        FunctionArguments::List(list) => match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => Some(argument),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is a literal that names schema and object, `dbo.t` or `[a.b].[c]`, and no database.
fn is_name_of_two_parts(argument: &Expr) -> bool {
    let Expr::Value(value) = argument else { return false };
    let (Value::SingleQuotedString(text) | Value::NationalStringLiteral(text)) = &value.value else { return false };
    let mut close = None;
    let mut dots = 0;
    for c in text.chars() {
        match (close, c) {
            (None, '[') => close = Some(']'),
            (None, '"') => close = Some('"'),
            (None, '.') => dots += 1,
            (Some(end), c) if c == end => close = None,
            _ => {}
        }
    }
    close.is_none() && dots == 1
}

/// The name as a lenient collation compares it: without trailing blanks and characters of no weight, wide forms as
/// plain ones. An inclusion must hold for the spelling under which such a server finds the table, too.
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
