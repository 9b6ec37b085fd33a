//! Configuration errors, collected and reported all at once.

use std::fmt;
use std::io;

use thiserror::Error;

/// A refused value; displays what to write instead.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{advice}")]
pub struct ValueError {
    advice: String,
}

impl ValueError {
    pub(super) fn new(advice: impl Into<String>) -> Self {
        Self { advice: advice.into() }
    }
}

/// All errors of a configuration, displayed as one sentence per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    sentences: Vec<String>,
}

impl ConfigErrors {
    /// The errors, each a sentence with the name of the setting, its value and what to write
    /// instead.
    #[must_use]
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    pub(super) fn add(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.sentences.append(&mut other.sentences);
    }

    /// Returns `value` if there are no errors.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.sentences.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentences.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// For functions that return `io::Result`, such as `broker_run`.
impl From<ConfigErrors> for io::Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::new(io::ErrorKind::InvalidInput, errors)
    }
}
