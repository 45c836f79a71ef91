//! Object stores of one's own, for tests: S3 by moto, Azure by azurite.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use datakit_model::Secret;

use crate::StoreOptions;

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
    /// The bucket, with its scheme.
    bucket: String,
    uri: String,
    /// The bucket by HTTP, and the key that requests are signed with.
    address: String,
    key: &'static str,
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
            ("AWS_SECRET_ACCESS_KEY", "Pl4nted-s3-secret"),
        ];
        let server = Self::new(shell, format!("s3://{BUCKET}"), format!("{endpoint}/{BUCKET}"), "", &environment);
        put(&server.address, "", "bucket", &[])?;
        Ok(server)
    }

    /// An Azure Data Lake (or rather the blob storage below it).
    ///
    /// # Errors
    /// There is no azurite, or it does not start.
    pub fn azure() -> io::Result<Self> {
        let azurite = variable(AZURITE_VARIABLE)?;
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
        let bucket = format!("abfss://{BUCKET}@{AZURE_ACCOUNT}.dfs.core.windows.net");
        let address = format!("{endpoint}/{AZURE_ACCOUNT}/{BUCKET}");
        let server = Self::new(shell, bucket, address, AZURE_KEY, &environment);
        put(&format!("{}?restype=container", server.address), AZURE_KEY, "bucket", &[])?;
        Ok(server)
    }

    fn new(shell: Child, bucket: String, address: String, key: &'static str, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let uri = format!("{bucket}/bronze");
        Self { shell, bucket, uri, address, key, environment }
    }

    /// The root of a Delta sink in it.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The root of a source of files in it.
    #[must_use]
    pub fn uri_of(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.bucket)
    }

    /// Puts an object into the bucket, by a client that is none of ours.
    ///
    /// # Errors
    /// The store refuses.
    pub fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        put(&format!("{}/{path}", self.address), self.key, "object", bytes)
    }

    /// Puts the marker of a folder, as Hadoop does in Azure: an empty object whose metadata says so.
    ///
    /// # Errors
    /// The store refuses.
    pub fn put_folder(&self, path: &str) -> io::Result<()> {
        put(&format!("{}/{path}", self.address), self.key, "folder", &[])
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

/// One request that makes a bucket or an object; Azure's is signed with its key.
fn put(url: &str, key: &str, kind: &str, bytes: &[u8]) -> io::Result<()> {
    const SCRIPT: &str = include_str!("put.py");
    let mut command = Command::new(variable(PYTHON_VARIABLE)?);
    command.args(["-c", SCRIPT, url, key, kind]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut request = command.spawn()?;
    if let Some(mut body) = request.stdin.take() {
        body.write_all(bytes)?;
    }
    let output = request.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}
