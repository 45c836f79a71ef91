//! The SQL that applies staged rows.
//!
//! Keys are compared by `=`, by which the server can join in one pass, and nulls by `IS NULL`: one statement for each combination
//! of null columns that the load's keys have.

use datakit_connect::sink::merge::MergeColumns;

use super::staging::{REMOVES, Staged, Staging, mask_condition};
use crate::sink::names::{TableName, quote};
use crate::sink::types::TableSchema;

/// Statements for the keys of a load of which the same columns are null.
pub(crate) struct Statements {
    /// Removes rows.
    pub(crate) delete: String,
    /// Replaces rows; none: every column is of the key.
    pub(crate) update: Option<String>,
    /// Adds rows whose keys are not there.
    pub(crate) insert: String,
    /// Removes all but one of the rows of each key.
    pub(crate) delete_doubles: String,
    /// Counts the rows that have keys of the load.
    pub(crate) count_keys: String,
    /// Counts staged rows that the table does not hold as they are.
    pub(crate) count_differing: String,
}

impl Staging {
    /// `CREATE TEMPORARY TABLE`, which ends with the transaction.
    pub(crate) fn create(&self) -> String {
        let columns = self.schema.definitions().join(", ");
        format!("CREATE TEMPORARY TABLE {} ({columns}) ON COMMIT DROP", self.name)
    }

    /// The statements for each combination of null columns.
    pub(crate) fn statements(
        &self,
        target: &TableName,
        schema: &TableSchema,
        columns: &MergeColumns,
        staged: &Staged,
    ) -> Vec<Statements> {
        staged.nulls.iter().map(|nulls| self.for_nulls(target, schema, columns, staged, nulls)).collect()
    }

    fn for_nulls(
        &self,
        target: &TableName,
        schema: &TableSchema,
        columns: &MergeColumns,
        staged: &Staged,
        nulls: &[bool],
    ) -> Statements {
        let staging = &self.name;
        let removes = quote(REMOVES);
        let names: Vec<String> = schema.columns.iter().map(|column| quote(&column.name)).collect();
        let keys: Vec<(&String, bool)> =
            columns.keys().iter().map(|at| &names[*at]).zip(nulls.iter().copied()).collect();
        let is = |alias: &str, key: &String, is_null: bool| {
            format!("{alias}.{key} IS {}NULL", if is_null { "" } else { "NOT " })
        };
        let of_pattern: Vec<String> = keys.iter().map(|(key, is_null)| is("s", key, *is_null)).collect();
        let of_pattern = of_pattern.join(" AND ");
        let same = |(key, is_null): &(&String, bool)| {
            if *is_null { is("t", key, true) } else { format!("t.{key} = s.{key}") }
        };
        let same = keys.iter().map(same).collect::<Vec<_>>().join(" AND ");
        let is_key = |at: &usize| columns.keys().contains(at);
        let set = |(at, name): (usize, &String)| match staged.stay.contains(&at) {
            true => format!("{name} = CASE WHEN {} THEN t.{name} ELSE s.{name} END", mask_condition(at)),
            false => format!("{name} = s.{name}"),
        };
        let sets: Vec<String> = names.iter().enumerate().filter(|(at, _)| !is_key(at)).map(set).collect();
        let equal = |(at, name): (usize, &String)| match staged.stay.contains(&at) {
            true => format!(" AND ({} OR t.{name} IS NOT DISTINCT FROM s.{name})", mask_condition(at)),
            false => format!(" AND t.{name} IS NOT DISTINCT FROM s.{name}"),
        };
        let equal: String = names.iter().enumerate().filter(|(at, _)| !is_key(at)).map(equal).collect();
        let update = format!(
            "UPDATE {target} AS t SET {} FROM {staging} AS s WHERE NOT s.{removes} AND {of_pattern} AND {same}",
            sets.join(", ")
        );
        let list = names.join(", ");
        let by = keys.iter().map(|(key, _)| format!("t.{key}")).collect::<Vec<_>>().join(", ");
        Statements {
            delete: format!(
                "DELETE FROM {target} AS t USING {staging} AS s WHERE s.{removes} AND {of_pattern} AND {same}"
            ),
            update: (!sets.is_empty()).then_some(update),
            insert: format!(
                "INSERT INTO {target} ({list}) SELECT {list} FROM {staging} AS s WHERE NOT s.{removes} AND {of_pattern} \
                 AND NOT EXISTS (SELECT FROM {target} AS t WHERE {same})"
            ),
            delete_doubles: format!(
                "DELETE FROM {target} AS d USING (SELECT t.ctid AS place, row_number() OVER (PARTITION BY {by} ORDER BY t.ctid) AS number \
                 FROM {target} AS t JOIN {staging} AS s ON NOT s.{removes} AND {of_pattern} AND {same}) AS doubles \
                 WHERE d.ctid = doubles.place AND doubles.number > 1"
            ),
            count_keys: format!(
                "SELECT count(*) FROM {target} AS t WHERE EXISTS (SELECT FROM {staging} AS s WHERE {of_pattern} AND {same})"
            ),
            count_differing: format!(
                "SELECT count(*) FROM {staging} AS s WHERE NOT s.{removes} AND {of_pattern} \
                 AND NOT EXISTS (SELECT FROM {target} AS t WHERE {same}{equal})"
            ),
        }
    }
}
