//! A vault for tests: what Delinea's own client (`python-tss-sdk` 2.0) asks of Secret Server and of the Delinea Platform, and no more.
//! A test lets that client talk to it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datakit_canary::register;
use serde_json::{Value, json};

use crate::server::{Certificate, Encrypt, FakeSqlServerError, certify};

/// Who may log in.
pub const CLIENT_ID: &str = "sdk-client-7";
/// With what; every character that a form or a header could mistake.
pub const CLIENT_SECRET: &str = "Pl4nted-client-secret &=+%é";
/// What tokens begin with.
const TOKEN: &str = "Pl4nted-token-";
/// No question is longer.
const MAX_HEAD_BYTES: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a vault is started with.
#[derive(Debug, Clone)]
pub struct VaultOptions {
    /// Its certificate; none: plain HTTP.
    pub certificate: Option<Certificate>,
    /// Whether it is the platform, with a vault below it, or Secret Server itself.
    pub platform: bool,
    /// How long its tokens last.
    pub token_life: Duration,
}

impl Default for VaultOptions {
    fn default() -> Self {
        Self { certificate: Some(Certificate::Valid), platform: false, token_life: Duration::from_secs(1_200) }
    }
}

/// A field of a secret.
#[derive(Debug, Clone)]
pub enum Field {
    /// A text.
    Text(&'static str, String),
    /// A file that is attached.
    File(&'static str, Vec<u8>),
}

/// A vault that answers until it is dropped.
pub struct Vault {
    port: u16,
    scheme: &'static str,
    shared: Arc<Shared>,
    ca_pem_path: PathBuf,
    _directory: tempfile::TempDir,
}

struct Shared {
    options: VaultOptions,
    acceptor: Option<native_tls::TlsAcceptor>,
    base: String,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<u64, Vec<Field>>,
    client_secret: String,
    tokens: Vec<(String, Instant)>,
    given: usize,
    questions: Vec<String>,
    /// What is answered instead, to questions whose path ends so.
    instead: Option<(String, u16, String)>,
}

struct Answer(u16, &'static str, Vec<u8>);

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, "application/json", value.to_string().into_bytes())
    }

    fn refused(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }
}

