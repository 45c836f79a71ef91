//! The strategy `watermark`: rows whose value of a column is greater than the position and not greater than the upper bound.

use async_trait::async_trait;
use datakit_model::Failure;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::Reader;

use super::columns::WatermarkColumn;
use super::error::ChangesError;
use super::position::Position;
use super::roles::{ChangeReader, Common, Operation};

/// The rows that a connector is to read, by texts of the watermark column as [`super::Measure::print`] writes them.
///
/// With `after`: rows whose value is greater than it and at most `upto`. Without: rows whose value is at most `upto`, and those
/// without a value (NULL, and what the server has in the place of one: NaN, infinity).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The position.
    pub after: Option<String>,
    /// The upper bound; none: no row has a value.
    pub upto: Option<String>,
}

/// What a connector asks its server about one table.
#[async_trait]
pub trait WatermarkTable: Send + Sync {
    /// The newest value of the watermark column, as the server writes it; none: no row has a value.
    ///
    /// # Errors
    /// What the server reports.
    async fn newest(&self) -> Result<Option<String>, Failure>;

    /// The rows of a span. The last column is [`super::roles::VERSION_COLUMN`].
    ///
    /// # Errors
    /// What the server reports.
    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure>;
}

/// How the bounds of a request relate to the column.
#[derive(Debug, PartialEq, Eq)]
enum Bounds {
    Hold { position: Option<i128>, upper: Option<i128> },
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
    lag: u64,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let (position, asked) = match column.bounds(request)? {
        Bounds::Hold { position, upper } => (position, upper),
        Bounds::Gap(reason) => {
            return Ok(Box::new(WatermarkFeed { table, span: None, validity: Validity::Gap(reason), upper: None }));
        }
    };
    let reached = match asked {
        Some(asked) => Some(asked),
        None => table.newest().await?.map(|newest| column.reached(&newest, lag)).transpose()?,
    };
    // Rows that had the position may be gone: what was read stays read.
    let upper = reached.max(position);
    let print = |value: i128| column.measure.print(value);
    let span = Span { after: position.map(print), upto: upper.map(print) };
    let validity = if position.is_some() { Validity::Onward } else { Validity::Whole };
    let upper = upper.map(|value| column.position(value));
    Ok(Box::new(WatermarkFeed { table, span: Some(span), validity, upper }))
}

impl WatermarkColumn {
    /// What the texts of a request mean for this column.
    fn bounds(&self, request: &ChangeRequest) -> Result<Bounds, ChangesError> {
        let mut values = [None, None];
        for (text, value) in [&request.position, &request.upper].into_iter().zip(&mut values) {
            let Some(text) = text else { continue };
            let refused = || ChangesError::Position { position: text.clone(), strategy: "watermark" };
            let position = Position::parse(text).ok_or_else(refused)?;
            if position.column != self.name || position.type_name != self.type_name {
                return Ok(Bounds::Gap(self.other(&position)));
            }
            *value = Some(self.measure.parse(&position.value).ok_or_else(refused)?);
        }
        let [position, upper] = values;
        Ok(Bounds::Hold { position, upper })
    }

    fn other(&self, position: &Position) -> String {
        format!(
            "the position is of the column `{}` of type {}, and the watermark is now the column `{}` of type {}",
            position.column, position.type_name, self.name, self.type_name
        )
    }

    /// The upper bound, from the newest value.
    fn reached(&self, newest: &str, lag: u64) -> Result<i128, ChangesError> {
        let value = self.measure.parse(newest);
        let value = value.ok_or_else(|| {
            ChangesError::Internal(format!(
                "the server has `{newest}` in the column `{}` of type {}",
                self.name, self.type_name
            ))
        })?;
        Ok(self.measure.behind(value, lag))
    }

    fn position(&self, value: i128) -> String {
        let value = self.measure.print(value);
        Position { type_name: self.type_name.clone(), column: self.name.clone(), value }.to_string()
    }
}

struct WatermarkFeed<T> {
    table: T,
    /// None: a gap, or the rows were taken.
    span: Option<Span>,
    validity: Validity,
    upper: Option<String>,
}

#[async_trait]
impl<T: WatermarkTable> ChangeFeed for WatermarkFeed<T> {
    fn validity(&self) -> &Validity {
        &self.validity
    }

    fn upper(&self) -> Option<&str> {
        self.upper.as_deref()
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let operation = match self.validity {
            Validity::Whole => Operation::Read,
            Validity::Onward => Operation::Upsert,
            Validity::Gap(_) => return Err(ChangesError::NoRows("a feed with a gap has no rows").into()),
        };
        let span = self.span.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let common = Common { operation, version: None };
        Ok(Box::new(ChangeReader::new(self.table.rows(&span).await?, common)?))
    }

