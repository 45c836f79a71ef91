//! The attacks.

use std::hint::black_box;
use std::mem::ManuallyDrop;

use crate::bindings::datakit::kit::batches::{Batch, Reader};
use crate::bindings::datakit::kit::changes::{ChangeFeed, ChangeRequest};
use crate::bindings::datakit::kit::log::{self, Level};
use crate::bindings::datakit::kit::projections::{Projection, ProjectionBuilder};
use crate::bindings::datakit::kit::run;
use crate::bindings::datakit::kit::sql::{Connection, Query, Value};
use crate::bindings::datakit::kit::types::{Error, ErrorKind, Field, Retry, Schema};
use crate::{QUERY, field, handles, hoards, ipc, lies, rows, settings, source, table};

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

    /// Its name; empty: none.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is this one.
    pub fn is(&self, name: &str) -> bool {
        self.0 == name
    }

    /// Attacks that use something up, or do what is not allowed, in the middle of a call.
    pub fn strike(&self, stage: Stage) -> Result<(), Error> {
        match (self.0.as_str(), stage) {
            ("infinite-loop", Stage::Next) => endless(),
            ("loop-in-discover", Stage::Discover) => endless(),
            ("loop-in-host-calls", Stage::Next) => loop {
                black_box(run::settings());
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
                drop(rows(&sql)?);
            }
            ("many-parameters", Stage::Open) => {
                let query = Query::new(QUERY);
                (0..20_000).for_each(|_| query.add_parameter(&Value::Int32(1)));
                drop(source()?.execute(query)?);
            }
            ("deep-expression", Stage::Open) => compile(&format!("1{}", "+1".repeat(200_000)))?,
            ("deep-parentheses", Stage::Open) => {
                compile(&format!("{}1{}", "(".repeat(2_000), ")".repeat(2_000)))?;
            }
            ("duplicate-columns", Stage::Open) => {
                let builder = ProjectionBuilder::new(&[field("id", "Int64")]);
                builder.add_text("a", "1");
                builder.add_text("a", "2");
                drop(builder.compile()?);
            }
            ("bomb-type", Stage::Open) => {
                let nested = format!("{}Int8{}", "List(".repeat(50_000), ")".repeat(50_000));
                drop(ProjectionBuilder::new(&[field("id", &nested)]).compile()?);
            }
            ("literal-hoard", Stage::Open) => loop {
                std::mem::forget(literal(&[], "a", &"x".repeat(1_000))?);
            },
            ("huge-literal", Stage::Open) => drop(literal(&[], "a", &"x".repeat(60 << 20))?),
            ("huge-name", Stage::Open) => drop(literal(&[], &"x".repeat(60 << 20), "a")?),
            ("changes-undeclared-role", Stage::Open) => {
                drop(ChangeFeed::open("warehouse", by_watermark("t"))?);
            }
            ("changes-of-unknown-strategy", Stage::Open) => {
                drop(ChangeFeed::open("source", ChangeRequest::new(&table("t"), "guess"))?);
            }
            ("changes-not-granted", Stage::Open) => {
                drop(ChangeFeed::open("source", by_watermark("salaries"))?);
            }
            (attack, Stage::Open) => hoards::fill(attack),
            ("log-flood", Stage::Next) => flood_the_log(),
            ("huge-error", Stage::Next) => return Err(error("HOSTILE-001", &"no ".repeat(5_000_000))),
            ("escape-sequences", Stage::Next) => return Err(error("HOSTILE-002", "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n")),
            ("claimed-code", Stage::Next) => return Err(error("DK-SRC-001", "the server is down, honestly")),
            ("reserved-code", Stage::Next) => return Err(error("DK-KRB-004", "the ticket has expired, honestly")),
            ("second-query", Stage::Next) => drop(rows("DROP TABLE dbo.t")?),
            (_, Stage::Next) => handles::misuse(self)?,
            _ => {}
        }
        Ok(())
    }

    /// Lies about the schema that a projection is compiled for.
    pub fn shaped(&self, honest: Schema) -> Schema {
        match self.0.as_str() {
            "schema-role" => honest.into_iter().map(lies::with_role).collect(),
            _ => honest,
        }
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
            "announce-role" => honest.into_iter().map(lies::with_role).collect(),
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
                let input = ManuallyDrop::new(handles::batch(kept[0]));
                return nothing_of(&reader.schema(), &input).map(Some);
            }
            "query-forever" => {
                let again = rows(QUERY)?;
                let Some(input) = again.next()? else { return Ok(None) };
                return nothing_of(&again.schema(), &input).map(Some);
            }
            "partition-after-open" => {
                let partition = ManuallyDrop::new(handles::partition(kept[0]));
                black_box(partition.state());
            }
            _ => {}
        }
        let Some(input) = reader.next()? else { return Ok(None) };
        let stream = || input.to_arrow(None);
        let forged = match self.0.as_str() {
            "wrong-schema" => return Ok(Some(input)),
            "batch-leak" => loop {
                std::mem::forget(Batch::from_arrow(&stream()?)?);
            },
            "constant-hoard" => loop {
                let projection = literal(&reader.schema(), "a", &"x".repeat(200))?;
                drop(projection.apply(&input)?);
                std::mem::forget(projection);
            },
            // The column `name` is what the settings say.
            "expression" => {
                let builder = ProjectionBuilder::new(&reader.schema());
                builder.add_input("id", "id");
                builder.add_sql("name", &settings::sql());
                builder.add_text("added", "x");
                return Ok(Some(builder.compile()?.apply(&input)?));
            }
            "batch-twice" => match kept.pop() {
                Some(handle) => return Ok(Some(handles::batch(handle))),
                None => {
                    let output = projection.apply(&input)?;
                    kept.push(output.handle());
                    return Ok(Some(output));
                }
            },
            // A keyed hash with a key that nobody granted.
            "keyed-hash" => {
                let builder = crate::honest(&reader.schema());
                builder.add_keyed_hash("hash", &["id".to_owned()], "pepper");
                return Ok(Some(builder.compile()?.apply(&input)?));
            }
            "ipc" => settings::ipc(),
            "ipc-columns" => return Ok(Some(input.with_columns(&settings::ipc())?)),
            "arrow-column-twice" => input.to_arrow(Some(&["id".to_owned(), "id".to_owned()]))?,
            "arrow-column-unknown" => input.to_arrow(Some(&["salary".to_owned()]))?,
            "ipc-truncated" => ipc::truncated(stream()?),
            "ipc-lying-length" => ipc::lying_length(stream()?),
            "ipc-trailing" => ipc::trailing(stream()?),
            "ipc-two-batches" => ipc::two_batches(stream()?),
            "ipc-bad-offsets" => ipc::bad_offsets(stream()?),
            "ipc-huge" => vec![0xff; 100 << 20],
            "honest-ipc" => return Ok(Some(projection.apply(&Batch::from_arrow(&stream()?)?)?)),
            _ => return Ok(Some(projection.apply(&input)?)),
        };
        Ok(Some(Batch::from_arrow(&forged)?))
    }
}

/// Nothing of the rows, in the announced columns.
fn nothing_of(schema: &[Field], input: &Batch) -> Result<Batch, Error> {
    let builder = crate::honest(schema);
    builder.set_filter("FALSE");
    builder.compile()?.apply(input)
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
    let builder = ProjectionBuilder::new(&[field("id", "Int64")]);
    builder.add_sql("a", expression);
    builder.compile().map(drop)
}

/// The changes of a table, asked for as an honest datakit does.
pub fn by_watermark(name: &str) -> ChangeRequest {
    let request = ChangeRequest::new(&table(name), "watermark");
    request.set_watermark_column("id");
    request
}

fn literal(input: &[Field], name: &str, text: &str) -> Result<Projection, Error> {
    let builder = ProjectionBuilder::new(input);
    builder.add_text(name, text);
    builder.compile()
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
