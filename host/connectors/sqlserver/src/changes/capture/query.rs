//! What is asked of change data capture.

use datakit_connect::changes::Texts;
use datakit_connect::changes::roles::{OPERATION_COLUMN, VERSION_COLUMN};

use super::window::{Identity, Instance, LogEnd, Low, Lsn, Segment};
use crate::changes::missing::Missing;
use crate::changes::table::{Column, Table};
use crate::statement::quote;

/// Whether change data capture is on for the database.
pub(super) const ENABLED: &str =
    "SELECT CAST(d.is_cdc_enabled AS nvarchar(10)) AS is_enabled FROM sys.databases AS d WHERE d.name = DB_NAME()";

/// What in-transaction order the changes of an instance have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The function gives `__$command_id`.
    Command,
    /// The change table has it, and the login may read that.
    CommandOfTable,
    /// `__$seqval` alone.
    Sequence,
}

/// Which changes of a range are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changes {
    /// Every change.
    All,
    /// The last change of each row, as the server sums them up: a row that came and went is not among them.
    Net,
    /// The last change of each row, whatever was before it. Of a table without a key every change.
    Last,
}

/// A capture instance with all that its queries need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) instance: Instance,
    /// Whether it has a function for net changes.
    pub(super) has_net: bool,
    pub(super) order: Order,
    /// What a captured column is called, by the number of the table's column.
    pub(super) columns: Vec<(String, String)>,
}

/// The instances of a table, the oldest first. Columns: name, object_id, when it was made, low end, high end of the database, net changes,
/// `__$command_id` of the function, of the change table, when the high end was committed, the server's clock.
pub(super) fn instances(table: &Table) -> String {
    format!(
        "SELECT CAST(i.capture_instance AS nvarchar(128)) AS capture_instance, CAST(i.object_id AS nvarchar(20)) AS object_id, \
         CONVERT(nvarchar(30), i.create_date, 126) AS create_date, \
         CONVERT(nvarchar(22), sys.fn_cdc_get_min_lsn(i.capture_instance), 1) AS low, \
         CONVERT(nvarchar(22), sys.fn_cdc_get_max_lsn(), 1) AS high, \
         CAST(i.supports_net_changes AS nvarchar(10)) AS has_net, \
         CAST((SELECT COUNT(*) FROM sys.all_columns AS f \
         WHERE f.object_id = OBJECT_ID(N'[cdc].' + QUOTENAME(N'fn_cdc_get_all_changes_' + i.capture_instance)) \
         AND f.name = N'__$command_id') AS nvarchar(10)) AS by_function, \
         CAST((SELECT COUNT(*) FROM sys.all_columns AS f WHERE f.object_id = i.object_id AND f.name = N'__$command_id') \
         * HAS_PERMS_BY_NAME(N'[cdc].' + QUOTENAME(i.capture_instance + N'_CT'), 'OBJECT', 'SELECT') AS nvarchar(10)) AS by_table, \
         CONVERT(nvarchar(23), sys.fn_cdc_map_lsn_to_time(sys.fn_cdc_get_max_lsn()), 126) AS high_time, \
         CONVERT(nvarchar(23), GETDATE(), 126) AS now \
         FROM cdc.change_tables AS i WHERE i.source_object_id = {} ORDER BY i.create_date, i.object_id",
        table.object_id
    )
}

/// The captured columns of all instances of a table. Columns: object_id of the instance, number of the table's column, its name there.
pub(super) fn columns(table: &Table) -> String {
    format!(
        "SELECT CAST(c.object_id AS nvarchar(20)) AS object_id, CAST(c.column_id AS nvarchar(10)) AS column_id, \
         CAST(c.column_name AS nvarchar(128)) AS column_name \
         FROM cdc.captured_columns AS c INNER JOIN cdc.change_tables AS i ON i.object_id = c.object_id \
         WHERE i.source_object_id = {} ORDER BY c.object_id, c.column_ordinal",
        table.object_id
    )
}

/// One row of [`instances`], without its columns, and the end of what was captured.
pub(super) fn capture(row: Texts) -> Option<(Capture, LogEnd)> {
    let [name, object_id, created, low, high, net, by_function, by_table, high_time, now] =
        <[Option<String>; 10]>::try_from(row).ok()?;
    let lsn = |text: Option<String>| text.map(|text| Lsn::parse(&text).ok_or(())).transpose().ok();
    let is = |flag: Option<String>| flag.is_some_and(|flag| flag != "0");
    let order = match (is(by_function), is(by_table)) {
        (true, _) => Order::Command,
        (false, true) => Order::CommandOfTable,
        (false, false) => Order::Sequence,
    };
    let identity = Identity { name: name?, object_id: object_id?, created: created?.replace(':', "") };
    let instance = Instance { identity, low: Low::of(lsn(low)?) };
    let end = LogEnd { high: lsn(high)?, committed_at: high_time, now: now.unwrap_or_default() };
    Some((Capture { instance, has_net: is(net), order, columns: Vec::new() }, end))
}

impl Capture {
    /// What a column of the table is called among the captured ones.
    pub(super) fn captured(&self, column: &Column) -> Option<&str> {
        self.columns.iter().find(|(id, _)| *id == column.id).map(|(_, name)| name.as_str())
    }

