//! A PgBouncer in front of a Postgres server.

use std::ffi::OsStr;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::postgres::{PASSWORD, PostgresServer, own_directory};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running PgBouncer in transaction mode. Every user has the password [`PASSWORD`].
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    directory: PathBuf,
    shell: Child,
}

impl PgBouncer {
    /// Starts one for all databases of a server, with at most so many connections to it for a user and database.
    ///
    /// # Errors
    /// There is no PgBouncer, or it does not start.
    pub fn start(server: &PostgresServer, users: &[&str], pool_size: usize) -> io::Result<Self> {
        let (directory, account) = own_directory("datakit-pgbouncer")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (path, behind) = (directory.display(), server.port());
        let known: String = users.iter().map(|user| format!("\"{user}\" \"{PASSWORD}\"\n")).collect();
        account.write(&directory.join("users"), &known)?;
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={behind}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {path}/users\npool_mode = transaction\n\
             default_pool_size = {pool_size}\nmax_client_conn = 200\nquery_wait_timeout = 60\n"
        );
        let file = directory.join("pgbouncer.ini");
        account.write(&file, &settings)?;
        let shell = account.serve(Path::new(PROGRAM), &[file.as_os_str() as &OsStr], &directory, "TERM")?;
        let pooler = Self { port, directory, shell };
        pooler.wait()?;
        Ok(pooler)
    }

    fn wait(&self) -> io::Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if begin.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PgBouncer does not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // There is nobody to tell.
        let _ = self.shell.wait();
    }
}
