//! Columns of rows that are there get the staged values (docs/backfill.md).

use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::MergeColumns;
use datakit_connect::sink::receipt::count;
use datakit_connect::sink::update::UpdateError;
use datakit_model::ReceiptLevel;
use datakit_model::receipt::MergedRows;
use tokio_postgres::{Client, Row};

use super::staging::{Staged, Staging};
use crate::sink::names::{TableName, quote};
use crate::sink::transaction::Plan;
use crate::sink::types::TableSchema;

const COMPARE: &str = "compare rows of";

/// Statements for staged rows that have keys and values.
#[derive(Debug)]
struct Statements {
    /// The place in the key of a column that is null in a row of the table; no row: none is.
    null_key: String,
    /// Counts staged keys that the table has.
    keys: String,
    /// Counts rows of the table that have staged keys, and those of them that have other values.
    rows: String,
    /// Gives those the staged values.
    update: String,
}

impl Statements {
    fn new(staging: &TableName, target: &TableName, schema: &TableSchema, keys: &[usize]) -> Self {
        let names: Vec<String> = schema.columns.iter().map(|column| quote(&column.name)).collect();
        let key_names: Vec<&String> = keys.iter().filter_map(|at| names.get(*at)).collect();
        let values = || names.iter().enumerate().filter(|(at, _)| !keys.contains(at)).map(|(_, name)| name);
        let each =
            |of: &dyn Fn(&&String) -> String, between: &str| key_names.iter().map(of).collect::<Vec<_>>().join(between);
        let same = each(&|key| format!("t.{key} = s.{key}"), " AND ");
        let is_null = each(&|key| format!("{key} IS NULL"), " OR ");
        let which = key_names.iter().enumerate().map(|(at, key)| format!("WHEN {key} IS NULL THEN {at}"));
        let which = which.collect::<Vec<_>>().join(" ");
        let differs: Vec<String> = values().map(|name| format!("t.{name} IS DISTINCT FROM s.{name}")).collect();
        let differs = differs.join(" OR ");
        let sets: Vec<String> = values().map(|name| format!("{name} = s.{name}")).collect();
        Self {
            null_key: format!("SELECT CASE {which} END::int8 FROM {target} WHERE {is_null} LIMIT 1"),
            keys: format!("SELECT count(*) FROM {staging} AS s WHERE EXISTS (SELECT FROM {target} AS t WHERE {same})"),
            rows: format!(
                "SELECT count(*), count(*) FILTER (WHERE {differs}) FROM {target} AS t JOIN {staging} AS s ON {same}"
            ),
            update: format!(
                "UPDATE {target} AS t SET {} FROM {staging} AS s WHERE {same} AND ({differs})",
                sets.join(", ")
            ),
        }
    }
}

/// Staged rows that are to give their values to rows of the table.
pub(crate) struct Update<'u> {
    pub(crate) client: &'u Client,
    pub(crate) plan: &'u Plan,
    pub(crate) staging: &'u Staging,
    pub(crate) columns: &'u MergeColumns,
    pub(crate) staged: &'u Staged,
}

