//! Changes of `dbo.t` as a run reads and writes them: a copy that is kept by key.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use datakit_fake_sqlserver::engine::{self, Login, Request, Session as _};
use datakit_fake_sqlserver::sql::Place;
pub use datakit_fake_sqlserver::sql::SqlEngine as Engine;
use datakit_model::changes::{ChangeRequest, Strategy, Validity};
use datakit_model::source::Source as _;
use datakit_model::{Failure, TableId};
use datakit_sqlserver::SqlServerSource;

use crate::common::{access, query, read};
use crate::world::World;

/// What one feed gave.
pub struct Fed {
    pub validity: Validity,
    pub upper: Option<String>,
    pub batch: RecordBatch,
}

impl Fed {
    /// The texts of a column, in the order of the rows.
    pub fn column(&self, name: &str) -> Vec<Option<String>> {
        let texts = cast(self.batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    /// The texts of a column, sorted.
    pub fn texts(&self, column: &str) -> Vec<String> {
        let mut texts: Vec<String> =
            self.column(column).into_iter().map(|text| text.unwrap_or_else(|| "-".to_owned())).collect();
        texts.sort();
        texts
    }

    /// The position without what it knows of rows.
    pub fn place(&self) -> &str {
        place(self.upper.as_deref().unwrap_or("-"))
    }

    /// Some columns of all rows, in their order: `delete 1, upsert 2`.
    pub fn rows(&self, columns: &[&str]) -> String {
        let columns: Vec<_> = columns.iter().map(|name| self.column(name)).collect();
        let row =
            |at: usize| columns.iter().map(|column| column[at].as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" ");
        (0..self.batch.num_rows()).map(row).collect::<Vec<_>>().join(", ")
    }
}

/// A position without what it knows of rows.
pub fn place(position: &str) -> &str {
    position.split(['/', '~']).next().unwrap_or_default()
}

pub async fn feed(source: &SqlServerSource, request: ChangeRequest) -> Result<Fed, Failure> {
    let connection = source.connect(access(&["dbo.*"])).await?;
    let mut feed = connection.changes(request).await?;
    let mut reader = feed.rows().await?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        assert_eq!(batch.batch().schema(), reader.schema());
        batches.push(batch.batch().clone());
    }
    let (validity, upper) = (feed.validity().clone(), feed.upper().map(str::to_owned));
    Ok(Fed { validity, upper, batch: concat_batches(&reader.schema(), &batches).unwrap() })
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// So many rows were written.
    Read(usize),
    /// Nothing was written.
    Gap(String),
    /// Nothing was written.
    Failed(Failure),
}

impl Outcome {
    pub fn rows(self) -> usize {
        match self {
            Self::Read(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    pub fn gap(self) -> String {
        match self {
            Self::Gap(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    pub fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// Values by column, of each key.
type Rows = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// A copy of `dbo.t`, which has the key `id`.
#[derive(Clone)]
pub struct Copy {
    strategy: Strategy,
    columns: Vec<String>,
    pub position: Option<String>,
    pub rows: Rows,
}

impl Copy {
    pub fn new(strategy: Strategy, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { strategy, columns, position: None, rows: Rows::new() }
    }

    pub fn request(&self) -> ChangeRequest {
        ChangeRequest {
            table: TableId::new("dbo", "t"),
            strategy: self.strategy.clone(),
            columns: Some(self.columns.clone()),
            position: self.position.clone(),
            upper: None,
        }
    }

    /// Opens the feed twice, as planning and reading do, and writes rows and position in one step.
    pub async fn run(&mut self, source: &SqlServerSource) -> Outcome {
        let planned = async { source.connect(access(&["dbo.*"])).await?.changes(self.request()).await }.await;
        let upper = match planned {
            Ok(planned) => match planned.validity() {
                Validity::Gap(reason) => return Outcome::Gap(reason.clone()),
                Validity::Whole | Validity::Onward => planned.upper().map(str::to_owned),
            },
            Err(failure) => return Outcome::Failed(failure),
        };
        match feed(source, ChangeRequest { upper: upper.clone(), ..self.request() }).await {
            Ok(fed) => {
                self.write(&fed);
                self.position = fed.upper.clone();
                Outcome::Read(fed.batch.num_rows())
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    fn write(&mut self, fed: &Fed) {
        let columns: Vec<_> = self.columns.iter().map(|name| (name, fed.column(name))).collect();
        let (ids, operations) = (fed.column("id"), fed.column("datakit:operation"));
        let missing = fed.column("datakit:missing-columns");
        for (at, id) in ids.iter().enumerate() {
            let id = id.clone().unwrap();
            if operations[at].as_deref() == Some("delete") {
                self.rows.remove(&id);
                continue;
            }
            let missing: Vec<String> =
                missing[at].as_ref().map(|names| serde_json::from_str(names).unwrap()).unwrap_or_default();
            let row = self.rows.entry(id).or_default();
            for (name, values) in &columns {
                if !missing.contains(name) {
                    row.insert((*name).clone(), values[at].clone());
                }
            }
        }
    }

    /// The rows of the table now.
    pub async fn source_rows(&self, source: &SqlServerSource) -> Rows {
        let sql = format!("SELECT {} FROM dbo.t", self.columns.join(", "));
        let batch = read(source, query(&sql, vec![])).await.unwrap().one_batch();
        let fed = Fed { validity: Validity::Whole, upper: None, batch };
        let columns: Vec<_> = self.columns.iter().map(|name| (name.clone(), fed.column(name))).collect();
        let row = |at: usize| columns.iter().map(|(name, values)| (name.clone(), values[at].clone())).collect();
        let ids = fed.column("id");
        ids.iter().enumerate().map(|(at, id)| (id.clone().unwrap(), row(at))).collect()
    }

    pub async fn agrees(&self, source: &SqlServerSource) {
        assert_eq!(self.rows, self.source_rows(source).await);
    }
}

/// Has `event` happen at the `n`th moment of the clients' work, once: before a statement, and in and after the rows of a feed. The
/// answer counts the moments that came.
pub fn interrupt(world: &World, n: usize, event: Event) -> Arc<AtomicUsize> {
    let moments = Arc::new(AtomicUsize::new(0));
    let (engine, counter) = (world.engine.clone(), Arc::clone(&moments));
    world.engine.set_hook(Some(Arc::new(move |moment| {
        let is_one = moment.place == Place::Before || moment.statement.contains("datakit:");
        if is_one && counter.fetch_add(1, Ordering::SeqCst) == n {
            event(&engine);
        }
    })));
    moments
}

/// What happens at a moment of a client's work.
pub type Event = fn(&Engine);

/// Lets an event happen at every moment of a run, each time in a world of its own. However the run ends, the copy is not wrong in
/// silence: it failed or has a gap and wrote nothing, or it has all rows after one more run.
pub async fn at_every_moment(make: impl Fn() -> World, copy: &Copy, before: &str, event: Event) -> Vec<String> {
    let mut outcomes = Vec::new();
    for n in 0.. {
        let world = make();
        let source = world.source(datakit_sqlserver::ReaderKind::MssqlTds);
        let mut copy = copy.clone();
        copy.run(&source).await.rows();
        world.engine.run_script(before).unwrap();
        let untouched = copy.clone();
        let moments = interrupt(&world, n, event);
        let outcome = copy.run(&source).await;
        world.engine.set_hook(None);
        if moments.load(Ordering::SeqCst) <= n {
            break;
        }
        let said = match outcome {
            Outcome::Read(_) => "read".to_owned(),
            Outcome::Gap(_) => "gap".to_owned(),
            Outcome::Failed(failure) => failure.code().to_owned(),
        };
        if said != "read" {
            assert_eq!((&copy.rows, &copy.position), (&untouched.rows, &untouched.position));
        }
        if let Outcome::Read(_) = copy.run(&source).await {
            copy.agrees(&source).await;
            outcomes.push(format!("{said}, read"));
        } else {
            outcomes.push(format!("{said}, refused"));
        }
    }
    outcomes.dedup();
    outcomes
}

/// A session that keeps its transaction open between two texts.
pub struct Writer(datakit_fake_sqlserver::sql::session::SqlSession);

impl Writer {
    pub fn of(world: &World) -> Self {
        Self(world.engine.sql_session(&Login::default()).unwrap())
    }

    pub fn run(&mut self, text: &str) {
        self.0.execute(Request::Batch { text: text.to_owned() }, &mut |event| match event {
            engine::Event::Error(error) => panic!("{error}"),
            _ => ControlFlow::Continue(()),
        });
    }
}
