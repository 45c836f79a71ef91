//! Errors of the host on their way through a guest.
//!
//! A guest gets a record of its own: without server names, which it must not see, and without hints and causes, which
//! only a person needs. A context entry names the error it stands for, so that the guest can pass the record on, with
//! context of its own, and the operator still sees the whole.

use std::collections::VecDeque;

use datakit_model::{Failure, Kind, Retry};

use crate::error::{GuestError, WasmError};
use crate::guest_error::{ErrorKind, ErrorRecord};
use crate::text::{self, Text};

/// The context entry that names a remembered error.
const TOKEN: &str = "host-error";
/// A guest handles one error at a time, perhaps while it tries something else.
const REMEMBERED: usize = 16;
/// How every code of the host begins, those of later versions included. A datakit that uses one has not got it from the
/// host.
const RESERVED: &str = "DK-";

/// The latest errors the guest was told of.
#[derive(Default)]
pub(crate) struct Failures {
    next: u64,
    kept: VecDeque<(u64, Failure)>,
}

impl Failures {
    /// What the guest is told of an error.
    pub(crate) fn guest_error(&mut self, failure: impl Into<Failure>) -> ErrorRecord {
        let failure = failure.into();
        let token = self.next;
        self.next += 1;
        let own = failure.kind() == Kind::Datakit;
        let mut context: Vec<(String, String)> =
            failure.context().iter().filter(|(name, value)| own || is_harmless(name, value)).cloned().collect();
        context.push((TOKEN.to_owned(), token.to_string()));
        let error = ErrorRecord {
            kind: ErrorKind::told(failure.kind()),
            code: failure.code().to_owned(),
            // A guest lives no longer than the run.
            after_backoff: failure.retry() == Retry::AfterBackoff,
            message: if own {
                failure.message().to_owned()
            } else {
                format!("the host reports {}; the operator sees the details", failure.code())
            },
            context,
        };
        if self.kept.len() == REMEMBERED {
            self.kept.pop_front();
        }
        self.kept.push_back((token, failure));
        error
    }

    /// What the operator is told of an error the guest returned.
    pub(crate) fn returned(&mut self, error: ErrorRecord) -> WasmError {
        match self.remembered(&error) {
            Some(failure) => WasmError::host(with_context(failure, &error.context)),
            None => WasmError::Guest(Box::new(guest_error(error))),
        }
    }

    fn remembered(&self, error: &ErrorRecord) -> Option<Failure> {
        let token: u64 = error.context.iter().find(|(name, _)| name == TOKEN)?.1.parse().ok()?;
        let (_, failure) = self.kept.iter().find(|(kept, _)| *kept == token)?;
        (failure.code() == error.code).then(|| failure.clone())
    }
}

/// Numbers (an error number of the server, a line of the text) name no machine and no person.
fn is_harmless(name: &str, value: &str) -> bool {
    name != "port" && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// The facts the guest added.
fn with_context(failure: Failure, context: &[(String, String)]) -> Failure {
    let known: Vec<String> = failure.context().iter().map(|(name, _)| name.clone()).collect();
    context
        .iter()
        .filter(|(name, _)| name != TOKEN && !known.contains(name))
        .take(Text::CONTEXT_ENTRIES)
        .fold(failure, |failure, (name, value)| {
            failure.with_context(Text::name(name).into_inner(), Text::short(value).into_inner())
        })
}

fn guest_error(error: ErrorRecord) -> GuestError {
    let (message, hint) = text::split_hint(&error.message);
    let mut context: Vec<(String, String)> = error
        .context
        .iter()
        .filter(|(name, _)| name != TOKEN)
        .take(Text::CONTEXT_ENTRIES)
        .map(|(name, value)| (Text::name(name).into_inner(), Text::short(value).into_inner()))
        .collect();
    let code = if is_guest_code(&error.code) {
        error.code
    } else {
        context.push(("code".to_owned(), Text::name(&error.code).into_inner()));
        "DK-KIT-024".to_owned()
    };
    GuestError {
        code,
        kind: error.kind.answers_for(),
        retry: if error.after_backoff { Retry::AfterBackoff } else { Retry::Never },
        message: Text::message(message).into_inner(),
        hint: hint.map(|hint| Text::message(hint).into_inner()),
        context,
    }
}

/// `SQLSERVER-BRONZE-004`: capitals, digits and hyphens, and none of the host's.
fn is_guest_code(code: &str) -> bool {
    let well_formed = (3..=64).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
        && code.starts_with(|first: char| first.is_ascii_uppercase())
        && code.ends_with(|last: char| last.is_ascii_digit());
    well_formed && !code.starts_with(RESERVED)
}

#[cfg(test)]
mod tests {
    use datakit_model::Diagnostic as _;

    use super::*;

    fn refused() -> Failure {
        Failure::new("DK-SRC-007", Kind::Source, Retry::AfterBackoff, "cannot reach sql01.corp:1433")
            .with_hint("is the server up?")
            .with_context("server", "sql01.corp")
            .with_context("number", 208)
    }

    #[test]
    fn a_guest_sees_no_server_and_the_operator_sees_it_again() {
        let mut failures = Failures::default();
        let mut reported = failures.guest_error(refused());
        assert!(!format!("{reported:?}").contains("sql01"));
        assert!(reported.context.contains(&("number".to_owned(), "208".to_owned())));
        reported.context.push(("table".to_owned(), "dbo.t".to_owned()));
        let error = failures.returned(reported);
        assert_eq!(error.to_string(), "cannot reach sql01.corp:1433");
        assert_eq!(error.hint().as_deref(), Some("is the server up?"));
        assert_eq!(error.context().last(), Some(&("table".to_owned(), "dbo.t".to_owned())));
    }

    #[test]
    fn the_hosts_codes_cannot_be_claimed() {
        let claim = |code: &str| ErrorRecord {
            kind: ErrorKind::Internal,
            code: code.to_owned(),
            after_backoff: false,
            message: "boo; hint: nothing to be done".to_owned(),
            context: vec![(TOKEN.to_owned(), "0".to_owned())],
        };
        let mut failures = Failures::default();
        failures.guest_error(refused());
        for code in ["DK-SRC-001", "DK-SEC-001", "DK-KRB-004", "DK-NEW-001", "DK-1", "lower-1", "", "A\n-1"] {
            let error = failures.returned(claim(code));
            assert_eq!(error.code(), "DK-KIT-024", "{code:?}");
            assert_eq!(error.kind(), Kind::Datakit);
        }
        let error = failures.returned(claim("HOSTILE-001"));
        assert_eq!(error.code(), "HOSTILE-001");
        assert_eq!(error.to_string(), "boo");
        assert_eq!(error.hint().as_deref(), Some("nothing to be done"));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let mut failures = Failures::default();
        let first = failures.guest_error(refused());
        for _ in 0..REMEMBERED {
            failures.guest_error(refused());
        }
        assert!(failures.remembered(&first).is_none());
        assert_eq!(failures.kept.len(), REMEMBERED);
    }
}
