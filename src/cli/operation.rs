//! The commands beside `serve`: what an operator does with a data directory.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{SETTINGS, arg};
use crate::record::Seq;

/// What an operator asks for; the data directory is that of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Copy the log, also of a running server, to another directory.
    Backup {
        /// The directory of the backup.
        to: PathBuf,
    },
    /// Write every record as a line of JSON.
    Export {
        /// The file; `-` is standard output.
        to: PathBuf,
        /// Only what follows this seq.
        after: Seq,
    },
    /// Take in what was exported.
    Import {
        /// The file; `-` is standard input.
        from: PathBuf,
    },
    /// Tell what a directory holds.
    Inspect(ReportFormat),
    /// Build the history anew.
    Rebuild,
    /// Make a data directory out of a backup.
    Restore {
        /// The directory of the backup.
        from: PathBuf,
    },
    /// Check everything.
    Verify,
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// As one JSON object.
    Json,
    /// For people.
    Text,
}

/// The subcommands, with the settings that each of them takes.
pub fn commands() -> impl Iterator<Item = Command> {
    let export = Command::new("export")
        .about("Write every record to a file, a line of JSON each, with its hash")
        .long_about(
            "Write every record to a file, a line of JSON each, with its hash.\n\nA server may run \
             meanwhile. What was exported into a file before is checked and continued; a file that \
             is not the beginning of this export is left as it is.",
        )
        .arg(path("FILE", "File to write or to continue; - is standard output").default_value("-"))
        .arg(seq("after", "Only what follows this seq").conflicts_with("from"))
        .arg(seq("from", "Only what begins with this seq"))
        .args(settings(&["BROKER_DATA_DIR"]))
        .after_help("Example: broker export --data-dir /var/lib/broker events.ndjson");
    let import = Command::new("import")
        .about("Make a data directory out of an export, or bring one up to date with it")
        .long_about(
            "Make a data directory out of an export, or bring one up to date with it.\n\nEvery \
             line is verified; when one is not what was exported, or one is missing, it is named, \
             and nothing is imported. An import that was interrupted is continued when it is run \
             again.",
        )
        .arg(path("FILE", "File to read; - is standard input").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker import events.ndjson --data-dir /var/lib/broker");
    let backup = Command::new("backup")
        .about("Copy the log, also of a running server, to another directory")
        .long_about(
            "Copy the log, also of a running server, to another directory.\n\nThe backup holds \
             everything that was acknowledged before the command began. Every record is verified \
             on the way. A backup that is there already is verified, and what is new is added to \
             it; so is one that was interrupted.",
        )
        .arg(path("BACKUP", "Directory of the backup; made if missing").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker backup --data-dir /var/lib/broker /mnt/backup/broker");
    let restore = Command::new("restore")
        .about("Make a data directory out of a backup")
        .long_about(
            "Make a data directory out of a backup.\n\nThe data directory must be missing or \
             empty. It appears whole, and verified, or not at all.",
        )
        .arg(path("BACKUP", "Directory of the backup").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker restore /mnt/backup/broker --data-dir /var/lib/broker");
    let verify = Command::new("verify")
        .about("Check every record, checksum and hash of a data directory, and its history")
        .long_about(
            "Check every record, checksum and hash of a data directory, and its history.\n\nNo \
             server may run meanwhile. Nothing is changed; a copy of the history is made among the \
             temporary files (TMPDIR). The exit code is 0 when everything is sound, 1 when there is \
             damage, whose first record is named, and 2 when it could not be checked.",
        )
        .args(settings(&["BROKER_DATA_DIR", "BROKER_CACHE_BYTES"]))
        .after_help("Example: broker verify --data-dir /var/lib/broker");
    let rebuild = Command::new("rebuild")
        .about("Build the history anew from the log, and compare it")
        .long_about(
            "Build the history anew from the log, and compare it.\n\nNo server may run meanwhile. \
             The old one is kept aside.",
        )
        .args(settings(&["BROKER_DATA_DIR", "BROKER_CACHE_BYTES"]))
        .after_help("Example: broker rebuild --data-dir /var/lib/broker");
    let inspect = Command::new("inspect")
        .about("Tell what a data directory holds")
        .long_about(
            "Tell what a data directory holds.\n\nA server may run meanwhile. Nothing is changed.",
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Show one JSON object"))
        .args(settings(&["BROKER_DATA_DIR"]))
        .after_help("Example: broker inspect --data-dir /var/lib/broker --json");
    [export, import, backup, restore, verify, rebuild, inspect].into_iter()
}

/// The operation that a subcommand asks for; nothing when it is none of these.
pub fn operation(name: &str, matches: &ArgMatches) -> Option<Operation> {
    let path = |name| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    Some(match name {
        "backup" => Operation::Backup { to: path("BACKUP") },
        "export" => {
            let after = matches.get_one::<Seq>("after").copied();
            let from = matches.get_one::<Seq>("from").map(|from| from.saturating_sub(1));
            Operation::Export { to: path("FILE"), after: after.or(from).unwrap_or(0) }
        }
        "import" => Operation::Import { from: path("FILE") },
        "inspect" if matches.get_flag("json") => Operation::Inspect(ReportFormat::Json),
        "inspect" => Operation::Inspect(ReportFormat::Text),
        "rebuild" => Operation::Rebuild,
        "restore" => Operation::Restore { from: path("BACKUP") },
        "verify" => Operation::Verify,
        _ => return None,
    })
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(name).value_parser(value_parser!(PathBuf)).help(help)
}

fn seq(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("SEQ").value_parser(value_parser!(u64)).help(help)
}

fn settings(names: &[&str]) -> Vec<Arg> {
    SETTINGS.iter().filter(|setting| names.contains(&setting.name)).map(arg).collect()
}
