//! Rows lost 0, rows doubled 0: whatever kills a run, cuts it off, or runs beside it.
//!
//! | module | about |
//! |---|---|
//! | `kinds` | source, strategy, mode and sink of a round |
//! | `history` | what was written to the source |
//! | `check` | what the target has to hold |
//! | `lab` | servers, proxies and the host |
//! | `disturb` | kills and cuts |
//! | `round` | one round: writes, disturbed runs, runs to the end, check |
//! | `figures` | sums and the log |
//! | `answers` | commits whose answer is lost |
//! | `at_once` | several hosts that load one table |
//! | `pipelines` | loads that are stopped at each point of their commits, against golden files |
//!
//! A seed decides a round. `DATAKIT_EXACTLY_ONCE_SEED` is the first seed, `DATAKIT_EXACTLY_ONCE_KILLS` and
//! `DATAKIT_EXACTLY_ONCE_CUTS` say how many kills and cuts there are, `DATAKIT_EXACTLY_ONCE_ROUND=kills:17` plays that round
//! alone, and `DATAKIT_EXACTLY_ONCE_LOG` names the file for the figures.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says where it fails, and prints its figures"
)]

mod answers;
mod at_once;
mod check;
mod disturb;
mod figures;
mod history;
mod kinds;
mod lab;
mod pipelines;
mod round;

use std::sync::atomic::{AtomicBool, Ordering};

use figures::Figures;
use kinds::{Kind, Source};
use lab::Lab;
use round::{About, Measures, play};

/// Kills and cuts of `./test`.
const SAMPLE: (u64, u64) = (20, 8);
const FIRST_SEED: u64 = 1;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

#[test]
fn killed_and_cut_off_runs_lose_and_double_no_row() {
    if let Ok(round) = std::env::var("DATAKIT_EXACTLY_ONCE_ROUND") {
        return alone(&round);
    }
    let seed = number("DATAKIT_EXACTLY_ONCE_SEED").unwrap_or(FIRST_SEED);
    let kills = number("DATAKIT_EXACTLY_ONCE_KILLS").unwrap_or(SAMPLE.0);
    let cuts = number("DATAKIT_EXACTLY_ONCE_CUTS").unwrap_or(SAMPLE.1);
    let has_failed = AtomicBool::new(false);
    let figures = std::thread::scope(|scope| {
        let threads = figures::sources().map(|source| {
            let has_failed = &has_failed;
            scope.spawn(move || rounds(source, seed, kills.div_ceil(2), cuts.div_ceil(2), has_failed))
        });
        let sums = threads.map(|thread| thread.join().unwrap());
        sums.into_iter().reduce(Figures::join).unwrap()
    });
    eprintln!("{}", figures.summary());
    if let Ok(file) = std::env::var("DATAKIT_EXACTLY_ONCE_LOG") {
        std::fs::write(&file, figures.log()).unwrap();
    }
    assert!(!has_failed.into_inner(), "rows were lost or doubled: see above for the rounds and how to play them again");
}

/// Rounds of one source, until there were so many kills and so many cuts.
fn rounds(source: Source, seed: u64, kills: u64, cuts: u64, has_failed: &AtomicBool) -> Figures {
    let (mut figures, mut measures) = (Figures::default(), Measures::new());
    let Some(mut lab) = Lab::start(source) else { return figures };
    for about in [About::Kills, About::Cuts] {
        let mine = (seed..).filter(|seed| Kind::of_seed(*seed).source == source);
        for seed in mine {
            let is_done = match about {
                About::Kills => figures.kills() >= kills,
                About::Cuts => figures.cuts() >= cuts,
            };
            if is_done || has_failed.load(Ordering::Acquire) {
                break;
            }
            let _named = Named(about, seed);
            let round = play(&mut lab, &mut measures, about, seed);
            if !round.findings.wrong.is_empty() {
                eprintln!("{}", figures::again(about, &round));
                has_failed.store(true, Ordering::Release);
            }
            figures.add(about, &round);
        }
    }
    figures
}

/// Names the round in which a test panics.
struct Named(About, u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in round {}:{}", self.0, self.1);
        }
    }
}

/// The round that the environment names.
fn alone(name: &str) {
    let named = name.split_once(':').and_then(|(about, seed)| Some((About::named(about)?, seed.parse().ok()?)));
    let (about, seed) = named.unwrap_or_else(|| panic!("a round is kills:SEED or cuts:SEED, and not {name}"));
    let Some(mut lab) = Lab::start(Kind::of_seed(seed).source) else { return };
    let _named = Named(about, seed);
    let round = play(&mut lab, &mut Measures::new(), about, seed);
    let mut figures = Figures::default();
    figures.add(about, &round);
    eprintln!("{}", figures.summary());
    assert!(round.findings.wrong.is_empty(), "{}", figures::again(about, &round));
}
