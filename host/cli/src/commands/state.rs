//! `host state`: what sinks keep of each table for the next run.

use datakit_app::{Reports, TableStateEntry, TableStateRequest, Tables, accept_rows, forget_watermark, states};
use datakit_model::{StateDocument, TableId, printable};
use serde::Serialize;

use super::{Session, failures};
use crate::arguments::{OutputFormat, State, StateAccept, StateExport, StateList, StateReset, StateShow, StateTable};
use crate::terminal::{aligned, grouped};

pub(super) async fn state(command: State, session: &Session) -> Result<(), Reports> {
    match command {
        State::Show(arguments) => show(arguments, session).await,
        State::List(arguments) => list(arguments, session).await,
        State::Export(arguments) => export(arguments, session).await,
        State::Accept(arguments) => accept(arguments, session).await,
        State::Reset(arguments) => reset(arguments, session).await,
    }
}

async fn show(StateShow { table, output }: StateShow, session: &Session) -> Result<(), Reports> {
    let document = session.answer(datakit_app::state(&session.context, &request(table))).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&document)?,
        OutputFormat::Text => session.terminal.print(&render(&document))?,
    }
    Ok(())
}

async fn list(StateList { sink, output }: StateList, session: &Session) -> Result<(), Reports> {
    let Tables { tables, failures: failed } = session.answer(states(&session.context, sink.as_deref())).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables.iter().map(Listed::from).collect::<Vec<_>>())?,
        OutputFormat::Text => session.terminal.print(&lines(&tables))?,
    }
    failures(failed)
}

async fn export(StateExport { sink }: StateExport, session: &Session) -> Result<(), Reports> {
    let Tables { tables, failures: failed } = session.answer(states(&session.context, sink.as_deref())).await?;
    session.terminal.print_json(&tables)?;
    failures(failed)
}

async fn accept(StateAccept { table }: StateAccept, session: &Session) -> Result<(), Reports> {
    let request = request(table);
    let document = session.answer(accept_rows(&session.context, &request)).await?;
    let TableStateRequest { source_system, table, .. } = &request;
    let text =
        format!("{source_system} {table}: loads go on from load {}, run {}", document.sequence, document.load.run_id);
    Ok(session.terminal.print(&format!("{}\n", printable::line(&text)))?)
}

async fn reset(StateReset { table, yes }: StateReset, session: &Session) -> Result<(), Reports> {
    let request = request(table);
    let name = format!("{} {}", request.source_system, request.table);
    let name = printable::line(&name);
    if !yes {
        session
            .terminal
            .confirm(&format!("{name}: the next load will read the whole table. Forget how far it is read?"))?;
    }
    session.answer(forget_watermark(&session.context, &request)).await?;
    Ok(session.terminal.print(&format!("{name}: the next load reads the whole table\n"))?)
}

fn request(StateTable { source_system, table, catalog, sink }: StateTable) -> TableStateRequest {
    TableStateRequest { sink, source_system, table: TableId { catalog, ..table } }
}

/// A line of the list, as JSON.
#[derive(Serialize)]
struct Listed<'a> {
    sink: &'a str,
    source_system: &'a str,
    table: String,
    target: &'a str,
    sequence: Option<i64>,
    run_id: Option<&'a str>,
    rows: Option<u64>,
    datakit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> From<&'a TableStateEntry> for Listed<'a> {
    fn from(entry: &'a TableStateEntry) -> Self {
        let document = entry.document.as_ref();
        Self {
            sink: &entry.sink,
            source_system: &entry.source.system,
            table: table_of(entry),
            target: &entry.target,
            sequence: document.map(|document| document.sequence),
            run_id: document.map(|document| document.load.run_id.as_str()),
            rows: document.map(|document| document.written.rows),
            datakit: document.map(|document| document.load.datakit.as_str()),
            error: entry.error.as_ref().map(|error| error.code.as_str()),
        }
    }
}

fn table_of(entry: &TableStateEntry) -> String {
    let source = &entry.source;
    TableId { catalog: source.catalog.clone(), ..TableId::new(&source.schema, &source.table) }.to_string()
}

fn lines(entries: &[TableStateEntry]) -> String {
    let heading = ["sink", "source system", "table", "loads", "last rows", "last run", "datakit"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for entry in entries {
        let mut row = vec![entry.sink.clone(), entry.source.system.clone(), table_of(entry)];
        match (&entry.document, &entry.error) {
            (Some(document), _) => row.extend([
                document.sequence.to_string(),
                grouped(document.written.rows),
                document.load.run_id.clone(),
                document.load.datakit.clone(),
            ]),
            (None, error) => row.extend(error.iter().map(|error| error.code.clone())),
        }
        rows.push(row);
    }
    aligned(&rows, &[3, 4])
}

/// Characters of a watermark that are shown: one may know thousands of rows or files. JSON has all of it.
const MAX_SHOWN_CHARS: usize = 500;

fn shown(watermark: String) -> String {
    match watermark.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &watermark[..end], grouped(watermark.len() as u64)),
        None => watermark,
    }
}

fn render(document: &StateDocument) -> String {
    let load = &document.load;
    let mut rows = vec![
        ("version", document.version.to_string()),
        ("loads", document.sequence.to_string()),
        ("last run", load.run_id.clone()),
        ("load id", load.load_id.clone().unwrap_or_default()),
        ("rows", grouped(document.written.rows)),
        ("files", document.written.files.len().to_string()),
        ("datakit", format!("{} {}", load.datakit, load.digest)),
    ];
    let watermarks = document.positions.iter().filter_map(|position| position.watermark.clone());
    rows.extend(watermarks.map(|watermark| ("watermark", shown(watermark))));
    let types = document.schema.iter().map(|column| {
        let null = if column.nullable { "" } else { " not null" };
        ("column", format!("{} {}{null}", column.name, column.r#type))
    });
    rows.extend(types);
    aligned(&rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>(), &[])
}
