//! Work that a stranger's bytes can make long or large, in a process that may use little: validating a component, compiling it, checking
//! settings against a datakit's schema.
//!
//! None can be bounded from outside of the libraries that do it, and a bound on the input does not help: 191 kB of valid
//! code take minutes and gigabytes to compile, and a schema of 3 kB doubles forty times. So the host starts its own
//! program again, which sets limits of the operating system for itself, does one piece of work, and ends.
//!
//! On standard input come the length of the order (four bytes, little-endian), the order as JSON, and the bytes to work on;
//! on standard output one byte that says how it went, and what came out of it.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use datakit_model::GuestLimits;
use datakit_model::datakit::Verdict;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::engine::engine;
use crate::error::{Call, Limit, WasmError};
use crate::text::Text;

/// The one argument of a process that does bounded work.
pub const ARGUMENT: &str = "bounded-work";

/// What a process may answer, at most: compiled code is three to four times as large as a component.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
/// What is kept of what a process says on standard error.
const MAX_COMPLAINT_BYTES: u64 = 16 * 1024;
/// How much longer than its processor time a process may live: it also waits for processors that others use.
const TIMEOUT_FACTOR: u32 = 4;
/// Problems of settings that are told.
const MAX_PROBLEMS: usize = 20;

/// How the work went: the answer's first byte.
const DONE: u8 = b'+';
const REFUSED: u8 = b'-';

/// Where bounded work is done.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a process of this program.
    Process(PathBuf),
    /// Here, without bounds: for tests and tools that trust what they load.
    Here,
}

/// One piece of work.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    task: Task,
    /// Of the engine, and of the process.
    limits: GuestLimits,
    cpu_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Task {
    /// A component into code of this machine.
    Compile,
    /// Whether a component is valid.
    Validate,
    /// [`Settings`] into a [`Verdict`].
    CheckSettings,
}

/// Settings and the schema they have to follow.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    schema: String,
    settings: Value,
}

/// Compiles a component into code for an engine under these limits.
pub(crate) async fn compile(place: &Place, limits: &GuestLimits, component: Vec<u8>) -> Result<Vec<u8>, WasmError> {
    let cpu_seconds = limits.max_compile_cpu_ms.div_ceil(1000);
    let order = Order { task: Task::Compile, limits: limits.clone(), cpu_seconds };
    let over = Over { what: "compiling the component", cpu: (Limit::CompileCpu, limits.max_compile_cpu_ms) };
    match run(place, order, over, component).await? {
        Ok(code) => Ok(code),
        Err(reason) => Err(WasmError::Invalid { reason }),
    }
}

/// Whether a component is valid; compiling says so, too.
pub(crate) async fn validate(place: &Place, limits: &GuestLimits, component: Vec<u8>) -> Result<(), WasmError> {
    let cpu_seconds = limits.max_compile_cpu_ms.div_ceil(1000);
    let order = Order { task: Task::Validate, limits: limits.clone(), cpu_seconds };
    let over = Over { what: "validating the component", cpu: (Limit::CompileCpu, limits.max_compile_cpu_ms) };
    match run(place, order, over, component).await? {
        Ok(_) => Ok(()),
        Err(reason) => Err(WasmError::Invalid { reason }),
    }
}

/// Checks settings against a datakit's schema.
pub(crate) async fn check_settings(
    place: &Place,
    limits: &GuestLimits,
    schema: &str,
    settings: &Value,
) -> Result<Verdict, WasmError> {
    let cpu_seconds = limits.max_schema_cpu_ms.div_ceil(1000);
    let order = Order { task: Task::CheckSettings, limits: limits.clone(), cpu_seconds };
    let over = Over { what: "checking settings against the schema", cpu: (Limit::SchemaCpu, limits.max_schema_cpu_ms) };
    let broken = |reason: String| WasmError::Engine { reason: format!("the check of settings answered {reason}") };
    let payload = serde_json::to_vec(&Settings { schema: schema.to_owned(), settings: settings.clone() })
        .map_err(|error| broken(error.to_string()))?;
    match run(place, order, over, payload).await? {
        Ok(verdict) => serde_json::from_slice(&verdict).map_err(|error| broken(error.to_string())),
        Err(reason) => Err(broken(reason)),
    }
}

/// What is told of work that was too much.
#[derive(Clone, Copy)]
struct Over {
    what: &'static str,
    cpu: (Limit, u64),
}

/// The work's result; a refusal is a text.
async fn run(place: &Place, order: Order, over: Over, payload: Vec<u8>) -> Result<Result<Vec<u8>, String>, WasmError> {
    match place {
        Place::Process(program) => in_process(program, &order, over, &payload).await,
        Place::Here => tokio::task::spawn_blocking(move || work(&order, &payload))
            .await
            .map_err(|error| WasmError::Engine { reason: format!("work was cut off: {error}") }),
    }
}

async fn in_process(
    program: &Path,
    order: &Order,
    over: Over,
    payload: &[u8],
) -> Result<Result<Vec<u8>, String>, WasmError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| WasmError::Engine {
        reason: format!("a process of {} {what}: {error}", program.display()),
    };
    let header = serde_json::to_vec(order).map_err(|error| failed("cannot be told what to do", &error))?;
    let mut command = Command::new(program);
    // It needs no settings, and must not see a secret.
    command.arg(ARGUMENT).env_clear().envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed("cannot be started", &error))?;
    let (Some(mut input), Some(output), Some(complaints)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed("cannot be spoken to", &"no pipes"));
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let talk = async {
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes();
        let send = async {
            // A process that ends early does not read to the end; how it ended says why.
            for part in [&length[..], &header, payload] {
                if input.write_all(part).await.is_err() {
                    break;
                }
            }
            drop(input);
        };
        let mut output = output.take(MAX_ANSWER_BYTES);
        let mut complaints = complaints.take(MAX_COMPLAINT_BYTES);
        let ((), _, _) = tokio::join!(send, output.read_to_end(&mut answer), complaints.read_to_end(&mut complaint));
    };
    let timeout = Duration::from_secs(order.cpu_seconds).saturating_mul(TIMEOUT_FACTOR);
    let Ok(status) = tokio::time::timeout(timeout, async {
        talk.await;
        child.wait().await
    })
    .await
    else {
        end(&mut child).await;
        return Err(over_cpu(over));
    };
    let status = status.map_err(|error| failed("is lost", &error))?;
    judge(status, over, order, answer, &String::from_utf8_lossy(&complaint))
}

