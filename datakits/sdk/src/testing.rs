//! What tests of datakits share: they run natively, without a host.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::sql::Value;
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{ChangeRequest, Changes, Offer, Reach};
use crate::plans::TablePlan;
use crate::queries::{Queries, QueryOptions};
use crate::rows::Rows;

/// The code of the fakes' errors.
const NO_ANSWER: &str = "DK-SRC-900";

/// Answers to queries by their texts, and what was asked.
#[derive(Debug, Default)]
pub struct FakeQueries {
    /// The answers, by text.
    pub answers: HashMap<String, Vec<Rows>>,
    /// Makes of a text with so many parameters the one that has an answer.
    pub without_parameters: Option<fn(&str, usize) -> String>,
    /// What was asked, in order, without parameters.
    pub asked: RefCell<Vec<(String, QueryOptions)>>,
    /// The parameters of the last question that had some.
    pub parameters: RefCell<Vec<Value>>,
}

impl Queries for FakeQueries {
    fn query(&self, sql: &str, parameters: &[Value], options: QueryOptions) -> Result<Vec<Rows>, Error> {
        let mut sql = sql.to_owned();
        if !parameters.is_empty() {
            self.parameters.replace(parameters.to_vec());
            sql = self.without_parameters.map_or(sql.clone(), |plain| plain(&sql, parameters.len()));
        }
        self.asked.borrow_mut().push((sql.clone(), options));
        let answer = self.answers.get(&sql).cloned();
        answer.ok_or_else(|| Error::source(NO_ANSWER, format!("there is no answer to: {sql}")))
    }
}

/// Changes by the names of tables, and what was asked of them.
#[derive(Debug, Default)]
pub struct FakeChanges {
    /// What the last commit left, by `schema.name`.
    pub positions: HashMap<String, String>,
    /// How far changes reach, by `schema.name`.
    pub reaches: HashMap<String, Reach>,
    /// The tables whose last commit was asked for.
    pub looked_up: RefCell<Vec<String>>,
    /// The strategies of tables, by `schema.name`; a table that is not here has none.
    pub offers: HashMap<String, Vec<Offer>>,
    /// What was asked, in order.
    pub asked: RefCell<Vec<ChangeRequest>>,
}

impl Changes for FakeChanges {
    fn reach(&self, request: &ChangeRequest) -> Result<Reach, Error> {
        self.asked.borrow_mut().push(request.clone());
        let reach = self.reaches.get(&request.table.to_string()).cloned();
        reach.ok_or_else(|| Error::source(NO_ANSWER, format!("{} has no changes", request.table)))
    }

    fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Error> {
        let of = |table: &TableId| self.offers.get(&table.to_string()).cloned().unwrap_or_default();
        Ok(tables.iter().map(of).collect())
    }

    /// A position of the fakes begins with the name of its strategy and a colon.
    fn strategy_of(&self, position: &str) -> Option<String> {
        position.split_once(':').map(|(strategy, _)| strategy.to_owned())
    }

    fn position(&self, table: &TableId) -> Option<String> {
        self.looked_up.borrow_mut().push(table.to_string());
        self.positions.get(&table.to_string()).cloned()
    }
}

/// The states of a plan's partitions, in order.
///
/// # Errors
/// A state that is not of this type.
pub fn states<S: DeserializeOwned>(plan: &TablePlan) -> Result<Vec<S>, serde_json::Error> {
    plan.partitions.iter().map(|partition| serde_json::from_slice(&partition.state)).collect()
}
