//! How a server and its tables are set up for logical decoding, as the catalog says it.
//!
//! Both questions answer with JSON: a server that is newer than the host may add to it.

use datakit_connect::changes::texts;
use datakit_model::{Failure, TableId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::lsn::Lsn;
use crate::source::PostgresSession;
use crate::source::config::LogicalConfig;
use crate::source::error::PostgresError;
use crate::source::statement::quote_text;

/// The first version whose publications say which columns and rows they have.
const FIRST_VERSION: u32 = 150_000;

/// What the server says of itself, the slot and the publication.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Server {
    /// `150008`.
    version: u32,
    wal_level: String,
    is_replica: bool,
    may_replicate: bool,
    database: String,
    pub(super) system: String,
    /// None: a replica.
    pub(super) timeline: Option<String>,
    /// Up to where the log is on disk; none: a replica.
    pub(super) flushed: Option<Lsn>,
    /// None: it is not there.
    pub(super) slot: Option<Slot>,
    publication: Option<Publication>,
}

/// A row of `pg_replication_slots`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Slot {
    plugin: Option<String>,
    database: Option<String>,
    temporary: bool,
    #[serde(default)]
    two_phase: bool,
    pub(super) wal_status: Option<String>,
    /// What was committed before it is forgotten.
    pub(super) confirmed_flush_lsn: Option<Lsn>,
}

impl Slot {
    /// Whether its part of the log is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost")
    }
}

/// A row of `pg_publication`.
#[derive(Debug, Clone, Deserialize)]
struct Publication {
    pubinsert: bool,
    pubupdate: bool,
    pubdelete: bool,
    pubtruncate: bool,
}

/// What the catalog says of a table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    /// None: it is not there.
    oid: Option<u32>,
    kind: Option<String>,
    persistence: Option<String>,
    pub(super) file: Option<String>,
    has_children: bool,
    /// Row-level security holds for the role.
    hides_rows: bool,
    /// Whether updates and deletes say which row they are of.
    has_identity: bool,
    /// The columns of the replica identity's index; of the primary key where the whole row is the identity.
    pub(super) keys: Vec<String>,
    /// The columns that the publication has of it; none: it is not in the publication.
    published: Option<Vec<String>>,
    filter: Option<String>,
    /// Which publication it is in and how, as versions of the catalog's rows: changes with every change of that.
    pub(super) member: String,
    /// The highest number that a column ever had.
    pub(super) last: i16,
    pub(super) columns: Vec<TableColumn>,
}

/// A column of a table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TableColumn {
    pub(super) number: i16,
    pub(super) name: String,
    /// The type's object id and modifier.
    #[serde(rename = "type")]
    pub(super) type_id: String,
    is_readable: bool,
    /// It is generated, and the server's changes never have such columns.
    is_unsent: bool,
    /// Rows that are older than the column have its default.
    pub(super) is_filled: bool,
}

impl Table {
    /// Its object id; 0 where it is not there.
    pub(super) fn oid(&self) -> u32 {
        self.oid.unwrap_or(0)
    }

    pub(super) fn is_there(&self) -> bool {
        self.oid.is_some()
    }

    /// The columns that the role may read.
    pub(super) fn readable(&self) -> Vec<&str> {
        self.columns.iter().filter(|column| column.is_readable).map(|column| column.name.as_str()).collect()
    }
}

/// Asks the server about itself.
pub(super) async fn server(session: &PostgresSession, names: &LogicalConfig) -> Result<Server, Failure> {
    let mut answer = ask(session, server_question(names)).await?;
    Ok(answer.pop().ok_or_else(otherwise)?)
}

/// Asks the catalog about these tables; the server must be of a version that has all it is asked.
pub(super) async fn tables(
    session: &PostgresSession,
    names: &LogicalConfig,
    tables: &[TableId],
) -> Result<Vec<Table>, Failure> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let answer = ask(session, tables_question(names, tables)).await?;
    if answer.len() == tables.len() { Ok(answer) } else { Err(otherwise().into()) }
}

