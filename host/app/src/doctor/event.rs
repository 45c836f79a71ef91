//! What happens while chains are walked.

use super::certificate::Certificate;
use super::chain::{Link, Subject};
use crate::reports::Report;

/// What happens while the chains are walked, in order: each chain begins, its links are found, and it ends.
#[derive(Debug, Clone)]
pub enum DoctorEvent {
    /// A chain begins.
    Began {
        /// What it is about.
        subject: Subject,
        /// The names of all its links, in order.
        links: Vec<&'static str>,
    },
    /// A step begins that can take its time, or has ended.
    Waiting {
        /// What is waited for; none: the step has ended.
        on: Option<String>,
    },
    /// The next link was found. Its error and certificate follow.
    Link(Link),
    /// Why the link that was found last is broken.
    Broken {
        /// The first error.
        report: Report,
        /// The number of further errors.
        more: usize,
    },
    /// What the server presents, about the link that was found last.
    Certificate(Certificate),
    /// Something to know about the link that was found last.
    Remark {
        /// One sentence.
        text: String,
    },
    /// The chain has ended.
    Ended,
}

/// Who watches the doctor. Must return at once.
pub trait DoctorObserver: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: DoctorEvent);
}

impl DoctorObserver for () {
    fn event(&self, _: DoctorEvent) {}
}
