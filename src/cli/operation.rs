//! The operator commands: their arguments, flags and help texts.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{SETTINGS, arg};
use crate::record::Seq;

/// An operator command. The settings name the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Copies the log to another directory; a server may be running.
    Backup {
        /// The directory of the backup.
        to: PathBuf,
    },
    /// Writes every record as a line of JSON.
    Export {
        /// The file; `-` is standard output.
        to: PathBuf,
        /// Exports only records after this seq.
        after: Seq,
    },
    /// Restores a log from an export.
    Import {
        /// The file; `-` is standard input.
        from: PathBuf,
    },
    /// Describes the content of the data directory.
    Inspect(ReportFormat),
    /// Rebuilds the history from the log.
    Rebuild,
    /// Creates the data directory from a backup.
    Restore {
        /// The directory of the backup.
        from: PathBuf,
    },
    /// Checks everything in the data directory.
    Verify,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// One JSON object.
    Json,
    /// Human-readable text.
    Text,
}

/// The subcommands, each with the settings that it uses.
pub fn commands() -> [Command; 7] {
    [export(), import(), backup(), restore(), verify(), rebuild(), inspect()]
}

/// The operation for a subcommand; `None` if the subcommand is not an operator command.
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

fn export() -> Command {
    Command::new("export")
        .about("Write every record to a file, one line of JSON each, with its hash")
        .long_about(
            "Write every record to a file, one line of JSON each, with its hash.\n\nA server may \
             be running. An earlier export in the file is verified and continued; a file that is \
             not the beginning of this export is not changed.",
        )
        .arg(path("FILE", "File to write or continue; - is standard output").default_value("-"))
        .arg(seq("after", "Export only records after this seq").conflicts_with("from"))
        .arg(seq("from", "Export only records from this seq on"))
        .args(settings(&["BROKER_DATA_DIR"]))
        .after_help("Example: broker export --data-dir /var/lib/broker events.ndjson")
}

fn import() -> Command {
    Command::new("import")
        .about("Create a data directory from an export, or bring one up to date with it")
        .long_about(
            "Create a data directory from an export, or bring one up to date with it.\n\nEvery \
             line is verified. If a line was changed or is missing, the command names it and \
             imports nothing. To continue an interrupted import, run the command again.",
        )
        .arg(path("FILE", "File to read; - is standard input").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker import events.ndjson --data-dir /var/lib/broker")
}

fn backup() -> Command {
    Command::new("backup")
        .about("Copy the log to another directory; a server may be running")
        .long_about(
            "Copy the log to another directory; a server may be running.\n\nThe backup holds every \
             record that was acknowledged before the command began. Every record is verified on \
             the way. An existing backup is verified and brought up to date; an interrupted one is \
             continued.",
        )
        .arg(path("BACKUP", "Directory of the backup; created if missing").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker backup --data-dir /var/lib/broker /mnt/backup/broker")
}

fn restore() -> Command {
    Command::new("restore")
        .about("Create a data directory from a backup")
        .long_about(
            "Create a data directory from a backup.\n\nThe data directory must be missing or \
             empty. It appears complete and verified, or not at all.",
        )
        .arg(path("BACKUP", "Directory of the backup").required(true))
        .args(settings(&["BROKER_DATA_DIR", "BROKER_SEGMENT_BYTES"]))
        .after_help("Example: broker restore /mnt/backup/broker --data-dir /var/lib/broker")
}

fn verify() -> Command {
    Command::new("verify")
        .about("Check every record, checksum and hash of a data directory, and its history")
        .long_about(
            "Check every record, checksum and hash of a data directory, and its history.\n\nNo \
             server may be running. Nothing is changed; the history is copied to the temporary \
             directory (TMPDIR). The exit code is 0 if everything is intact, 1 if there is damage \
             (the first bad record is named), and 2 if the directory could not be checked.",
        )
        .args(settings(&["BROKER_DATA_DIR", "BROKER_CACHE_BYTES"]))
        .after_help("Example: broker verify --data-dir /var/lib/broker")
}

fn rebuild() -> Command {
    Command::new("rebuild")
        .about("Rebuild the history from the log, and compare the two")
        .long_about(
            "Rebuild the history from the log, and compare the two.\n\nNo server may be running. \
             The old history is kept as projection.quarantined-<n>.",
        )
        .args(settings(&["BROKER_DATA_DIR", "BROKER_CACHE_BYTES"]))
        .after_help("Example: broker rebuild --data-dir /var/lib/broker")
}

fn inspect() -> Command {
    Command::new("inspect")
        .about("Describe the content of a data directory")
        .long_about(
            "Describe the content of a data directory.\n\nA server may be running. Nothing is \
             changed.",
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object"))
        .args(settings(&["BROKER_DATA_DIR"]))
        .after_help("Example: broker inspect --data-dir /var/lib/broker --json")
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
