//! A table as the catalog has it, for strategies that go by what the server keeps of the whole table.

use async_trait::async_trait;
use datakit_connect::changes::columns::choose_columns;
use datakit_connect::changes::{ChangesError, Texts, texts};
use datakit_model::changes::ChangeRequest;
use datakit_model::source::{Isolation, QueryOptions, Reader, Value};
use datakit_model::{Failure, NameRule, TableId};

use super::error::TrackingError;
use super::feed::{Begun, Rows};
use super::{quote_table, unexpected};
use crate::SqlServerConnection;
use crate::statement::quote;

/// Columns of one table whose schema and name are the parameters: name, number, system type, readable, computed, may be null, place in
/// the primary key, object_id, 1 where row versions can be read (not of a view, which may read other databases).
const QUESTION: &str = "\
SELECT CAST(c.name AS nvarchar(128)) AS name, CAST(c.column_id AS nvarchar(10)) AS column_id, CAST(t.name AS nvarchar(128)) AS base, \
CAST(HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT', c.name, 'COLUMN') AS nvarchar(10)) AS readable, \
CAST(c.is_computed AS nvarchar(10)) AS is_computed, CAST(c.is_nullable AS nvarchar(10)) AS is_nullable, \
CAST(k.key_ordinal AS nvarchar(10)) AS key_ordinal, CAST(o.object_id AS nvarchar(20)) AS object_id, \
CAST(CASE WHEN o.type = 'U' THEN (SELECT MAX(b.snapshot_isolation_state) FROM sys.databases AS b WHERE b.name = DB_NAME()) \
ELSE 0 END AS nvarchar(10)) AS snapshot \
FROM sys.columns AS c INNER JOIN sys.objects AS o ON o.object_id = c.object_id \
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id LEFT JOIN sys.types AS t ON t.user_type_id = c.system_type_id \
LEFT JOIN sys.indexes AS i ON i.object_id = o.object_id AND i.is_primary_key = 1 \
LEFT JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.column_id = c.column_id \
WHERE s.name = @P1 AND o.name = @P2 AND o.type IN ('U', 'V') ORDER BY c.column_id";

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// `column_id`: it stays when the column is renamed.
    pub(super) id: String,
    /// The system type below an alias; empty for a CLR type.
    base: String,
    is_readable: bool,
    pub(super) is_computed: bool,
    pub(super) is_nullable: bool,
    /// From 1.
    place_in_key: Option<u16>,
}

impl Column {
    /// `text`, `ntext`, `image`: change data capture does not know their value before a change.
    pub(super) fn is_old_lob(&self) -> bool {
        matches!(self.base.as_str(), "text" | "ntext" | "image")
    }
}

/// A table, and the session that asks it.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) session: SqlServerConnection,
    pub(super) id: TableId,
    /// `object_id`, a whole number.
    pub(super) object_id: String,
    /// Those of the rows, in their order.
    pub(super) columns: Vec<Column>,
    /// The primary key, in its order.
    pub(super) keys: Vec<String>,
    /// The column of type rowversion, whether it is among those of the rows or not.
    pub(super) row_version: Option<String>,
    /// SNAPSHOT where the database allows it.
    pub(super) isolation: Option<Isolation>,
}

impl Table {
    /// Asks the catalog.
    ///
    /// # Errors
    /// A table or a column that is not there or may not be read; what the server reports.
    pub(super) async fn of(
        session: SqlServerConnection,
        request: &ChangeRequest,
        names: NameRule,
    ) -> Result<Self, Failure> {
        let id = request.table.clone();
        let of_table = [Value::Text(id.schema.clone()), Value::Text(id.name.clone())];
        let answer = session.catalog(QUESTION.to_owned(), &of_table).await?;
        let rows: Option<Vec<(Column, String, bool)>> = answer.into_iter().map(column).collect();
        let rows = rows.ok_or_else(unexpected)?;
        let Some((_, object_id, allows_snapshot)) = rows.first().cloned() else {
            return Err(ChangesError::TableMissing { table: id }.into());
        };
        let all: Vec<Column> = rows.into_iter().map(|(column, ..)| column).collect();
        let readable: Vec<&str> = all.iter().filter(|it| it.is_readable).map(|it| it.name.as_str()).collect();
        let chosen = choose_columns(&readable, request, names)?;
        let columns = chosen.iter().filter_map(|name| all.iter().find(|it| it.name == *name)).cloned().collect();
        let row_version = all.iter().find(|it| it.is_readable && it.base == "timestamp").map(|it| it.name.clone());
        let isolation = allows_snapshot.then_some(Isolation::Snapshot);
        Ok(Self { session, id, object_id, columns, keys: keys(&all), row_version, isolation })
    }

