//! One round: a table, writes, runs that are disturbed, runs that are not, and what the target holds then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use datakit_tests::Random;
use serde_json::Value;

use super::check::{Findings, Load, check};
use super::disturb::{Disturbance, Ended, FIRST_GUESS, Measure, Phase, run};
use super::history::History;
use super::kinds::{Kind, Mode};
use super::lab::{Lab, Seen, State};

/// What rounds are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Kills,
    Cuts,
}

impl About {
    /// Its word in the names of rounds.
    pub(crate) fn named(word: &str) -> Option<Self> {
        [Self::Kills, Self::Cuts].into_iter().find(|about| about.to_string() == word)
    }
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kills => "kills",
            Self::Cuts => "cuts",
        })
    }
}

/// What a round did, and what it found.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    /// Where runs were when they were killed.
    pub(crate) kills: Vec<Phase>,
    /// Connections that were broken or held up: in how many runs, and in how many of them the run failed.
    pub(crate) cuts: u64,
    pub(crate) failed: u64,
    pub(crate) rows: usize,
    pub(crate) findings: Findings,
    pub(crate) time: Duration,
}

/// Undisturbed runs so far, by what they load: the newest of each.
pub(crate) type Measures = BTreeMap<(Kind, bool), Measure>;

/// Source and server may need a moment to see that a client is gone.
const MAX_STARTS: usize = 20;

/// The state of a round.
struct Play<'l> {
    lab: &'l mut Lab,
    measures: &'l mut Measures,
    kind: Kind,
    random: Random,
    history: History,
    loads: Vec<Load>,
    state: Option<State>,
    /// For each run, how many changes there were when it was first started.
    starts: BTreeMap<String, usize>,
    round: Round,
}

/// Plays the round of a seed.
pub(crate) fn play(lab: &mut Lab, measures: &mut Measures, about: About, seed: u64) -> Round {
    let (begin, kind) = (Instant::now(), Kind::of_seed(seed));
    let mut random = Random::new(seed);
    let snapshots = !random.one_in(3);
    lab.begin(kind, snapshots);
    let round = Round {
        seed,
        kind,
        kills: Vec::new(),
        cuts: 0,
        failed: 0,
        rows: 0,
        findings: Findings::default(),
        time: Duration::ZERO,
    };
    let mut play = Play {
        lab,
        measures,
        kind,
        random,
        history: History::default(),
        loads: Vec::new(),
        state: None,
        starts: BTreeMap::new(),
        round,
    };
    play.all(about);
    let Play { lab, history, loads, mut round, .. } = play;
    let rows = lab.rows(kind);
    round.rows = rows.len();
    let found = check(kind, snapshots, &history, &loads, &rows);
    round.findings.lost += found.lost;
    round.findings.doubled += found.doubled;
    round.findings.wrong.extend(found.wrong);
    round.findings.wrong.extend(lab.leftovers(kind));
    if !round.findings.wrong.is_empty() {
        eprintln!("snapshots {snapshots}, {} changes, loads {loads:#?}, rows {rows:?}", history.len());
    }
    round.time = begin.elapsed();
    round
}

