//! Changes of a table by logical decoding, against a real server.

mod first_copy;
mod gaps;
mod onward;
mod setup;
mod values;

use std::collections::BTreeMap;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datakit_model::changes::{ChangeRequest, Strategy, Validity};
use datakit_model::source::Source as _;
use datakit_model::{Failure, TableId};
use datakit_postgres::source::{LogicalConfig, PostgresConfig, PostgresSource};

use crate::world::{Answer, World, access, rest};

/// A source that reads by a slot.
pub fn source(world: &World) -> PostgresSource {
    source_with(world, |_| ())
}

pub fn source_with(world: &World, change: impl FnOnce(&mut PostgresConfig)) -> PostgresSource {
    world.source_with(|config| {
        config.logical = Some(LogicalConfig { slot: "shop".to_owned(), publication: "shop".to_owned() });
        change(config);
    })
}

pub fn request(table: &str, position: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        table: TableId::new("s", table),
        strategy: Strategy::Logical,
        columns: None,
        position: position.map(str::to_owned),
        upper: None,
    }
}

/// What one feed gave; a gap has no rows.
#[derive(Debug)]
pub struct Fed {
    pub validity: Validity,
    pub upper: Option<String>,
    pub rows: Vec<Row>,
}

/// A row as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub operation: String,
    pub version: String,
    pub missing: Option<String>,
    /// By column, without those of the host; none: null.
    pub values: BTreeMap<String, Option<String>>,
}

pub async fn feed(source: &PostgresSource, run_id: &str, request: ChangeRequest) -> Result<Fed, Failure> {
    let connection = source.connect(access(run_id)).await?;
    let mut feed = connection.changes(request).await?;
    let (validity, upper) = (feed.validity().clone(), feed.upper().map(str::to_owned));
    let rows =
        if matches!(validity, Validity::Gap(_)) { Vec::new() } else { rows_of(&rest(feed.rows().await?).await?) };
    Ok(Fed { validity, upper, rows })
}

impl Fed {
    /// Why there is a gap.
    pub fn gap(&self) -> &str {
        assert!(matches!(self.validity, Validity::Gap(_)), "{self:?}");
        if let Validity::Gap(reason) = &self.validity { reason } else { "" }
    }

    /// Operation and one column of each row.
    pub fn told(&self, column: &str) -> String {
        let told = self
            .rows
            .iter()
            .map(|row| format!("{} {}", row.operation, row.values[column].as_deref().unwrap_or("null")));
        told.collect::<Vec<_>>().join(", ")
    }
}

pub fn rows_of(answer: &Answer) -> Vec<Row> {
    answer.batches.iter().flat_map(rows_of_batch).collect()
}

fn rows_of_batch(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default();
    let text = |column: &str, row: usize| {
        let array = batch.column_by_name(column).unwrap();
        let formatter = ArrayFormatter::try_new(array, &options).unwrap();
        (!array.is_null(row)).then(|| formatter.value(row).to_string())
    };
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let row = |row: usize| Row {
        operation: batch.column_by_name("datakit:operation").unwrap().as_string::<i32>().value(row).to_owned(),
        version: text("datakit:change-version", row).unwrap(),
        missing: text("datakit:missing-columns", row),
        values: names
            .iter()
            .filter(|name| !name.starts_with("datakit:"))
            .map(|name| (name.clone(), text(name, row)))
            .collect(),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A table as whoever applies the changes by key has it.
pub struct Mirror {
    table: &'static str,
    keys: &'static [&'static str],
    pub rows: BTreeMap<Vec<Option<String>>, BTreeMap<String, Option<String>>>,
    pub position: Option<String>,
    runs: usize,
}

impl Mirror {
    pub fn new(table: &'static str, keys: &'static [&'static str]) -> Self {
        Self { table, keys, rows: BTreeMap::new(), position: None, runs: 0 }
    }

    /// One run of its own, with its commit; how many rows it read. Nobody else reads the slot.
    pub async fn run(&mut self, world: &World) -> usize {
        let rows = self.run_beside_others(world).await;
        source(world).confirm(&[self.position.clone().unwrap()]).await.unwrap();
        rows
    }

    /// The same; the slot stays where it is.
    pub async fn run_beside_others(&mut self, world: &World) -> usize {
        let fed = self.read(&source(world)).await;
        self.apply(&fed);
        fed.rows.len()
    }

    /// What the next run reads.
    pub async fn read(&mut self, source: &PostgresSource) -> Fed {
        self.runs += 1;
        let run_id = format!("{}-{}", self.table, self.runs);
        feed(source, &run_id, request(self.table, self.position.as_deref())).await.unwrap()
    }

    pub fn apply(&mut self, fed: &Fed) {
        assert!(!matches!(fed.validity, Validity::Gap(_)), "{fed:?}");
        for row in &fed.rows {
            let key: Vec<_> = self.keys.iter().map(|key| row.values[*key].clone()).collect();
            if row.operation == "delete" {
                assert!(self.rows.remove(&key).is_some(), "{}: {row:?} was not there", self.table);
                continue;
            }
            let missing: Vec<String> =
                row.missing.as_deref().map(|names| serde_json::from_str(names).unwrap()).unwrap_or_default();
            let before = self.rows.insert(key, row.values.clone());
            let is_new = ["read", "insert"].contains(&row.operation.as_str());
            assert_eq!(before.is_none(), is_new, "{}: {row:?}", self.table);
            for column in missing {
                let kept = before.as_ref().map(|before| before[&column].clone()).unwrap();
                let key: Vec<_> = self.keys.iter().map(|key| row.values[*key].clone()).collect();
                self.rows.get_mut(&key).unwrap().insert(column, kept);
            }
        }
        self.position = fed.upper.clone();
    }

    /// Compares it with the table, as a query of the source reads that.
    pub async fn assert_same(&self, world: &World) {
        let answer = crate::world::read(&world.source(), &format!("SELECT * FROM s.{}", self.table)).await.unwrap();
        let mut rows = BTreeMap::new();
        for batch in &answer.batches {
            let options = FormatOptions::default();
            for row in 0..batch.num_rows() {
                let values: BTreeMap<String, Option<String>> = answer
                    .schema
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .map(|(field, array)| {
                        let text = ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string();
                        (field.name().clone(), (!array.is_null(row)).then_some(text))
                    })
                    .collect();
                rows.insert(self.keys.iter().map(|key| values[*key].clone()).collect::<Vec<_>>(), values);
            }
        }
        assert_eq!(self.rows, rows, "{}", self.table);
    }
}

/// Runs each statement in a transaction of its own.
pub async fn each(world: &World, statements: &[&str]) {
    for statement in statements {
        world.admin.batch_execute(statement).await.unwrap();
    }
}
