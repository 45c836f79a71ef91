//! Loads that read a table from different positions are planned one after the other. Their plans reach the same place, so that the
//! next run can read for all of them at once.
//!
//! Only the sessions that plan are wrapped: a plan says how far it reaches, and whoever reads by it asks the source itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer, Strategy, Validity};
use datakit_model::datakit::Session;
use datakit_model::files::FilesRequest;
use datakit_model::source::{Access, Connection, PoolStatistics, Query, Reader, Source};
use datakit_model::{Failure, TableId, TablePatterns};

/// How far the changes of each table reach, by what was asked.
#[derive(Clone, Default)]
pub(crate) struct Reach(Arc<Mutex<HashMap<String, String>>>);

impl Reach {
    /// The session, with sources that reach as far as the first who asked.
    pub(crate) fn of_session(&self, mut session: Session) -> Session {
        let wrapped = |(role, source): (String, Arc<dyn Source>)| {
            let bounded = Bounded { source, role: role.clone(), reach: self.clone() };
            (role, Arc::new(bounded) as Arc<dyn Source>)
        };
        session.roles = session.roles.into_iter().map(wrapped).collect();
        session
    }

    fn known(&self, asked: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(asked).cloned()
    }

    fn note(&self, asked: String, upper: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(asked).or_insert_with(|| upper.to_owned());
    }
}

struct Bounded {
    source: Arc<dyn Source>,
    role: String,
    reach: Reach,
}

#[async_trait]
impl Source for Bounded {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        let connection = self.source.connect(access).await?;
        Ok(Box::new(BoundedConnection { connection, role: self.role.clone(), reach: self.reach.clone() }))
    }

    async fn compared(&self, patterns: &TablePatterns, tables: &[TableId]) -> Result<TablePatterns, Failure> {
        self.source.compared(patterns, tables).await
    }

    fn keeps_changes(&self) -> bool {
        self.source.keeps_changes()
    }

    async fn confirm(&self, positions: &[String]) -> Result<(), Failure> {
        self.source.confirm(positions).await
    }

    fn pool(&self) -> Option<PoolStatistics> {
        self.source.pool()
    }
}

struct BoundedConnection {
    connection: Box<dyn Connection>,
    role: String,
    reach: Reach,
}

impl BoundedConnection {
    /// What was asked, but for the position. None: it has a bound, or one log gives all tables of a run the same bound.
    fn asked(&self, request: &ChangeRequest) -> Option<String> {
        let ChangeRequest { table, strategy, columns, upper, .. } = request;
        let is_open = upper.is_none() && *strategy != Strategy::Logical;
        is_open.then(|| format!("{:?}", (&self.role, table, strategy, columns)))
    }
}

#[async_trait]
impl Connection for BoundedConnection {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        self.connection.query(query).await
    }

    async fn files(&self, request: FilesRequest) -> Result<Box<dyn Reader>, Failure> {
        self.connection.files(request).await
    }

    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        let Some(asked) = self.asked(&request) else { return self.connection.changes(request).await };
        if let Some(upper) = self.reach.known(&asked) {
            let bounded = ChangeRequest { upper: Some(upper), ..request.clone() };
            // A bound that does not fit this position bounds nothing.
            if let Ok(feed) = self.connection.changes(bounded).await
                && !matches!(feed.validity(), Validity::Gap(_))
            {
                return Ok(feed);
            }
        }
        let feed = self.connection.changes(request).await?;
        if let (Some(upper), false) = (feed.upper(), matches!(feed.validity(), Validity::Gap(_))) {
            self.reach.note(asked, upper);
        }
        Ok(feed)
    }

    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        self.connection.offers(tables).await
    }
}
