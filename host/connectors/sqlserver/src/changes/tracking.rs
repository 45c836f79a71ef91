//! The strategy `change-tracking`: the keys that changed since a version, each joined with its row as it is now.
//!
//! For a version that is too old the server need not report an error, so the host compares it itself. (CHANGE_TRACKING_MIN_VALID_VERSION.)
//! With SNAPSHOT, this comparison, the keys and the rows are of one transaction: what is cleaned up meanwhile does not matter. (Work
//! with Change Tracking.) The bound is asked there too, so that the next feed gives no change again. Without SNAPSHOT the comparison is
//! made once more when the rows have ended.

use async_trait::async_trait;
use datakit_connect::changes::Texts;
use datakit_connect::changes::roles::{OPERATION_COLUMN, VERSION_COLUMN};
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::Reader;
use datakit_model::{Failure, NameRule};

use super::error::TrackingError;
use super::feed::{Begun, Feed, Rows};
use super::missing::{Missing, WithMissing};
use super::position::{self, Bounds};
use super::table::{Table, Whole};
use super::verified::{Verified, Verify};
use super::{quote_table, unexpected};
use crate::SqlServerConnection;
use crate::statement::quote;

const STRATEGY: &str = "change-tracking";

/// Everything up to `version` was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    object_id: String,
    /// The version at which the tracking of the table began: TRUNCATE, and off and on, begin anew. (sys.change_tracking_tables)
    begin: i64,
    version: i64,
}

impl position::Position for Position {
    const HEAD: &'static str = "t1:";

    fn parse(rest: &str) -> Option<Self> {
        let (object_id, rest) = rest.split_once(':')?;
        let (begin, version) = rest.split_once('=')?;
        let (begin, version) = (begin.parse().ok()?, version.parse().ok()?);
        (!object_id.is_empty()).then(|| Self { object_id: object_id.to_owned(), begin, version })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t1:{}:{}={}", self.object_id, self.begin, self.version)
    }
}

/// What the server says of a table's tracking. None: off, or not for this login to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    current: Option<i64>,
    min_valid: Option<i64>,
    begin: Option<i64>,
}

/// Columns: current version, least valid version, version at which the tracking began.
pub(super) const STATE: &str = "\
CAST(CHANGE_TRACKING_CURRENT_VERSION() AS nvarchar(20)) AS current_version, \
CAST(CHANGE_TRACKING_MIN_VALID_VERSION(o.object_id) AS nvarchar(20)) AS min_valid_version, \
CAST(c.begin_version AS nvarchar(20)) AS begin_version";
/// Behind a table of objects with the alias `o`.
pub(super) const JOIN: &str = "LEFT JOIN sys.change_tracking_tables AS c ON c.object_id = o.object_id";

impl State {
    /// Of the answer's row; none: the table is gone.
    pub(super) fn read(row: Option<&Texts>) -> Option<Self> {
        let number = |text: Option<&Option<String>>| text.cloned().flatten().map(|text| text.parse()).transpose().ok();
        let Some(row) = row else { return Some(Self::default()) };
        Some(Self { current: number(row.first())?, min_valid: number(row.get(1))?, begin: number(row.get(2))? })
    }

    /// Current, least valid and first version, or why there are none.
    pub(super) fn tracked(&self) -> Result<(i64, i64, i64), &'static str> {
        let current = self.current.ok_or(
            "Change Tracking is off for the database: `ALTER DATABASE … SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS)`",
        )?;
        match (self.min_valid, self.begin) {
            (Some(min_valid), Some(begin)) => Ok((current, min_valid, begin)),
            _ => Err(
                "Change Tracking is off for the table (`ALTER TABLE … ENABLE CHANGE_TRACKING`), or the login lacks VIEW CHANGE TRACKING on it",
            ),
        }
    }
}

/// The question about one table.
fn question(table: &Table) -> String {
    format!("SELECT {STATE} FROM sys.objects AS o {JOIN} WHERE o.object_id = {}", table.object_id)
}

/// Asks for the versions, and compares the position with them.
pub(super) async fn open(
    session: SqlServerConnection,
    request: &ChangeRequest,
    names: NameRule,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let (position, asked) = match position::bounds::<Position>(request)? {
        Bounds::Hold { position, upper } => (position, upper),
        Bounds::Other(reason) => return Ok(Feed::gap(reason)),
    };
    let table = Table::of(session, request, names).await?;
    if table.keys.is_empty() {
        return Err(table.not_offered(STRATEGY, "it has no primary key"));
    }
    if let Some(column) = table.keys.iter().find(|key| table.columns.iter().all(|column| column.name != **key)) {
        let (table, column) = (table.id.clone(), column.clone());
        return Err(TrackingError::KeyLeftOut { table, strategy: STRATEGY, column }.into());
    }
    let state = State::read(table.ask(question(&table)).await?.first()).ok_or_else(unexpected)?;
    let (current, _, begin) = state.tracked().map_err(|reason| table.not_offered(STRATEGY, reason))?;
    let object_id = &table.object_id;
    if let Some(reason) = [&position, &asked].into_iter().flatten().find_map(|it| gap(it, object_id, &state)) {
        return Ok(Feed::gap(reason));
    }
    let now = Position { object_id: object_id.clone(), begin, version: current };
    let upper = asked.unwrap_or_else(|| now.clone());
    let (text, version, keys) = (upper.to_string(), upper.version.to_string(), Some(table.keys.clone()));
    let (validity, rows): (_, Box<dyn Rows>) = match position {
        Some(position) => (Validity::Onward, Box::new(Since { table, position, now })),
        None => (Validity::Whole, Box::new(Whole(table))),
    };
    Ok(Box::new(Feed { validity, upper: Some(text), version, keys, rows: Some(rows) }))
}

