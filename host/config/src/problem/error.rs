//! A problem with its place, and all of a configuration.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use datakit_model::{Diagnostic, Kind};

use super::Problem;
use crate::text::{Origin, Place};

/// An error of the configuration with its place.
#[derive(Debug)]
pub struct ConfigError(Box<Placed>);

#[derive(Debug)]
struct Placed {
    problem: Problem,
    place: Option<Place>,
}

impl ConfigError {
    pub(crate) fn new(problem: Problem, place: Option<Place>) -> Self {
        Self(Box::new(Placed { problem, place }))
    }

    pub(crate) fn at(problem: Problem, origin: &Origin) -> Self {
        Self::new(problem, Some(origin.place()))
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Where it is; none where something is missing altogether.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.problem.fmt(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0.problem)
    }
}

impl Diagnostic for ConfigError {
    fn code(&self) -> Cow<'static, str> {
        format!("DK-CFG-{:03}", self.0.problem.number()).into()
    }

    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hint(&self) -> Option<String> {
        self.0.problem.hint()
    }

    fn context(&self) -> Vec<(String, String)> {
        self.0.place.iter().map(|place| ("at".to_owned(), place.to_string())).collect()
    }
}

/// Every error of a configuration, in the order of the files. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// All of them.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The errors found so far: reading goes on after each.
#[derive(Debug, Default)]
pub(crate) struct Problems(std::cell::RefCell<Vec<ConfigError>>);

impl Problems {
    pub(crate) fn push(&self, error: ConfigError) {
        self.0.borrow_mut().push(error);
    }

    pub(crate) fn at(&self, problem: Problem, origin: &Origin) {
        self.push(ConfigError::at(problem, origin));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The value, or every error, sorted by place.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        let mut errors = self.0.into_inner();
        if errors.is_empty() {
            return Ok(value);
        }
        errors.sort_by_key(|error| match &error.0.place {
            Some(Place::File(at)) => (0, at.file.clone(), at.line, at.column),
            Some(Place::Variable(name)) => (1, PathBuf::from(name), 0, 0),
            Some(Place::Flag(name)) => (1, PathBuf::from(name), 0, 0),
            None => (2, PathBuf::new(), 0, 0),
        });
        Err(ConfigErrors(errors))
    }
}
