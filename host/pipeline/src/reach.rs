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

#[cfg(test)]
mod tests {
    use datakit_model::{Kind, MemoryBudget, Retry};

    use super::*;

    /// A source whose end grows by one with each question without a bound. Changes behind the position `other` do not reach a bound.
    #[derive(Default)]
    struct Growing {
        end: Arc<Mutex<u32>>,
        refuses_bounds: bool,
    }

    struct Feed {
        validity: Validity,
        upper: Option<String>,
    }

    #[async_trait]
    impl Source for Growing {
        fn kind(&self) -> &'static str {
            "growing"
        }

        async fn connect(&self, _: Access) -> Result<Box<dyn Connection>, Failure> {
            Ok(Box::new(Self { end: Arc::clone(&self.end), refuses_bounds: self.refuses_bounds }))
        }
    }

    #[async_trait]
    impl Connection for Growing {
        async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
            let validity = match &request.position {
                Some(position) if position == "other" && request.upper.is_some() => Validity::Gap("too far".to_owned()),
                Some(position) if position == "lost" => Validity::Gap("lost".to_owned()),
                Some(_) => Validity::Onward,
                None => Validity::Whole,
            };
            if self.refuses_bounds && request.upper.is_some() {
                return Err(Failure::new("DK-TST-001", Kind::Source, Retry::Never, "no bound"));
            }
            let mut end = self.end.lock().unwrap();
            *end += u32::from(request.upper.is_none());
            Ok(Box::new(Feed { validity, upper: request.upper.or_else(|| Some(end.to_string())) }))
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
            Err(Failure::new("DK-TST-002", Kind::Source, Retry::Never, "planning reads no rows"))
        }

        fn copied(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
            Ok(rows)
        }
    }

    fn request(position: &str) -> ChangeRequest {
        ChangeRequest {
            table: TableId::new("s", "t"),
            strategy: Strategy::RowVersion,
            columns: None,
            position: Some(position.to_owned()),
            upper: None,
        }
    }

    /// How far each answer reaches, asked one after another in sessions of their own.
    async fn reached(source: Growing, requests: Vec<ChangeRequest>) -> Vec<String> {
        let bounded = Bounded { source: Arc::new(source), role: "source".to_owned(), reach: Reach::default() };
        let mut reached = Vec::new();
        for request in requests {
            let access = Access {
                tables: TablePatterns::new(Vec::new()),
                run_id: "r".to_owned(),
                memory: MemoryBudget::new(1024),
                rejecting: None,
            };
            let feed = bounded.connect(access).await.unwrap().changes(request).await.unwrap();
            reached.push(match feed.validity() {
                Validity::Gap(reason) => reason.clone(),
                Validity::Whole | Validity::Onward => feed.upper().unwrap().to_owned(),
            });
        }
        reached
    }

    #[tokio::test]
    async fn all_plans_of_a_table_reach_as_far_as_the_first() {
        let first_copy = ChangeRequest { position: None, ..request("") };
        let asked = vec![request("a"), request("b"), first_copy];
        assert_eq!(reached(Growing::default(), asked).await, ["1", "1", "1"]);
        let of_another = ChangeRequest { table: TableId::new("s", "u"), ..request("a") };
        let by_another = ChangeRequest { strategy: Strategy::ChangeTracking, ..request("a") };
        let asked = vec![request("a"), of_another, by_another, request("b")];
        assert_eq!(reached(Growing::default(), asked).await, ["1", "2", "3", "1"]);
    }

    #[tokio::test]
    async fn bound_that_does_not_fit_a_position_bounds_nothing() {
        let asked = vec![request("a"), request("other"), request("b")];
        assert_eq!(reached(Growing::default(), asked).await, ["1", "2", "1"]);
        let refusing = Growing { refuses_bounds: true, ..Growing::default() };
        assert_eq!(reached(refusing, vec![request("a"), request("b")]).await, ["1", "2"]);
    }

    #[tokio::test]
    async fn lost_position_bounds_nobody() {
        let asked = vec![request("lost"), request("a"), request("b")];
        assert_eq!(reached(Growing::default(), asked).await, ["lost", "2", "2"]);
    }

    #[tokio::test]
    async fn bound_of_a_datakit_and_the_end_of_a_log_stay_as_they_are() {
        let own = ChangeRequest { upper: Some("own".to_owned()), ..request("a") };
        assert_eq!(reached(Growing::default(), vec![request("a"), own]).await, ["1", "own"]);
        let log = |position| ChangeRequest { strategy: Strategy::Logical, ..request(position) };
        assert_eq!(reached(Growing::default(), vec![log("a"), log("b")]).await, ["1", "2"]);
    }
}
