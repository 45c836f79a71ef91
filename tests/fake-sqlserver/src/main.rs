//! `fake-sqlserver`: the fake SQL Server as a program of its own.
//!
//! Prints one JSON line when it is ready, serves until SIGTERM or SIGINT, logs to stderr as `RUST_LOG` says.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use datakit_fake_sqlserver::erp;
use datakit_fake_sqlserver::fast::FastTable;
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{Certificate, Encrypt, FakeSqlServer, Options, Running};
use tokio::signal::unix::{SignalKind, signal};

/// A SQL Server for laptops and CI: TDS 7.4 over SQLite.
#[derive(Debug, Parser)]
#[command(name = "fake-sqlserver", version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The one SQL login.
    #[arg(long, default_value = "sa")]
    user: String,
    /// Name of the environment variable that holds its password.
    #[arg(long, default_value = "FAKE_SQLSERVER_PASSWORD")]
    password_env: String,
    /// The keytab of the server's principal: then logins with Kerberos are taken too.
    #[arg(long)]
    keytab: Option<PathBuf>,
    /// What to do about encryption.
    #[arg(long, value_enum, default_value = "required")]
    encrypt: EncryptArgument,
    /// Which certificate to make.
    #[arg(long, value_enum, default_value = "valid")]
    certificate: CertificateArgument,
    /// A certificate of your own, PEM, with those between it and its authority.
    #[arg(long, requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// Its private key, PEM (PKCS #8).
    #[arg(long, requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// Where to write `ca.pem` and `server.pem`; a temporary directory unless given.
    #[arg(long)]
    certificate_dir: Option<PathBuf>,
    /// Name of the database.
    #[arg(long, default_value = "erp")]
    database_name: String,
    /// The SQLite file that holds it; a temporary one unless given.
    #[arg(long)]
    database: Option<PathBuf>,
    /// A file of T-SQL to run before serving.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Fill the database with a small company's ERP of this many order lines, unless it has one: 100000 make 300,000 rows.
    #[arg(long, value_name = "ORDER_LINES")]
    erp: Option<u64>,
    /// A generated table: [schema.]name=rows[:orders|:wide|:narrow|:text]. May be repeated.
    #[arg(long = "fast-table", value_name = "NAME=ROWS")]
    fast_tables: Vec<FastTable>,
    /// How a doubtful point of change tracking or change data capture is decided. May be repeated; README.md lists them.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    switches: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EncryptArgument {
    /// No encryption.
    Off,
    /// As the client asks.
    On,
    /// Everything encrypted.
    Required,
    /// TDS 8.0 only.
    Strict,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CertificateArgument {
    /// For this host, signed by an authority made at start.
    Valid,
    /// For another host.
    WrongHost,
    /// Ended in 2021.
    Expired,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let database = arguments.database_name.clone();
    let user = arguments.user.clone();
    let running = start(arguments)?;
    let ready = serde_json::json!({
        "address": running.address().to_string(),
        "host": running.address().ip().to_string(),
        "port": running.port(),
        "user": user,
        "database": database,
        "ca_file": running.ca_pem_path(),
        "certificate_file": running.certificate_pem_path(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{ready}").and_then(|()| out.flush()).context("cannot write to standard output")?;
    wait_for_the_end()?;
    drop(running);
    Ok(())
}

fn start(arguments: Arguments) -> anyhow::Result<Running> {
    let password = std::env::var(&arguments.password_env)
        .with_context(|| format!("the environment variable {} must hold the password", arguments.password_env))?;
    if let (Some(order_lines), Some(file)) = (arguments.erp, &arguments.database) {
        load_erp_file(file, order_lines)?;
    }
    let engine = SqlEngine::open(SqlEngineOptions {
        database: arguments.database_name,
        file: arguments.database,
        fast_tables: arguments.fast_tables.into_iter().map(Arc::new).collect(),
        ..SqlEngineOptions::default()
    })?;
    for switch in &arguments.switches {
        let (name, value) = switch.split_once('=').context("a switch is NAME=VALUE")?;
        let mut switches = engine.switches();
        switches.set(name, value)?;
        engine.set_switches(|own| *own = switches);
    }
    if let Some(order_lines) = arguments.erp
        && !erp::is_loaded(&engine)?
    {
        erp::load(&engine, order_lines)?;
    }
    if let Some(script) = &arguments.script {
        let text = std::fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
        engine.run_script(&text).with_context(|| format!("in {}", script.display()))?;
    }
    let certificate = match (arguments.certificate_file, arguments.key_file) {
        (Some(certificate), Some(key)) => given(&certificate, &key)?,
        _ => match arguments.certificate {
            CertificateArgument::Valid => Certificate::Valid,
            CertificateArgument::WrongHost => Certificate::WrongHost,
            CertificateArgument::Expired => Certificate::Expired,
        },
    };
    let options = Options {
        listen: arguments.listen,
        user: arguments.user,
        password,
        keytab: arguments.keytab,
        encrypt: match arguments.encrypt {
            EncryptArgument::Off => Encrypt::Off,
            EncryptArgument::On => Encrypt::On,
            EncryptArgument::Required => Encrypt::Required,
            EncryptArgument::Strict => Encrypt::Strict,
        },
        certificate,
        certificate_directory: arguments.certificate_dir,
        ..Options::default()
    };
    Ok(FakeSqlServer::start(options, Arc::new(engine))?)
}

/// Fills a file that is not there yet, under another name until it is whole: one cut short is made again.
fn load_erp_file(file: &Path, order_lines: u64) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let partial = file.with_extension("partial");
    if partial.exists() {
        std::fs::remove_file(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let engine = SqlEngine::open(SqlEngineOptions { file: Some(partial.clone()), ..SqlEngineOptions::default() })?;
    erp::load(&engine, order_lines)?;
    drop(engine);
    std::fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
}

fn given(certificate: &PathBuf, key: &PathBuf) -> anyhow::Result<Certificate> {
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let chain_pem = read(certificate)?;
    Ok(Certificate::Given { ca_pem: chain_pem.clone(), chain_pem, key_pem: read(key)? })
}

fn wait_for_the_end() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
