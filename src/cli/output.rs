//! Output of the commands: results on standard output, progress on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _, stderr};

use indicatif::{ProgressDrawTarget, ProgressStyle};

use crate::cli::failure::{Failure, io_failure};
use crate::record::{Record, User};

const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
const RECORDS: &str = "{msg} {wide_bar} {human_pos}/{human_len} records, {per_sec}, {eta} left";
const UNBOUNDED: &str = "{msg} {spinner} {bytes}, {bytes_per_sec}";

/// A progress bar, shown on terminals only; dropping it removes it.
pub(super) struct ProgressBar(Option<indicatif::ProgressBar>);

impl ProgressBar {
    /// Counts bytes. The total is unknown for a pipe.
    pub(super) fn bytes(what: &'static str, total: Option<u64>) -> Self {
        Self::new(what, if total.is_some() { BYTES } else { UNBOUNDED }, total)
    }

    /// Counts records.
    pub(super) fn records(what: &'static str, total: u64) -> Self {
        Self::new(what, RECORDS, Some(total))
    }

    fn new(what: &'static str, template: &str, total: Option<u64>) -> Self {
        Self(stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            indicatif::ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
                .with_style(style)
                .with_message(what)
        }))
    }

    pub(super) fn add(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(done);
        }
    }

    pub(super) fn set(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to standard output.
pub(super) fn print_line(line: impl fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(stdout_failure)
}

/// The failure for a failed write to standard output.
pub(super) fn stdout_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Pipe;
    }
    io_failure("writing to", "standard output")(error)
}

/// Names a record in a sentence.
pub(super) fn record_name(record: &Record) -> String {
    let event = record.event().as_str();
    record_name_from(record.seq(), Some((event, record.version(), record.to().map(User::as_str))))
}

/// As [`record_name`], from the parts of a record that are known.
pub(super) fn record_name_from(seq: u64, names: Option<(&str, u64, Option<&str>)>) -> String {
    match names {
        None => format!("seq {seq}"),
        Some((event, version, None)) => format!("seq {seq} (event {event:?}, version {version})"),
        Some((event, version, Some(to))) => {
            format!("seq {seq} (event {event:?} to {to:?}, version {version})")
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    crate::record::push_hex(&mut out, bytes);
    out
}

/// `1 record`, `2 records`.
pub(super) fn count(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A size in bytes, human-readable.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut amount = bytes as f64;
    let mut unit = None;
    for larger in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = Some(larger);
    }
    unit.map_or_else(|| count(bytes, "byte"), |unit| format!("{amount:.1} {unit}"))
}
