//! The strategy `watermark`: rows whose value of a column is at least that of the position, less those that are loaded, and not
//! greater than the upper bound.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datakit_model::Failure;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::Reader;

use super::columns::WatermarkColumn;
use super::error::ChangesError;
use super::fresh::{Course, FreshRows};
use super::position::{Position, Version};
use super::roles::{ChangeReader, Common, Operation};
use super::window::{Later, Range, Reached, Upto};

/// The rows that a connector is to read, and what it says of each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The rows; none: no row has a value.
    pub rows: Option<Range>,
    /// [`super::roles::KNOWN_COLUMN`] says whether a row is in this range.
    pub known: Option<Range>,
    /// [`super::roles::KEPT_COLUMN`] says whether a row is in this range.
    pub kept: Option<Range>,
}

/// What a connector asks its server about one table.
#[async_trait]
pub trait WatermarkTable: Send + Sync {
    /// The server's clock in UTC, `2026-01-31T23:59:59.123`: at most seven digits of a second.
    ///
    /// # Errors
    /// What the server reports.
    async fn clock(&self) -> Result<String, Failure>;

    /// The newest value of the watermark column that is not greater than a bound, as the server writes it; none: no row has one.
    ///
    /// # Errors
    /// What the server reports.
    async fn newest(&self, upto: Option<&str>) -> Result<Option<String>, Failure>;

    /// The rows of a span. Behind the columns that were asked for come [`super::roles::VERSION_COLUMN`], a text, and
    /// [`super::roles::KNOWN_COLUMN`] and [`super::roles::KEPT_COLUMN`], booleans.
    ///
    /// # Errors
    /// What the server reports.
    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure>;
}

/// How far upper bounds stay behind, in milliseconds of a column of dates and times, else in units of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distances {
    /// The upper bound stays so far behind the newest value.
    pub lag: u64,
    /// Rows so far before the position are read again, and left out where they are loaded.
    pub overlap: u64,
}

/// What the texts of a request mean for a column.
#[derive(Debug, PartialEq, Eq)]
enum Bounds {
    Hold { before: Option<Reached>, upto: Option<Upto> },
    Gap(String),
}

/// Opens a feed over a table.
///
/// # Errors
/// A bound that is not a position of this strategy; what the server reports when it is asked for the newest value.
pub async fn open<T: WatermarkTable + 'static>(
    table: T,
    column: &WatermarkColumn,
    request: &ChangeRequest,
    distances: Distances,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let (before, asked) = match column.bounds(request)? {
        Bounds::Hold { before, upto } => (before, upto),
        Bounds::Gap(reason) => return Ok(Box::new(WatermarkFeed::of(table, Validity::Gap(reason), None))),
    };
    let newest = match asked {
        Some(asked) => Some(asked),
        None => column.newest(&table, distances.lag).await?,
    };
    let upto = before.as_ref().map_or(newest, |before| Some(before.upto(newest)));
    let validity = if before.is_some() { Validity::Onward } else { Validity::Whole };
    let course = Course { column: column.clone(), before, upto, overlap: distances.overlap };
    Ok(Box::new(WatermarkFeed::of(table, validity, Some(course))))
}

impl WatermarkColumn {
    fn bounds(&self, request: &ChangeRequest) -> Result<Bounds, ChangesError> {
        let mut places = [None, None];
        for (text, place) in [&request.position, &request.upper].into_iter().zip(&mut places) {
            let Some(text) = text else { continue };
            let position = Position::parse(text).ok_or_else(|| ChangesError::not_a_position(text, "watermark"))?;
            if position.column != self.name || position.type_name != self.type_name {
                return Ok(Bounds::Gap(self.other(&position)));
            }
            let reached = Reached::parse(position.version, &position.place, &self.measure);
            *place = Some(reached.ok_or_else(|| ChangesError::not_a_position(text, "watermark"))?);
        }
        let [before, upper] = places;
        let upto = upper.map(|Reached { window, .. }| Upto { value: window.upto, later: window.later });
        Ok(Bounds::Hold { before, upto })
    }

    fn other(&self, position: &Position) -> String {
        format!(
            "the position is of the column `{}` of type {}, and the watermark is now the column `{}` of type {}",
            position.column, position.type_name, self.name, self.type_name
        )
    }

    /// How far a load reads: up to the newest value that is not of the future, less the lag. Values of the future do not move the
    /// bound, and their rows are read all the same. None: no row has a value.
    async fn newest(&self, table: &impl WatermarkTable, lag: u64) -> Result<Option<Upto>, Failure> {
        let Some(newest) = table.newest(None).await? else { return Ok(None) };
        let newest = self.value(&newest)?;
        let now = if self.measure.is_of_time() { Some(self.latest(&table.clock().await?)?) } else { None };
        let Some(now) = now.filter(|now| *now < newest) else {
            return Ok(Some(Upto { value: self.measure.behind(newest, lag), later: None }));
        };
        let value = match table.newest(Some(&self.measure.print(now))).await? {
            Some(newest) => self.measure.behind(self.value(&newest)?, lag),
            None => self.measure.least,
        };
        Ok(Some(Upto { value, later: Some(Later { after: now, upto: newest }) }))
    }

    fn value(&self, text: &str) -> Result<i128, ChangesError> {
        self.measure.parse(text).ok_or_else(|| {
            ChangesError::Internal(format!(
                "the server has `{text}` in the column `{}` of type {}",
                self.name, self.type_name
            ))
        })
    }

    fn latest(&self, clock: &str) -> Result<i128, ChangesError> {
        let latest = self.measure.latest(clock);
        latest.ok_or_else(|| ChangesError::Internal(format!("the clock of the server shows `{clock}`")))
    }

    /// The position of a place.
    pub(super) fn position(&self, place: String) -> String {
        let (type_name, column) = (self.type_name.clone(), self.name.clone());
        Position { version: Version::Second, type_name, column, place }.to_string()
    }
}

struct WatermarkFeed<T> {
    table: Arc<T>,
    /// None: a gap, or the rows were taken.
    course: Option<Course>,
    validity: Validity,
    /// How far the rows reach, which remembers none of them.
    upper: Option<String>,
    /// The position, when all rows were read.
    reached: Arc<OnceLock<String>>,
}

impl<T> WatermarkFeed<T> {
    fn of(table: T, validity: Validity, course: Option<Course>) -> Self {
        let upper = course.as_ref().and_then(|course| {
            let upto = course.upto?.print(&course.column.measure);
            Some(course.column.position(upto))
        });
        Self { table: Arc::new(table), course, validity, upper, reached: Arc::default() }
    }
}

#[async_trait]
impl<T: WatermarkTable + 'static> ChangeFeed for WatermarkFeed<T> {
    fn validity(&self) -> &Validity {
        &self.validity
    }

    fn upper(&self) -> Option<&str> {
        self.reached.get().or(self.upper.as_ref()).map(String::as_str)
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let operation = match self.validity {
            Validity::Whole => Operation::Read,
            Validity::Onward => Operation::Upsert,
            Validity::Gap(_) => return Err(ChangesError::NoRows("a feed with a gap has no rows").into()),
        };
        let course = self.course.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let common = Common { operation, version: None };
        let rows = FreshRows::start(Arc::clone(&self.table), course, Arc::clone(&self.reached)).await?;
        Ok(Box::new(ChangeReader::new(Box::new(rows), common)?))
    }

    /// A row has its own value of the column as its version, which only the feed's query reads.
    fn copied(&self, _rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        Err(ChangesError::NoRows("the first copy by a watermark is read by the feed alone").into())
    }
}