impl Update<'_> {
    /// Refuses keys that do not say which row is meant, and gives rows their values.
    ///
    /// # Errors
    /// [`UpdateError`]; rows that do not hold what they were given; what the server says.
    pub(crate) async fn apply(&self, level: Option<ReceiptLevel>) -> Result<MergedRows, SinkError> {
        let (plan, keys) = (self.plan, self.columns.keys());
        let statements = Statements::new(&self.staging.name, &plan.name, &plan.schema, keys);
        self.check_nulls(&statements).await?;
        let (rows, differing) = self.compare(&statements).await?;
        let of_staged = self.ask(&statements.keys).await?;
        let matched = of_staged.first().map(|row| self.number(row, 0)).transpose()?.unwrap_or_default();
        if rows > matched {
            let keys: Vec<String> = keys.iter().map(|at| self.name(*at)).collect();
            return Err(UpdateError::RepeatedKey { location: plan.location.clone(), keys: keys.join(", ") }.into());
        }
        let updated = self.client.execute_typed(&statements.update, &[]).await;
        let updated = updated.map_err(|e| plan.failed("update rows of", e))?;
        if level.is_some() {
            count(&plan.location, "rows that get other values", differing, updated)?;
        }
        if level == Some(ReceiptLevel::Full) {
            self.check_values(&statements).await?;
        }
        let left_out = self.staged.upserts.saturating_sub(matched);
        Ok(MergedRows { updated, unchanged: rows.saturating_sub(updated), left_out, ..MergedRows::default() })
    }

    fn name(&self, at: usize) -> String {
        self.plan.schema.columns.get(at).map(|column| column.name.clone()).unwrap_or_default()
    }

    fn null_key(&self, at: usize, place: &str) -> SinkError {
        let at = self.columns.keys().get(at).copied().unwrap_or_default();
        UpdateError::NullKey { place: place.to_owned(), column: self.name(at) }.into()
    }

    async fn check_nulls(&self, statements: &Statements) -> Result<(), SinkError> {
        if let Some(at) = self.staged.nulls.iter().find_map(|nulls| nulls.iter().position(|is_null| *is_null)) {
            return Err(self.null_key(at, "the source"));
        }
        match self.ask(&statements.null_key).await?.first() {
            Some(row) => {
                let at = usize::try_from(self.number(row, 0)?).unwrap_or_default();
                Err(self.null_key(at, &self.plan.location))
            }
            None => Ok(()),
        }
    }

    /// Rows that have staged keys, and those of them that have other values.
    async fn compare(&self, statements: &Statements) -> Result<(u64, u64), SinkError> {
        match self.ask(&statements.rows).await?.first() {
            Some(row) => Ok((self.number(row, 0)?, self.number(row, 1)?)),
            None => Ok((0, 0)),
        }
    }

    async fn check_values(&self, statements: &Statements) -> Result<(), SinkError> {
        match self.compare(statements).await? {
            (_, 0) => Ok(()),
            (_, rows) => {
                let difference = format!("{rows} rows have other values than they were given");
                Err(SinkError::ReceiptValues { location: self.plan.location.clone(), difference })
            }
        }
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Row>, SinkError> {
        self.client.query_typed(sql, &[]).await.map_err(|e| self.plan.failed(COMPARE, e))
    }

    fn number(&self, row: &Row, at: usize) -> Result<u64, SinkError> {
        let number = row.try_get::<_, i64>(at).map_err(|e| self.plan.failed(COMPARE, e))?;
        Ok(u64::try_from(number).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datakit_model::TableId;

    use super::*;

    #[test]
    fn only_rows_with_other_values_are_updated() {
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("extra", DataType::Utf8, true),
            Field::new("part", DataType::Int32, false),
            Field::new("\"n\"", DataType::Int32, true),
        ];
        let table = TableId::new("dbo", "t");
        let schema = TableSchema::new(&table, &Arc::new(Schema::new(fields))).unwrap();
        let staging = TableName { schema: "pg_temp".to_owned(), table: "m".to_owned() };
        let target = TableName::new("ERP", &table).unwrap();
        let Statements { null_key, keys, rows, update } = Statements::new(&staging, &target, &schema, &[2, 0]);
        insta::assert_snapshot!([null_key, keys, rows, update].join("\n"), @r#"
        SELECT CASE WHEN "part" IS NULL THEN 0 WHEN "id" IS NULL THEN 1 END::int8 FROM "ERP_dbo"."t" WHERE "part" IS NULL OR "id" IS NULL LIMIT 1
        SELECT count(*) FROM "pg_temp"."m" AS s WHERE EXISTS (SELECT FROM "ERP_dbo"."t" AS t WHERE t."part" = s."part" AND t."id" = s."id")
        SELECT count(*), count(*) FILTER (WHERE t."extra" IS DISTINCT FROM s."extra" OR t."""n""" IS DISTINCT FROM s."""n""") FROM "ERP_dbo"."t" AS t JOIN "pg_temp"."m" AS s ON t."part" = s."part" AND t."id" = s."id"
        UPDATE "ERP_dbo"."t" AS t SET "extra" = s."extra", """n""" = s."""n""" FROM "pg_temp"."m" AS s WHERE t."part" = s."part" AND t."id" = s."id" AND (t."extra" IS DISTINCT FROM s."extra" OR t."""n""" IS DISTINCT FROM s."""n""")
        "#);
    }
}