    /// The text after FROM, with the alias `t`.
    pub(super) fn from(&self) -> String {
        format!("{} AS t", quote_table(&self.id))
    }

    /// The columns of the rows, each by an expression.
    pub(super) fn list(&self, expression: impl Fn(&Column) -> String) -> Vec<String> {
        self.columns.iter().map(expression).collect()
    }

    /// Rows of the table.
    ///
    /// # Errors
    /// What the server reports.
    pub(super) async fn read(&self, text: String, values: &[Value]) -> Result<Box<dyn Reader>, Failure> {
        let options = QueryOptions { isolation: self.isolation, ..QueryOptions::default() };
        self.session.ask(text, values, options, false).await
    }

    /// Rows whose columns are texts, of a question of the host about nothing that has row versions.
    ///
    /// # Errors
    /// What the server reports.
    pub(super) async fn ask(&self, text: String) -> Result<Vec<Texts>, Failure> {
        texts(self.session.aside().ask(text, &[], QueryOptions::default(), false).await?).await
    }

    /// As the error says it that the table does not have a strategy.
    pub(super) fn not_offered(&self, strategy: &'static str, reason: impl Into<String>) -> Failure {
        TrackingError::NotOffered { table: self.id.clone(), strategy, reason: reason.into() }.into()
    }
}

/// All rows of a table: the first copy where rows have no place of their own.
pub(super) struct Whole(pub(super) Table);

#[async_trait]
impl Rows for Whole {
    async fn rows(self: Box<Self>) -> Result<Begun, Failure> {
        let Self(table) = *self;
        let list = table.list(|column| format!("t.{}", quote(&column.name)));
        let reader = table.read(format!("SELECT {} FROM {}", list.join(", "), table.from()), &[]).await?;
        Ok(Begun { reader, reached: None })
    }
}

/// The primary key in its own order, which need not be that of the columns.
fn keys(columns: &[Column]) -> Vec<String> {
    let mut keys: Vec<&Column> = columns.iter().filter(|column| column.place_in_key.is_some()).collect();
    keys.sort_by_key(|column| column.place_in_key);
    keys.into_iter().map(|column| column.name.clone()).collect()
}

/// One row of the answer: the column, the table's `object_id`, and whether the database allows snapshots.
fn column(row: Texts) -> Option<(Column, String, bool)> {
    let [name, id, base, readable, computed, nullable, key_ordinal, object_id, snapshot] =
        <[Option<String>; 9]>::try_from(row).ok()?;
    let is = |flag: Option<String>| flag.as_deref() == Some("1");
    let column = Column {
        name: name?,
        id: id?,
        base: base.unwrap_or_default(),
        is_readable: readable.as_deref() != Some("0"),
        is_computed: is(computed),
        is_nullable: is(nullable),
        place_in_key: key_ordinal.and_then(|ordinal| ordinal.parse().ok()).filter(|ordinal| *ordinal > 0),
    };
    let object_id = object_id.filter(|id| id.parse::<i32>().is_ok())?;
    Some((column, object_id, is(snapshot)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A column as the catalog's answer has it.
    pub(in super::super) fn row(name: &str, id: u16, base: &str, key_ordinal: Option<u16>) -> Column {
        let texts = [name, &id.to_string(), base, "1", "0", "1"].map(|text| Some(text.to_owned()));
        let end = [key_ordinal.map(|ordinal| ordinal.to_string()), Some("99".to_owned()), Some("1".to_owned())];
        column(texts.into_iter().chain(end).collect()).unwrap().0
    }

    #[test]
    fn key_has_the_order_of_the_key() {
        let columns = [row("a", 1, "int", Some(2)), row("b", 2, "int", None), row("c", 3, "int", Some(1))];
        assert_eq!(keys(&columns), ["c", "a"]);
    }

    #[test]
    fn object_that_is_no_number_never_reaches_a_text() {
        let texts = ["a", "1", "int", "1", "0", "1", "0", "1; DROP TABLE t", "1"].map(|text| Some(text.to_owned()));
        assert!(column(texts.to_vec()).is_none());
    }
}