/// The same of one table.
pub(super) async fn table(session: &PostgresSession, names: &LogicalConfig, table: &TableId) -> Result<Table, Failure> {
    let mut answer = tables(session, names, std::slice::from_ref(table)).await?;
    Ok(answer.pop().ok_or_else(otherwise)?)
}

async fn ask<T: DeserializeOwned>(session: &PostgresSession, question: String) -> Result<Vec<T>, Failure> {
    let rows = texts(session.ask(question, Vec::new()).await?).await?;
    let parsed = rows.into_iter().flatten().flatten().map(|text| serde_json::from_str(&text));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| PostgresError::Internal(format!("the catalog answers otherwise than asked: {error}")).into())
}

fn otherwise() -> PostgresError {
    PostgresError::Internal("the catalog answers otherwise than asked".to_owned())
}

/// Members of `rds_replication` may use slots on a service that grants nobody REPLICATION.
fn server_question(names: &LogicalConfig) -> String {
    let (slot, publication) = (quote_text(&names.slot), quote_text(&names.publication));
    format!(
        "\
SELECT jsonb_build_object('version', current_setting('server_version_num')::int, 'wal_level', current_setting('wal_level'), \
'is_replica', pg_is_in_recovery(), 'database', current_database(), \
'may_replicate', EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE (r.rolname = current_user AND (r.rolsuper OR r.rolreplication)) \
OR (r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'USAGE'))), \
'system', (SELECT c.system_identifier::text FROM pg_control_system() AS c), \
'timeline', CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END, \
'flushed', CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END, \
'slot', (SELECT to_jsonb(s) FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = {slot}), \
'publication', (SELECT to_jsonb(p) FROM pg_catalog.pg_publication AS p WHERE p.pubname = {publication}))::text AS state"
    )
}

/// A row a table, in their order. A partition is in the publication by the tables it is a part of: they are its family.
fn tables_question(names: &LogicalConfig, tables: &[TableId]) -> String {
    let wanted = |(number, table): (usize, &TableId)| {
        format!("({number}, {}, {})", quote_text(&table.schema), quote_text(&table.name))
    };
    let wanted: Vec<String> = tables.iter().enumerate().map(wanted).collect();
    let (wanted, publication) = (wanted.join(", "), quote_text(&names.publication));
    format!(
        "\
SELECT jsonb_build_object('oid', c.oid::int8, 'kind', c.relkind, 'persistence', c.relpersistence, 'last', coalesce(c.relnatts, 0), \
'file', pg_relation_filenode(c.oid)::text, 'has_children', EXISTS (SELECT FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = c.oid), \
'hides_rows', coalesce(c.relrowsecurity AND row_security_active(c.oid), false), \
'has_identity', coalesce(c.relreplident = 'f' OR i.indexrelid IS NOT NULL, false), \
'keys', coalesce((SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid \
AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])), '[]'), \
'published', t.attnames, 'filter', t.rowfilter, \
'member', concat_ws('/', p.oid::text || '.' || p.xmin::text, \
(SELECT string_agg(r.oid::text || '.' || r.xmin::text, ',' ORDER BY r.oid) FROM pg_catalog.pg_publication_rel AS r \
WHERE r.prpubid = p.oid AND r.prrelid = ANY (f.relations)), \
(SELECT string_agg(r.oid::text || '.' || r.xmin::text, ',' ORDER BY r.oid) FROM pg_catalog.pg_publication_namespace AS r \
WHERE r.pnpubid = p.oid AND r.pnnspid = ANY (f.schemas)), \
(SELECT string_agg(h.inhparent::text || '.' || h.xmin::text, ',' ORDER BY h.inhrelid) FROM pg_catalog.pg_inherits AS h \
WHERE h.inhrelid = ANY (f.relations))), \
'columns', coalesce((SELECT jsonb_agg(jsonb_build_object('number', a.attnum, 'name', a.attname, \
'type', a.atttypid::text || ':' || a.atttypmod::text, 'is_filled', a.atthasmissing, \
'is_unsent', a.attgenerated <> '' AND current_setting('server_version_num')::int < 180000, \
'is_readable', has_column_privilege(c.oid, a.attnum, 'SELECT')) ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a \
WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'))::text AS state \
FROM (VALUES {wanted}) AS w (n, s, t) LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.s \
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.t AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
LEFT JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate \
AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END \
LEFT JOIN pg_catalog.pg_publication AS p ON p.pubname = {publication} \
LEFT JOIN pg_catalog.pg_publication_tables AS t ON t.pubname = p.pubname AND t.schemaname = w.s AND t.tablename = w.t \
LEFT JOIN LATERAL (SELECT array_agg(a.oid) AS relations, array_agg(a.relnamespace) AS schemas FROM pg_catalog.pg_class AS a \
WHERE a.oid = c.oid OR a.oid IN (SELECT g.relid FROM pg_partition_ancestors(c.oid) AS g)) AS f ON true \
ORDER BY w.n"
    )
}

