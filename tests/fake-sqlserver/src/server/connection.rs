//! One client, from its first byte to its last.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Shared;
use super::handshake::{self, Admitted};
use super::response::{Outcome, Piece, Response, Scope};
use super::transport::Transport;
use super::work::{SessionState, Work};
use crate::tds::packet::{HEADER_BYTES, Header, PacketWriter, status};
use crate::tds::token::{Done, DoneKind, command, done};
use crate::tds::{Malformed, packet_type};

/// A client that has not logged in by then is sent away.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest message a client may send, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Pieces of a response that wait for a slow client.
const RESPONSE_QUEUE: usize = 4;

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The network.
    #[error("i/o: {0}")]
    Io(#[from] io::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] native_tls::Error),
    /// What the client sent is not TDS.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is, but not now or not here.
    #[error("protocol: {0}")]
    Protocol(&'static str),
    /// The client took too long to log in.
    #[error("no login within {} s", LOGIN_TIMEOUT.as_secs())]
    LoginTimeout,
    /// The engine's thread ended without an answer.
    #[error("the engine panicked")]
    Engine,
}

/// A whole message of a client.
#[derive(Debug)]
pub struct Message {
    /// Type of its packets.
    pub packet_type: u8,
    /// Status bits of its first packet.
    pub status: u8,
    /// The bytes of all packets, without headers.
    pub payload: Vec<u8>,
}

/// Reads and writes messages.
pub struct Wire {
    /// The bytes' way.
    pub transport: Transport,
    buffer: BytesMut,
}

impl Wire {
    /// Begins on a transport.
    pub fn new(transport: Transport) -> Self {
        Self { transport, buffer: BytesMut::with_capacity(8192) }
    }

    /// The next packet; `None` at a clean end. May be dropped and called again without loss.
    async fn packet(&mut self) -> Result<Option<(Header, BytesMut)>, ConnectionError> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() {
                let header =
                    Header::parse(*header).ok_or(ConnectionError::Protocol("a packet shorter than its header"))?;
                let length = usize::from(header.length);
                if self.buffer.len() >= length {
                    let mut packet = self.buffer.split_to(length);
                    return Ok(Some((header, packet.split_off(HEADER_BYTES))));
                }
            }
            if self.transport.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(ConnectionError::Protocol("the connection ended within a packet"));
            }
        }
    }

    /// The next message of at most `max_bytes`; `None` at a clean end. A message its sender gave up is skipped.
    pub async fn message(&mut self, max_bytes: usize) -> Result<Option<Message>, ConnectionError> {
        let mut message: Option<Message> = None;
        loop {
            let Some((header, payload)) = self.packet().await? else {
                return match message {
                    None => Ok(None),
                    Some(_) => Err(ConnectionError::Protocol("the connection ended within a message")),
                };
            };
            let message_so_far = message.get_or_insert_with(|| Message {
                packet_type: header.packet_type,
                status: header.status,
                payload: Vec::new(),
            });
            if message_so_far.packet_type != header.packet_type {
                return Err(ConnectionError::Protocol("packets of two types in one message"));
            }
            if message_so_far.payload.len() + payload.len() > max_bytes {
                return Err(ConnectionError::Protocol("a message above the limit"));
            }
            message_so_far.payload.extend_from_slice(&payload);
            if header.status & status::END_OF_MESSAGE != 0 {
                if header.status & IGNORE != 0 {
                    message = None;
                    continue;
                }
                return Ok(message);
            }
        }
    }

    /// Sends a message of a response in packets of this size.
    pub async fn respond(&mut self, tokens: &[u8], packet_bytes: usize) -> Result<(), ConnectionError> {
        let mut writer = PacketWriter::new(packet_bytes);
        writer.put(tokens);
        self.send(&writer.finish()).await
    }

    async fn send(&mut self, packets: &[u8]) -> Result<(), ConnectionError> {
        self.transport.write_all(packets).await?;
        self.transport.flush().await?;
        Ok(())
    }
}

/// Header bit: the client gave the message up; it is to be ignored.
const IGNORE: u8 = 0x02;

