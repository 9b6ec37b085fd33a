//! Start-up faults of the configuration, told all at once.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::config::table::Setting;

/// What to write instead of a value that was refused.
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

/// Everything that is wrong with a configuration; shown as one sentence a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    sentences: Vec<String>,
}

impl ConfigErrors {
    /// The faults: each a sentence with the setting's name, its value and what to write instead.
    #[must_use]
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }

    pub(super) fn add(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    /// A refused value; a secret one is not repeated.
    pub(super) fn add_value(&mut self, setting: &Setting, text: &str, error: &ValueError) {
        let Setting { name, flag, .. } = setting;
        let shown = setting.shown(text.to_owned());
        self.add(format!("{name} (--{flag}) is {shown:?}: {error}."));
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.sentences.append(&mut other.sentences);
    }

    /// `value`, unless there is a fault.
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

/// For doors that return `io::Result`, such as `broker_run`.
impl From<ConfigErrors> for io::Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::new(io::ErrorKind::InvalidInput, errors)
    }
}
