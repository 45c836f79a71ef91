//! Discover, select and plan. A table that fails here fails alone.

use std::collections::HashMap;

use datakit_model::datakit::{InvalidTable, Session, Table, TablePlan};
use datakit_model::{ColumnChange, Failure, Retry, TableId};

use crate::event::{Observer, PlanningStep, RunEvent};
use crate::job::Job;
use crate::quality;
use crate::retry::PlanningRetries;
use crate::select::{Selected, select};

/// A selected table: how it is read, or why it cannot be.
#[derive(Debug)]
pub struct Prepared {
    /// The table.
    pub id: TableId,
    /// The description and the plan.
    pub plan: Result<(Table, TablePlan), Failure>,
    /// How its columns differ from those of its target, as far as its description says it; an error: why a load would fail, or
    /// why it is not known.
    pub drift: Result<Vec<ColumnChange>, Failure>,
}

impl Prepared {
    pub(crate) fn new(id: TableId, plan: Result<(Table, TablePlan), Failure>) -> Self {
        Self { id, plan, drift: Ok(Vec::new()) }
    }
}

/// Every selected table, by name.
///
/// # Errors
/// What concerns all tables: the source cannot be reached, the datakit fails, no table matches.
pub(crate) async fn prepare(
    job: &Job,
    session: &Session,
    observer: &dyn Observer,
    retries: PlanningRetries<'_>,
) -> Result<Vec<Prepared>, Failure> {
    let Found { tables, invalid } = find(job, session, observer, retries).await?;
    let mut failures: HashMap<TableId, Failure> = invalid.into_iter().map(|table| (table.id, table.failure)).collect();
    failures.extend(tables.iter().filter_map(|table| Some((table.id.clone(), job.state_failure(&table.id)?))));
    let ids: Vec<TableId> =
        tables.iter().filter(|table| !failures.contains_key(&table.id)).map(|table| table.id.clone()).collect();
    let (mut plans, failed) = plans(job, session, &ids, retries).await;
    failures.extend(failed);
    failures.extend(ids.into_iter().filter_map(|id| job.state_failure(&id).map(|failure| (id, failure))));
    let mut prepared: Vec<Prepared> = tables
        .into_iter()
        .filter(|table| !failures.contains_key(&table.id))
        .filter_map(|table| Some((plans.remove(&table.id)?, table)))
        .map(|(plan, table)| Prepared::new(table.id.clone(), Ok((table, plan))))
        .collect();
    prepared.extend(failures.into_iter().map(|(id, failure)| Prepared::new(id, Err(failure))));
    prepared.sort_by(|a, b| a.id.cmp(&b.id));
    quality::report_unused(job, &prepared, observer);
    Ok(prepared)
}

/// The selected tables.
pub(crate) struct Found {
    pub(crate) tables: Vec<Table>,
    pub(crate) invalid: Vec<InvalidTable>,
}

/// Discovers and selects.
///
/// # Errors
/// As of [`prepare`].
pub(crate) async fn find(
    job: &Job,
    session: &Session,
    observer: &dyn Observer,
    retries: PlanningRetries<'_>,
) -> Result<Found, Failure> {
    observer.event(RunEvent::Discovering);
    let discovering = || job.datakit.discover(session, &job.tables);
    let discovery = retries.run(PlanningStep::Discovery, discovering).await?;
    let selection = job.selection(&discovery).await?;
    let Selected { discovered, tables, invalid, unmatched } = select(discovery, &selection)?;
    let names = tables.iter().map(|table| &table.id).chain(invalid.iter().map(|table| &table.id));
    let names: Vec<String> = names.map(ToString::to_string).collect();
    observer.event(RunEvent::Selected { discovered, selected: names.len(), tables: names });
    for (pattern, nearest) in &unmatched {
        observer.event(RunEvent::Unmatched {
            pattern: pattern.to_string(),
            nearest: nearest.iter().map(ToString::to_string).collect(),
        });
    }
    observer.event(RunEvent::Planning { tables: tables.len() });
    Ok(Found { tables, invalid })
}

/// The plan of each table, or why there is none. All tables in one call, since a datakit reads the catalog once for them; when
/// that fails, half of them in each of two calls, down to the table that fails. A failure that may pass is waited for once, for all
/// tables together.
pub(crate) async fn plans(
    job: &Job,
    session: &Session,
    tables: &[TableId],
    mut retries: PlanningRetries<'_>,
) -> (HashMap<TableId, TablePlan>, Vec<(TableId, Failure)>) {
    let (mut plans, mut failed) = (HashMap::new(), Vec::new());
    let mut waiting = vec![tables];
    while let Some(group) = waiting.pop() {
        if group.is_empty() {
            continue;
        }
        let planned = retries.run(PlanningStep::Planning, || job.datakit.plan(session, group)).await;
        match (planned, group) {
            (Ok(planned), _) => plans.extend(planned.into_iter().map(|plan| (plan.table.clone(), plan))),
            (Err(error), [only]) => failed.push((only.clone(), error)),
            (Err(error), several) => {
                if error.retry() == Retry::AfterBackoff {
                    retries = retries.used_up();
                }
                let (first, second) = several.split_at(several.len() / 2);
                waiting.extend([second, first]);
            }
        }
    }
    (plans, failed)
}