    /// A row has its own value of the column as its version, which only the feed's query reads.
    fn copied(&self, _rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        Err(ChangesError::NoRows("the first copy by a watermark is read by the feed alone").into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use datakit_model::TableId;
    use datakit_model::changes::Strategy;

    use super::super::measure::{Form, Measure};
    use super::*;

    /// A table of numbers; its rows are the span that was asked for.
    struct Numbers(Option<i64>, std::sync::Arc<Mutex<Vec<Span>>>);

    #[async_trait]
    impl WatermarkTable for Numbers {
        async fn newest(&self) -> Result<Option<String>, Failure> {
            Ok(self.0.map(|newest| newest.to_string()))
        }

        async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
            self.1.lock().unwrap().push(span.clone());
            Err(ChangesError::Internal("no rows here".to_owned()).into())
        }
    }

    /// Validity, upper bound and the span of the rows.
    async fn feed(newest: Option<i64>, lag: u64, bounds: [Option<&str>; 2]) -> Result<String, Failure> {
        let [position, upper] = bounds.map(|bound| bound.map(str::to_owned));
        let column = WatermarkColumn {
            name: "id".into(),
            type_name: "bigint".into(),
            measure: Measure::new(Form::Integer, i64::MIN.into()),
        };
        let strategy = Strategy::Watermark { column: "id".into(), lag };
        let request = ChangeRequest { table: TableId::new("s", "t"), strategy, columns: None, position, upper };
        let spans = std::sync::Arc::default();
        let mut feed = open(Numbers(newest, std::sync::Arc::clone(&spans)), &column, &request, lag).await?;
        let refused = feed.rows().await.err().unwrap();
        let again = feed.rows().await.err().unwrap();
        assert_eq!(again.code(), "DK-SRC-405", "rows are taken once");
        let upper = feed.upper().unwrap_or("-").to_owned();
        Ok(match (feed.validity(), spans.lock().unwrap().pop()) {
            (Validity::Gap(reason), None) => {
                assert_eq!(refused.code(), "DK-SRC-405");
                format!("gap: {reason}; {upper}")
            }
            (validity, span) => {
                let Span { after, upto } = span.unwrap();
                format!("{validity:?} {upper}: {} < id <= {}", after.unwrap_or_default(), upto.unwrap_or_default())
            }
        })
    }

    #[tokio::test]
    async fn bounds_are_those_of_the_table_and_the_request() {
        let at = |value: i64| format!("w1:bigint:id={value}");
        let said = async |newest, lag, position: Option<i64>, upper: Option<i64>| {
            let (position, upper) = (position.map(at), upper.map(at));
            feed(newest, lag, [position.as_deref(), upper.as_deref()]).await.unwrap()
        };
        assert_eq!(said(Some(9), 0, None, None).await, "Whole w1:bigint:id=9:  < id <= 9");
        assert_eq!(said(Some(9), 2, None, None).await, "Whole w1:bigint:id=7:  < id <= 7");
        assert_eq!(said(None, 0, None, None).await, "Whole -:  < id <= ");
        assert_eq!(said(Some(9), 0, Some(5), None).await, "Onward w1:bigint:id=9: 5 < id <= 9");
        assert_eq!(said(Some(9), 0, Some(5), Some(7)).await, "Onward w1:bigint:id=7: 5 < id <= 7");
        // The newest rows are gone, the lag reaches behind the position, the table is empty: the position stays.
        assert_eq!(said(Some(3), 0, Some(5), None).await, "Onward w1:bigint:id=5: 5 < id <= 5");
        assert_eq!(said(Some(9), 8, Some(5), None).await, "Onward w1:bigint:id=5: 5 < id <= 5");
        assert_eq!(said(None, 0, Some(5), None).await, "Onward w1:bigint:id=5: 5 < id <= 5");
        // A retry has the same span, whatever the table has by then.
        assert_eq!(said(Some(3), 1, None, Some(7)).await, "Whole w1:bigint:id=7:  < id <= 7");
    }

    #[tokio::test]
    async fn position_of_another_column_or_type_is_a_gap() {
        assert_eq!(
            feed(Some(9), 0, [Some("w1:int:id=5"), None]).await.unwrap(),
            "gap: the position is of the column `id` of type int, and the watermark is now the column `id` of type bigint; -"
        );
        assert!(feed(Some(9), 0, [None, Some("w1:bigint:no=5")]).await.unwrap().starts_with("gap: "));
    }

    #[tokio::test]
    async fn text_that_is_not_a_position_is_refused() {
        for text in ["", "5", "w1:bigint:id=five", "w2:bigint:id=5", "lsn:0/1"] {
            let failure = feed(Some(9), 0, [Some(text), None]).await.unwrap_err();
            assert_eq!(failure.code(), "DK-SRC-400", "{text}");
        }
    }
}
