//! The commands, each a function from its arguments to its exit code: it asks the application, and prints what comes back.

mod backfill;
mod clean;
mod discover;
mod doctor;
mod inspect;
mod kerberos;
mod lock;
mod packages;
mod plan;
mod preview;
mod reconcile;
mod run;
mod runs;
mod state;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::CommandFactory;
use datakit_app::{Connectors, Context, IngestRequest, Reports, ServeHealthRequest, Settings, serve_health};
use datakit_config::{Drift, Mode};
use datakit_model::{Exit, ReceiptLevel};
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, Arguments, Command, DriftArgument, Global, IngestArguments, ModeArgument, ServeHealth};
use crate::progress::Progress;
use crate::terminal::Terminal;

/// The warehouse file that is read when none is named.
const DEFAULT_FILE: &str = "warehouse.toml";

/// The application, and the terminal where its answers go.
pub(crate) struct Session {
    terminal: Terminal,
    progress: Arc<Progress>,
    context: Context,
}

impl Session {
    pub(crate) fn new(
        global: Global,
        command: &Command,
        environment: BTreeMap<String, String>,
        terminal: Terminal,
        stop: CancellationToken,
    ) -> Self {
        let is_question = !matches!(command, Command::Run(_) | Command::Backfill(_));
        let progress = Arc::new(Progress::new(terminal.clone(), is_question));
        let settings = Settings {
            file: global.config,
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            registry: global.registry,
            plain_http: global.plain_http,
            environment,
            // This very program, also where its file was replaced meanwhile.
            bounded_program: Some(PathBuf::from("/proc/self/exe")),
        };
        let context =
            Context::new(settings, Connectors::new(datakit_connectors::all()), Arc::new(Arc::clone(&progress)), stop);
        Self { terminal, progress, context }
    }

    /// The application's answer, when nothing is waited for any more.
    async fn answer<T>(&self, asking: impl Future<Output = Result<T, Reports>>) -> Result<T, Reports> {
        let answer = asking.await;
        self.progress.end();
        answer
    }
}

/// Runs the command.
pub(crate) async fn execute(command: Command, session: &Session) -> Result<u8, Reports> {
    let exit = match command {
        Command::Run(arguments) => run::run(arguments, session).await?,
        Command::Backfill(arguments) => backfill::backfill(arguments, session).await?,
        Command::Doctor(arguments) => doctor::doctor(arguments, session).await?,
        Command::Kerberos(command) => return kerberos::kerberos(command, session).await,
        Command::Plan(arguments) => done(plan::plan(arguments, session).await)?,
        Command::Reconcile(arguments) => done(reconcile::reconcile(arguments, session).await)?,
        Command::Preview(arguments) => done(preview::preview(arguments, session).await)?,
        Command::Discover(arguments) => done(discover::discover(arguments, session).await)?,
        Command::ServeHealth(arguments) => done(answer_health(arguments, session).await)?,
        Command::Validate(arguments) => done(validate::validate(&arguments, session))?,
        Command::Publish(arguments) => done(packages::publish(arguments, session).await)?,
        Command::Pull(arguments) => done(packages::pull(arguments, session).await)?,
        Command::List(arguments) => done(packages::list(arguments, session).await)?,
        Command::Inspect(arguments) => done(inspect::inspect(arguments, session).await)?,
        Command::Lock(arguments) => done(lock::lock(arguments, session).await)?,
        Command::Runs(command) => done(runs::runs(command, session).await)?,
        Command::Status(arguments) => done(runs::status(arguments, session).await)?,
        Command::Clean(arguments) => done(clean::clean(arguments, session).await)?,
        Command::State(command) => done(state::state(command, session).await)?,
        Command::Completions(arguments) => done(completions(arguments, session))?,
    };
    Ok(exit.code())
}

fn done(result: Result<(), Reports>) -> Result<Exit, Reports> {
    result.map(|()| Exit::Done)
}

async fn answer_health(arguments: ServeHealth, session: &Session) -> Result<(), Reports> {
    let request = ServeHealthRequest { names: arguments.names, listen: arguments.listen };
    serve_health(&session.context, &request).await
}

fn completions(arguments: arguments::Completions, session: &Session) -> Result<(), Reports> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "host", &mut script);
    Ok(session.terminal.print(&String::from_utf8_lossy(&script))?)
}

/// The errors of single tables, when the answer about the others was printed.
fn failures(failures: Option<Reports>) -> Result<(), Reports> {
    failures.map_or(Ok(()), Err)
}

/// What --mode says.
fn mode_of(argument: &ModeArgument) -> Option<Mode> {
    argument.mode.map(|mode| match mode {
        arguments::WriteMode::Append => Mode::Append,
        arguments::WriteMode::Overwrite => Mode::Overwrite,
        arguments::WriteMode::Merge => Mode::Merge,
    })
}

/// What --drift says.
fn drift_of(argument: &DriftArgument) -> Option<Drift> {
    argument.drift.map(|drift| match drift {
        arguments::DriftWord::Evolve => Drift::Evolve,
        arguments::DriftWord::Freeze => Drift::Freeze,
        arguments::DriftWord::Fail => Drift::Fail,
    })
}

/// What --receipt says.
fn receipt_of(argument: Option<arguments::ReceiptLevel>) -> Option<ReceiptLevel> {
    argument.map(|level| match level {
        arguments::ReceiptLevel::Off => ReceiptLevel::Off,
        arguments::ReceiptLevel::Count => ReceiptLevel::Count,
        arguments::ReceiptLevel::Full => ReceiptLevel::Full,
    })
}

fn ingest_of(arguments: IngestArguments) -> IngestRequest {
    let IngestArguments { datakit, ingest, tables, settings, locked, output: _ } = arguments;
    IngestRequest { datakit, ingest, tables, settings, locked }
}