async fn end(child: &mut Child) {
    // It may have ended by itself; either way nobody waits for it.
    let _ = child.kill().await;
}

fn over_cpu(over: Over) -> WasmError {
    let (limit, value) = over.cpu;
    WasmError::over(limit, value, format!("{} takes more than {value} ms", over.what), Call::Instantiate)
}

fn judge(
    status: ExitStatus,
    over: Over,
    order: &Order,
    mut answer: Vec<u8>,
    complaint: &str,
) -> Result<Result<Vec<u8>, String>, WasmError> {
    if status.success() && !answer.is_empty() {
        let how = answer.remove(0);
        return match how {
            DONE => Ok(Ok(answer)),
            _ => Ok(Err(Text::message(&String::from_utf8_lossy(&answer)).into_inner())),
        };
    }
    if status.signal() == Some(XCPU) {
        return Err(over_cpu(over));
    }
    let out_of_memory = ["memory allocation of", "Cannot allocate memory", "os error 12", "os error 11"];
    if out_of_memory.iter().any(|words| complaint.contains(words)) {
        let max = order.limits.max_compile_memory_bytes;
        let what = format!("{} takes more than {max} bytes", over.what);
        return Err(WasmError::over(Limit::CompileMemory, max, what, Call::Instantiate));
    }
    let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
    Err(WasmError::Unbounded { what: over.what, how })
}

/// SIGXCPU, by its number on every Linux.
const XCPU: i32 = 24;

/// The process: bounds itself, does what it is told on standard input, answers on standard output.
///
/// # Errors
/// What kept it from being told or from answering.
pub fn serve() -> std::io::Result<()> {
    let mut input = std::io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut order = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(0)];
    input.read_exact(&mut order)?;
    let order: Order = serde_json::from_slice(&order)?;
    // At the second number the signal says nothing of time.
    bound(Resource::Cpu, order.cpu_seconds, order.cpu_seconds.saturating_add(1))?;
    bound(Resource::As, order.limits.max_compile_memory_bytes, order.limits.max_compile_memory_bytes)?;
    bound(Resource::Core, 0, 0)?;
    let mut payload = Vec::new();
    input.read_to_end(&mut payload)?;
    let (how, answer) = match work(&order, &payload) {
        Ok(answer) => (DONE, answer),
        Err(reason) => (REFUSED, reason.into_bytes()),
    };
    let mut output = std::io::stdout().lock();
    output.write_all(&[how])?;
    output.write_all(&answer)?;
    output.flush()
}

fn bound(resource: Resource, current: u64, maximum: u64) -> std::io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?)
}

fn work(order: &Order, payload: &[u8]) -> Result<Vec<u8>, String> {
    match order.task {
        Task::Compile => {
            let engine = engine(&order.limits).map_err(|error| error.to_string())?;
            engine.precompile_component(payload).map_err(|error| format!("{error:#}"))
        }
        Task::Validate => {
            wasmparser::Validator::new().validate_all(payload).map_err(|error| error.to_string())?;
            Ok(Vec::new())
        }
        Task::CheckSettings => {
            let Settings { schema, settings } = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
            serde_json::to_vec(&check(&schema, &settings)).map_err(|error| error.to_string())
        }
    }
}

fn check(schema: &str, settings: &Value) -> Verdict {
    let bad = |error: String| Verdict::BadSchema(Text::message(&error).into_inner());
    let schema: Value = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(error) => return bad(error.to_string()),
    };
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => return bad(error.to_string()),
    };
    let problems = validator.iter_errors(settings).take(MAX_PROBLEMS);
    let problems = problems.map(|error| match error.instance_path().to_string() {
        path if path.is_empty() => Text::message(&error.to_string()).into_inner(),
        path => Text::message(&format!("at `{path}`: {error}")).into_inner(),
    });
    Verdict::Problems(problems.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn settings_are_checked_against_the_schema() {
        let schema = json!({
            "type": "object",
            "properties": { "maxdop": { "type": "integer", "minimum": 0 } },
            "additionalProperties": false,
        });
        let check = async |settings: Value| {
            check_settings(&Place::Here, &GuestLimits::default(), &schema.to_string(), &settings).await.unwrap()
        };
        assert_eq!(check(json!({ "maxdop": 4 })).await, Verdict::Problems(vec![]));
        let Verdict::Problems(problems) = check(json!({ "maxdop": "four", "typo": 1 })).await else { panic!() };
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().any(|problem| problem.contains("/maxdop")), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("typo")), "{problems:?}");
    }

    #[tokio::test]
    async fn a_schema_that_is_none_says_so() {
        for schema in ["", "{\"type\":\"unknown\"}", "{\"$ref\":\"https://example.com/other\"}"] {
            let verdict = check_settings(&Place::Here, &GuestLimits::default(), schema, &json!({})).await.unwrap();
            assert!(matches!(verdict, Verdict::BadSchema(_)), "{schema}: {verdict:?}");
        }
    }
}
