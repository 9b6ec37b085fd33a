//! Merges the sources of settings: flags override the process environment, which overrides `.env`,
//! which overrides the defaults.
//!
//! The first source that has a setting decides it; an empty value there means the default. `.env`
//! is read from the working directory only, and is never put into the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::error::ConfigErrors;
use crate::config::flags::Flags;
use crate::config::settings::Config;
use crate::config::table::SETTINGS;

const PREFIX: &str = "BROKER_";

/// The settings that the operator commands use; all others are ignored.
const OPERATION_SETTINGS: &[&str] =
    &["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES", "BROKER_CACHE_BYTES", "BROKER_LOG"];

/// A configuration, with warnings for its user.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The effective settings.
    pub config: Config,
    /// `BROKER_…` names that are not settings.
    pub unknown: Vec<UnknownSetting>,
}

/// A `BROKER_…` name that is not a setting; displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSetting {
    /// The name as written.
    pub name: String,
    /// Where it was found: the environment or `.env`.
    pub source: &'static str,
    /// The setting that was probably meant.
    pub suggestion: Option<&'static str>,
}

/// The text of every setting by source. Tests build it; nothing else reads the outside world.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) flags: Flags,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) dotenv: BTreeMap<String, String>,
    /// Values that are not valid text.
    pub(super) errors: ConfigErrors,
}

impl Config {
    /// Reads the process environment and `.env` in the working directory, over the defaults.
    ///
    /// # Errors
    ///
    /// All errors at once, including those in `.env`.
    pub fn from_env() -> Result<LoadedConfig, ConfigErrors> {
        Self::from_flags(Flags::default())
    }

    /// As [`Config::from_env`], with flags that override both.
    ///
    /// # Errors
    ///
    /// All errors at once, including those in `.env`.
    pub fn from_flags(flags: Flags) -> Result<LoadedConfig, ConfigErrors> {
        Layers::from_process(flags).load()
    }

    /// As [`Config::from_flags`], for an operator command: settings that only a server uses keep
    /// their defaults and are not checked.
    ///
    /// # Errors
    ///
    /// All errors at once, including those in `.env`.
    pub fn for_operation(flags: Flags) -> Result<Self, ConfigErrors> {
        let mut layers = Layers::from_process(flags);
        for layer in [&mut layers.flags.0, &mut layers.environment, &mut layers.dotenv] {
            layer.retain(|name, _| OPERATION_SETTINGS.contains(&name.as_str()));
        }
        layers.load().map(|loaded| loaded.config)
    }
}

/// The directory for temporary files, from the environment (`TMPDIR`).
#[must_use]
pub fn temporary_dir() -> PathBuf {
    std::env::temp_dir()
}

impl Layers {
    fn from_process(flags: Flags) -> Self {
        let mut layers = Self { flags, ..Self::default() };
        layers.read_environment(std::env::vars_os());
        layers.read_dotenv(Path::new(".env"));
        layers
    }

    pub(super) fn load(self) -> Result<LoadedConfig, ConfigErrors> {
        let unknown = self.unknown();
        let mut errors = self.errors;
        let layers = [&self.flags.0, &self.environment, &self.dotenv];
        let found = |name: &str| layers.iter().find_map(|layer| layer.get(name)).cloned();
        match Config::from_lookup(found) {
            Ok(config) => errors.into_result(LoadedConfig { config, unknown }),
            Err(faults) => {
                errors.append(faults);
                Err(errors)
            }
        }
    }

    pub(super) fn read_environment(&mut self, vars: impl Iterator<Item = (OsString, OsString)>) {
        for (name, value) in vars {
            // A name that is not UTF-8 is not a setting.
            let Ok(name) = name.into_string() else { continue };
            if !is_broker_variable(&name) {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    self.environment.insert(name, value);
                }
                Err(_) => self
                    .errors
                    .add(format!("{name} in the environment is not UTF-8: use a UTF-8 value.")),
            }
        }
    }

    /// A missing file counts as empty. If a name occurs twice, the last value counts.
    pub(super) fn read_dotenv(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let path = path.display();
                let advice = "make it a readable UTF-8 file, or remove it";
                return self.errors.add(format!("{path} cannot be read ({error}): {advice}."));
            }
        };
        // Editors on Windows put a byte order mark at the start of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((name, value)) if is_broker_variable(&name) => {
                    self.dotenv.insert(name, value);
                }
                Ok(_) => {}
                // The line may contain a secret, so only its number is reported.
                Err(dotenvy::Error::LineParse(rest, _)) => {
                    let first = rest.lines().next().unwrap_or_default();
                    let here = |line: &&str| !line.starts_with('#') && line.contains(first);
                    let number = text.lines().take_while(|line| !here(line)).count() + 1;
                    self.errors.add(format!(
                        "Line {number} of {} cannot be read: write NAME=value, with quotes around \
                         values that contain spaces.",
                        path.display(),
                    ));
                }
                Err(error) => {
                    self.errors.add(format!("{} cannot be read: {error}.", path.display()));
                }
            }
        }
    }

    fn unknown(&self) -> Vec<UnknownSetting> {
        let in_source = |names: &BTreeMap<String, String>, source| -> Vec<UnknownSetting> {
            names
                .keys()
                .filter(|name| !is_setting(name))
                .map(|name| UnknownSetting {
                    name: name.clone(),
                    source,
                    suggestion: suggestion_for(name),
                })
                .collect()
        };
        let mut unknown = in_source(&self.environment, "the environment");
        unknown.extend(in_source(&self.dotenv, ".env"));
        unknown
    }
}

impl fmt::Display for UnknownSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, source, suggestion } = self;
        write!(out, "{name} in {source} is not a setting and is ignored")?;
        match suggestion {
            Some(suggestion) => write!(out, "; did you mean {suggestion}?"),
            None => write!(out, "; broker --help lists all settings"),
        }
    }
}

fn is_broker_variable(name: &str) -> bool {
    name.starts_with(PREFIX) || is_setting(name)
}

fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name)
}

/// The setting whose name differs by at most two letters, or only by the prefix.
fn suggestion_for(name: &str) -> Option<&'static str> {
    const LETTERS_MAX: usize = 2;
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let names = || SETTINGS.iter().map(|setting| setting.name);
    names().find(|known| *known == bare).or_else(|| {
        let close = names().map(|known| (distance(known, name), known));
        close.filter(|(letters, _)| *letters <= LETTERS_MAX).min().map(|(_, known)| known)
    })
}

/// Levenshtein distance: letters to insert, delete or substitute.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
