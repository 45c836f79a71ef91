//! A feed whose rows are asked for once.

use async_trait::async_trait;
use datakit_connect::changes::ChangesError;
use datakit_connect::changes::roles::{ChangeReader, Common, Operation};
use datakit_model::Failure;
use datakit_model::changes::{ChangeFeed, Validity};
use datakit_model::source::Reader;

/// Asks the server for the rows of a feed.
#[async_trait]
pub(super) trait Rows: Send + Sync {
    /// The columns that were asked for and those of the host, as far as the rows differ in them.
    async fn rows(self: Box<Self>) -> Result<Begun, Failure>;
}

/// Rows that are on their way.
pub(super) struct Begun {
    pub(super) reader: Box<dyn Reader>,
    /// The position that they reach, where only who reads them can say it.
    pub(super) reached: Option<String>,
}

impl<R: Reader + 'static> From<R> for Begun {
    fn from(reader: R) -> Self {
        Self { reader: Box::new(reader), reached: None }
    }
}

/// The changes of one table between two positions.
pub(super) struct Feed {
    /// Whether the position holds.
    pub(super) validity: Validity,
    /// The position that the changes reach, as far as it is known.
    pub(super) upper: Option<String>,
    /// The place of the rows of the first copy, where the query does not say.
    pub(super) version: String,
    /// None: changes carry all columns. Else those that every change carries.
    pub(super) keys: Option<Vec<String>>,
    /// None: a gap, or the rows were taken.
    pub(super) rows: Option<Box<dyn Rows>>,
}

impl Feed {
    /// A feed without rows.
    pub(super) fn gap(reason: String) -> Box<dyn ChangeFeed> {
        let validity = Validity::Gap(reason);
        Box::new(Self { validity, upper: None, version: String::new(), keys: None, rows: None })
    }

    fn with_roles(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        let common = match self.validity {
            Validity::Whole => Common { operation: Operation::Read, version: Some(&self.version) },
            Validity::Onward => Common { operation: Operation::Upsert, version: None },
            Validity::Gap(_) => return Err(ChangesError::NoRows("a feed with a gap has no rows").into()),
        };
        let reader = ChangeReader::new(rows, common)?;
        Ok(match &self.keys {
            Some(keys) => Box::new(reader.nullable_but(keys).never_null(keys)),
            None => Box::new(reader),
        })
    }
}

#[async_trait]
impl ChangeFeed for Feed {
    fn validity(&self) -> &Validity {
        &self.validity
    }

    fn upper(&self) -> Option<&str> {
        self.upper.as_deref()
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        if matches!(self.validity, Validity::Gap(_)) {
            return Err(ChangesError::NoRows("a feed with a gap has no rows").into());
        }
        let rows = self.rows.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let Begun { reader, reached } = rows.rows().await?;
        if reached.is_some() {
            self.upper = reached;
        }
        self.with_roles(reader)
    }

    fn copied(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        match self.validity {
            Validity::Whole => self.with_roles(rows),
            _ => Err(ChangesError::NoRows("only a first copy is read by queries").into()),
        }
    }
}
