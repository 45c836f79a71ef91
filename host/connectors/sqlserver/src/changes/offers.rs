//! Which strategies tables have, as the server is set up now.

use std::collections::HashMap;

use datakit_connect::changes::Texts;
use datakit_model::changes::{Offer, Strategy};
use datakit_model::{Failure, NameRule, TableId};

use super::tracking::{JOIN, STATE, State};
use super::unexpected;
use crate::SqlServerConnection;

/// What the answers say of one table.
#[derive(Debug, Clone, Default)]
struct Found {
    tracking: State,
    has_key: bool,
    has_row_version: bool,
    is_captured: bool,
    /// Whether the login may ask for capture instances.
    sees_captures: bool,
    captures: Vec<Capture>,
}

/// What one capture instance can do.
#[derive(Debug, Clone)]
struct Capture {
    has_net: bool,
    is_begun: bool,
}

/// All tables of the database with rows of their own. Columns: those of [`STATE`], then schema, name, primary key, column of type
/// rowversion, captured, whether the login may ask for capture instances.
fn tables() -> String {
    format!(
        "SELECT {STATE}, CAST(s.name AS nvarchar(128)) AS schema_name, CAST(o.name AS nvarchar(128)) AS table_name, \
         CAST((SELECT COUNT(*) FROM sys.indexes AS i WHERE i.object_id = o.object_id AND i.is_primary_key = 1) AS nvarchar(10)) AS has_key, \
         CAST((SELECT COUNT(*) FROM sys.columns AS v WHERE v.object_id = o.object_id AND v.system_type_id = 189) AS nvarchar(10)) AS has_version, \
         CAST(o.is_tracked_by_cdc AS nvarchar(10)) AS is_captured, \
         CAST(HAS_PERMS_BY_NAME(N'[cdc].[change_tables]', 'OBJECT', 'SELECT') AS nvarchar(10)) AS sees_captures \
         FROM sys.tables AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id {JOIN} WHERE o.is_ms_shipped = 0"
    )
}

/// All capture instances of the database. Columns: schema, name, net changes, low end.
const CAPTURES: &str = "\
SELECT CAST(s.name AS nvarchar(128)) AS schema_name, CAST(o.name AS nvarchar(128)) AS table_name, \
CAST(i.supports_net_changes AS nvarchar(10)) AS has_net, \
CONVERT(nvarchar(22), sys.fn_cdc_get_min_lsn(i.capture_instance), 1) AS low \
FROM cdc.change_tables AS i INNER JOIN sys.tables AS o ON o.object_id = i.source_object_id \
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id";

/// Of each of these tables the strategies in the order of preference, those that cannot be used with the reason.
pub(in super::super) async fn offers(
    session: &SqlServerConnection,
    tables: &[TableId],
) -> Result<Vec<Vec<Offer>>, Failure> {
    let mut names = NameRule::default();
    for table in tables {
        names = session.granted(table).await?;
    }
    let found = found(session, names).await?;
    Ok(tables
        .iter()
        .map(|table| found.get(&key(names, &table.schema, &table.name)).map_or_else(view, offered))
        .collect())
}

/// All tables by their names, folded where the database ignores case.
type Tables = HashMap<(String, String), Found>;

fn key(names: NameRule, schema: &str, name: &str) -> (String, String) {
    match names {
        NameRule::CaseIgnored => (schema.to_lowercase(), name.to_lowercase()),
        NameRule::CaseCounts | NameRule::Bytes => (schema.to_owned(), name.to_owned()),
    }
}

async fn found(session: &SqlServerConnection, names: NameRule) -> Result<Tables, Failure> {
    let session = session.aside();
    let rows = session.catalog(tables(), &[]).await?;
    let found: Option<Tables> = rows.into_iter().map(|row| table(names, row)).collect();
    let mut found = found.ok_or_else(unexpected)?;
    // Without it there is no schema `cdc`.
    if found.values().any(|table| table.is_captured && table.sees_captures) {
        for row in session.catalog(CAPTURES.to_owned(), &[]).await? {
            let [schema, name, net, low] = <[Option<String>; 4]>::try_from(row).map_err(|_| unexpected())?;
            let capture = Capture {
                has_net: net.as_deref() == Some("1"),
                is_begun: low.is_some_and(|low| low.trim_start_matches("0x").bytes().any(|digit| digit != b'0')),
            };
            let key = key(names, &schema.unwrap_or_default(), &name.unwrap_or_default());
            found.entry(key).and_modify(|table| table.captures.push(capture));
        }
    }
    Ok(found)
}

