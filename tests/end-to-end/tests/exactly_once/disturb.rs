//! A run that is disturbed: killed at some moment, or cut off from its source or its sink.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_tests::{Effect, Output, Proxy, Random, Started, Way, When};
use rustix::process::{Pid, Signal, kill_process};

use super::kinds::{Kind, Sink};
use super::lab::{Lab, STATE_WRITTEN, Seen};

/// Whatever happens to it, a run ends in this time.
const LONGEST_RUN: Duration = Duration::from_secs(100);

/// A connection of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Source,
    Sink,
}

/// Something that a run leaves in the folder of a Delta table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// A data file, whole or begun.
    Rows,
    /// The document of the state, which nothing names yet.
    Document,
    /// The entry of the log: the commit.
    Entry,
}

/// A moment of a commit to a Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtCommit {
    /// The server has not got the COMMIT.
    Before,
    /// The server has committed, and the host does not know it yet.
    Unanswered,
    /// So long behind the answer.
    Behind(Duration),
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// By a reset.
    Reset,
    /// By an orderly end in the middle of something.
    End,
    /// The server is away for this time.
    Away(Duration),
    /// Nothing comes for this time, and then all goes on.
    Stall(Duration),
    /// Each packet from then on waits for this time.
    Slow(Duration),
}

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Disturbance {
    KillAfter(Duration),
    /// When the connection has carried so many bytes, of those that carry rows.
    KillAtBytes(Line, u64),
    KillAtFile(Left, Duration),
    KillAtCommit(AtCommit),
    BreakAtBytes(Line, u64, Break),
    BreakAtCommit(AtCommit, Break),
}

/// In what a run was when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Planning,
    Reading,
    Writing,
    Committing,
    Confirming,
}

/// How long a run lasts, and what its connections carry, when nobody disturbs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    time: Duration,
    from_source: u64,
    to_sink: u64,
}

/// Before any run was measured.
pub(crate) const FIRST_GUESS: Measure =
    Measure { time: Duration::from_millis(1200), from_source: 60_000, to_sink: 60_000 };

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) output: Output,
    /// Where it was when it was killed; the commit has to be looked for. None: it ended by itself.
    pub(crate) killed: Option<Phase>,
    /// Rules of the proxies that it met.
    pub(crate) broken: u64,
    pub(crate) measure: Measure,
}

impl Disturbance {
    /// A kill, spread over an undisturbed run: half of them by the clock, the others where something is about to happen.
    pub(crate) fn kill(kind: Kind, undisturbed: &Measure, random: &mut Random) -> Self {
        let part = |of: u64, random: &mut Random| (of as f64 * random.fraction()) as u64;
        let pause = Duration::from_micros(random.below(3_000));
        let by_clock = Self::KillAfter(undisturbed.time.mul_f64(random.fraction() * 1.02));
        match (random.below(8), kind.sink) {
            (0..=3, _) => by_clock,
            (4, _) => Self::KillAtBytes(Line::Source, part(undisturbed.from_source, random)),
            (5, Sink::Postgres) => Self::KillAtBytes(Line::Sink, part(undisturbed.to_sink, random)),
            (5, Sink::Delta) => Self::KillAtFile(Left::Rows, pause * 10),
            (6, Sink::Delta) => Self::KillAtFile(Left::Document, pause),
            (_, Sink::Delta) => Self::KillAtFile(Left::Entry, pause * 20),
            (6, Sink::Postgres) if random.one_in(2) => Self::KillAtCommit(AtCommit::Before),
            (6, Sink::Postgres) => Self::KillAtCommit(AtCommit::Unanswered),
            (_, Sink::Postgres) => Self::KillAtCommit(AtCommit::Behind(pause * 20)),
        }
    }

    /// A break of a connection, at a count of bytes or at the commit.
    pub(crate) fn cut(kind: Kind, undisturbed: &Measure, random: &mut Random) -> Self {
        let time = Duration::from_millis(50 + random.below(500));
        let how = match random.below(6) {
            0 | 1 => Break::Reset,
            2 => Break::End,
            3 => Break::Away(time),
            4 => Break::Stall(time),
            _ => Break::Slow(Duration::from_millis(1 + random.below(10))),
        };
        let part = |of: u64, random: &mut Random| (of as f64 * random.fraction()) as u64;
        match (random.below(4), kind.sink) {
            (0 | 1, _) | (_, Sink::Delta) => {
                Self::BreakAtBytes(Line::Source, part(undisturbed.from_source, random), how)
            }
            (2, Sink::Postgres) => Self::BreakAtBytes(Line::Sink, part(undisturbed.to_sink, random), how),
            (_, Sink::Postgres) if random.one_in(2) => Self::BreakAtCommit(AtCommit::Before, how),
            (_, Sink::Postgres) => Self::BreakAtCommit(AtCommit::Unanswered, how),
        }
    }