/// Why changes since a position are not all known.
fn gap(position: &Position, object_id: &str, state: &State) -> Option<String> {
    if let Some(reason) = begun_anew(position, object_id, state) {
        return Some(reason);
    }
    let Position { version, .. } = position;
    match (state.current, state.min_valid) {
        (Some(current), _) if current < *version => Some(format!(
            "the version of Change Tracking went back, from {version} to {current}: the database was restored, has failed over, or its tracking was off"
        )),
        // NULL compares with nothing: what is not known is not valid.
        (Some(_), Some(min_valid)) => (*version < min_valid).then(|| {
            format!("Change Tracking knows changes since version {min_valid}, and the position is version {version}: its retention is over, or the table was truncated")
        }),
        _ => Some("Change Tracking does not say any more since when it knows changes of the table".to_owned()),
    }
}

/// Why a position is of another time of tracking, whatever its version: such changes are in no snapshot.
fn begun_anew(position: &Position, object_id: &str, state: &State) -> Option<String> {
    if position.object_id != object_id {
        return Some(position::other_table(&position.object_id, object_id));
    }
    match state.begin {
        Some(begin) if begin == position.begin => None,
        Some(begin) => Some(format!(
            "the tracking of the table began anew at version {begin}: the table was truncated, or its tracking was off"
        )),
        None => Some("the tracking of the table is off".to_owned()),
    }
}

/// The changes since a position.
struct Since {
    table: Table,
    position: Position,
    /// Where the table was when the feed was opened.
    now: Position,
}

#[async_trait]
impl Rows for Since {
    async fn rows(self: Box<Self>) -> Result<Begun, Failure> {
        let Self { table, position, now } = self.as_ref();
        let (text, in_snapshot) = (self.text(), table.isolation.is_some());
        let mut reached = now.clone();
        let query = match in_snapshot {
            true => self.in_snapshot(&text, &mut reached).await,
            // Rows that change meanwhile are read now and by the next feed: a bound that came later would leave out their changes.
            false => table.read(text, &[]).await,
        };
        let verify = StillTracked { table: table.clone(), position: position.clone(), in_snapshot };
        let rows = Verified::of(query, verify).await?;
        let reader = Box::new(WithMissing::new(rows, self.missing())?);
        Ok(Begun { reader, reached: Some(reached.to_string()) })
    }
}

impl Since {
    /// Position compared, bound asked, keys and rows read, in one transaction: no change above the bound is among the rows.
    async fn in_snapshot(&self, text: &str, reached: &mut Position) -> Result<Box<dyn Reader>, Failure> {
        let Self { table, position, .. } = self;
        let session = &table.session;
        let first = format!("SELECT TOP (1) N'1' AS started FROM {}", table.from());
        let mut transaction = session.snapshot(&first).await?;
        let answer = transaction.texts(&session.shared.config, &question(table)).await?;
        let state = State::read(answer.first()).ok_or_else(unexpected)?;
        match gap(position, &table.object_id, &state) {
            Some(reason) => Err(lost(table, reason)),
            None => {
                reached.version = state.current.ok_or_else(unexpected)?;
                Ok(Box::new(session.read_last(transaction, text).await?))
            }
        }
    }

    /// Each key once, whatever letters it has: old builds give an update as I and D in any order. The row says what became of it.
    /// (KB4135113.) The set of keys stands first, so that rows are found by their key.
    fn text(&self) -> String {
        let Self { table, position, .. } = self;
        let keys: Vec<String> = table.keys.iter().map(|key| quote(key)).collect();
        let mut list = table.list(|column| {
            let alias = if table.keys.contains(&column.name) { "k" } else { "t" };
            format!("{alias}.{}", quote(&column.name))
        });
        let present = format!("t.{} IS NULL", keys.first().map(String::as_str).unwrap_or_default());
        list.push(format!("CASE WHEN {present} THEN N'delete' ELSE N'upsert' END AS {}", quote(OPERATION_COLUMN)));
        list.push(format!("CAST(k.version AS nvarchar(20)) AS {}", quote(VERSION_COLUMN)));
        let of_change: Vec<String> = keys.iter().map(|key| format!("c.{key}")).collect();
        let of_change = of_change.join(", ");
        let same_key: Vec<String> = keys.iter().map(|key| format!("t.{key} = k.{key}")).collect();
        format!(
            "SELECT {} FROM (SELECT {of_change}, MAX(c.SYS_CHANGE_VERSION) AS version \
             FROM CHANGETABLE(CHANGES {}, {}) AS c GROUP BY {of_change}) AS k LEFT JOIN {} ON {}",
            list.join(", "),
            quote_table(&table.id),
            position.version,
            table.from(),
            same_key.join(" AND ")
        )
    }

