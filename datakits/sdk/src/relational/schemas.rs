//! Which schemas a catalog is asked for, so that a large server answers with less.
//!
//! Schemas are named exactly as the server spells them, so that no rule of comparison of the server leaves one out.

use super::Dialect;
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::patterns::TablePattern;
use crate::plans::DiscoveryRequest;
use crate::queries::{Queries, QueryOptions};
use crate::rows;

/// More schemas than this are not named in a query.
const MAX_NAMED: usize = 100;

/// The schemas of tables that may fit a request; none: all. A pattern that fits no schema asks for all, so that the host can show
/// names that are near.
///
/// # Errors
/// A server that does not answer.
pub(super) fn requested<D: Dialect>(
    queries: &impl Queries,
    request: &DiscoveryRequest,
    options: QueryOptions,
) -> Result<Option<Vec<String>>, Error> {
    let patterns: Result<Vec<TablePattern>, Error> =
        request.include.iter().map(|text| TablePattern::parse(text)).collect();
    match patterns {
        Ok(patterns) if !patterns.is_empty() && !patterns.iter().any(TablePattern::takes_any_schema) => {
            Ok(fitting(&patterns, rows::texts(&queries.query(D::SCHEMAS, &[], options)?, "schema_name")?))
        }
        // The host has its own rules for patterns, and says what is wrong with one.
        _ => Ok(None),
    }
}

fn fitting(patterns: &[TablePattern], mut schemas: Vec<String>) -> Option<Vec<String>> {
    if patterns.iter().any(|pattern| !schemas.iter().any(|schema| pattern.fits_schema(schema))) {
        return None;
    }
    let all = schemas.len();
    schemas.retain(|schema| patterns.iter().any(|pattern| pattern.fits_schema(schema)));
    (schemas.len() < all && schemas.len() <= MAX_NAMED).then_some(schemas)
}

/// The schemas of these tables; none: all.
pub(super) fn of(tables: &[TableId]) -> Option<Vec<String>> {
    let mut schemas: Vec<String> = tables.iter().map(|table| table.schema.clone()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    (schemas.len() <= MAX_NAMED).then_some(schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(patterns: &[&str], schemas: &[&str]) -> Option<Vec<String>> {
        let patterns: Vec<TablePattern> = patterns.iter().map(|text| TablePattern::parse(text).unwrap()).collect();
        fitting(&patterns, schemas.iter().map(|schema| (*schema).to_owned()).collect())
    }

    #[test]
    fn schemas_are_named_as_the_server_spells_them() {
        assert_eq!(asked(&["DBO.*"], &["dbo", "sales", "sys"]).unwrap(), ["dbo"]);
        assert_eq!(asked(&["s*.orders", "[dbo].t"], &["dbo", "Sales", "hr"]).unwrap(), ["dbo", "Sales"]);
    }

    #[test]
    fn all_schemas_are_asked_for_where_that_costs_nothing_or_is_needed() {
        assert_eq!(asked(&["dbo.*"], &["dbo"]), None);
        assert_eq!(asked(&["dbo.*", "dbp.orders"], &["dbo", "sales"]), None, "the host shows names that are near");
        let many: Vec<String> = (0..102).map(|number| format!("s{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["dbo"]).collect();
        assert_eq!(asked(&["s*.*"], &many), None);
    }

    #[test]
    fn schemas_of_planned_tables_are_named_once() {
        let tables = [TableId::new("b", "t"), TableId::new("a", "t"), TableId::new("b", "u")];
        assert_eq!(of(&tables).unwrap(), ["a", "b"]);
    }
}
