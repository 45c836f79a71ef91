//! Errors that teach: a stable code, what happened, to what, and what to do.
//!
//! Each crate has its own error enum (so that its callers can match), implements [`Diagnostic`] for it and, where the error
//! has to cross a trait object, turns it into a [`Failure`], which keeps all of it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The operator: configuration, arguments, grants.
    User,
    /// The source or the way to it: server, network, certificate, permission.
    Source,
    /// Whoever keeps the data: a value, row or file that cannot be represented or read.
    Data,
    /// The sink or the way to it.
    Sink,
    /// The author of the datakit.
    Datakit,
    /// Us: a bug in the host.
    Internal,
}

/// Whether doing the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// The same input gives the same error.
    Never,
    /// The cause may pass by itself: try the sink's unit of retry again after a pause.
    AfterBackoff,
    /// Trying again within the run cannot help, but the same run, started again later, may succeed.
    NextRun,
}

/// What a failure is, for those who decide what to do next: whether to try again, and how the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nature {
    /// The cause may pass by itself: the same work may succeed later.
    Transient,
    /// The same work fails again until somebody changes something.
    Permanent,
    /// The same data fails again. Other data of the same source may succeed.
    Data,
    /// A bug in the host.
    Bug,
}

impl Nature {
    /// Of a failure that these two describe.
    #[must_use]
    pub fn of(kind: Kind, retry: Retry) -> Self {
        match (kind, retry) {
            (Kind::Internal, _) => Self::Bug,
            (_, Retry::AfterBackoff | Retry::NextRun) => Self::Transient,
            (Kind::Data, Retry::Never) => Self::Data,
            (_, Retry::Never) => Self::Permanent,
        }
    }
}

/// What every error of the host reports besides its message: code, kind, retry, hint and facts.
pub trait Diagnostic: Error {
    /// The stable code, for example `DK-SRC-012`. Codes are never reused for another meaning.
    fn code(&self) -> Cow<'static, str>;
    /// Who has to act.
    fn kind(&self) -> Kind;
    /// Whether doing the same again can help.
    fn retry(&self) -> Retry {
        Retry::Never
    }
    /// Whether a server says that it is asked for too much: others should leave it alone for a while as well.
    fn is_throttled(&self) -> bool {
        false
    }
    /// Whether a sink does not hold what the source delivered, as a receipt or a reconciliation found out.
    fn is_mismatch(&self) -> bool {
        false
    }
    /// What to do, in a sentence without a final period. None: the message says it all.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Named facts: the limit and its value, the table, the column.
    fn context(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The failure of another room that this error only hands on, with its causes.
    fn handed_on(&self) -> Option<&Failure> {
        None
    }
}

/// An error of any crate, whole, in one type: what crosses trait objects and reaches the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    code: Cow<'static, str>,
    kind: Kind,
    retry: Retry,
    is_throttled: bool,
    is_mismatch: bool,
    message: String,
    hint: Option<String>,
    context: Vec<(String, String)>,
    causes: Vec<String>,
}

impl Failure {
    /// A failure from its parts; prefer an enum with [`Diagnostic`] where a caller could want to match.
    #[must_use]
    pub fn new(code: impl Into<Cow<'static, str>>, kind: Kind, retry: Retry, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code: code.into(),
            kind,
            retry,
            is_throttled: false,
            is_mismatch: false,
            message: message.into(),
            hint: None,
            context: Vec::new(),
            causes: Vec::new(),
        }))
    }

    /// With a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// With one more named fact.
    #[must_use]
    pub fn with_context(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.context.push((name.into(), value.to_string()));
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Who has to act.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether doing the same again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether a server says that it is asked for too much.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.0.is_throttled
    }

    /// Whether a sink does not hold what the source delivered.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        self.0.is_mismatch
    }

    /// What it is, for those who decide what to do next.
    #[must_use]
    pub fn nature(&self) -> Nature {
        Nature::of(self.0.kind, self.0.retry)
    }

    /// What happened, to what.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Named facts.
    #[must_use]
    pub fn context(&self) -> &[(String, String)] {
        &self.0.context
    }

    /// The messages of the errors below, outermost first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }
}

impl fmt::Display for Failure {
    /// The message alone; code, causes and hint are for the one renderer of the edge.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for Failure {}

impl<E: Diagnostic> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

impl Failure {
    /// All that an error says.
    #[must_use]
    pub fn of(error: &impl Diagnostic) -> Self {
        if let Some(failure) = error.handed_on() {
            return failure.clone();
        }
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many libraries repeat their source's text in their own.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self(Box::new(Inner {
            code: error.code(),
            kind: error.kind(),
            retry: error.retry(),
            is_throttled: error.is_throttled(),
            is_mismatch: error.is_mismatch(),
            message: error.to_string(),
            hint: error.hint(),
            context: error.context(),
            causes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Door(#[source] std::io::Error);

    impl Diagnostic for Door {
        fn code(&self) -> Cow<'static, str> {
            "DK-TST-001".into()
        }
        fn kind(&self) -> Kind {
            Kind::User
        }
        fn hint(&self) -> Option<String> {
            Some("turn the key".into())
        }
    }

    #[test]
    fn a_failure_keeps_all_that_the_error_said() {
        let failure = Failure::from(Door(std::io::Error::other("locked"))).with_context("door", "front");
        assert_eq!(failure.code(), "DK-TST-001");
        assert_eq!(failure.kind(), Kind::User);
        assert_eq!(failure.retry(), Retry::Never);
        assert_eq!(failure.to_string(), "cannot open the door");
        assert_eq!(failure.hint(), Some("turn the key"));
        assert_eq!(failure.causes(), ["locked"]);
        assert_eq!(failure.context(), [("door".to_owned(), "front".to_owned())]);
    }
}
