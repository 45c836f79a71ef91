//! A Kerberos realm of one's own, for tests: a real MIT KDC on a free port, gone with the process that started it.
//!
//! Needs Debian's `krb5-kdc`, `krb5-admin-server` and `krb5-user`.

use std::fmt::Write as _;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a realm is started with.
#[derive(Debug, Clone)]
pub struct KdcOptions {
    /// Its name.
    pub realm: String,
    /// Lines more for `[libdefaults]` of its krb5.conf.
    pub libdefaults: String,
}

impl Default for KdcOptions {
    fn default() -> Self {
        Self { realm: "CORP.EXAMPLE".to_owned(), libdefaults: String::new() }
    }
}

/// A realm with its KDC.
#[derive(Debug)]
pub struct Kdc {
    realm: String,
    port: u16,
    directory: TempDir,
    /// A shell that waits for the end of its input, and then stops the server: also when this process is killed.
    shell: Option<Child>,
}

impl Kdc {
    /// Makes a realm and starts its KDC.
    ///
    /// # Errors
    ///
    /// There is no KDC to start, or it does not.
    pub fn start(options: &KdcOptions) -> io::Result<Self> {
        let mut kdc = Self::prepare(&options.realm)?;
        std::fs::write(kdc.path("krb5.conf"), kdc.client_settings(&options.libdefaults, &[&kdc]))?;
        kdc.run("/usr/sbin/kdb5_util", &["create", "-s", "-P", "the master key of a test"])?;
        kdc.resume()?;
        Ok(kdc)
    }

