//! Object stores: S3 by moto, Azure by azurite.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use datakit_model::Secret;

use crate::delta::StoreOptions;

/// Names a Python that has `moto[server]`.
pub const PYTHON_VARIABLE: &str = "DATAKIT_TEST_PYTHON";
/// Names the program `azurite-blob`.
pub const AZURITE_VARIABLE: &str = "DATAKIT_TEST_AZURITE";

/// The bucket or container that is there from the start.
const BUCKET: &str = "lake";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The account of every emulator of Azure's storage, and its key, which is public.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running object store with one empty bucket.
#[derive(Debug)]
pub struct ObjectStoreServer {
    /// A shell that waits for the end of its input, and then stops the server: also when this process is killed.
    shell: Child,
    uri: String,
    environment: Vec<(String, String)>,
}

impl ObjectStoreServer {
    /// An S3.
    ///
    /// # Errors
    /// There is no Python with moto, or it does not start.
    pub fn s3() -> io::Result<Self> {
        let python = variable(PYTHON_VARIABLE)?;
        let port = free_port()?;
        let moto = "import sys, urllib.request; from moto.server import main; main(sys.argv[1:])";
        let arguments = ["-c", moto, "-H", "127.0.0.1", "-p", &port.to_string()];
        let shell = start(&python, &arguments, port)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test secret"),
        ];
        let server = Self::new(shell, format!("s3://{BUCKET}/bronze"), &environment);
        request(&python, "PUT", &format!("{endpoint}/{BUCKET}"), "")?;
        Ok(server)
    }

    /// An Azure Data Lake (or rather the blob storage below it).
    ///
    /// # Errors
    /// There is no azurite, or it does not start.
    pub fn azure() -> io::Result<Self> {
        let (python, azurite) = (variable(PYTHON_VARIABLE)?, variable(AZURITE_VARIABLE)?);
        let port = free_port()?;
        let port_text = port.to_string();
        let arguments = [
            "--silent",
            "--inMemoryPersistence",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port_text,
        ];
        let shell = start(&azurite, &arguments, port)?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let environment = [
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
            ("AZURITE_BLOB_STORAGE_URL", endpoint.as_str()),
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY),
        ];
        let uri = format!("abfss://{BUCKET}@{AZURE_ACCOUNT}.dfs.core.windows.net/bronze");
        let server = Self::new(shell, uri, &environment);
        request(&python, "PUT", &format!("{endpoint}/{AZURE_ACCOUNT}/{BUCKET}?restype=container"), AZURE_KEY)?;
        Ok(server)
    }

    fn new(shell: Child, uri: String, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { shell, uri, environment }
    }

    /// The root of a Delta sink in it.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The variables that a client needs.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The same, for a sink in this process.
    #[must_use]
    pub fn options(&self) -> StoreOptions {
        self.environment.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect()
    }
}

impl Drop for ObjectStoreServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn variable(name: &'static str) -> io::Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is not set: run ./test")))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(program: &PathBuf, arguments: &[&str], port: u16) -> io::Result<Child> {
    const STOP_WITH_US: &str = "\"$@\" >/dev/null 2>&1 </dev/null & server=$!; read -r _; kill $server; wait $server";
    let mut command = Command::new("sh");
    command.args(["-c", STOP_WITH_US, "sh"]).arg(program).args(arguments);
    let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            drop(shell.stdin.take());
            return Err(io::Error::other(format!("{} does not listen", program.display())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(shell)
}

/// One request that makes a bucket; Azure's is signed with its key.
fn request(python: &PathBuf, method: &str, url: &str, key: &str) -> io::Result<()> {
    const SCRIPT: &str = include_str!("make_bucket.py");
    let output = Command::new(python).args(["-c", SCRIPT, method, url, key]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}
