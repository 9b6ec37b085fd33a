//! Shows the settings: the effective values of a configuration, and the table as Markdown and as
//! `.env.example`.

use std::fmt::{self, Write as _};

use crate::config::settings::Config;
use crate::config::table::SETTINGS;

const INFALLIBLE: &str = "writing to a String cannot fail";

impl Config {
    /// The effective settings, for the log: name and value, secrets as stars.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        SETTINGS.iter().map(|setting| (setting.name, setting.shown((setting.show)(self))))
    }
}

/// `PORT=8080 BROKER_HOST=127.0.0.1 …`; values with whitespace are quoted.
impl fmt::Display for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.effective().enumerate() {
            let space = if index == 0 { "" } else { " " };
            if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
                write!(out, "{space}{name}={value:?}")?;
            } else {
                write!(out, "{space}{name}={value}")?;
            }
        }
        Ok(())
    }
}

/// Implemented by hand so that `{:?}` of a struct that holds a `Config` does not show secrets.
impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.effective()).finish()
    }
}

/// The settings as a Markdown table that ends with a line break.
#[must_use]
pub fn settings_markdown() -> String {
    let mut out = "| Setting | Flag | Default | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        // A bar would end the cell, and a lone star could start emphasis.
        let meaning = setting.meaning.replace('|', r"\|").replace('*', r"\*");
        let (name, flag) = (setting.name, setting.flag);
        writeln!(out, "| `{name}` | `--{flag}` | {default} | {meaning} |").expect(INFALLIBLE);
    }
    out
}

/// The text of `.env.example`: every setting with its meaning, commented out and set to its
/// default.
#[must_use]
pub fn env_example() -> String {
    let mut out =
        "# Settings of Broker. Copy this file to .env and uncomment the lines you change.\n\
                   # Flags and environment variables override it. Sizes may end in KiB, MiB or \
                   GiB.\n"
            .to_owned();
    for setting in SETTINGS {
        out.push('\n');
        for line in wrap(setting.meaning) {
            writeln!(out, "# {line}").expect(INFALLIBLE);
        }
        writeln!(out, "#{}={}", setting.name, setting.default).expect(INFALLIBLE);
    }
    out
}

/// Wraps at 96 characters, so that with the `# ` in front lines stay below 100.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("it begins with a line");
        if !line.is_empty() && line.len() + 1 + word.len() > 96 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
