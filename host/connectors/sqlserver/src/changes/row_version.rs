//! The strategy `row-version`: rows whose value of the table's column of type rowversion has grown.
//!
//! A value is given when a row is written and seen when it commits. MIN_ACTIVE_ROWVERSION() is the lowest value of a transaction that
//! has not ended, whatever the isolation: all values below it are seen for good. It is read first, by a batch of its own: a snapshot
//! that is older than the bound would not see rows that lie below it. (MIN_ACTIVE_ROWVERSION; rowversion.)

use async_trait::async_trait;
use datakit_connect::changes::roles::VERSION_COLUMN;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::Value;
use datakit_model::{Failure, NameRule};

use super::feed::{Begun, Feed, Rows};
use super::position::{self, Bounds};
use super::table::Table;
use super::unexpected;
use crate::SqlServerConnection;
use crate::statement::quote;

const STRATEGY: &str = "row-version";

/// The next bound.
const BOUND: &str = "SELECT CONVERT(nvarchar(18), MIN_ACTIVE_ROWVERSION(), 1) AS bound";

/// All rows whose value is less than `bound` were read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    object_id: String,
    column: String,
    bound: u64,
}

impl position::Position for Position {
    const HEAD: &'static str = "r1:";

    fn parse(rest: &str) -> Option<Self> {
        let (object_id, rest) = rest.split_once(':')?;
        let (column, bound) = rest.rsplit_once('=')?;
        let bound = version(bound)?;
        (!object_id.is_empty() && !column.is_empty()).then(|| Self {
            object_id: object_id.to_owned(),
            column: column.to_owned(),
            bound,
        })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "r1:{}:{}={}", self.object_id, self.column, print(self.bound))
    }
}

/// The number of eight bytes, unsigned.
fn version(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 16)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn print(version: u64) -> String {
    format!("0x{version:016X}")
}

/// Asks for the bound, and compares the position with it.
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
    let Some(column) = table.row_version.clone() else {
        return Err(table.not_offered(STRATEGY, "it has no column of type rowversion that the login may read"));
    };
    let answer = table.ask(BOUND.to_owned()).await?;
    let bound = answer.into_iter().flatten().next().flatten().as_deref().and_then(version);
    let now = Position { object_id: table.object_id.clone(), column, bound: bound.ok_or_else(unexpected)? };
    if let Some(reason) = [&position, &asked].into_iter().flatten().find_map(|earlier| gap(earlier, &now)) {
        return Ok(Feed::gap(reason));
    }
    let upper = asked.unwrap_or(now);
    let validity = if position.is_some() { Validity::Onward } else { Validity::Whole };
    let (text, version) = (upper.to_string(), print(upper.bound));
    let rows = Span { table, column: upper.column, after: position.map(|it| it.bound), below: upper.bound };
    Ok(Box::new(Feed { validity, upper: Some(text), version, keys: None, rows: Some(Box::new(rows)) }))
}

/// Why a position says nothing of the table as it is now.
fn gap(earlier: &Position, now: &Position) -> Option<String> {
    if earlier.object_id != now.object_id {
        return Some(position::other_table(&earlier.object_id, &now.object_id));
    }
    if earlier.column != now.column {
        let (was, is) = (&earlier.column, &now.column);
        return Some(format!("the column of type rowversion was `{was}` and is now `{is}`"));
    }
    let (was, is) = (earlier.bound, now.bound);
    (is < was).then(|| {
        let (was, is) = (print(was), print(is));
        format!("the database's counter of row versions went back, from {was} to {is}: the database was restored or has failed over")
    })
}

/// The rows of a feed.
struct Span {
    table: Table,
    column: String,
    /// None: all rows, whatever their value. A row from the bound on is read again by the next feed.
    after: Option<u64>,
    below: u64,
}

#[async_trait]
impl Rows for Span {
    async fn rows(self: Box<Self>) -> Result<Begun, Failure> {
        let bytes = |version: u64| Value::Bytes(version.to_be_bytes().to_vec());
        let bounds = self.after.map(|after| vec![bytes(after), bytes(self.below)]).unwrap_or_default();
        let reader = self.table.read(self.text(), &bounds).await?;
        Ok(Begun { reader, reached: None })
    }
}

impl Span {
    fn text(&self) -> String {
        let name = format!("t.{}", quote(&self.column));
        let mut list = self.table.list(|column| format!("t.{}", quote(&column.name)));
        let version = format!("ISNULL(CONVERT(nvarchar(18), CONVERT(binary(8), {name}), 1), N'')");
        list.push(format!("{version} AS {}", quote(VERSION_COLUMN)));
        let condition = match self.after {
            Some(_) => format!(" WHERE {name} >= CAST(@P1 AS binary(8)) AND {name} < CAST(@P2 AS binary(8))"),
            None => String::new(),
        };
        format!("SELECT {} FROM {}{condition}", list.join(", "), self.table.from())
    }
}

#[cfg(test)]
mod tests {
    use super::position::Position as _;
    use super::*;

    fn at(object_id: &str, column: &str, bound: u64) -> Position {
        Position { object_id: object_id.into(), column: column.into(), bound }
    }

    #[test]
    fn position_keeps_its_table_column_and_all_bits() {
        for column in ["rv", "a=b:c", "="] {
            let position = at("581577110", column, u64::MAX - 1);
            let text = position.to_string();
            assert_eq!(Position::parse(text.strip_prefix(Position::HEAD).unwrap()), Some(position));
        }
        assert_eq!(at("5", "rv", 2001).to_string(), "r1:5:rv=0x00000000000007D1");
        for text in
            ["", "5", "5:rv", "5:rv=", "5:rv=7D1", "5:rv=0x7D1", "5:=0x00000000000007D1", ":rv=0x00000000000007D1"]
        {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert_eq!(Position::parse("5:rv=0x+000000000007D1"), None);
    }

    #[test]
    fn only_a_bound_that_did_not_go_back_on_the_same_table_is_gone_on_from() {
        let now = at("5", "rv", 100);
        assert_eq!(gap(&at("5", "rv", 99), &now), None);
        assert_eq!(gap(&at("5", "rv", 100), &now), None, "nothing was written since");
        assert!(gap(&at("5", "rv", 101), &now).unwrap().contains("went back, from 0x0000000000000065"));
        assert!(gap(&at("6", "rv", 99), &now).unwrap().contains("object_id 6, now 5"));
        assert!(gap(&at("5", "old", 99), &now).unwrap().contains("was `old`"));
    }
}
