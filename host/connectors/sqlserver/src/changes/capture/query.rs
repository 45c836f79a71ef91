//! What is asked of change data capture.

use datakit_connect::changes::Texts;
use datakit_connect::changes::roles::{OPERATION_COLUMN, VERSION_COLUMN};

use super::window::{Identity, Instance, Low, Lsn, Segment};
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
/// `__$command_id` of the function, of the change table.
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
         * HAS_PERMS_BY_NAME(N'[cdc].' + QUOTENAME(i.capture_instance + N'_CT'), 'OBJECT', 'SELECT') AS nvarchar(10)) AS by_table \
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

/// One row of [`instances`], without its columns, and the high end.
pub(super) fn capture(row: Texts) -> Option<(Capture, Option<Lsn>)> {
    let [name, object_id, created, low, high, net, by_function, by_table] =
        <[Option<String>; 8]>::try_from(row).ok()?;
    let lsn = |text: Option<String>| text.map(|text| Lsn::parse(&text).ok_or(())).transpose().ok();
    let is = |flag: Option<String>| flag.is_some_and(|flag| flag != "0");
    let order = match (is(by_function), is(by_table)) {
        (true, _) => Order::Command,
        (false, true) => Order::CommandOfTable,
        (false, false) => Order::Sequence,
    };
    let identity = Identity { name: name?, object_id: object_id?, created: created?.replace(':', "") };
    let instance = Instance { identity, low: Low::of(lsn(low)?) };
    Some((Capture { instance, has_net: is(net), order, columns: Vec::new() }, lsn(high)?))
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
    pub(super) fn changes(&self, table: &Table, segment: &Segment, net: bool) -> String {
        let Segment { from, to, .. } = segment;
        let Identity { name, .. } = &self.instance.identity;
        let mut list = table.list(|column| match self.captured(column) {
            Some(captured) => format!("c.{} AS {}", quote(captured), quote(&column.name)),
            None => format!("t.{}", quote(&column.name)),
        });
        let join = match table.columns.iter().all(|column| self.captured(column).is_some()) {
            true => String::new(),
            false => format!(" LEFT JOIN {} ON 1 = 0", table.from()),
        };
        let place = if net { "" } else { " + N':' + CONVERT(nvarchar(22), c.[__$seqval], 1)" };
        let version = format!(
            "CONVERT(nvarchar(22), c.[__$start_lsn], 1){place} + N':' + CAST(c.[__$operation] AS nvarchar(10))"
        );
        list.push(format!(
            "CASE c.[__$operation] WHEN 1 THEN N'delete' WHEN 2 THEN N'insert' ELSE N'update' END AS {}",
            quote(OPERATION_COLUMN)
        ));
        list.push(format!("ISNULL({version}, N'') AS {}", quote(VERSION_COLUMN)));
        let kind = if net { "net" } else { "all" };
        format!(
            "SELECT {} FROM cdc.{}({from}, {to}, N'all') AS c{join} ORDER BY {}",
            list.join(", "),
            quote(&format!("fn_cdc_get_{kind}_changes_{name}")),
            self.order_by(net).join(", ")
        )
    }

    fn order_by(&self, net: bool) -> Vec<String> {
        if net {
            return ["c.[__$start_lsn]", "c.[__$operation]"].map(str::to_owned).to_vec();
        }
        let command = match self.order {
            Order::Command => {
                Some("MIN(c.[__$command_id]) OVER (PARTITION BY c.[__$start_lsn], c.[__$seqval])".to_owned())
            }
            Order::CommandOfTable => Some(format!(
                "(SELECT MIN(o.[__$command_id]) FROM cdc.{} AS o \
                 WHERE o.[__$start_lsn] = c.[__$start_lsn] AND o.[__$seqval] = c.[__$seqval])",
                quote(&format!("{}_CT", self.instance.identity.name))
            )),
            Order::Sequence => None,
        };
        let first = ["c.[__$start_lsn]".to_owned()].into_iter().chain(command);
        first.chain(["c.[__$seqval]", "c.[__$operation]"].map(str::to_owned)).collect()
    }
}

/// No change, in the shape of changes: a range without a number is an error.
pub(super) fn nothing(table: &Table) -> String {
    let mut list = table.list(|column| format!("t.{}", quote(&column.name)));
    list.extend(
        [OPERATION_COLUMN, VERSION_COLUMN].map(|name| format!("CAST(N'' AS nvarchar(100)) AS {}", quote(name))),
    );
    format!("SELECT {} FROM {} WHERE 1 = 0", list.join(", "), table.from())
}