    /// Starts a second KDC of the realm, with what the first one knows now: a log, a port and a database of its own. Both
    /// realms' `krb5.conf` stay as they are.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn replica(&self) -> io::Result<Self> {
        let mut kdc = Self::prepare(&self.realm)?;
        for entry in std::fs::read_dir(self.directory.path())? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("principal") || name == "stash" {
                std::fs::copy(self.path(&name), kdc.path(&name))?;
            }
        }
        std::fs::write(kdc.path("krb5.conf"), kdc.client_settings("", &[&kdc]))?;
        kdc.resume()?;
        Ok(kdc)
    }

    /// Makes the KDC answer each question with an error (`KRB_ERR_GENERIC`): its database cannot be had. Or mends it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_broken(&self, is_broken: bool) -> io::Result<()> {
        let (there, away) = (self.path("principal"), self.path("away"));
        if is_broken { std::fs::rename(there, away) } else { std::fs::rename(away, there) }
    }

    /// The folder and the settings of a KDC.
    fn prepare(realm: &str) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("datakit-kdc-").tempdir()?;
        let kdc = Self { realm: realm.to_owned(), port: free_port()?, directory, shell: None };
        let (port, folder) = (kdc.port, kdc.directory.path().display());
        let settings = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
             [realms]\n {realm} = {{\n  database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n  \
             acl_file = {folder}/acl\n  max_life = 10h\n  max_renewable_life = 7d\n  \
             supported_enctypes = aes256-cts-hmac-sha1-96:normal\n }}\n\
             [logging]\n kdc = FILE:{folder}/kdc.log\n default = FILE:{folder}/other.log\n"
        );
        std::fs::write(kdc.path("kdc.conf"), settings)?;
        Ok(kdc)
    }

    /// The realm's name.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The KDC's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What KRB5_CONFIG should name.
    pub fn krb5_conf(&self) -> PathBuf {
        self.path("krb5.conf")
    }

    /// The text of a krb5.conf that knows these realms, this one by default.
    pub fn client_settings(&self, libdefaults: &str, realms: &[&Kdc]) -> String {
        let mut text = format!(
            "[libdefaults]\n default_realm = {}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n{libdefaults}\n[realms]\n",
            self.realm
        );
        for kdc in realms {
            // Writing to a String cannot fail.
            let _ = writeln!(text, " {} = {{\n  kdc = 127.0.0.1:{}\n }}", kdc.realm, kdc.port);
        }
        text
    }

    /// Adds a principal with a password.
    ///
    /// # Errors
    ///
    /// What `kadmin.local` says.
    pub fn add(&self, principal: &str, password: &str, options: &str) -> io::Result<()> {
        self.admin(&format!("addprinc {options} -pw \"{password}\" {principal}"))
    }

    /// Adds a principal with a random key, and writes the key into a keytab, whose path is the answer.
    ///
    /// # Errors
    ///
    /// What `kadmin.local` says.
    pub fn add_with_keytab(&self, principal: &str, options: &str, keytab: &str) -> io::Result<PathBuf> {
        self.admin(&format!("addprinc {options} -randkey {principal}"))?;
        self.keytab(principal, keytab)
    }

    /// Gives a principal a new random key, adds it to a keytab, whose path is the answer.
    ///
    /// # Errors
    ///
    /// What `kadmin.local` says.
    pub fn keytab(&self, principal: &str, keytab: &str) -> io::Result<PathBuf> {
        let path = self.path(keytab);
        self.admin(&format!("ktadd -k {} {principal}", path.display()))?;
        let bytes = std::fs::read(&path)?;
        // The file ends with the newest entry, and that with a key of AES-256 and its version in four bytes.
        if let Some(key) = bytes.len().checked_sub(36).and_then(|start| bytes.get(start..start + 32)) {
            datakit_canary::register(&format!("the key of {principal}"), key);
        }
        Ok(path)
    }

    /// What the KDC has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("kdc.log")).unwrap_or_default()
    }

    /// Runs a command of `kadmin.local`.
    ///
    /// # Errors
    ///
    /// What it says, since its exit code does not.
    pub fn admin(&self, command: &str) -> io::Result<()> {
        let output = self.run("/usr/sbin/kadmin.local", &["-r", &self.realm, "-q", command])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let failed = |line: &&str| line.contains(" while ") || line.starts_with("kadmin.local: ");
        match said.lines().find(failed) {
            Some(line) => Err(io::Error::other(format!("{command}: {line}"))),
            None => Ok(()),
        }
    }

    /// Gets a ticket as a user would: `kinit` with a keytab, into a cache in a file, whose path is the answer.
    ///
    /// # Errors
    ///
    /// What `kinit` says.
    pub fn kinit(&self, principal: &str, keytab: &Path, cache: &str, options: &[&str]) -> io::Result<PathBuf> {
        let path = self.path(cache);
        let (cache, keytab) = (format!("FILE:{}", path.display()), keytab.display().to_string());
        let arguments = [options, &["-c", &cache, "-k", "-t", &keytab, principal]].concat();
        self.run("/usr/bin/kinit", &arguments)?;
        let keys = session_keys(&std::fs::read(&path)?);
        for key in keys.ok_or_else(|| io::Error::other("a ticket cache that cannot be read"))? {
            datakit_canary::register(&format!("a session key of {principal}"), &key);
        }
        Ok(path)
    }

    /// Freezes the KDC, or lets it go on: while it is frozen, questions reach it and are not answered.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn set_frozen(&self, is_frozen: bool) -> io::Result<()> {
        let pid = std::fs::read_to_string(self.path("kdc.pid"))?;
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        self.run("/bin/kill", &[signal, pid.trim()]).map(drop)
    }

    /// Stops the KDC; the realm's principals stay.
    pub fn stop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            // There is nobody to tell.
            let _ = shell.wait();
        }
    }

    /// Starts the KDC again.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn resume(&mut self) -> io::Result<()> {
        // A frozen one does not hear that it is to end.
        let script = r#"/usr/sbin/krb5kdc -n & server=$!; echo $server > "$0"; read -r _; kill $server; kill -CONT $server; wait $server"#;
        let mut command = self.command("/bin/sh");
        command
            .args(["-c", script])
            .arg(self.path("kdc.pid"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.shell = Some(command.spawn()?);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if begin.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(self.path("kdc.log")).unwrap_or_default();
                return Err(io::Error::other(format!("the KDC does not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("KRB5_CONFIG", self.krb5_conf()).env("KRB5_KDC_PROFILE", self.path("kdc.conf"));
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Output> {
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Free for TCP and for UDP.
fn free_port() -> io::Result<u16> {
    let mut last = io::Error::other("no free port");
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        match UdpSocket::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The session keys in a ticket cache of version 4 (MIT's "credential cache file format").
fn session_keys(cache: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = cache.strip_prefix(&[5, 4])?;
    let header = number(take(&mut rest, 2)?);
    take(&mut rest, header)?;
    let principal = |rest: &mut &[u8]| {
        take(rest, 4)?;
        let components = number(take(rest, 4)?);
        // The realm comes first and is not counted.
        (0..=components).try_for_each(|_| counted(rest).map(drop))
    };
    let pairs = |rest: &mut &[u8]| {
        (0..number(take(rest, 4)?)).try_for_each(|_| {
            take(rest, 2)?;
            counted(rest).map(drop)
        })
    };
    principal(&mut rest)?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        principal(&mut rest)?;
        principal(&mut rest)?;
        take(&mut rest, 2)?;
        keys.push(counted(&mut rest)?.to_vec());
        // Four times, whether the key is for a user's own session, flags.
        take(&mut rest, 4 * 4 + 1 + 4)?;
        pairs(&mut rest)?;
        pairs(&mut rest)?;
        counted(&mut rest)?;
        counted(&mut rest)?;
    }
    // Settings of the library have no key.
    keys.retain(|key| !key.is_empty());
    Some(keys)
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn counted<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let count = number(take(rest, 4)?);
    take(rest, count)
}

/// Of at most four bytes, the highest first.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_a_session_key_for_each_ticket() {
        let kdc = Kdc::start(&KdcOptions::default()).unwrap();
        let keytab = kdc.add_with_keytab("svc-etl", "", "svc-etl.keytab").unwrap();
        let cache = kdc.kinit("svc-etl", &keytab, "cache", &[]).unwrap();
        let keys = session_keys(&std::fs::read(cache).unwrap()).unwrap();
        assert_eq!(keys.iter().map(Vec::len).collect::<Vec<_>>(), [32], "one of AES-256");
    }
}
