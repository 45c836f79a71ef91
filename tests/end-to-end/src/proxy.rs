//! A TCP proxy in front of a server of a test, that breaks connections when a rule says so.
//!
//! Rules are about bytes: where the connection is encrypted, a rule counts them, elsewhere it may look for a text.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a connection carries at one time at the most.
const CHUNK_BYTES: usize = 16 * 1024;
/// Texts of rules are shorter.
const LONGEST_TEXT_BYTES: usize = 200;

/// A way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// When a rule is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// So many bytes have gone this way since the rule was set, over all connections.
    Bytes(Way, u64),
    /// A client sends `text`, on a connection on which it has sent `after` before; an empty `after` is always sent.
    Sent {
        /// What comes before.
        after: &'static str,
        /// The text.
        text: &'static str,
    },
    /// The server answers to that.
    Answered {
        /// What comes before.
        after: &'static str,
        /// The text.
        text: &'static str,
    },
}

/// What a rule does, once.
pub enum Effect {
    /// The connection ends: what was about to go on is lost, and all later connections are refused for this time.
    Cut {
        /// By a reset, as of a host that went away; otherwise by an orderly end.
        reset: bool,
        /// How long nobody can connect.
        away: Duration,
    },
    /// The connection carries nothing for this time.
    Stall(Duration),
    /// From now on, each chunk of the connection waits so long.
    Slow(Duration),
    /// Something is called, and the bytes go on.
    Note(Box<dyn FnMut() + Send>),
    /// Something is called, and the connection ends.
    End(Box<dyn FnMut() + Send>),
}

/// A rule, until it is met.
struct Rule {
    when: When,
    effect: Effect,
    /// Bytes that went its way so far.
    counted: u64,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    to_server: AtomicU64,
    to_client: AtomicU64,
    met: AtomicU64,
    refused_until: Mutex<Option<Instant>>,
    is_over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener on 127.0.0.1 that passes all connections on to one server.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of the server at this port of 127.0.0.1.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if kept.is_over.load(Ordering::Acquire) {
                    return;
                }
                if lock(&kept.refused_until).is_some_and(|until| Instant::now() < until) {
                    end(&client, true);
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                carry(client, upstream, &kept);
            }
        });
        Self { port, shared }
    }

    /// Its own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets a rule. It counts once, on the first connection that meets it.
    pub fn set(&self, when: When, effect: Effect) {
        lock(&self.shared.rules).push(Rule { when, effect, counted: 0 });
    }

    /// Forgets all rules, counts bytes and rules from 0 again, and lets everybody connect.
    pub fn reset(&self) {
        lock(&self.shared.rules).clear();
        *lock(&self.shared.refused_until) = None;
        for count in [&self.shared.to_server, &self.shared.to_client, &self.shared.met] {
            count.store(0, Ordering::Release);
        }
    }

    /// Bytes that went this way since the last [`Self::reset`].
    pub fn bytes(&self, way: Way) -> u64 {
        self.shared.count(way).load(Ordering::Acquire)
    }

    /// How many rules were met since the last [`Self::reset`].
    pub fn met(&self) -> u64 {
        self.shared.met.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // The listener waits for one more client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn count(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }
}

