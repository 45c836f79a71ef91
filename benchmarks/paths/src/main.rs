//! The ways of one batch, each by itself: what `host run` cannot be asked for alone.
//!
//! `decode` reads the table into Arrow and drops it; `native`, `datakit` and `through-guest` write it into a Delta table, shaped
//! by calls of this program, by a datakit that holds handles, and by one that every row passes through. The three share source, sink and
//! the tasks between them, so that their difference is the boundary's price. `boundary` reads batches of one row from memory, so that calls are all there is.
//! The last line of the output is JSON, as every contestant's.

mod boundary;
mod reading;
mod writing;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Parser, ValueEnum};
use serde_json::{Value, json};

/// One way, once.
#[derive(Parser)]
#[command(name = "bench-paths", about)]
struct Arguments {
    way: Way,
    #[command(flatten)]
    table: TableArguments,
    /// The component of the way `datakit`, else that of the guest of the benchmark
    #[arg(long)]
    component: PathBuf,
    /// Where compiled code is kept
    #[arg(long)]
    code_cache: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Decode,
    Native,
    Datakit,
    ThroughGuest,
    Boundary,
}

/// The table, and where it goes.
#[derive(Args)]
struct TableArguments {
    #[arg(long, default_value_t = 1433)]
    port: u16,
    #[arg(long, default_value = "")]
    user: String,
    #[arg(long, env = "SOURCE_PASSWORD", hide_env_values = true, default_value = "")]
    password: String,
    #[arg(long, default_value = "")]
    database: String,
    /// Of the schema dbo
    #[arg(long, default_value = "")]
    table: String,
    /// Its columns, with commas between
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// The Delta tables' root
    #[arg(long, default_value = "")]
    target: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    let told = runtime.block_on(async {
        match arguments.way {
            Way::Decode => reading::decode(&arguments.table).await,
            Way::Native => writing::native(&arguments.table).await,
            Way::Datakit => writing::datakit(&arguments).await,
            Way::ThroughGuest => writing::through_guest(&arguments).await,
            Way::Boundary => boundary::calls(&arguments).await,
        }
    })?;
    writeln!(std::io::stdout(), "{told}").context("writing the figures")
}

/// What something cost from its begin: neither loading nor planning nor logins, which are the same for any number of rows.
struct Cost {
    began: Instant,
    cpu_seconds: f64,
}

impl Cost {
    fn begin() -> Self {
        Self { began: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.cpu_seconds
    }

    /// The figures of having moved these rows.
    fn of(&self, rows: u64) -> Value {
        json!({ "rows": rows, "seconds": self.began.elapsed().as_secs_f64(), "cpu_seconds": self.cpu_seconds() })
    }
}

/// Seconds of processor time this process has used so far, user and system.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    #[expect(unsafe_code, reason = "there is no safe form in libc")]
    // SAFETY: the kernel fills the whole structure, which is valid for writes; all zeros is a valid value of it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
