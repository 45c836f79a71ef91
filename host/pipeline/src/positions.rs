//! Which loads of a group read a table from the same position, and so by the same plan.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datakit_model::datakit::{Session, TablePlan};
use datakit_model::sink::WriteMode;
use datakit_model::{Failure, TableId};

use crate::event::{Observer, RunEvent};
use crate::prepare::{Found, Prepared, find, plans};
use crate::quality;
use crate::reach::Reach;
use crate::retry::PlanningRetries;
use crate::together::Side;

/// How the loads of a group read their tables.
#[derive(Default)]
pub(crate) struct Together {
    /// The tables of each load, or what kept it from starting.
    pub(crate) prepared: Vec<Result<Vec<Prepared>, Failure>>,
    /// The loads that read a table by the same plan.
    pub(crate) alike: BTreeMap<TableId, Vec<Vec<usize>>>,
}

/// A plan of a table, and the loads that go by it. The first has asked for it.
struct Reading {
    plan: TablePlan,
    loads: Vec<usize>,
}

/// The readings of a group, as they are found.
struct Readings<'s> {
    sides: &'s [Side],
    sessions: Vec<Session>,
    of_tables: HashMap<TableId, Vec<Reading>>,
    /// By load and table.
    failures: HashMap<(usize, TableId), Failure>,
}

/// Discovers once, and plans a table once for all loads at the same position.
pub(crate) async fn prepare_together(sides: &[Side]) -> Together {
    let reach = Reach::default();
    let sessions: Vec<Session> = sides.iter().map(|side| reach.of_session(side.planning())).collect();
    let mut order: Vec<usize> = (0..sides.len()).collect();
    // A load that replaces all rows sees no position. The others know whether the datakit has asked for it.
    order.sort_by_key(|load| is_whole(&sides[*load]));
    let mut ended: HashMap<usize, Failure> = HashMap::new();
    let Some(found) = first_found(sides, &sessions, &order, &mut ended).await else {
        let failed = (0..sides.len()).filter_map(|load| ended.remove(&load)).map(Err);
        return Together { prepared: failed.collect(), ..Together::default() };
    };
    order.retain(|load| !ended.contains_key(load));
    let mut readings = Readings { sides, sessions, of_tables: HashMap::new(), failures: HashMap::new() };
    for load in order {
        if let Err(failure) = readings.add(load, &found).await {
            ended.insert(load, failure);
        }
    }
    readings.ended(&found, &mut ended)
}

fn is_whole(side: &Side) -> bool {
    side.destination.mode == Some(WriteMode::Overwrite)
}

/// The tables, as the first load finds them that can. A load whose own sink keeps it from looking has ended.
async fn first_found(
    sides: &[Side],
    sessions: &[Session],
    order: &[usize],
    ended: &mut HashMap<usize, Failure>,
) -> Option<Found> {
    for (place, load) in order.iter().enumerate() {
        let waiting = order[place..].iter().map(|load| Arc::clone(&sides[*load].observer));
        let (side, told) = (&sides[*load], All(waiting.collect()));
        let retries = PlanningRetries::new(&side.job.limits, &told);
        match find(&side.job, &sessions[*load], &told, retries).await {
            Ok(found) => return Some(found),
            Err(failure) => drop(ended.insert(*load, failure)),
        }
    }
    None
}

impl Readings<'_> {
    /// Lets a load join the readings that fit its positions, and plans the other tables for it.
    ///
    /// # Errors
    /// Its sink does not say where its tables are.
    async fn add(&mut self, load: usize, found: &Found) -> Result<(), Failure> {
        let mut waiting = Vec::new();
        for table in &found.tables {
            let fitting = self.fitting(load, &table.id).await?;
            if let Some(failure) = self.sides[load].job.state_failure(&table.id) {
                self.failures.insert((load, table.id.clone()), failure);
                continue;
            }
            let reading = fitting.and_then(|place| self.of_tables.get_mut(&table.id)?.get_mut(place));
            match reading {
                Some(reading) => reading.loads.push(load),
                None => waiting.push(table.id.clone()),
            }
        }
        self.plan(load, &waiting).await;
        Ok(())
    }

    /// The place of the reading that begins where the load has ended.
    async fn fitting(&self, load: usize, table: &TableId) -> Result<Option<usize>, Failure> {
        for (place, reading) in self.of_tables.get(table).into_iter().flatten().enumerate() {
            let planned = reading.loads.first().and_then(|first| self.sides[*first].job.planned_from(table));
            let fits = match planned {
                // Nobody asked for a position; or both replace all rows.
                None => true,
                Some(position) if is_whole(&self.sides[load]) => position.is_none(),
                Some(position) => self.sessions[load].watermarks.watermark(table).await? == position,
            };
            if fits {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    async fn plan(&mut self, load: usize, tables: &[TableId]) {
        let Side { job, observer, .. } = &self.sides[load];
        let retries = PlanningRetries::new(&job.limits, observer.as_ref());
        let (planned, failed) = plans(job, &self.sessions[load], tables, retries).await;
        self.failures.extend(failed.into_iter().map(|(table, failure)| ((load, table), failure)));
        for (table, plan) in planned {
            match job.state_failure(&table) {
                Some(failure) => drop(self.failures.insert((load, table), failure)),
                None => self.of_tables.entry(table).or_default().push(Reading { plan, loads: vec![load] }),
            }
        }
    }

    fn ended(self, found: &Found, ended: &mut HashMap<usize, Failure>) -> Together {
        let prepared = |load: usize| match ended.remove(&load) {
            Some(failure) => Err(failure),
            None => Ok(self.of_load(load, found)),
        };
        let prepared = (0..self.sides.len()).map(prepared).collect();
        let alike = |readings: Vec<Reading>| readings.into_iter().map(|reading| reading.loads).collect();
        let alike = self.of_tables.into_iter().map(|(table, readings)| (table, alike(readings))).collect();
        Together { prepared, alike }
    }

    /// The tables of a load, by name.
    fn of_load(&self, load: usize, found: &Found) -> Vec<Prepared> {
        let failed = |table: &TableId| self.failures.get(&(load, table.clone())).cloned().map(Err);
        let planned = |table: &TableId| {
            let mut readings = self.of_tables.get(table).into_iter().flatten();
            readings.find(|reading| reading.loads.contains(&load)).map(|reading| reading.plan.clone())
        };
        let valid = found.tables.iter().filter_map(|table| {
            let plan = failed(&table.id).or_else(|| Some(Ok((table.clone(), planned(&table.id)?))))?;
            Some(Prepared::new(table.id.clone(), plan))
        });
        let invalid = found.invalid.iter().map(|table| Prepared::new(table.id.clone(), Err(table.failure.clone())));
        let mut prepared: Vec<Prepared> = valid.chain(invalid).collect();
        prepared.sort_by(|a, b| a.id.cmp(&b.id));
        quality::report_unused(&self.sides[load].job, &prepared, self.sides[load].observer.as_ref());
        prepared
    }
}

/// Tells all of them.
struct All(Vec<Arc<dyn Observer>>);

impl Observer for All {
    fn event(&self, event: RunEvent) {
        self.0.iter().for_each(|observer| observer.event(event.clone()));
    }
}