/// The slot and the publication in words.
pub(super) fn describe(server: &Server, names: &LogicalConfig) -> String {
    let LogicalConfig { slot: name, publication } = names;
    let slot = match server.slot.as_ref().and_then(|slot| slot.confirmed_flush_lsn) {
        Some(confirmed) => format!("slot `{name}` at {confirmed}"),
        None => format!("slot `{name}` is made by the first copy"),
    };
    let lost = if server.slot.as_ref().is_some_and(Slot::is_lost) { ", lost" } else { "" };
    format!("{slot}{lost}, publication `{publication}`")
}

/// Why no table of the server can be read, in one sentence; none: those that are set up can.
pub(super) fn unfit_server(server: &Server, names: &LogicalConfig, user: &str) -> Option<String> {
    let LogicalConfig { slot: name, publication } = names;
    if server.is_replica {
        return Some("the server is a replica: connect to its primary".to_owned());
    }
    if server.version < FIRST_VERSION {
        return Some("the server is older than PostgreSQL 15".to_owned());
    }
    if server.wal_level != "logical" {
        let level = &server.wal_level;
        return Some(format!("the server has `wal_level = {level}`: set `wal_level = logical` and restart the server"));
    }
    if !server.may_replicate {
        return Some(format!("the role may not use replication slots: ALTER ROLE \"{user}\" REPLICATION"));
    }
    if let Some(slot) = &server.slot {
        let is_ours = slot.plugin.as_deref() == Some("pgoutput")
            && slot.database.as_ref() == Some(&server.database)
            && !slot.temporary
            && !slot.two_phase;
        if !is_ours {
            return Some(format!(
                "the replication slot `{name}` is not a lasting slot of this database with the plugin `pgoutput` and without \
                 two-phase commit: name another in `slot`, and the host makes it"
            ));
        }
    }
    match &server.publication {
        None => {
            Some(format!("there is no publication `{publication}`: CREATE PUBLICATION \"{publication}\" FOR TABLE …"))
        }
        Some(Publication { pubinsert: true, pubupdate: true, pubdelete: true, pubtruncate: true }) => None,
        Some(_) => Some(format!(
            "the publication `{publication}` leaves out some operations: ALTER PUBLICATION \"{publication}\" \
             SET (publish = 'insert, update, delete, truncate')"
        )),
    }
}

