//! What many rounds did: sums, and a log with a line a round.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::disturb::Phase;
use super::round::{About, Round};

/// Sums over rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    lines: Vec<String>,
    kills: BTreeMap<Phase, u64>,
    /// By source, strategy and mode, and by sink: kills and cuts.
    kinds: BTreeMap<(String, String), (u64, u64)>,
    cuts: u64,
    failed: u64,
    rounds: u64,
    rows: usize,
    lost: u64,
    doubled: u64,
    wrong: u64,
}

impl Figures {
    /// Adds a round.
    pub(crate) fn add(&mut self, about: About, round: &Round) {
        for phase in &round.kills {
            *self.kills.entry(*phase).or_default() += 1;
        }
        let name = round.kind.to_string();
        let (loaded, sink) = name.rsplit_once(' ').unwrap_or_default();
        let sums = self.kinds.entry((loaded.to_owned(), sink.to_owned())).or_default();
        sums.0 += round.kills.len() as u64;
        sums.1 += round.cuts;
        self.cuts += round.cuts;
        self.failed += round.failed;
        self.rounds += 1;
        self.rows += round.rows;
        self.lost += round.findings.lost;
        self.doubled += round.findings.doubled;
        self.wrong += round.findings.wrong.len() as u64;
        let phases: Vec<String> = round.kills.iter().map(|phase| format!("{phase:?}").to_lowercase()).collect();
        let line = format!(
            "{about} {}: {name}; {} rows; killed in [{}]; {} cut off; lost {}, doubled {}, wrong {}; {:.1} s",
            round.seed,
            round.rows,
            phases.join(", "),
            round.cuts,
            round.findings.lost,
            round.findings.doubled,
            round.findings.wrong.len(),
            round.time.as_secs_f64()
        );
        // Seen as it goes on, and kept where the rest does not come to its end.
        eprintln!("{line}");
        self.lines.push(line);
    }

    /// Adds those of another thread.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        for (phase, count) in other.kills {
            *self.kills.entry(phase).or_default() += count;
        }
        for (kind, (kills, cuts)) in other.kinds {
            let sums = self.kinds.entry(kind).or_default();
            sums.0 += kills;
            sums.1 += cuts;
        }
        self.cuts += other.cuts;
        self.failed += other.failed;
        self.rounds += other.rounds;
        self.rows += other.rows;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong += other.wrong;
        self
    }

    /// Kills so far.
    pub(crate) fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Runs whose connections were broken so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts
    }

    /// The sums, as a page of documentation has them.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "{} rounds, {} kills, {} runs cut off ({} of all runs failed), {} rows checked: {} lost, {} doubled, {} other findings\n\n",
            self.rounds,
            self.kills(),
            self.cuts,
            self.failed,
            self.rows,
            self.lost,
            self.doubled,
            self.wrong
        );
        let phases = ["planning", "reading", "writing", "committing", "confirming"];
        let all = [Phase::Planning, Phase::Reading, Phase::Writing, Phase::Committing, Phase::Confirming];
        let counts: Vec<String> =
            all.iter().map(|phase| self.kills.get(phase).copied().unwrap_or_default().to_string()).collect();
        let _ = writeln!(text, "| killed while | {} |", phases.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(phases.len()));
        let _ = writeln!(text, "| kills | {} |\n", counts.join(" | "));
        let _ = writeln!(text, "| source, strategy, mode | Delta: kills | cuts | Postgres: kills | cuts |");
        let _ = writeln!(text, "|---|---|---|---|---|");
        let mut loaded: Vec<&String> = self.kinds.keys().map(|(loaded, _)| loaded).collect();
        loaded.dedup();
        for loaded in loaded {
            let of = |sink: &str| self.kinds.get(&(loaded.clone(), sink.to_owned())).copied().unwrap_or_default();
            let (delta, postgres) = (of("delta"), of("postgres"));
            let _ = writeln!(text, "| {loaded} | {} | {} | {} | {} |", delta.0, delta.1, postgres.0, postgres.1);
        }
        text
    }

    /// The sums, and all rounds.
    pub(crate) fn log(mut self) -> String {
        self.lines.sort_by_key(|line| {
            let (about, rest) = line.split_once(' ').unwrap_or_default();
            let seed = rest.split(':').next().and_then(|seed| seed.parse::<u64>().ok());
            (about == "cuts", seed)
        });
        format!("{}\n{}\n", self.summary(), self.lines.join("\n"))
    }
}

/// How a round is played again.
pub(crate) fn again(about: About, round: &Round) -> String {
    let found: Vec<&str> = round.findings.wrong.iter().map(String::as_str).take(20).collect();
    format!(
        "round {about}:{seed} ({kind}; killed in {kills:?}) lost {lost} and doubled {doubled} rows:\n{found}\n\
         play it again: DATAKIT_EXACTLY_ONCE_ROUND={about}:{seed} ./test killed_and_cut_off",
        seed = round.seed,
        kind = round.kind,
        kills = round.kills,
        lost = round.findings.lost,
        doubled = round.findings.doubled,
        found = found.join("\n"),
    )
}
