//! From the first byte to the session: PRELOGIN, TLS, LOGIN7.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;

use super::connection::{ConnectionError, Message, Wire};
use super::options::{Encrypt, SendOn};
use super::response::{Context, write_changed_database};
use super::transport::{HandshakeStream, Transport};
use super::{Shared, kerberos};
use crate::engine::{Login, Session};
use crate::tds::login::{self, LoginRequest, feature};
use crate::tds::packet::{DEFAULT_PACKET_BYTES, PACKET_BYTES_ALLOWED};
use crate::tds::prelogin::{self, Encryption};
use crate::tds::token::{self, Done, DoneKind, EnvChange, command, done};
use crate::tds::{Features, packet_type};
use crate::values::{Collation, SqlError};

/// Longest message before a login, in bytes.
const MAX_LOGIN_BYTES: usize = 128 << 10;
/// First byte of a TLS handshake: a TDS 8.0 client.
const TLS_HANDSHAKE: u8 = 0x16;
/// TDS 7.3, the first that knows dates and rows with bitmaps.
const OLDEST_TDS_VERSION: u32 = 0x730a_0003;
const TDS_7_4: u32 = 0x7400_0004;
const TDS_8_0: u32 = 0x0800_0000;

/// A client that was let in.
pub struct Admitted {
    /// Its wire.
    pub wire: Wire,
    /// What was settled.
    pub context: Context,
    /// Its session.
    pub session: Box<dyn Session>,
}

/// Lets a client in; `None` when it was told why not.
pub async fn admit(stream: TcpStream, shared: &Shared) -> Result<Option<Admitted>, ConnectionError> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0] == TLS_HANDSHAKE {
        return strict(stream, shared).await;
    }
    if shared.options.encrypt == Encrypt::Strict {
        return Err(ConnectionError::Protocol("only TDS 8.0 is taken, which begins with TLS"));
    }
    let mut wire = Wire::new(Transport::Plain(stream));
    let client = prelogin::parse(&expect(&mut wire, packet_type::PRELOGIN).await?.payload)?;
    let answer = negotiate(client, shared.options.encrypt);
    wire.respond(&prelogin::response(answer), DEFAULT_PACKET_BYTES).await?;
    match (client, answer) {
        (Encryption::NotSupported, Encryption::Required) => {
            // The client cannot do what is demanded. MS-TDS has it end the connection.
            Ok(None)
        }
        (_, Encryption::NotSupported) => login(wire, shared, false).await,
        (_, Encryption::Off) => {
            let wire = wrap(wire, shared).await?;
            login(wire, shared, true).await
        }
        (_, Encryption::On | Encryption::Required) => {
            let wire = wrap(wire, shared).await?;
            login(wire, shared, false).await
        }
    }
}

/// The server's answer to what the client says of encryption (MS-TDS 2.2.6.5).
fn negotiate(client: Encryption, server: Encrypt) -> Encryption {
    match (server, client) {
        (Encrypt::Off, _) => Encryption::NotSupported,
        (Encrypt::On, Encryption::NotSupported) => Encryption::NotSupported,
        (Encrypt::On, Encryption::Off) => Encryption::Off,
        (Encrypt::On, Encryption::On | Encryption::Required) => Encryption::On,
        (Encrypt::Required | Encrypt::Strict, Encryption::On | Encryption::Required) => Encryption::On,
        (Encrypt::Required | Encrypt::Strict, Encryption::Off | Encryption::NotSupported) => Encryption::Required,
    }
}

/// TLS with its handshake in packets.
async fn wrap(wire: Wire, shared: &Shared) -> Result<Wire, ConnectionError> {
    let Transport::Plain(tcp) = wire.transport else {
        return Err(ConnectionError::Protocol("TLS within TLS"));
    };
    let acceptor = shared.tls.wrapped.as_ref().ok_or(ConnectionError::Protocol("no certificate"))?;
    let mut tls = acceptor.accept(HandshakeStream::wrapped(tcp)).await?;
    tls.get_mut().get_mut().get_mut().end_wrapping();
    Ok(Wire::new(Transport::Tls(Box::new(tls))))
}

