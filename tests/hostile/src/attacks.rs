//! The attacks.

use std::hint::black_box;

use crate::bindings::datakit::kit::batches::{Batch, Column, Expression, Projection};
use crate::bindings::datakit::kit::connections::{Connection, Reader};
use crate::bindings::datakit::kit::log::{self, Level};
use crate::bindings::datakit::kit::run;
use crate::bindings::datakit::kit::types::{Error, ErrorKind, Field, Retry, Schema, TableId, Value};
use crate::bindings::exports::datakit::kit::datakit::{Partition, Table, TablePlan};
use crate::{QUERY, field, ipc, no_options, settings, source};

/// Where the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `discover`
    Discover,
    /// `plan`
    Plan,
    /// `extraction.open`
    Open,
    /// `extraction.next`
    Next,
}

/// The attack the settings name.
#[derive(Debug, Clone)]
pub struct Attack(String);

impl Attack {
    /// Reads the settings.
    pub fn chosen() -> Self {
        Self(settings::attack())
    }

    /// Attacks that use something up, or do what is not allowed, in the middle of a call.
    pub fn strike(&self, stage: Stage) -> Result<(), Error> {
        match (self.0.as_str(), stage) {
            ("infinite-loop", Stage::Next) => endless(),
            ("loop-in-discover", Stage::Discover) => endless(),
            ("loop-in-host-calls", Stage::Next) => loop {
                black_box(run::info());
            },
            ("memory", Stage::Next) => exhaust_memory(),
            ("recursion", Stage::Next) => {
                black_box(recurse(1));
            }
            ("panic", Stage::Plan) => panic_like_the_sdk("index out of bounds: the len is 3 but the index is 9"),
            ("unreachable", Stage::Next) => trap(),
            ("handle-leak", Stage::Next) => loop {
                std::mem::forget(source()?);
            },
            ("undeclared-role", Stage::Open) => drop(Connection::open("warehouse")?),
            ("role-not-mapped", Stage::Open) => drop(Connection::open("unmapped")?),
            ("role-of-other-kind", Stage::Open) => drop(Connection::open("other-kind")?),
            ("huge-sql", Stage::Open) => {
                let sql = format!("{QUERY} -- {}", "x".repeat(1 << 20));
                drop(source()?.query(&sql, &[], no_options())?);
            }
            ("many-parameters", Stage::Open) => {
                drop(source()?.query(QUERY, &vec![Value::Int32(1); 100_000], no_options())?);
            }
            ("deep-expression", Stage::Open) => compile(&format!("1{}", "+1".repeat(200_000)))?,
            ("deep-parentheses", Stage::Open) => {
                compile(&format!("{}1{}", "(".repeat(2_000), ")".repeat(2_000)))?;
            }
            ("duplicate-columns", Stage::Open) => {
                let twice = [text_column("a", "1"), text_column("a", "2")];
                drop(Projection::compile(&[field("id", "Int64")], &twice, None)?);
            }
            ("bomb-type", Stage::Open) => {
                let nested = format!("{}Int8{}", "List(".repeat(50_000), ")".repeat(50_000));
                drop(Projection::compile(&[field("id", &nested)], &[], None)?);
            }
            ("literal-hoard", Stage::Open) => loop {
                let literal = [text_column("a", &"x".repeat(1_000))];
                std::mem::forget(Projection::compile(&[], &literal, None)?);
            },
            ("huge-literal", Stage::Open) => {
                drop(Projection::compile(&[], &[text_column("a", &"x".repeat(60 << 20))], None)?);
            }
            ("huge-name", Stage::Open) => {
                drop(Projection::compile(&[], &[text_column(&"x".repeat(60 << 20), "a")], None)?);
            }
            ("log-flood", Stage::Next) => flood_the_log(),
            ("huge-error", Stage::Next) => return Err(error("HOSTILE-001", &"no ".repeat(5_000_000))),
            ("escape-sequences", Stage::Next) => return Err(error("HOSTILE-002", "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n")),
            ("claimed-code", Stage::Next) => return Err(error("DK-SRC-001", "the server is down, honestly")),
            ("reserved-code", Stage::Next) => return Err(error("DK-KRB-004", "the ticket has expired, honestly")),
            ("second-query", Stage::Next) => {
                drop(source()?.query("DROP TABLE dbo.t", &[], no_options())?);
            }
            ("use-after-drop", Stage::Next) => use_after_drop()?,
            ("forged-handle", Stage::Next) => forge(4_000_000_000),
            _ => {}
        }
        Ok(())
    }