/// What both ways of a connection know.
#[derive(Default)]
struct Said {
    /// The end of what the client has sent, so that a text may lie in two chunks, and where in its stream that begins.
    tail: Vec<u8>,
    tail_at: usize,
    /// Texts that come before others, and where in the stream they end.
    before: Vec<(&'static str, usize)>,
    /// Texts that were sent.
    asked: Vec<&'static str>,
    /// The connection ends by a reset.
    is_reset: bool,
}

/// Carries both ways of a connection, each on a thread.
fn carry(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let said = Arc::new(Mutex::new(Said::default()));
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    let ways = [(Way::ToServer, client, server), (Way::ToClient, server_too, client_too)];
    for (way, from, to) in ways {
        let (shared, said) = (Arc::clone(shared), Arc::clone(&said));
        thread::spawn(move || {
            pass_on(way, &from, &to, &shared, &said);
            let reset = lock(&said).is_reset;
            end(&to, reset);
            end(&from, reset);
        });
    }
}

/// Ends both directions of a socket.
fn end(socket: &TcpStream, reset: bool) {
    if reset {
        // The other side sees a reset when the last handle goes: whoever reads on this one has to let go of it.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Read);
    } else {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

fn pass_on(way: Way, mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, said: &Mutex<Said>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut pause = None;
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let bytes = &chunk[..count];
        shared.count(way).fetch_add(count as u64, Ordering::AcqRel);
        let effects = met(way, bytes, shared, &mut lock(said));
        for effect in effects {
            match effect {
                Effect::Cut { reset, away } => {
                    *lock(&shared.refused_until) = (!away.is_zero()).then(|| Instant::now() + away);
                    lock(said).is_reset = reset;
                    return;
                }
                Effect::Stall(time) => thread::sleep(time),
                Effect::Slow(time) => pause = Some(time),
                Effect::Note(mut call) => call(),
                Effect::End(mut call) => {
                    call();
                    lock(said).is_reset = true;
                    return;
                }
            }
        }
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
}

/// The effects of the rules that a chunk meets. They are rules no more.
fn met(way: Way, bytes: &[u8], shared: &Shared, said: &mut Said) -> Vec<Effect> {
    let mut rules = lock(&shared.rules);
    if rules.is_empty() {
        return Vec::new();
    }
    if way == Way::ToServer {
        said.hear(bytes, &rules);
    }
    let mut effects = Vec::new();
    let mut at = 0;
    while at < rules.len() {
        if rules[at].is_met(way, bytes.len() as u64, said) {
            effects.push(rules.remove(at).effect);
            shared.met.fetch_add(1, Ordering::AcqRel);
        } else {
            at += 1;
        }
    }
    effects
}

impl Said {
    /// Looks for the texts of all rules in what the client has sent.
    fn hear(&mut self, bytes: &[u8], rules: &[Rule]) {
        self.tail.extend_from_slice(bytes);
        for rule in rules {
            let (When::Sent { after, text } | When::Answered { after, text }) = &rule.when else { continue };
            if let Some(from) = self.end_of(after)
                && position(&self.tail[from.saturating_sub(self.tail_at)..], text).is_some()
            {
                self.asked.push(text);
            }
        }
        let passed = self.tail.len().saturating_sub(LONGEST_TEXT_BYTES);
        self.tail.drain(..passed);
        self.tail_at += passed;
    }

    /// Where in the stream a text ends that comes before another.
    fn end_of(&mut self, after: &'static str) -> Option<usize> {
        if after.is_empty() {
            return Some(0);
        }
        let known = self.before.iter().find(|(known, _)| *known == after).map(|(_, end)| *end);
        known.or_else(|| {
            let end = self.tail_at + position(&self.tail, after)? + after.len();
            self.before.push((after, end));
            Some(end)
        })
    }
}

fn position(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

impl Rule {
    fn is_met(&mut self, way: Way, count: u64, said: &Said) -> bool {
        match &self.when {
            When::Bytes(of, bytes) => {
                if *of == way {
                    self.counted += count;
                }
                *of == way && self.counted >= *bytes
            }
            When::Sent { text, .. } => way == Way::ToServer && said.asked.contains(text),
            When::Answered { text, .. } => way == Way::ToClient && said.asked.contains(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each chunk with itself, and a proxy before it.
    fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut chunk = [0; 100];
                    while let Ok(count @ 1..) = client.read(&mut chunk) {
                        let _ = client.write_all(&chunk[..count]);
                    }
                });
            }
        });
        Proxy::before(port)
    }

    /// What the server says to each text, on one connection; `-` from its end on.
    fn said(proxy: &Proxy, texts: &[&str]) -> Vec<String> {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let mut answer = |text: &&str| {
            client.write_all(text.as_bytes()).ok()?;
            let mut chunk = [0; 100];
            let count = client.read(&mut chunk).ok().filter(|count| *count > 0)?;
            Some(String::from_utf8(chunk[..count].to_vec()).unwrap())
        };
        texts.iter().map(|text| answer(text).unwrap_or_else(|| "-".to_owned())).collect()
    }

    fn cut(away: Duration) -> Effect {
        Effect::Cut { reset: true, away }
    }

    #[test]
    fn rule_is_met_once_by_a_text_that_comes_behind_another() {
        let proxy = echo();
        let when = || When::Sent { after: "state", text: "COMMIT" };
        proxy.set(when(), cut(Duration::ZERO));
        assert_eq!(said(&proxy, &["COMMIT", "a"]), ["COMMIT", "a"], "nothing was before it");
        assert_eq!(said(&proxy, &["COMMIT sta", "te", "COM", "MIT", "a"]), ["COMMIT sta", "te", "COM", "-", "-"]);
        assert_eq!(said(&proxy, &["state COMMIT"]), ["state COMMIT"]);
        assert_eq!(proxy.met(), 1);
        proxy.reset();
        proxy.set(When::Answered { after: "", text: "COMMIT" }, cut(Duration::ZERO));
        assert_eq!(said(&proxy, &["a", "COMMIT", "a"]), ["a", "-", "-"]);
    }

    #[test]
    fn bytes_are_counted_over_all_connections_and_a_server_stays_away() {
        let proxy = echo();
        proxy.set(When::Bytes(Way::ToClient, 5), cut(Duration::from_millis(300)));
        assert_eq!(said(&proxy, &["123"]), ["123"]);
        assert_eq!(said(&proxy, &["4", "5", "6"]), ["4", "-", "-"]);
        assert_eq!(said(&proxy, &["7"]), ["-"]);
        assert_eq!((proxy.bytes(Way::ToServer), proxy.bytes(Way::ToClient)), (5, 5));
        thread::sleep(Duration::from_millis(350));
        assert_eq!(said(&proxy, &["8"]), ["8"]);
    }
}
