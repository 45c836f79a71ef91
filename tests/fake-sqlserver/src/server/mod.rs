//! The server: sockets, TLS, logins, and the way between clients and the engine.

mod connection;
mod handshake;
mod kerberos;
mod options;
mod response;
mod tls;
mod transport;
mod work;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

pub use kerberos::KerberosLogin;
pub use options::{Certificate, Encrypt, Options, SendOn};

use crate::engine::Engine;
use crate::fast::TemplateCache;
use tls::Tls;
pub(crate) use tls::certify;

/// Threads that carry bytes between sockets and engine.
const WIRE_THREADS: usize = 2;

/// Why a fake SQL Server does not start.
#[derive(Debug, thiserror::Error)]
pub enum FakeSqlServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// No thread or socket to be had.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// The certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("cannot use the certificate: {0}")]
    Tls(#[from] native_tls::Error),
    /// A certificate file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What all connections share.
pub struct Shared {
    options: Options,
    engine: Arc<dyn Engine>,
    tls: Tls,
    templates: Arc<TemplateCache>,
    /// The password of the one SQL login, which may change.
    password: Mutex<String>,
    password_logins: Mutex<PasswordLogins>,
    connections: Mutex<Connections>,
    kerberos_logins: Mutex<Vec<KerberosLogin>>,
    /// Logins that were sent on.
    sent_on: AtomicUsize,
}

/// Clients that are connected.
#[derive(Default)]
struct Connections {
    open: usize,
    most_open: usize,
    tasks: Vec<tokio::task::AbortHandle>,
}

/// Counts a client as long as it is connected.
struct Connected(Arc<Shared>);

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.open += 1;
        connections.most_open = connections.most_open.max(connections.open);
        Self(Arc::clone(shared))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).open -= 1;
    }
}

/// How often somebody tried to log in with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PasswordLogins {
    /// With the right one.
    pub admitted: usize,
    /// With a wrong one, or as somebody unknown.
    pub refused: usize,
}

/// Starts fake SQL Servers.
#[derive(Debug, Clone, Copy)]
pub struct FakeSqlServer;

impl FakeSqlServer {
    /// Starts a server with threads of its own, which serves until the answer is dropped.
    ///
    /// # Errors
    ///
    /// The address is taken, the certificate is bad, or the machine has no thread left.
    pub fn start(options: Options, engine: Arc<dyn Engine>) -> Result<Running, FakeSqlServerError> {
        let tls = Tls::new(options.encrypt, &options.certificate)?;
        let (directory, temporary) = match &options.certificate_directory {
            Some(directory) => (directory.clone(), None),
            None => {
                let temporary = tempfile::tempdir().map_err(FakeSqlServerError::Start)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let ca_pem_path = write(&directory, "ca.pem", &tls.ca_pem)?;
        let certificate_pem_path = write(&directory, "server.pem", &tls.chain_pem)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WIRE_THREADS)
            .thread_name("fake-sqlserver")
            .enable_all()
            .build()
            .map_err(FakeSqlServerError::Start)?;
        let listen = options.listen;
        let ca_pem = tls.ca_pem.clone();
        datakit_canary::register("the password of the fake SQL Server", options.password.as_bytes());
        let password = Mutex::new(options.password.clone());
        let shared = Arc::new(Shared {
            options,
            engine,
            tls,
            templates: Arc::default(),
            password,
            password_logins: Mutex::default(),
            connections: Mutex::default(),
            kerberos_logins: Mutex::default(),
            sent_on: AtomicUsize::new(0),
        });
        let listener =
            std::net::TcpListener::bind(listen).map_err(|error| FakeSqlServerError::Listen(listen, error))?;
        listener.set_nonblocking(true).map_err(FakeSqlServerError::Start)?;
        let address = listener.local_addr().map_err(FakeSqlServerError::Start)?;
        let guard = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(FakeSqlServerError::Start)?;
        drop(guard);
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Running {
            address,
            shared,
            ca_pem,
            ca_pem_path,
            certificate_pem_path,
            runtime: Some(runtime),
            _temporary: temporary,
        })
    }
}

/// A server that serves. Dropping it stops it and closes its connections.
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    ca_pem: String,
    ca_pem_path: PathBuf,
    certificate_pem_path: PathBuf,
    runtime: Option<Runtime>,
    _temporary: Option<tempfile::TempDir>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many clients are connected now, and how many were at one time at the most.
    pub fn connections(&self) -> (usize, usize) {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        (connections.open, connections.most_open)
    }

    /// Ends every connection, as a server that is restarted does.
    pub fn close_connections(&self) {
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.tasks.drain(..).for_each(|task| task.abort());
    }

    /// Changes the password; sessions go on.
    pub fn set_password(&self, password: &str) {
        datakit_canary::register("the password of the fake SQL Server", password.as_bytes());
        *self.shared.password.lock().unwrap_or_else(PoisonError::into_inner) = password.to_owned();
    }

    /// How often somebody has tried to log in with a password so far.
    pub fn password_logins(&self) -> PasswordLogins {
        *self.shared.password_logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has logged in with Kerberos so far, in that order.
    pub fn kerberos_logins(&self) -> Vec<KerberosLogin> {
        self.shared.kerberos_logins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many logins were sent on to another server so far.
    pub fn sent_on(&self) -> usize {
        self.shared.sent_on.load(Ordering::Relaxed)
    }

    /// The authority that clients should trust, as PEM; empty where encryption is off.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same in a file, `ca.pem`.
    pub fn ca_pem_path(&self) -> &Path {
        &self.ca_pem_path
    }

    /// The certificate the server shows, as PEM in a file, `server.pem`: what a client pins.
    pub fn certificate_pem_path(&self) -> &Path {
        &self.certificate_pem_path
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would wait for engines, and must not happen on an asynchronous thread.
            runtime.shutdown_background();
        }
    }
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf, FakeSqlServerError> {
    let path = directory.join(name);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|source| FakeSqlServerError::Write { path: path.clone(), source })?;
    Ok(path)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connected = Connected::new(&shared);
                let serving = Arc::clone(&shared);
                let task = tokio::spawn(async move {
                    serve(stream, peer, serving).await;
                    drop(connected);
                });
                let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.tasks.retain(|task| !task.is_finished());
                connections.tasks.push(task.abort_handle());
            }
            Err(error) => {
                // Out of descriptors, most likely: others may close theirs.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    tracing::debug!(%peer, "connected");
    match connection::serve(stream, shared).await {
        Ok(()) => tracing::debug!(%peer, "closed"),
        Err(error) => tracing::info!(%peer, %error, "closed"),
    }
}