    /// Lies about which tables there are.
    pub fn discovered(&self, honest: Table) -> Vec<Table> {
        match self.0.as_str() {
            "table-twice" => vec![honest.clone(), honest],
            "many-tables" => (0..200_000)
                .map(|i| Table {
                    id: TableId { schema: "s".to_owned(), name: i.to_string() },
                    columns: Vec::new(),
                    primary_key: Vec::new(),
                    ..honest.clone()
                })
                .collect(),
            "many-columns" => vec![Table { columns: vec![field("c", "Int8"); 5_000], ..honest }],
            "unknown-type" => vec![Table { columns: vec![field("id", "Int65")], ..honest }],
            "huge-estimate" => vec![Table { estimated_rows: Some(u64::MAX), ..honest }],
            "queries" => {
                let table = |name| Table {
                    id: TableId { schema: "query".to_owned(), name },
                    columns: Vec::new(),
                    primary_key: Vec::new(),
                    estimated_rows: None,
                    ..honest.clone()
                };
                settings::query_names().into_iter().map(table).collect()
            }
            "nameless-table" => vec![Table { id: TableId { schema: "dbo".to_owned(), name: String::new() }, ..honest }],
            _ => vec![honest],
        }
    }

    /// Lies about how to read them.
    pub fn planned(&self, mut honest: Vec<TablePlan>) -> Vec<TablePlan> {
        let Some(first) = honest.first_mut() else { return honest };
        let partition = |ordinal, state| Partition { table: first.table.clone(), ordinal, state, estimated_rows: None };
        match self.0.as_str() {
            "plan-not-requested" => first.table.name = "salaries".to_owned(),
            "partition-of-another-table" => first.partitions[0].table.name = "salaries".to_owned(),
            "no-partitions" => first.partitions.clear(),
            "no-plan" => honest.clear(),
            "plan-twice" => honest.push(honest[0].clone()),
            "ordinals-with-gaps" => first.partitions = vec![partition(0, vec![]), partition(2, vec![])],
            "many-partitions" => first.partitions = (0..20_000).map(|i| partition(i, vec![])).collect(),
            "million-partitions" => first.partitions = (0..1_000_000).map(|i| partition(i, vec![])).collect(),
            "huge-estimates" => {
                let huge = |ordinal| Partition { estimated_rows: Some(u64::MAX / 2), ..partition(ordinal, vec![]) };
                first.partitions = (0..3).map(huge).collect();
            }
            "huge-state" => first.partitions[0].state = vec![7; 2 << 20],
            "huge-plan" => first.partitions = (0..150).map(|i| partition(i, vec![7; 1 << 20])).collect(),
            "huge-watermark" => first.watermark_after = Some("9".repeat((1 << 20) + 1)),
            _ => {}
        }
        honest
    }

    /// Lies about the columns.
    pub fn announced(&self, honest: Schema) -> Schema {
        match self.0.as_str() {
            "announce-twice" => vec![field("id", "Int64"), field("id", "Int64")],
            "announce-metadata" => honest
                .into_iter()
                .map(|field| {
                    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
                    let forged = [
                        pair("__CHAR_VARCHAR_TYPE_STRING", "varchar(1)"),
                        pair("delta.generationExpression", "1"),
                        pair("delta.invariants", "{\"expression\":{\"expression\":\"false\"}}"),
                        pair("comment", "Pl4nted"),
                    ];
                    Field { metadata: field.metadata.into_iter().chain(forged).collect(), ..field }
                })
                .collect(),
            "announce-nothing" => Vec::new(),
            "announce-other" => vec![field("id", "Int64"), field("name", "Utf8"), field("added", "Int32")],
            _ => honest,
        }
    }