impl Play<'_> {
    fn all(&mut self, about: About) {
        let count = 50 + self.random.below(1500);
        let first = self.history.first_rows(self.kind, count);
        self.lab.execute(&first.script);
        self.lab.count_rows();
        self.history.add(&first);
        if self.random.one_in(2) {
            self.finish("first");
            self.writes(8);
        }
        let mut run_id = "disturbed-1".to_owned();
        for number in 1..=(1 + self.random.below(3) / 2) {
            if number > 1 && self.random.one_in(2) {
                run_id = format!("disturbed-{number}");
                self.writes(3);
            }
            self.disturbed(about, &run_id);
        }
        if self.random.one_in(3) {
            "again".clone_into(&mut run_id);
        }
        self.finish(&run_id);
        self.writes(6);
        self.finish("rest");
        self.nothing_new();
    }

    /// Up to so many transactions.
    fn writes(&mut self, at_most: u64) {
        for _ in 0..self.random.below(at_most + 1) {
            let transaction = self.history.transaction(self.kind, &mut self.random);
            self.lab.execute(&transaction.script);
            self.history.add(&transaction);
        }
    }

    /// One start of a run that is killed or cut off, with a writer beside it or without.
    fn disturbed(&mut self, about: About, run_id: &str) {
        let is_first = self.state.is_none();
        let measure = self.measures.get(&(self.kind, is_first)).copied().unwrap_or(FIRST_GUESS);
        let disturbance = match about {
            About::Kills => Disturbance::kill(self.kind, &measure, &mut self.random),
            About::Cuts => Disturbance::cut(self.kind, &measure, &mut self.random),
        };
        let parallel = 1 + self.random.below(4);
        let pauses = Duration::from_millis(self.random.below(25));
        let writes = self.random.one_in(2);
        self.starts.entry(run_id.to_owned()).or_insert(self.history.len());
        let Self { lab, kind, history, random, .. } = self;
        let (lab, kind) = (&**lab, *kind);
        let is_over = Seen::default();
        let ended = std::thread::scope(|scope| {
            if writes {
                scope.spawn(|| {
                    while !is_over.is_set() {
                        let transaction = history.transaction(kind, random);
                        lab.execute(&transaction.script);
                        history.add(&transaction);
                        std::thread::sleep(pauses);
                    }
                });
            }
            let ended = run(lab, kind, run_id, parallel, Some(disturbance));
            is_over.set();
            ended
        });
        self.lab.settle();
        let has_committed = self.look(run_id);
        self.round.cuts += u64::from(about == About::Cuts && ended.broken > 0);
        if let Some(phase) = ended.killed {
            self.round.kills.push(if has_committed { Phase::Confirming } else { phase });
        } else if ended.output.code != Some(0) {
            self.round.failed += 1;
            self.explained(&ended, &format!("{disturbance:?}"));
        }
    }

    /// A run that fails says why, by a code, and what to do.
    fn explained(&mut self, ended: &Ended, after: &str) {
        let said = format!("{}{}", ended.output.stdout, ended.output.stderr);
        if !said.contains("DK-") || !said.contains("hint") || said.contains("panicked") {
            self.round.findings.is_wrong(format!("no clear error after {after}: {said}"));
        }
    }

    /// Starts a run until it is done, as a scheduler does.
    fn finish(&mut self, run_id: &str) -> Value {
        let is_first = self.state.is_none();
        let parallel = 1 + self.random.below(4);
        self.starts.entry(run_id.to_owned()).or_insert(self.history.len());
        for _ in 0..MAX_STARTS {
            let ended = run(self.lab, self.kind, run_id, parallel, None);
            self.look(run_id);
            if ended.output.code == Some(0) {
                let summary = ended.output.json();
                if summary["rows"].as_u64() != Some(0) {
                    self.measures.insert((self.kind, is_first), ended.measure);
                }
                return summary;
            }
            // What still holds a lock or a slot is gone soon.
            let transient = ended.output.code == Some(4) || ended.output.stdout.contains("DK-SNK-010");
            if !transient {
                let said = format!("{}\n{}", ended.output.stdout, ended.output.stderr);
                self.round.findings.is_wrong(format!("{run_id} does not end well: {said}"));
                return Value::Null;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.round.findings.is_wrong(format!("{run_id} failed {MAX_STARTS} times"));
        Value::Null
    }

    /// One run more without writes: nothing is written, and the rows are as before.
    fn nothing_new(&mut self) {
        let before = self.lab.rows(self.kind);
        // A load of all rows writes them again under a new id, and under its own it does not.
        let run_id = if self.kind.is_whole() { "rest" } else { "idle" };
        let summary = self.finish(run_id);
        if summary["rows"].as_u64() != Some(0) {
            self.round.findings.is_wrong(format!("a run without changes wrote rows: {summary}"));
        }
        if self.lab.rows(self.kind) != before {
            self.round.findings.is_wrong("a run without changes changed the target");
        }
        // A position that was committed without rows is no load.
        self.loads.retain(|load| load.run_id != "idle");
    }

    /// Looks whether a start of a run has committed.
    fn look(&mut self, run_id: &str) -> bool {
        let state = self.lab.state(self.kind);
        if state == self.state {
            return false;
        }
        let Some(now) = &state else {
            self.round.findings.is_wrong(format!("the state is gone after {run_id}"));
            return false;
        };
        let expected = self.state.as_ref().map_or(1, |before| before.sequence + 1);
        if now.sequence != expected || now.run_id != run_id {
            self.round.findings.is_wrong(format!("{run_id} left {now:?} behind {:?}", self.state));
        }
        let load = Load {
            run_id: now.run_id.clone(),
            load_id: now.load_id.clone(),
            from: self.starts.get(run_id).copied().unwrap_or_default(),
            to: self.history.len(),
        };
        if self.kind.mode == Mode::Overwrite {
            self.loads.clear();
        }
        self.loads.push(load);
        self.state = state;
        true
    }
}