    /// What changes of this instance lack: values of computed columns are NULL, those of columns that are not captured are nowhere;
    /// of a deleted row the server does not give text, ntext and image, and at times leaves out others. (`cdc.<instance>_CT`)
    pub(super) fn missing(&self, table: &Table) -> Missing {
        let mut missing = Missing::default();
        for column in &table.columns {
            let name = column.name.clone();
            if self.captured(column).is_none() || column.is_computed {
                missing.always.push(name);
            } else if column.is_old_lob() {
                missing.deleted.push(name);
            } else if !column.is_nullable && !table.keys.contains(&name) {
                missing.required.push(name);
            }
        }
        missing
    }

    /// The changes of a range, in their order. Columns that are not captured have the table's type by a join that finds no row.
    ///
    /// Of a row that was updated, the delete and the insert of one `__$seqval` are in this order whichever the server wrote first.
    pub(super) fn changes(&self, table: &Table, segment: &Segment, changes: Changes) -> String {
        let keys = self.captured_keys(table);
        let last_of = Some(&keys).filter(|keys| changes == Changes::Last && !keys.is_empty());
        let of_rows = changes == Changes::Net || last_of.is_some();
        let Identity { name, .. } = &self.instance.identity;
        let mut list = table.list(|column| match self.captured(column) {
            Some(captured) => format!("c.{} AS {}", quote(captured), quote(&column.name)),
            None => format!("t.{}", quote(&column.name)),
        });
        let join = match table.columns.iter().all(|column| self.captured(column).is_some()) {
            true => String::new(),
            false => format!(" LEFT JOIN {} ON 1 = 0", table.from()),
        };
        let place = if of_rows { "" } else { " + N':' + CONVERT(nvarchar(22), c.[__$seqval], 1)" };
        let version = format!(
            "CONVERT(nvarchar(22), c.[__$start_lsn], 1){place} + N':' + CAST(c.[__$operation] AS nvarchar(10))"
        );
        // The last change says nothing of the first: a row that was inserted and updated was not there before.
        let others = if last_of.is_some() { "ELSE N'upsert'" } else { "WHEN 2 THEN N'insert' ELSE N'update'" };
        list.push(format!("CASE c.[__$operation] WHEN 1 THEN N'delete' {others} END AS {}", quote(OPERATION_COLUMN)));
        list.push(format!("ISNULL({version}, N'') AS {}", quote(VERSION_COLUMN)));
        let kind = if changes == Changes::Net { "net" } else { "all" };
        let function = quote(&format!("fn_cdc_get_{kind}_changes_{name}"));
        let all = format!("cdc.{function}({}, {}, N'all') AS c", segment.from, segment.to);
        let (from, condition, order) = match last_of {
            Some(keys) => (self.last(keys, &all), " WHERE c.[__$from_last] = 1", by_row()),
            None if of_rows => (all, "", by_row()),
            None => (all, "", Self::order(self.command())),
        };
        format!("SELECT {} FROM {from}{join}{condition} ORDER BY {}", list.join(", "), order.join(", "))
    }

    /// The captured names of the key's columns; empty: there is no key, or not all of it is captured.
    fn captured_keys(&self, table: &Table) -> Vec<String> {
        let columns = table.keys.iter().map(|key| table.columns.iter().find(|column| column.name == *key));
        let captured = columns.map(|column| self.captured(column?).map(quote));
        captured.collect::<Option<_>>().unwrap_or_default()
    }

    /// The last change of each row. A function over rows cannot be ordered by another one, which so has a table of its own.
    fn last(&self, keys: &[String], all: &str) -> String {
        let command = self.command().map(|command| format!(", {command} AS [__$first_command]")).unwrap_or_default();
        let by = self.command().map(|_| "c.[__$first_command]".to_owned());
        let newest: Vec<String> = Self::order(by).iter().map(|column| format!("{column} DESC")).collect();
        let keys: Vec<String> = keys.iter().map(|key| format!("c.{key}")).collect();
        format!(
            "(SELECT c.*, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {}) AS [__$from_last] \
             FROM (SELECT c.*{command} FROM {all}) AS c) AS c",
            keys.join(", "),
            newest.join(", ")
        )
    }

    /// Which command of its transaction a change is of; none: nothing says it.
    fn command(&self) -> Option<String> {
        match self.order {
            Order::Command => {
                Some("MIN(c.[__$command_id]) OVER (PARTITION BY c.[__$start_lsn], c.[__$seqval])".to_owned())
            }
            Order::CommandOfTable => Some(format!(
                "(SELECT MIN(o.[__$command_id]) FROM cdc.{} AS o \
                 WHERE o.[__$start_lsn] = c.[__$start_lsn] AND o.[__$seqval] = c.[__$seqval])",
                quote(&format!("{}_CT", self.instance.identity.name))
            )),
            Order::Sequence => None,
        }
    }

    /// The order of changes, with their command as it is said there.
    fn order(command: Option<String>) -> Vec<String> {
        let first = ["c.[__$start_lsn]".to_owned()].into_iter().chain(command);
        first.chain(["c.[__$seqval]", "c.[__$operation]"].map(str::to_owned)).collect()
    }
}

/// The order of changes of which each row has one.
fn by_row() -> Vec<String> {
    ["c.[__$start_lsn]", "c.[__$operation]"].map(str::to_owned).to_vec()
}

/// No change, in the shape of changes: a range without a number is an error.
pub(super) fn nothing(table: &Table) -> String {
    let mut list = table.list(|column| format!("t.{}", quote(&column.name)));
    list.extend(
        [OPERATION_COLUMN, VERSION_COLUMN].map(|name| format!("CAST(N'' AS nvarchar(100)) AS {}", quote(name))),
    );
    format!("SELECT {} FROM {} WHERE 1 = 0", list.join(", "), table.from())
}