    /// Returns what it should not, if that is the attack, else the next projected batch.
    pub fn returned(
        &self,
        reader: &Reader,
        projection: &Projection,
        kept: &mut Vec<u32>,
    ) -> Result<Option<Batch>, Error> {
        match self.0.as_str() {
            "hoard" => {
                while let Some(input) = reader.next()? {
                    std::mem::forget(input);
                }
                return Ok(None);
            }
            "empty-forever" => {
                if kept.is_empty()
                    && let Some(input) = reader.next()?
                {
                    kept.push(input.handle());
                    std::mem::forget(input);
                }
                let input = std::mem::ManuallyDrop::new(again(kept[0]));
                return nothing_of(&reader.schema(), &input).map(Some);
            }
            "query-forever" => {
                let again = source()?.query(QUERY, &[], no_options())?;
                let Some(input) = again.next()? else { return Ok(None) };
                return nothing_of(&again.schema(), &input).map(Some);
            }
            _ => {}
        }
        let Some(input) = reader.next()? else { return Ok(None) };
        let forged = match self.0.as_str() {
            "wrong-schema" => return Ok(Some(input)),
            "batch-leak" => loop {
                std::mem::forget(Batch::from_arrow(&input.to_arrow()?)?);
            },
            "constant-hoard" => loop {
                let literal = [text_column("a", &"x".repeat(200))];
                let projection = Projection::compile(&reader.schema(), &literal, None)?;
                drop(projection.apply(&input)?);
                std::mem::forget(projection);
            },
            // The column `name` is what the settings say.
            "expression" => {
                let [id, name, added] = crate::columns();
                let name = Column { value: Expression::Sql(settings::sql()), ..name };
                return Ok(Some(Projection::compile(&reader.schema(), &[id, name, added], None)?.apply(&input)?));
            }
            "batch-twice" => match kept.pop() {
                Some(handle) => return Ok(Some(again(handle))),
                None => {
                    let output = projection.apply(&input)?;
                    kept.push(output.handle());
                    return Ok(Some(output));
                }
            },
            "ipc" => settings::ipc(),
            "ipc-truncated" => ipc::truncated(input.to_arrow()?),
            "ipc-lying-length" => ipc::lying_length(input.to_arrow()?),
            "ipc-trailing" => ipc::trailing(input.to_arrow()?),
            "ipc-two-batches" => ipc::two_batches(input.to_arrow()?),
            "ipc-bad-offsets" => ipc::bad_offsets(input.to_arrow()?),
            "ipc-huge" => vec![0xff; 100 << 20],
            "honest-ipc" => return Ok(Some(projection.apply(&Batch::from_arrow(&input.to_arrow()?)?)?)),
            _ => return Ok(Some(projection.apply(&input)?)),
        };
        Ok(Some(Batch::from_arrow(&forged)?))
    }
}

/// Nothing of the rows, in the announced columns.
fn nothing_of(schema: &[Field], input: &Batch) -> Result<Batch, Error> {
    Projection::compile(schema, &crate::columns(), Some("FALSE"))?.apply(input)
}

fn endless() {
    let mut i = 0_u64;
    loop {
        i = black_box(i.wrapping_add(1));
    }
}

fn exhaust_memory() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    // Through a pointer the compiler cannot see, so that it makes no loop of it.
    let further: fn(u64) -> u64 = black_box(recurse);
    if depth == 0 { 0 } else { further(depth + 1) ^ depth }
}

/// What a panic does with the SDK: a line for the log, then the trap.
fn panic_like_the_sdk(message: &str) {
    let place = ("at".to_owned(), "src/lib.rs:1:2".to_owned());
    log::emit(Level::Error, &format!("the datakit panicked: {message}"), &[place]);
    trap();
}

fn trap() {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
}

fn flood_the_log() {
    for i in 0..50_000_u32 {
        let long = if i == 0 { "x".repeat(1 << 20) } else { String::new() };
        log::emit(Level::Info, &format!("line {i} \u{1b}[31m{long}"), &[("i".to_owned(), i.to_string())]);
    }
}

fn compile(expression: &str) -> Result<(), Error> {
    let column = Column { name: "a".to_owned(), value: Expression::Sql(expression.to_owned()) };
    drop(Projection::compile(&[field("id", "Int64")], &[column], None)?);
    Ok(())
}

fn text_column(name: &str, text: &str) -> Column {
    Column { name: name.to_owned(), value: Expression::Text(text.to_owned()) }
}

fn use_after_drop() -> Result<(), Error> {
    let connection = source()?;
    let handle = connection.handle();
    drop(connection);
    #[expect(unsafe_code, reason = "an attack: a handle that was given back")]
    // SAFETY: it is not sound, which is the point; the host has to notice.
    let connection = unsafe { Connection::from_handle(handle) };
    drop(connection.query(QUERY, &[], no_options())?);
    Ok(())
}

fn forge(handle: u32) {
    drop(again(handle));
}

#[expect(unsafe_code, reason = "an attack: a handle the datakit does not have")]
fn again(handle: u32) -> Batch {
    // SAFETY: it is not sound, which is the point; the host has to notice.
    unsafe { Batch::from_handle(handle) }
}

fn error(code: &str, message: &str) -> Error {
    Error {
        kind: ErrorKind::Internal,
        code: code.to_owned(),
        retry: Retry::Never,
        message: message.to_owned(),
        context: vec![("attack".to_owned(), settings::attack())],
    }
}
