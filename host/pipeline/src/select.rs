use datakit_model::datakit::{Discovery, InvalidTable, Table};
use datakit_model::{TableId, TablePattern, TablePatterns};

use crate::error::RunError;

const EXAMPLES: usize = 5;

/// How far apart two names may be, in characters that differ, and still be taken for one another: a third of the longer.
const LIKENESS: usize = 3;

/// What the patterns hold of the discovered tables.
pub(crate) struct Selected {
    /// How many tables were discovered.
    pub(crate) discovered: usize,
    /// The tables, by name.
    pub(crate) tables: Vec<Table>,
    /// Those of them whose description is invalid.
    pub(crate) invalid: Vec<InvalidTable>,
    /// Each pattern that selects none, with the tables whose names are nearest to it.
    pub(crate) unmatched: Vec<(TablePattern, Vec<TableId>)>,
}

/// The discovered tables that the selection holds.
pub(crate) fn select(discovery: Discovery, patterns: &TablePatterns) -> Result<Selected, RunError> {
    let Discovery { tables: discovered, mut invalid } = discovery;
    let ids: Vec<&TableId> =
        discovered.iter().map(|table| &table.id).chain(invalid.iter().map(|table| &table.id)).collect();
    let count = ids.len();
    let matches_none =
        |pattern: &&TablePattern| !pattern.is_exclusion() && !ids.iter().any(|table| pattern.matches(table));
    let unmatched: Vec<(TablePattern, Vec<TableId>)> = patterns
        .patterns()
        .iter()
        .filter(matches_none)
        .enumerate()
        // Every comparison is one with every table: the first few patterns show what is wrong with the others.
        .map(|(at, pattern)| {
            let tables = ids.iter().filter(|_| at < EXAMPLES).copied();
            (pattern.clone(), nearest(pattern, tables))
        })
        .collect();
    let (mut tables, others): (Vec<Table>, Vec<Table>) = discovered.into_iter().partition(|t| patterns.allows(&t.id));
    invalid.retain(|table| patterns.allows(&table.id));
    if tables.is_empty() && invalid.is_empty() {
        let mut near: Vec<TableId> = unmatched.into_iter().flat_map(|(_, near)| near).collect();
        near.truncate(EXAMPLES);
        let examples: Vec<TableId> = others.into_iter().take(EXAMPLES).map(|t| t.id).collect();
        return Err(RunError::NoTable { patterns: patterns.clone(), discovered: count, nearest: near, examples });
    }
    tables.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Selected { discovered: count, tables, invalid, unmatched })
}

/// The tables whose names differ least from a pattern, the nearest first; none where no name is like it.
fn nearest<'t>(pattern: &TablePattern, tables: impl Iterator<Item = &'t TableId>) -> Vec<TableId> {
    // Wildcards stand for anything: what they are compared with counts as different.
    let wanted = pattern.to_string().to_lowercase();
    let longest = wanted.chars().count();
    let distance = |table: &TableId| {
        let name = table.to_string().to_lowercase();
        let length = name.chars().count().max(longest);
        // Lengths that differ by more are further apart than any like name.
        if length - name.chars().count().min(longest) > length / LIKENESS {
            return None;
        }
        Some(strsim::osa_distance(&wanted, &name)).filter(|distance| *distance <= length / LIKENESS)
    };
    let mut near: Vec<(usize, &TableId)> = tables.filter_map(|table| Some((distance(table)?, table))).collect();
    near.sort();
    near.into_iter().take(EXAMPLES).map(|(_, table)| table.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_table_is_answered_with_the_nearest_names() {
        let tables: Vec<TableId> = ["accounts", "customers", "custom", "orders", "order_lines", "zebra"]
            .map(|name| TableId::new("dbo", name))
            .into();
        let near = |pattern: &str| {
            let found = nearest(&pattern.parse().unwrap(), tables.iter());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(near("dbo.custmers"), ["dbo.customers", "dbo.custom"]);
        assert_eq!(near("dbo.ODRERS")[0], "dbo.orders");
        assert_eq!(near("db.zebra"), ["dbo.zebra"]);
        assert_eq!(near("hr.salaries_of_all_people"), Vec::<String>::new());
    }
}
