//! A datakit that writes to WASI's standard streams. The setting `end` says how its `discover` ends.

use datakit_sdk::{
    Batch, Datakit, Description, DiscoveryRequest, Error, Extraction, Partition, Role, Run, Schema, Table, TableId,
    TablePlan, export_datakit,
};
use schemars::JsonSchema;
use serde::Deserialize;
use wasip2::cli::{exit, stderr, stdout};
use wasip2::io::streams::OutputStream;

struct StandardStreams;

export_datakit!(StandardStreams);

/// What the test asks for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// How `discover` ends.
    end: End,
}

/// How `discover` ends.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    /// An exception of Python: a traceback, and a trap.
    Trap,
    /// The process exits.
    Exit,
    /// Well, after more lines than are shown.
    Flood,
}

const TRACEBACK: &str =
    "Traceback (most recent call last):\n  File \"kit.py\", line 3, in discover\nValueError: no \u{7} tables";
const LINES_OF_A_FLOOD: usize = 50_000;

/// Nothing can be done about a line that is not written.
fn write(stream: &OutputStream, text: &str) {
    for part in text.as_bytes().chunks(4096) {
        let _ = stream.blocking_write_and_flush(part);
    }
}

impl Datakit for StandardStreams {
    type Settings = Settings;
    type Extraction = Never;

    fn describe() -> Description {
        Description {
            name: "standard-streams".into(),
            version: "0.1.0".into(),
            summary: "Writes to standard streams.".into(),
            roles: vec![Role { name: "source".into(), kinds: vec!["files".into()], purpose: "Not read.".into() }],
        }
    }

    fn discover(run: &Run<Settings>, _: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        write(&stdout::get_stdout(), "looking for tables\n");
        match run.settings.end {
            End::Trap => {
                write(&stderr::get_stderr(), TRACEBACK);
                std::process::abort()
            }
            End::Exit => {
                write(&stderr::get_stderr(), "no tables\n");
                exit::exit(Err(()));
                Ok(vec![])
            }
            End::Flood => {
                write(&stderr::get_stderr(), &"one more line\n".repeat(LINES_OF_A_FLOOD));
                Ok(vec![])
            }
        }
    }

    fn plan(_: &Run<Settings>, _: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        Ok(vec![])
    }

    fn open(_: &Run<Settings>, _: &Partition) -> Result<Never, Error> {
        Err(Error::datakit("STREAMS-001", "there are no rows"))
    }
}

/// Nothing is extracted.
enum Never {}

impl Extraction for Never {
    fn output(&self) -> Schema {
        match *self {}
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        match *self {}
    }
}