/// Why a table that is there cannot be read, in one sentence. `chosen` are the columns that are wanted.
pub(super) fn unfit_table(table: &Table, names: &LogicalConfig, chosen: &[String]) -> Option<String> {
    let publication = &names.publication;
    let is = |property: &Option<String>, letter: &str| property.as_deref() == Some(letter);
    if is(&table.kind, "p") {
        return Some(
            "it is partitioned, and no change tells of partitions that are attached, detached, dropped or emptied: read its \
             partitions as tables of their own"
                .to_owned(),
        );
    }
    if !is(&table.kind, "r") {
        return Some("only tables have changes in the log: it is a view or a foreign table".to_owned());
    }
    if table.has_children {
        return Some("other tables inherit from it, whose rows are in its copy and not in its changes".to_owned());
    }
    if !is(&table.persistence, "p") {
        return Some("it is unlogged or temporary: its changes are not in the log".to_owned());
    }
    let Some(published) = &table.published else {
        return Some(format!(
            "it is not in the publication `{publication}`: ALTER PUBLICATION \"{publication}\" ADD TABLE …"
        ));
    };
    if table.filter.is_some() {
        return Some(format!("the publication `{publication}` leaves out rows of it (WHERE)"));
    }
    if !table.has_identity {
        return Some(
            "it has no replica identity, so that updates and deletes do not say which row they are of: add a primary key, or \
             ALTER TABLE … REPLICA IDENTITY FULL"
                .to_owned(),
        );
    }
    if table.hides_rows {
        return Some("row-level security hides rows of it from the role, and changes come without it".to_owned());
    }
    let is_sent = |name: &String| {
        published.contains(name) && !table.columns.iter().any(|column| column.name == *name && column.is_unsent)
    };
    let unpublished = chosen.iter().find(|name| !is_sent(name))?;
    Some(format!(
        "the publication `{publication}` does not have its column `{unpublished}`: it is generated, or not in the publication's list; \
         leave it out of the datakit's columns"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let text = r#"{"version": 150008, "wal_level": "logical", "is_replica": false, "may_replicate": true, "database": "erp",
            "system": "7", "timeline": "00000001", "flushed": "0/1", "later": true,
            "slot": {"plugin": "pgoutput", "database": "erp", "temporary": false, "wal_status": "reserved",
                "confirmed_flush_lsn": "0/1", "two_phase": false},
            "publication": {"pubinsert": true, "pubupdate": true, "pubdelete": true, "pubtruncate": true}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn table() -> Table {
        let text = r#"{"oid": 4000000000, "kind": "r", "persistence": "p", "file": "1", "has_children": false, "hides_rows": false,
            "has_identity": true, "keys": ["id"], "published": ["id", "a"], "filter": null,
            "member": "1.1", "last": 2, "columns": [{"number": 2, "name": "a", "type": "25:-1", "is_readable": true,
                "is_unsent": false, "is_filled": false}]}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_reason_of_a_server_says_what_to_do() {
        let names = LogicalConfig { slot: "s".to_owned(), publication: "p".to_owned() };
        let reason = |change: fn(&mut Server)| {
            let mut server = server();
            change(&mut server);
            unfit_server(&server, &names, "me").unwrap_or_default()
        };
        let slot = |change: fn(&mut Slot)| {
            let mut server = server();
            change(server.slot.as_mut().unwrap());
            unfit_server(&server, &names, "me").unwrap_or_default()
        };
        let reasons = [
            reason(|_| ()),
            reason(|server| server.slot = None),
            reason(|server| server.is_replica = true),
            reason(|server| server.version = 140_010),
            reason(|server| server.wal_level = "replica".to_owned()),
            reason(|server| server.may_replicate = false),
            slot(|slot| slot.plugin = Some("wal2json".to_owned())),
            slot(|slot| slot.database = Some("other".to_owned())),
            slot(|slot| slot.two_phase = true),
            reason(|server| server.publication = None),
            reason(|server| server.publication.as_mut().unwrap().pubtruncate = false),
        ];
        insta::assert_snapshot!(reasons.join("\n"));
    }

    #[test]
    fn each_reason_of_a_table_says_what_to_do() {
        let names = LogicalConfig { slot: "s".to_owned(), publication: "p".to_owned() };
        let reason = |change: fn(&mut Table)| {
            let mut table = table();
            change(&mut table);
            unfit_table(&table, &names, &["a".to_owned()]).unwrap_or_default()
        };
        let reasons = [
            reason(|_| ()),
            reason(|table| table.kind = Some("p".to_owned())),
            reason(|table| table.kind = Some("v".to_owned())),
            reason(|table| table.has_children = true),
            reason(|table| table.persistence = Some("u".to_owned())),
            reason(|table| table.published = None),
            reason(|table| table.filter = Some("(id > 1)".to_owned())),
            reason(|table| table.has_identity = false),
            reason(|table| table.hides_rows = true),
            reason(|table| table.published = Some(vec!["id".to_owned()])),
            reason(|table| table.columns[0].is_unsent = true),
        ];
        insta::assert_snapshot!(reasons.join("\n"));
    }
}