/// TDS 8.0: TLS first, then PRELOGIN and LOGIN7 inside.
async fn strict(stream: TcpStream, shared: &Shared) -> Result<Option<Admitted>, ConnectionError> {
    let acceptor = shared.tls.strict.as_ref().ok_or(ConnectionError::Protocol("no certificate"))?;
    let tls: TlsStream<HandshakeStream> = acceptor.accept(HandshakeStream::bare(stream)).await?;
    let mut wire = Wire::new(Transport::Tls(Box::new(tls)));
    prelogin::parse(&expect(&mut wire, packet_type::PRELOGIN).await?.payload)?;
    wire.respond(&prelogin::response(Encryption::On), DEFAULT_PACKET_BYTES).await?;
    login(wire, shared, false).await
}

async fn expect(wire: &mut Wire, packet_type: u8) -> Result<Message, ConnectionError> {
    let message = wire.message(MAX_LOGIN_BYTES).await?;
    let message = message.ok_or(ConnectionError::Protocol("the client left during the handshake"))?;
    if message.packet_type != packet_type {
        return Err(ConnectionError::Protocol("a message out of turn"));
    }
    Ok(message)
}

async fn login(mut wire: Wire, shared: &Shared, then_plain: bool) -> Result<Option<Admitted>, ConnectionError> {
    let message = expect(&mut wire, packet_type::LOGIN).await?;
    if then_plain {
        wire = Wire::new(wire.transport.leave_tls());
    }
    let mut request = login::parse(&message.payload)?;
    if request.tds_version != TDS_8_0 && request.tds_version < OLDEST_TDS_VERSION {
        return Err(ConnectionError::Protocol("a client older than TDS 7.3"));
    }
    let proved = prove(&mut wire, &mut request, shared).await?;
    match open(&request, proved, shared).await? {
        Ok(_) if let Some(to) = sent_on(&request, shared) => {
            shared.sent_on.fetch_add(1, Ordering::Relaxed);
            wire.respond(&routing(&request, to), DEFAULT_PACKET_BYTES).await?;
            // The client closes the connection (MS-TDS, 3.2.5.4.2).
            while wire.message(MAX_LOGIN_BYTES).await?.is_some() {}
            Ok(None)
        }
        Ok(session) => {
            let context = settle(&request, shared);
            let tokens = welcome(&request, &context, &session.database());
            wire.respond(&tokens, DEFAULT_PACKET_BYTES).await?;
            Ok(Some(Admitted { wire, context, session }))
        }
        Err(errors) => {
            let mut tokens = Vec::new();
            for error in &errors {
                token::error(&mut tokens, error, &shared.options.server_name);
            }
            Done { kind: DoneKind::Done, status: done::ERROR, command: command::NONE, rows: 0 }.write(&mut tokens);
            wire.respond(&tokens, DEFAULT_PACKET_BYTES).await?;
            Ok(None)
        }
    }
}

/// Where this login is to be sent on to.
fn sent_on<'s>(request: &LoginRequest, shared: &'s Shared) -> Option<&'s SendOn> {
    shared.options.send_on.as_ref().filter(|to| request.read_only || !to.only_readers)
}

/// The answer to a login that another server is to serve: acknowledged, and with the other's address (MS-TDS 2.2.7.9, type 20).
fn routing(request: &LoginRequest, to: &SendOn) -> Vec<u8> {
    let mut tokens = Vec::new();
    acknowledge(&mut tokens, request);
    token::env_change(&mut tokens, &EnvChange::Routing { host: &to.host, port: to.port });
    Done { kind: DoneKind::Done, status: 0, command: command::NONE, rows: 0 }.write(&mut tokens);
    tokens
}

fn acknowledge(tokens: &mut Vec<u8>, request: &LoginRequest) {
    let version = if request.tds_version == TDS_8_0 { TDS_8_0 } else { TDS_7_4.min(request.tds_version) };
    token::login_ack(tokens, version);
}

