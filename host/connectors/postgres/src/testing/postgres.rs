//! A Postgres server.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use datakit_model::Secret;

use crate::{Encrypt, Server};

/// Names the directory of `initdb` and `postgres`; without it the newest under `/usr/lib/postgresql` is taken.
pub const BIN_VARIABLE: &str = "DATAKIT_TEST_POSTGRES_BIN";
/// The superuser's password.
pub const PASSWORD: &str = "Pl4nted test password";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server with the superuser `postgres`, that asks for [`PASSWORD`].
///
/// It runs as the system user `postgres` when the process is root's, since Postgres refuses root.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    directory: PathBuf,
    /// A shell that waits for the end of its input, and then stops the server: also when this process is killed.
    shell: Child,
}

/// A certificate and its key, in PEM form.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// For the client too, when it is self-signed.
    pub certificate: &'a str,
    /// Of the certificate.
    pub key: &'a str,
}

impl PostgresServer {
    /// Starts a server; with a certificate it takes encrypted connections too.
    ///
    /// # Errors
    /// There is no Postgres, or it does not start.
    pub fn start(certificate: Option<Certificate<'_>>) -> io::Result<Self> {
        Self::initialised(certificate, "")
    }

    /// Starts a server with these settings more (lines of `postgresql.conf`).
    ///
    /// # Errors
    /// There is no Postgres, or it does not start.
    pub fn start_with(settings: &str) -> io::Result<Self> {
        Self::initialised(None, settings)
    }

    fn initialised(certificate: Option<Certificate<'_>>, more: &str) -> io::Result<Self> {
        let bin = bin_directory()?;
        let (directory, account) = own_directory("datakit-postgres")?;
        let write = |name: &str, text: &str| account.write(&directory.join(name), text);
        write("password", PASSWORD)?;
        let mut settings =
            String::from("fsync=off\nfull_page_writes=off\nlisten_addresses='127.0.0.1'\nmax_connections=50\n");
        settings.push_str(more);
        if let Some(certificate) = certificate {
            write("server.crt", certificate.certificate)?;
            write("server.key", certificate.key)?;
            let path = directory.display();
            // Writing to a String cannot fail.
            let _ = write!(settings, "ssl=on\nssl_cert_file='{path}/server.crt'\nssl_key_file='{path}/server.key'\n");
        }
        let data = directory.join("data");
        let initialised = account
            .command(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["--no-sync", "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256"])
            .arg(format!("--pwfile={}", directory.join("password").display()))
            .stdout(Stdio::null())
            .output()?;
        if !initialised.status.success() {
            return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&initialised.stderr))));
        }
        Self::run(&bin, &account, directory, &settings)
    }

    /// Starts a replica that applies the changes of this server, with these settings more (lines of `postgresql.conf`).
    ///
    /// # Errors
    /// It does not start.
    pub fn replica(&self, settings: &str) -> io::Result<Self> {
        let bin = bin_directory()?;
        let (directory, account) = own_directory("datakit-replica")?;
        let copied = account
            .command(&bin.join("pg_basebackup"))
            .arg("-D")
            .arg(directory.join("data"))
            .args(["--no-sync", "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "-d"])
            .arg(format!("host=127.0.0.1 port={} user=postgres password='{PASSWORD}'", self.port))
            .output()?;
        if !copied.status.success() {
            return Err(io::Error::other(format!("pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr))));
        }
        Self::run(&bin, &account, directory, settings)
    }

    /// Starts a server over the data of its directory.
    fn run(bin: &Path, account: &Account, directory: PathBuf, settings: &str) -> io::Result<Self> {
        let data = directory.join("data");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // What was copied from a primary stands before, and the last of two lines counts.
        let path = data.join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let place = format!("port={port}\nunix_socket_directories='{}'\n", directory.display());
        account.write(&path, &format!("{before}\n{settings}\n{place}"))?;
        let shell = account.serve(&bin.join("postgres"), &["-D".as_ref(), data.as_os_str()], &directory, "INT")?;
        let mut server = Self { port, directory, shell };
        server.wait()?;
        Ok(server)
    }

    /// Until it answers, which an empty TCP connection cannot tell.
    fn wait(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            // A replica says `read-only connections`.
            if log.contains("database system is ready to accept ") {
                return Ok(());
            }
            if begin.elapsed() > START_TIMEOUT || log.contains("FATAL") {
                return Err(io::Error::other(format!("Postgres does not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How to reach a database of the server as its superuser, without encryption.
    #[must_use]
    pub fn config(&self, database: &str) -> Server {
        let mut config = Server::new("127.0.0.1", database, "postgres");
        config.port = self.port;
        config.password = Some(Secret::new(PASSWORD.to_owned()).into());
        config.encrypt = Encrypt::Off;
        config
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket, log (`log`) and data (`data`).
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // There is nobody to tell.
        let _ = self.shell.wait();
    }
}

fn bin_directory() -> io::Result<PathBuf> {
    if let Some(directory) = std::env::var_os(BIN_VARIABLE) {
        return Ok(directory.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    bins.max()
        .ok_or_else(|| io::Error::other(format!("there is no Postgres: install postgresql, or set {BIN_VARIABLE}")))
}

/// A new directory, of the account that servers run as.
pub(super) fn own_directory(prefix: &str) -> io::Result<(PathBuf, Account)> {
    let directory = std::env::temp_dir().join(format!("{prefix}-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&directory)?;
    let account = Account::for_postgres(&directory)?;
    if let Some((user, group)) = account.0 {
        chown(&directory, Some(user), Some(group))?;
    }
    Ok((directory, account))
}

/// User and group to run as; none: our own.
pub(super) struct Account(Option<(u32, u32)>);

impl Account {
    /// What we create is ours: whether that is root, the directory tells.
    fn for_postgres(directory: &Path) -> io::Result<Self> {
        if std::fs::metadata(directory)?.uid() != 0 {
            return Ok(Self(None));
        }
        let users = std::fs::read_to_string("/etc/passwd")?;
        let ids = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        ids.map(|ids| Self(Some(ids)))
            .ok_or_else(|| io::Error::other("there is no user `postgres` to run the server as"))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Postgres wants to enter the directory it is started in.
        command.current_dir("/");
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs a server in its directory, where its log is: a shell that waits for the end of its input, then stops the server by
    /// a signal and takes the directory away.
    pub(super) fn serve(
        &self,
        program: &Path,
        arguments: &[&OsStr],
        directory: &Path,
        signal: &str,
    ) -> io::Result<Child> {
        let script = r#"directory=$1 signal=$2; shift 2; "$0" "$@" >"$directory/log" 2>&1 & server=$!
            read -r _; kill -$signal $server; wait $server; rm -rf "$directory""#;
        self.command(Path::new("/bin/sh"))
            .arg("-c")
            .arg(script)
            .arg(program)
            .arg(directory)
            .arg(signal)
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
    }

    pub(super) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        std::fs::write(path, text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }
}