impl Vault {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// No port, thread or certificate is to be had.
    pub fn start(options: VaultOptions) -> Result<Self, FakeSqlServerError> {
        let directory = tempfile::tempdir().map_err(FakeSqlServerError::Start)?;
        let ca_pem_path = directory.path().join("vault-ca.pem");
        let acceptor = match &options.certificate {
            Some(certificate) => {
                let (acceptor, ca_pem) = certify(Encrypt::Required, certificate)?;
                std::fs::write(&ca_pem_path, ca_pem).map_err(FakeSqlServerError::Start)?;
                acceptor
            }
            None => None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(FakeSqlServerError::Start)?;
        let port = listener.local_addr().map_err(FakeSqlServerError::Start)?.port();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        register("the secret of the vault's client", CLIENT_SECRET.as_bytes());
        let state = State { client_secret: CLIENT_SECRET.to_owned(), ..State::default() };
        let shared = Arc::new(Shared {
            options,
            acceptor,
            base: format!("{scheme}://localhost:{port}"),
            stopped: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || serve(&listener, &serving));
        Ok(Self { port, scheme, shared, ca_pem_path, _directory: directory })
    }

    /// What `url` of a reference is.
    pub fn url(&self) -> String {
        let path = if self.shared.options.platform { "" } else { "/SecretServer" };
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    /// The authority that clients should trust; there is no such file where it speaks plain HTTP.
    pub fn ca_pem_path(&self) -> &Path {
        &self.ca_pem_path
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Puts a secret in the place of another.
    pub fn set(&self, id: u64, fields: Vec<Field>) {
        for field in &fields {
            match field {
                Field::Text("username", _) => {}
                Field::Text(slug, text) => register(&format!("the vault's {slug}"), text.as_bytes()),
                // The first bytes of a keytab are those of every keytab.
                Field::File(slug, bytes) => register(&format!("the vault's {slug}"), &bytes[bytes.len() / 2..]),
            }
        }
        self.state().secrets.insert(id, fields);
    }

    /// Changes what clients log in with.
    pub fn set_client_secret(&self, secret: &str) {
        register("the secret of the vault's client", secret.as_bytes());
        self.state().client_secret = secret.to_owned();
    }

    /// Tokens given so far are not taken any more.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Answers so, whatever is asked of paths with this end; none: as it should again.
    pub fn answer_instead(&self, instead: Option<(&str, u16, String)>) {
        self.state().instead = instead.map(|(path, status, body)| (path.to_owned(), status, body));
    }

    /// Every question so far: method and path.
    pub fn questions(&self) -> Vec<String> {
        self.state().questions.clone()
    }

    /// How many questions had a path with this end.
    pub fn asked(&self, end: &str) -> usize {
        self.state().questions.iter().filter(|question| question.ends_with(end)).count()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &str, path: &str, bearer: Option<&str>, body: &[u8]) -> Answer {
        let mut state = self.state();
        state.questions.push(format!("{method} {path}"));
        if let Some((end, status, text)) = &state.instead
            && path.ends_with(end.as_str())
        {
            return Answer(*status, "text/html", text.clone().into_bytes());
        }
        match (method, path, self.options.platform) {
            ("GET", "/SecretServer/api/v1/healthcheck", false) | ("GET", "/health", true) => {
                return Answer::json(200, &json!({ "Healthy": true }));
            }
            ("POST", "/SecretServer/oauth2/token", false)
            | ("POST", "/identity/api/oauth2/token/xpmplatform", true) => {
                return self.token(&mut state, body);
            }
            _ => {}
        }
        let now = Instant::now();
        if !state.tokens.iter().any(|(token, ends)| Some(token.as_str()) == bearer && now < *ends) {
            return Answer::refused(401, "Authentication failed or the token has expired");
        }
        if (method, path) == ("GET", "/vaultbroker/api/vaults") && self.options.platform {
            let url = format!("{}/SecretServer/", self.base);
            let vaults = json!([
                { "vaultId": "0", "isDefault": false, "isActive": true, "connection": { "url": "https://not.this.invalid" } },
                { "vaultId": "1", "isDefault": true, "isActive": true, "connection": { "url": url } },
            ]);
            return Answer::json(200, &json!({ "vaults": vaults }));
        }
        match path.strip_prefix("/SecretServer/api/v1/secrets/").filter(|_| method == "GET") {
            Some(rest) => give(&state.secrets, rest),
            None => Answer::refused(404, "no such page"),
        }
    }

    fn token(&self, state: &mut State, body: &[u8]) -> Answer {
        let form: BTreeMap<String, String> = String::from_utf8_lossy(body)
            .split('&')
            .filter_map(|pair| pair.split_once('=').map(|(name, value)| (decoded(name), decoded(value))))
            .collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let (id, secret) = match field("grant_type") {
            "password" if !self.options.platform => (field("username"), field("password")),
            "client_credentials" if !self.options.platform || field("scope") == "xpmheadless" => {
                (field("client_id"), field("client_secret"))
            }
            _ => return Answer::json(400, &json!({ "error": "unsupported_grant_type" })),
        };
        if (id, secret) != (CLIENT_ID, state.client_secret.as_str()) {
            return Answer::json(400, &json!({ "error": "invalid_client", "error_description": "Login failed." }));
        }
        state.given += 1;
        let token = format!("{TOKEN}{}", state.given);
        register("a token of the vault", token.as_bytes());
        state.tokens.push((token.clone(), Instant::now() + self.options.token_life));
        let life = self.options.token_life.as_secs();
        Answer::json(200, &json!({ "access_token": token, "token_type": "bearer", "expires_in": life }))
    }
}

/// A secret, or a file of it.
fn give(secrets: &BTreeMap<u64, Vec<Field>>, rest: &str) -> Answer {
    let (id, field) = match rest.split_once("/fields/") {
        Some((id, field)) => (id, Some(decoded(field))),
        None => (rest, None),
    };
    let Some((id, fields)) = id.parse::<u64>().ok().and_then(|id| secrets.get_key_value(&id)) else {
        return Answer::json(400, &json!({ "message": "Access Denied", "errorCode": "API_AccessDenied" }));
    };
    let Some(field) = field else { return Answer::json(200, &secret(*id, fields)) };
    for own in fields {
        match own {
            Field::File(slug, bytes) if *slug == field => {
                return Answer(200, "application/octet-stream", bytes.clone());
            }
            Field::Text(slug, text) if *slug == field => return Answer::json(200, &json!(text)),
            _ => {}
        }
    }
    Answer::refused(404, "no such field")
}

fn secret(id: u64, fields: &[Field]) -> Value {
    let item = |(number, field): (usize, &Field)| {
        let (slug, value, file, name) = match field {
            Field::Text(slug, text) => (slug, text.as_str(), Value::Null, Value::Null),
            Field::File(slug, _) => (slug, "*** Not Valid For Display ***", json!(100 + number), json!("attached.bin")),
        };
        json!({
            "itemId": 1_000 + number, "fieldId": 10 + number, "fileAttachmentId": file, "filename": name, "itemValue": value,
            "fieldName": slug.replace('-', " ").to_uppercase(), "slug": slug, "fieldDescription": "", "isFile": !file.is_null(),
            "isNotes": false, "isPassword": *slug == "password",
        })
    };
    json!({
        "id": id, "name": format!("secret {id}"), "secretTemplateId": 1, "secretTemplateName": "Password", "folderId": 1,
        "active": true, "checkedOut": false, "checkOutEnabled": false, "siteId": 1,
        "items": fields.iter().enumerate().map(item).collect::<Vec<_>>(),
    })
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that goes away in the middle is its own affair.
            let _ = converse(stream, &shared);
        });
    }
}

fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    match &shared.acceptor {
        Some(acceptor) => exchange(acceptor.accept(stream).map_err(io::Error::other)?, shared),
        None => exchange(stream, shared),
    }
}

fn exchange(mut stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if read.len() > MAX_HEAD_BYTES || !more(&mut stream, &mut read)? {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    while read.len() < end + length.min(MAX_HEAD_BYTES) {
        if !more(&mut stream, &mut read)? {
            return Ok(());
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
    let Answer(status, kind, body) = shared.answer(method, path, bearer.as_deref(), &read[end..]);
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.flush()
}

fn more(stream: &mut impl Read, read: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    let count = stream.read(&mut part)?;
    read.extend_from_slice(&part[..count]);
    Ok(count > 0)
}

/// Without the encoding of forms and paths.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
