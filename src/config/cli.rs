//! The command line: `broker` is `broker serve`, with a flag for every setting; the other commands
//! stand in `operation`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::operation::{Operation, commands, operation};
use crate::config::table::{SETTINGS, Setting, Takes};

const ABOUT: &str = "An insert-only event store for front ends: live newest values over SSE and a \
                     history that can be trusted";
const SOURCES: &str = "Flags come before the environment, the environment before a .env file in \
                       the working directory, and that before the defaults.\nBytes may be written \
                       with KiB, MiB or GiB.";

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server, with these flags.
    Serve(Flags),
    /// Do something with a data directory, with these flags.
    Operate(Operation, Flags),
}

/// The settings that flags gave, by their names in the table.
#[derive(Clone, Debug, Default)]
pub struct Flags(pub(super) BTreeMap<String, String>);

impl Flags {
    /// Sets one, by its name in the table, as if it stood on the command line.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Invocation {
    /// Reads the command line, the program's name first. Values are not judged here but with the
    /// other layers, so that all faults are told at once.
    ///
    /// # Errors
    ///
    /// What clap says, `--help` and `--version` included: `error.exit()` prints it.
    pub fn from_args<T>(args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let matches = command().try_get_matches_from(args)?;
        let (name, given) = matches.subcommand().unwrap_or(("serve", &matches));
        Ok(match operation(name, given) {
            Some(operation) => Self::Operate(operation, flags(given)),
            None => Self::Serve(flags(given)),
        })
    }
}

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let serve = Command::new("serve")
        .about("Run the server; so does broker without a command")
        .args(SETTINGS.iter().map(arg))
        .after_help(SOURCES);
    Command::new("broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .args(SETTINGS.iter().map(arg))
        .after_help(SOURCES)
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommands(commands())
}

pub(super) fn arg(setting: &Setting) -> Arg {
    let Setting { name, flag, meaning, .. } = *setting;
    let default = if setting.default.is_empty() { "none" } else { setting.default };
    let arg = Arg::new(name)
        .long(flag)
        .action(ArgAction::Set)
        .help(format!("{meaning}\n[env: {name}] [default: {default}]"));
    match setting.takes {
        Takes::Value(value) => arg.value_name(value),
        Takes::Switch => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

fn flags(matches: &ArgMatches) -> Flags {
    let given = SETTINGS.iter().filter_map(|setting| {
        // A command takes only some of them.
        let text = matches.try_get_one::<String>(setting.name).ok().flatten()?;
        Some((setting.name.to_owned(), text.clone()))
    });
    Flags(given.collect())
}