/// Serves a client until it leaves.
pub async fn serve(stream: TcpStream, shared: Arc<Shared>) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let admitted = tokio::time::timeout(LOGIN_TIMEOUT, handshake::admit(stream, &shared))
        .await
        .map_err(|_elapsed| ConnectionError::LoginTimeout)??;
    let Some(Admitted { mut wire, context, session }) = admitted else {
        return Ok(());
    };
    let state = Arc::new(Mutex::new(SessionState::new(session)));
    while let Some(message) = wire.message(MAX_MESSAGE_BYTES).await? {
        let (work, scope) = match message.packet_type {
            packet_type::BATCH => (Work::batch(&message.payload)?, Scope::Batch),
            packet_type::RPC => (Work::calls(&message.payload)?, Scope::Call),
            packet_type::TRANSACTION => (Work::transaction(&message.payload)?, Scope::Batch),
            // Some clients end a login with tickets by a message of nothing, where nothing is left to be said.
            packet_type::LOGIN | packet_type::SSPI if message.payload.is_empty() => continue,
            packet_type::ATTENTION => {
                answer_attention(&mut wire, context.packet_bytes).await?;
                continue;
            }
            _ => return Err(ConnectionError::Protocol("a packet type that has no place here")),
        };
        let scope = if matches!(work, Work::Refused(_)) { Scope::Batch } else { scope };
        let reset = message.status & (status::RESET_CONNECTION | status::RESET_CONNECTION_KEEP_TRANSACTION) != 0;
        let outcome = run(&mut wire, &state, &context, Job { work, scope, reset }).await?;
        if outcome.fatal {
            return Ok(());
        }
    }
    Ok(())
}

struct Job {
    work: Work,
    scope: Scope,
    reset: bool,
}

/// Runs one request on a blocking thread and sends what it answers, with an eye on the client's attention.
async fn run(
    wire: &mut Wire,
    state: &Arc<Mutex<SessionState>>,
    context: &super::response::Context,
    job: Job,
) -> Result<Outcome, ConnectionError> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (sender, mut pieces) = mpsc::channel::<Piece>(RESPONSE_QUEUE);
    let task = {
        let (state, context, cancelled) = (Arc::clone(state), context.clone(), Arc::clone(&cancelled));
        tokio::task::spawn_blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if job.reset {
                state.reset();
            }
            let database = state.session.database();
            let (mut runner, transaction) = state.split();
            let mut send = |piece: Piece| sender.blocking_send(piece).is_ok();
            let mut response = Response::new(&context, job.scope, database, transaction, &cancelled, &mut send);
            if job.reset {
                response.reset_done();
            }
            runner.run(job.work, &mut response);
            response.finish()
        })
    };
    let mut attention = false;
    loop {
        tokio::select! {
            biased;
            packet = wire.packet() => match packet {
                Ok(Some((header, _))) if header.packet_type == packet_type::ATTENTION => {
                    attention = true;
                    cancelled.store(true, Ordering::Release);
                }
                Ok(Some(_)) => {
                    cancelled.store(true, Ordering::Release);
                    return Err(ConnectionError::Protocol("a request before the last one was answered"));
                }
                Ok(None) => {
                    cancelled.store(true, Ordering::Release);
                    return Ok(Outcome { fatal: true, ..Outcome::default() });
                }
                Err(error) => {
                    cancelled.store(true, Ordering::Release);
                    return Err(error);
                }
            },
            piece = pieces.recv() => match piece {
                Some(Piece::Packets(packets)) => wire.send(&packets).await?,
                Some(Piece::Last(packets)) => {
                    wire.send(&packets).await?;
                    // The client may send its next request from now on.
                    break;
                }
                None => break,
            },
        }
    }
    let outcome = task.await.map_err(|_| ConnectionError::Engine)?;
    if attention && !outcome.attention_answered {
        answer_attention(wire, context.packet_bytes).await?;
    }
    Ok(outcome)
}

async fn answer_attention(wire: &mut Wire, packet_bytes: usize) -> Result<(), ConnectionError> {
    let mut tokens = Vec::new();
    Done { kind: DoneKind::Done, status: done::ATTENTION, command: command::NONE, rows: 0 }.write(&mut tokens);
    wire.respond(&tokens, packet_bytes).await
}