/// One row of [`tables`].
fn table(names: NameRule, mut row: Texts) -> Option<((String, String), Found)> {
    let rest = (row.len() > 3).then(|| row.split_off(3))?;
    let [schema, name, key_count, version_count, is_captured, sees_captures] =
        <[Option<String>; 6]>::try_from(rest).ok()?;
    let is = |count: Option<String>| count.is_some_and(|count| count != "0");
    let found = Found {
        tracking: State::read(Some(&row))?,
        has_key: is(key_count),
        has_row_version: is(version_count),
        is_captured: is(is_captured),
        sees_captures: sees_captures.as_deref() != Some("0"),
        captures: Vec::new(),
    };
    Some((key(names, &schema?, &name?), found))
}

/// The strategies of a table, the best first: the row as it is now with all its columns, every change, the last change of a row, and
/// what sees no deletes.
fn offered(found: &Found) -> Vec<Offer> {
    let offer = |strategy, refused: Option<&str>| Offer { strategy, refused: refused.map(str::to_owned) };
    vec![
        offer(Strategy::ChangeTracking, by_tracking(found)),
        offer(Strategy::Cdc { net: false }, by_capture(found, false)),
        offer(Strategy::Cdc { net: true }, by_capture(found, true)),
        offer(Strategy::RowVersion, (!found.has_row_version).then_some("it has no column of type rowversion")),
    ]
}

/// Of what is not a table with rows of its own.
fn view() -> Vec<Offer> {
    let refused = Some("it is not a table, or the login does not see it".to_owned());
    let strategies =
        [Strategy::ChangeTracking, Strategy::Cdc { net: false }, Strategy::Cdc { net: true }, Strategy::RowVersion];
    strategies.map(|strategy| Offer { strategy, refused: refused.clone() }).to_vec()
}

fn by_tracking(found: &Found) -> Option<&'static str> {
    match found.tracking.tracked() {
        Ok(_) if found.has_key => None,
        Ok(_) => Some("it has no primary key"),
        Err(reason) => Some(reason),
    }
}

fn by_capture(found: &Found, net: bool) -> Option<&'static str> {
    match found.captures.as_slice() {
        [] if found.is_captured => Some("the login may not see its capture instances: `GRANT SELECT ON SCHEMA::cdc`"),
        [] => Some("it has no capture instance: `EXEC sys.sp_cdc_enable_table`"),
        all if all.iter().all(|capture| !capture.is_begun) => Some(
            "the capture process has not come to it yet, or the login lacks the gating role of its capture instance",
        ),
        all if net && all.iter().all(|capture| !capture.has_net) => {
            Some("its capture instance was made without `@supports_net_changes = 1`")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(found: &Found) -> Vec<(&'static str, bool)> {
        offered(found).iter().map(|offer| (offer.strategy.name(), offer.refused.is_none())).collect()
    }

    fn row(texts: [Option<&str>; 9]) -> Found {
        table(NameRule::CaseIgnored, texts.map(|text| text.map(str::to_owned)).to_vec()).unwrap().1
    }

    #[test]
    fn table_without_any_set_up_has_no_strategy() {
        let plain = row([None, None, None, Some("dbo"), Some("t"), Some("1"), Some("0"), Some("0"), None]);
        let all = [("change-tracking", false), ("cdc", false), ("cdc-net", false), ("row-version", false)];
        assert_eq!(refusals(&plain), all);
    }

    #[test]
    fn strategies_are_offered_as_far_as_the_table_is_set_up() {
        let versions = [Some("9"), Some("4"), Some("3")];
        let [current, least, begin] = versions;
        let tracked = row([current, least, begin, Some("dbo"), Some("t"), Some("1"), Some("1"), Some("1"), Some("1")]);
        let mut found = Found { captures: vec![Capture { has_net: false, is_begun: true }], ..tracked };
        assert_eq!(
            refusals(&found),
            [("change-tracking", true), ("cdc", true), ("cdc-net", false), ("row-version", true)]
        );
        found.captures.push(Capture { has_net: true, is_begun: true });
        assert_eq!(by_capture(&found, true), None);
        found.captures = vec![Capture { has_net: true, is_begun: false }];
        assert!(by_capture(&found, false).unwrap().contains("not come to it"));
    }
}
