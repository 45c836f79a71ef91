//! Lines to the server and back.

use std::sync::Arc;
use std::time::Duration;

use datakit_model::{Credential, Secret};
use datakit_net::Traffic;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::error::LogbookError;

/// The longest wait for a connection, and for a line.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest line, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// The line after the last row.
const END: &str = ".";

/// A server, and what opens it.
#[derive(Debug)]
pub(crate) struct Server {
    pub host: String,
    pub port: u16,
    pub password: Option<Credential>,
}

impl Server {
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Opens a connection and closes it.
    pub(crate) async fn reach(&self) -> Result<(), LogbookError> {
        self.connect().await.map(drop)
    }

    /// A session that may ask.
    pub(crate) async fn log_in(&self) -> Result<Session, LogbookError> {
        let Some(password) = &self.password else { return self.session().await };
        let is_refusal = |error: &LogbookError| matches!(error, LogbookError::Login { .. });
        password.log_in(|secret| self.log_in_with(secret), is_refusal).await
    }

    async fn log_in_with(&self, password: Arc<Secret>) -> Result<Session, LogbookError> {
        let mut session = self.session().await?;
        session.ask(&["LOGIN ", password.expose()]).await.map_err(|error| match error {
            LogbookError::Refused { address, reason } => LogbookError::Login { address, reason },
            other => other,
        })?;
        Ok(session)
    }

    async fn session(&self) -> Result<Session, LogbookError> {
        Ok(Session { address: self.address(), lines: BufReader::new(self.connect().await?), has_ended: false })
    }

    async fn connect(&self) -> Result<TcpStream, LogbookError> {
        let connected = datakit_net::connect(&self.host, self.port, Traffic::Asks, TIMEOUT).await;
        connected.map_err(|(_, reason)| LogbookError::Unreachable { address: self.address(), reason })
    }
}

/// A connection that asks one question after the other.
pub(crate) struct Session {
    address: String,
    lines: BufReader<TcpStream>,
    /// The last row was read.
    has_ended: bool,
}

impl Session {
    /// Asks by a line of these parts, and reads whether the server will answer.
    pub(crate) async fn ask(&mut self, question: &[&str]) -> Result<(), LogbookError> {
        for part in question.iter().chain(&["\n"]) {
            let sent = self.lines.write_all(part.as_bytes()).await;
            sent.map_err(|error| self.closed(error.to_string()))?;
        }
        self.has_ended = false;
        let line = self.line().await?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("OK", "") => Ok(()),
            ("NO", reason) => Err(LogbookError::Refused { address: self.address.clone(), reason: reason.to_owned() }),
            _ => Err(self.invalid("it begins with neither OK nor NO")),
        }
    }

    /// The next row of the answer; none after the last.
    pub(crate) async fn row(&mut self) -> Result<Option<String>, LogbookError> {
        if self.has_ended {
            return Ok(None);
        }
        let line = self.line().await?;
        self.has_ended = line == END;
        Ok((!self.has_ended).then_some(line))
    }

    /// A row that does not fit its columns.
    pub(crate) fn unreadable(&self, reason: String) -> LogbookError {
        LogbookError::Row { address: self.address.clone(), reason }
    }

    fn invalid(&self, reason: &str) -> LogbookError {
        LogbookError::Answer { address: self.address.clone(), reason: reason.to_owned() }
    }

    async fn line(&mut self) -> Result<String, LogbookError> {
        let mut line = String::new();
        let mut bounded = (&mut self.lines).take(MAX_LINE_BYTES);
        match tokio::time::timeout(TIMEOUT, bounded.read_line(&mut line)).await {
            Err(_) => Err(self.closed(format!("no answer within {} s", TIMEOUT.as_secs()))),
            Ok(Err(error)) => Err(self.closed(error.to_string())),
            Ok(Ok(_)) if line.ends_with('\n') => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
            Ok(Ok(read)) if read as u64 == MAX_LINE_BYTES => Err(self.invalid("a line is too long")),
            Ok(Ok(_)) => Err(self.closed("the server closed the connection".to_owned())),
        }
    }

    fn closed(&self, reason: String) -> LogbookError {
        LogbookError::Unreachable { address: self.address.clone(), reason }
    }
}
