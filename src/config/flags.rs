//! Command line flags, one for every setting.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches};

use crate::config::table::{SETTINGS, Setting, Takes};

/// The settings given by flags, keyed by their names in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub(super) BTreeMap<String, String>);

impl Flags {
    /// Sets a setting, by its name in the table, as if given on the command line.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The settings given on a command line.
    pub(crate) fn given(matches: &ArgMatches) -> Self {
        let given = SETTINGS.iter().filter_map(|setting| {
            // A command has only some of the settings.
            let text = matches.try_get_one::<String>(setting.name).ok().flatten()?;
            Some((setting.name.to_owned(), text.clone()))
        });
        Self(given.collect())
    }
}

/// The clap argument for a setting.
pub(crate) fn arg(setting: &Setting) -> Arg {
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