/// Checks a ticket: then the request's user is who it says, and the client was shown that the server has the service's key.
async fn prove(wire: &mut Wire, request: &mut LoginRequest, shared: &Shared) -> Result<bool, ConnectionError> {
    let (true, Some(keytab)) = (request.integrated, shared.options.keytab.clone()) else { return Ok(false) };
    let token = std::mem::take(&mut request.sspi);
    let accepted = tokio::task::spawn_blocking(move || kerberos::accept(&keytab, &token)).await;
    match accepted.map_err(|_| ConnectionError::Engine)? {
        Ok(accepted) if shared.options.extended_protection && !accepted.login.channel_bound => {
            tracing::info!(principal = accepted.login.principal, "a ticket that is bound to no channel was refused");
            Ok(false)
        }
        Ok(accepted) => {
            request.user = accepted.login.user();
            let known = &shared.options.kerberos_logins;
            if !known.is_empty() && !known.contains(&accepted.login.principal) {
                // Known to the domain, unknown to the server.
                return Ok(true);
            }
            shared.kerberos_logins.lock().unwrap_or_else(PoisonError::into_inner).push(accepted.login);
            let mut tokens = Vec::new();
            token::sspi(&mut tokens, &accepted.reply);
            wire.respond(&tokens, DEFAULT_PACKET_BYTES).await?;
            request.integrated = false;
            Ok(true)
        }
        Err(error) => {
            tracing::info!(%error, "a ticket was refused");
            Ok(false)
        }
    }
}

/// Checks who it is and opens the session.
async fn open(
    request: &LoginRequest,
    proved: bool,
    shared: &Shared,
) -> Result<Result<Box<dyn Session>, Vec<SqlError>>, ConnectionError> {
    if request.integrated && proved {
        return Ok(Err(vec![login_failed(&request.user)]));
    }
    if request.integrated {
        let text =
            "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.";
        return Ok(Err(vec![SqlError::new(18452, text).with_class(14)]));
    }
    let known_user = request.user.eq_ignore_ascii_case(&shared.options.user);
    let password = shared.password.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let right_password = login::same_secret(&request.password, &password);
    if !proved {
        let mut logins = shared.password_logins.lock().unwrap_or_else(PoisonError::into_inner);
        if !(known_user & right_password) {
            logins.refused += 1;
            return Ok(Err(vec![login_failed(&request.user)]));
        }
        logins.admitted += 1;
    }
    let login = Login {
        user: request.user.clone(),
        database: request.database.clone(),
        application: request.application.clone(),
        host: request.host.clone(),
        read_only: request.read_only,
    };
    let engine = Arc::clone(&shared.engine);
    let session = tokio::task::spawn_blocking(move || engine.session(&login)).await;
    let session = session.map_err(|_| ConnectionError::Engine)?;
    Ok(session.map_err(|error| {
        // SQL Server follows an unknown database with the failed login itself.
        let follow = (error.number == 4060).then(|| login_failed(&request.user));
        std::iter::once(error).chain(follow).collect()
    }))
}

fn login_failed(user: &str) -> SqlError {
    SqlError::new(18456, format!("Login failed for user '{user}'.")).with_class(14)
}

fn settle(request: &LoginRequest, shared: &Shared) -> Context {
    let wanted = usize::try_from(request.packet_bytes).unwrap_or(0);
    let packet_bytes = match wanted {
        0 => DEFAULT_PACKET_BYTES,
        wanted => wanted.clamp(*PACKET_BYTES_ALLOWED.start(), *PACKET_BYTES_ALLOWED.end()),
    };
    Context {
        server_name: Arc::from(shared.options.server_name.as_str()),
        encoding: shared.options.encoding,
        features: Features { json: request.features.iter().any(|(id, _)| *id == feature::JSON) },
        packet_bytes,
        templates: Arc::clone(&shared.templates),
    }
}

/// The tokens that follow a login, in SQL Server's order.
fn welcome(request: &LoginRequest, context: &Context, database: &str) -> Vec<u8> {
    let mut tokens = Vec::new();
    write_changed_database(&mut tokens, database, "master", &context.server_name);
    token::env_change(&mut tokens, &EnvChange::Collation(Collation::Latin1));
    token::env_change(&mut tokens, &EnvChange::Language("us_english", ""));
    let info = SqlError::new(5703, "Changed language setting to us_english.").with_class(0);
    token::info(&mut tokens, &info, &context.server_name);
    acknowledge(&mut tokens, request);
    let acknowledged: Vec<(u8, Vec<u8>)> = request
        .features
        .iter()
        .filter(|(id, _)| matches!(*id, feature::UTF8 | feature::JSON))
        .map(|(id, _)| (*id, vec![1]))
        .collect();
    if !acknowledged.is_empty() {
        token::feature_ext_ack(&mut tokens, &acknowledged);
    }
    token::env_change(&mut tokens, &EnvChange::PacketBytes(context.packet_bytes, DEFAULT_PACKET_BYTES));
    Done { kind: DoneKind::Done, status: 0, command: command::NONE, rows: 0 }.write(&mut tokens);
    tokens
}