    /// Sets the rule of a proxy, where it is one's to act.
    fn prepare(self, lab: &Lab, process: u32) {
        let line = |line| if line == Line::Source { &lab.source } else { &lab.sink };
        let kill = move || kill(process);
        match self {
            Self::KillAfter(_) | Self::KillAtFile(..) => {}
            Self::KillAtBytes(of, bytes) => line(of).set(at_bytes(of, bytes), Effect::End(Box::new(kill))),
            Self::KillAtCommit(AtCommit::Behind(pause)) => {
                let late = move || {
                    std::thread::spawn(move || {
                        std::thread::sleep(pause);
                        kill();
                    });
                };
                lab.sink.set(at_commit(AtCommit::Behind(pause)), Effect::Note(Box::new(late)));
            }
            Self::KillAtCommit(moment) => lab.sink.set(at_commit(moment), Effect::End(Box::new(kill))),
            Self::BreakAtBytes(of, bytes, how) => line(of).set(at_bytes(of, bytes), how.effect()),
            Self::BreakAtCommit(moment, how) => lab.sink.set(at_commit(moment), how.effect()),
        }
    }
}

impl Break {
    fn effect(self) -> Effect {
        match self {
            Self::Reset => Effect::Cut { reset: true, away: Duration::ZERO },
            Self::End => Effect::Cut { reset: false, away: Duration::ZERO },
            Self::Away(away) => Effect::Cut { reset: true, away },
            Self::Stall(time) => Effect::Stall(time),
            Self::Slow(time) => Effect::Slow(time),
        }
    }
}

fn at_bytes(line: Line, bytes: u64) -> When {
    When::Bytes(if line == Line::Source { Way::ToClient } else { Way::ToServer }, bytes)
}

fn at_commit(moment: AtCommit) -> When {
    let (after, text) = (STATE_WRITTEN, "COMMIT\0");
    match moment {
        AtCommit::Before => When::Sent { after, text },
        AtCommit::Unanswered | AtCommit::Behind(_) => When::Answered { after, text },
    }
}

/// Ends a process as the kernel does that is short of memory.
pub(crate) fn kill(process: u32) {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw).unwrap();
    // One that has ended cannot be killed.
    let _ = kill_process(id, Signal::KILL);
}

/// Starts a run, disturbs it, and waits for its end.
pub(crate) fn run(lab: &Lab, kind: Kind, run_id: &str, parallel: u64, disturbance: Option<Disturbance>) -> Ended {
    lab.source.reset();
    lab.sink.reset();
    let files = Files::of(&lab.folder(kind));
    let (copies, writes) = (noted(&lab.sink, "", "COPY "), noted(&lab.sink, "", STATE_WRITTEN));
    let begin = Instant::now();
    let mut started = Started::new(lab.command(kind, run_id, parallel));
    if let Some(disturbance) = disturbance {
        disturbance.prepare(lab, started.id());
    }
    while !started.has_ended() {
        assert!(begin.elapsed() < LONGEST_RUN, "{run_id} of {kind} does not end:\n{}", started.stderr());
        match disturbance {
            Some(Disturbance::KillAfter(time)) if begin.elapsed() >= time => kill(started.id()),
            Some(Disturbance::KillAtFile(left, pause)) => {
                if Files::of(&lab.folder(kind)).has_more(left, &files) {
                    std::thread::sleep(pause);
                    kill(started.id());
                }
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = begin.elapsed();
    let output = started.end();
    let noted = u64::from(copies.is_set()) + u64::from(writes.is_set());
    let broken = (lab.source.met() + lab.sink.met()).saturating_sub(noted);
    let measure =
        Measure { time, from_source: lab.source.bytes(Way::ToClient), to_sink: lab.sink.bytes(Way::ToServer) };
    let now = Files::of(&lab.folder(kind));
    let killed = output.code.is_none().then(|| {
        if now.has_more(Left::Entry, &files) {
            Phase::Confirming
        } else if now.has_more(Left::Document, &files) || writes.is_set() {
            Phase::Committing
        } else if now.has_more(Left::Rows, &files) || copies.is_set() {
            Phase::Writing
        } else if output.stderr.contains(": reading (") {
            Phase::Reading
        } else {
            Phase::Planning
        }
    });
    lab.source.reset();
    lab.sink.reset();
    Ended { output, killed, broken, measure }
}

/// Whether a client of the proxy has sent a text.
fn noted(proxy: &Proxy, after: &'static str, text: &'static str) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let kept = Arc::clone(&seen);
    proxy.set(When::Sent { after, text }, Effect::Note(Box::new(move || kept.set())));
    seen
}

/// How many files of each kind the folder of a Delta table has.
#[derive(Debug, Clone, Copy, Default)]
struct Files {
    rows: usize,
    documents: usize,
    entries: usize,
}

impl Files {
    fn of(table: &Path) -> Self {
        Self {
            rows: count(table, ".parquet"),
            documents: count(&table.join("_datakit/state"), ".json"),
            entries: count(&table.join("_delta_log"), ".json"),
        }
    }

    fn has_more(self, left: Left, than: &Self) -> bool {
        match left {
            Left::Rows => self.rows > than.rows,
            Left::Document => self.documents > than.documents,
            Left::Entry => self.entries > than.entries,
        }
    }
}

fn count(folder: &Path, ending: &str) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter(|file| file.file_name().to_string_lossy().ends_with(ending)).count()
}