    fn missing(&self) -> Missing {
        let names = self.table.columns.iter().map(|column| column.name.clone());
        let deleted = names.filter(|name| !self.table.keys.contains(name)).collect();
        Missing { always: Vec::new(), deleted, required: Vec::new() }
    }
}

/// Asks whether the tracking is still the same when the rows have ended.
struct StillTracked {
    table: Table,
    position: Position,
    /// Rows and keys are of one snapshot: only what no snapshot holds counts.
    in_snapshot: bool,
}

#[async_trait]
impl Verify for StillTracked {
    async fn verify(&self) -> Result<(), Failure> {
        let Self { table, position, in_snapshot } = self;
        let answer = table.ask(question(table)).await?;
        let state = State::read(answer.first()).ok_or_else(unexpected)?;
        let reason = if *in_snapshot { begun_anew } else { gap }(position, &table.object_id, &state);
        reason.map_or(Ok(()), |reason| Err(lost(table, reason)))
    }
}

fn lost(table: &Table, reason: String) -> Failure {
    TrackingError::Lost { table: table.id.clone(), strategy: STRATEGY, reason }.into()
}

#[cfg(test)]
mod tests {
    use super::position::Position as _;
    use super::*;

    fn at(version: i64) -> Position {
        Position { object_id: "5".into(), begin: 3, version }
    }

    fn state(current: i64, min_valid: impl Into<Option<i64>>, begin: impl Into<Option<i64>>) -> State {
        State { current: Some(current), min_valid: min_valid.into(), begin: begin.into() }
    }

    #[test]
    fn position_comes_back_from_its_text() {
        assert_eq!(at(7).to_string(), "t1:5:3=7");
        assert_eq!(Position::parse("5:3=7"), Some(at(7)));
        for text in ["", "7", "5:3", "5:3=", "5:=7", ":3=7", "5:3=x", "5:3=99999999999999999999"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn version_within_what_is_tracked_holds() {
        assert_eq!(gap(&at(7), "5", &state(9, 4, 3)), None);
        assert_eq!(gap(&at(7), "5", &state(7, 7, 3)), None, "nothing changed, and all before was cleaned up");
        assert_eq!(gap(&at(0), "5", &state(9, 0, 3)), None, "0 is a version");
    }

    #[test]
    fn version_that_is_too_old_or_ahead_is_a_gap() {
        let reason = |position, state| gap(&position, "5", &state).unwrap();
        assert!(reason(at(5), state(9, 6, 3)).contains("since version 6, and the position is version 5"));
        assert!(reason(at(0), state(9, 6, 3)).contains("since version 6"));
        assert!(reason(at(600), state(3, 0, 3)).contains("went back, from 600 to 3"));
        assert!(reason(at(5), state(9, None, 3)).contains("does not say any more"));
        assert!(reason(at(5), State::default()).contains("is off"));
        // TRUNCATE at the very version of the position: its least valid version is not above.
        assert!(reason(at(10), state(10, 10, 10)).contains("began anew at version 10"));
        assert!(gap(&at(5), "6", &state(9, 4, 3)).unwrap().contains("object_id 5, now 6"));
    }

    #[test]
    fn clean_up_is_no_harm_to_a_snapshot_and_truncate_is() {
        assert_eq!(begun_anew(&at(5), "5", &state(9, 6, 3)), None);
        assert!(begun_anew(&at(5), "5", &state(9, 9, 9)).is_some());
        assert!(begun_anew(&at(5), "5", &state(9, 4, None)).is_some());
    }

    #[test]
    fn answer_is_read_with_its_nulls() {
        let row = |texts: [Option<&str>; 3]| State::read(Some(&texts.map(|it| it.map(str::to_owned)).to_vec()));
        assert_eq!(row([Some("9"), Some("4"), Some("3")]), Some(state(9, 4, 3)));
        assert_eq!(row([Some("9"), None, None]), Some(state(9, None, None)));
        assert!(row([Some("9"), None, None]).unwrap().tracked().unwrap_err().contains("VIEW CHANGE TRACKING"));
        assert!(row([None, None, None]).unwrap().tracked().unwrap_err().contains("off for the database"));
        assert_eq!(row([Some("nine"), None, None]), None);
        assert_eq!(State::read(None), Some(State::default()));
    }
}
