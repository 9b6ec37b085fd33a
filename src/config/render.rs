//! The table of settings as the README and `.env.example` show it.

use std::fmt::Write as _;

use crate::config::table::SETTINGS;

const INFALLIBLE: &str = "a String takes every write";

/// The settings as a Markdown table, ending in a line break.
#[must_use]
pub fn settings_markdown() -> String {
    let mut out = "| Setting | Flag | Default | Meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        // A bar would end the cell, and a lone star could begin emphasis.
        let meaning = setting.meaning.replace('|', r"\|").replace('*', r"\*");
        let (name, flag) = (setting.name, setting.flag);
        writeln!(out, "| `{name}` | `--{flag}` | {default} | {meaning} |").expect(INFALLIBLE);
    }
    out
}

/// The text of `.env.example`: every setting with its meaning, commented out at its default.
#[must_use]
pub fn env_example() -> String {
    let mut out = "# Settings of Broker. Copy this file to .env and uncomment what you change.\n\
                   # Flags and the environment come before it. Bytes may be written with KiB, MiB \
                   or GiB.\n"
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

/// Lines of at most 96 characters, so that with their `# ` they stay below 100.
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
