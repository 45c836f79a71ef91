//! Log lines: to standard error, filtered, and never with what goes over a wire.

use std::collections::BTreeMap;

use datakit_config::environment::DATAKIT_LOG;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::LogFormat;
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::traces::Traces;

/// Crates that show packets, headers or rows below INFO: rows, and the trivially coded login password. No filter of the
/// operator's reaches below INFO for them.
const WIRE_CRATES: [&str; 16] = [
    "mssql_tds",
    "tiberius",
    "tokio_postgres",
    "postgres_protocol",
    "native_tls",
    "tokio_native_tls",
    "openssl",
    "rustls",
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "oci_client",
    "oci_distribution",
    "tokio_util",
    "want",
];

/// Sets up logging for the process, and traces for as long as the answer lives.
pub(crate) fn start(
    verbose: u8,
    format: LogFormat,
    environment: &BTreeMap<String, String>,
    terminal: &Terminal,
) -> Result<Option<Traces>, CliError> {
    let filter = filter(verbose, environment)?;
    let color = terminal.error_style.color && format == LogFormat::Text;
    let traces = Traces::start(environment)?;
    let lines = layer(filter, format, color, terminal.clone());
    // A second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(lines).with(traces.as_ref().map(Traces::layer)).try_init();
    Ok(traces)
}

/// `-v` wins over `DATAKIT_LOG`, which wins over `RUST_LOG`.
fn filter(verbose: u8, environment: &BTreeMap<String, String>) -> Result<EnvFilter, CliError> {
    let set = |variable| environment.get(variable).filter(|value| !value.is_empty()).map(|value| (variable, value));
    let from_environment = set(DATAKIT_LOG).or_else(|| set("RUST_LOG"));
    match (verbose, from_environment) {
        (0, Some((variable, value))) => {
            EnvFilter::try_new(value).map_err(|error| CliError::LogFilter { variable, message: error.to_string() })
        }
        // What drivers report comes up as an error of ours anyway.
        (0, None) => Ok(EnvFilter::new("warn,mssql_tds=off,tiberius=off,deltalake_core=off")),
        (1, _) => Ok(EnvFilter::new("info,mssql_tds=warn,tiberius=warn")),
        (2, _) => Ok(EnvFilter::new("debug")),
        (_, _) => Ok(EnvFilter::new("trace")),
    }
}

fn layer<S, W>(filter: EnvFilter, format: LogFormat, color: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // With its hint, what is below the filter's level is dropped where it is said: the compiler of datakits says millions.
    let level = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let filter = filter.and(filter_fn(is_harmless).with_max_level_hint(level));
    match format {
        LogFormat::Text => {
            tracing_subscriber::fmt::layer().with_ansi(color).with_writer(writer).with_filter(filter).boxed()
        }
        LogFormat::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).with_filter(filter).boxed()
        }
    }
}

fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    if metadata.target() == datakit_app::TRACE {
        return false;
    }
    // Levels compare by how much they say.
    *metadata.level() <= LevelFilter::INFO || !WIRE_CRATES.contains(&root)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(verbose: u8, variables: &[(&str, &str)], format: LogFormat, log: impl FnOnce()) -> String {
        let environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let memory = Memory::default();
        let writer = memory.clone();
        let layer = layer(filter(verbose, &environment).unwrap(), format, false, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    fn chatter() {
        tracing::trace!(target: "mssql_tds::io::packet", "packet 10 01 Pl4nted");
        tracing::debug!(target: "mssql_tds", "login Pl4nted");
        tracing::debug!(target: "tiberius::client", "login Pl4nted");
        tracing::trace!(target: "h2::codec", "frame Pl4nted");
        tracing::debug!(target: "hyper_util::client", "header Pl4nted");
        tracing::info!(target: "mssql_tds", "connected");
        tracing::debug!(target: "datakit_pipeline", "planned");
        tracing::warn!(target: "datakit", "slow");
    }

    #[test]
    fn nothing_the_operator_sets_shows_what_goes_over_the_wire() {
        for variables in [
            &[("RUST_LOG", "trace")][..],
            &[("RUST_LOG", "mssql_tds=trace,tiberius=trace,h2=trace,hyper_util=debug,debug")],
            &[("DATAKIT_LOG", "trace,mssql_tds::io=trace")],
        ] {
            let text = logged(0, variables, LogFormat::Text, chatter);
            assert!(!text.contains("Pl4nted"), "{text}");
            assert!(text.contains("connected") && text.contains("planned") && text.contains("slow"), "{text}");
        }
        for verbose in 0..5 {
            assert!(!logged(verbose, &[], LogFormat::Text, chatter).contains("Pl4nted"));
        }
    }

    #[test]
    fn verbosity_grows_with_v() {
        let lines = |verbose| logged(verbose, &[], LogFormat::Text, chatter).lines().count();
        assert_eq!([0, 1, 2].map(lines), [1, 1, 3]);
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(0, &[], LogFormat::Json, || tracing::warn!(target: "datakit", run_id = "r1", "slow"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["message"].as_str(), line["run_id"].as_str()), (Some("slow"), Some("r1")));
    }

    #[test]
    fn a_bad_filter_is_an_error() {
        let environment = BTreeMap::from([(DATAKIT_LOG.to_owned(), "datakit=loud".to_owned())]);
        assert!(matches!(filter(0, &environment), Err(CliError::LogFilter { .. })));
    }
}
