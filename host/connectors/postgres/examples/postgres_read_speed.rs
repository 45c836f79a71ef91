//! Reads a PostgreSQL table and says how fast: `postgres_read_speed HOST PORT DATABASE USER SQL`, the password in `PGPASSWORD`. Without
//! encryption: for servers of one's own.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use datakit_model::source::{Access, Query, QueryOptions, Source};
use datakit_model::{MemoryBudget, Secret, TablePatterns};
use datakit_postgres::source::{PostgresConfig, PostgresSource};
use datakit_postgres::{Encrypt, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, database, user, sql] = arguments.as_slice() else {
        return Err("usage: postgres_read_speed HOST PORT DATABASE USER SQL".into());
    };
    let mut config = PostgresConfig::new(Server::new(host, database, user));
    config.server.password = std::env::var("PGPASSWORD").ok().map(|password| Secret::new(password).into());
    config.server.port = port.parse()?;
    config.server.encrypt = Encrypt::Off;
    let source = PostgresSource::new(config)?;
    let tables = TablePatterns::new(vec!["*.*".parse()?]);
    let access =
        Access { tables, run_id: "read-speed".to_owned(), memory: MemoryBudget::new(48 << 20), rejecting: None };
    let started = Instant::now();
    let connection = source.connect(access).await?;
    let query = Query { sql: sql.clone(), parameters: Vec::new(), options: QueryOptions::default() };
    let mut reader = connection.query(query).await?;
    let (mut rows, mut bytes, mut batches) = (0, 0, 0);
    while let Some(batch) = reader.next().await? {
        rows += batch.batch().num_rows();
        bytes += batch.batch().get_array_memory_size();
        batches += 1;
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{rows} rows, {batches} batches, {:.1} MiB of Arrow", bytes as f64 / f64::from(1 << 20))?;
    writeln!(out, "{wall:.3} s, {cpu:.2} CPU s, {:.2}M rows per CPU second", rows as f64 / cpu / 1e6)?;
    Ok(())
}

/// Processor time of this process so far, from /proc in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}
