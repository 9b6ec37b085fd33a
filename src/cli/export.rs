//! `broker export`: writes every record as a line of JSON, and a last line that shows that the file
//! is complete.
//!
//! An export of the same records has the same bytes. So when a file is continued, its content is
//! compared with what would be written; only its end, a cut line or the last line of an earlier
//! export, is overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek as _, SeekFrom, StdoutLock, Write};
use std::path::{Path, PathBuf};

use crate::audit::Digest;
use crate::cli::backup::{name_bad_record, refuse_target_in_source};
use crate::cli::failure::{Failure, io_failure};
use crate::cli::lines::{ExportBegin, ExportEnd, ExportLine, Lines};
use crate::cli::output::{self, ProgressBar, count, hex};
use crate::config::Config;
use crate::journal::Survey;
use crate::record::Seq;

pub(super) fn run(config: &Config, to: &Path, after: Seq) -> Result<(), Failure> {
    let survey = Survey::concurrent(&config.data_dir)?;
    let mut out = if to == Path::new("-") {
        ExportOutput::Standard(BufWriter::new(io::stdout().lock()))
    } else {
        ExportOutput::open(to, survey.path())?
    };
    let mut end = ExportEnd { records: 0, seq: after, chain: Digest::default() };
    let mut begun = false;
    let mut begin = |out: &mut ExportOutput<'_>, chain: Digest| {
        begun = true;
        let begin = ExportBegin { log: survey.log_id(), after, chain };
        out.write_line(begin.encode().as_bytes(), None)
    };
    if after == 0 {
        begin(&mut out, end.chain)?;
    }
    let progress = ProgressBar::bytes("exporting", Some(survey.log_bytes()));
    let read = survey.read(|group| {
        for (record, chain) in group.records.iter().zip(group.chains) {
            if record.seq() > after {
                out.write_line(&record.audit_json(), Some(&end))?;
                end = ExportEnd { records: end.records + 1, seq: record.seq(), chain: *chain };
            } else if record.seq() == after {
                end.chain = *chain;
                begin(&mut out, *chain)?;
            }
        }
        progress.add(group.bytes);
        Ok(())
    });
    let surveyed = read.map_err(|failure| name_bad_record(&survey, failure))?;
    drop(progress);
    if !begun {
        return Err(Failure::Refused(format!(
            "the log ends with seq {}, before seq {after}: there is nothing to export after it",
            surveyed.head
        )));
    }
    out.write_line(end.encode().as_bytes(), Some(&end))?;
    let kept_records = out.finish()?;
    let kept = if kept_records > 0 {
        format!(", of which {kept_records} were there already")
    } else {
        String::new()
    };
    // Standard error, because standard output may be the export itself.
    eprintln!(
        "exported {} of the log {} after seq {after}{kept}; the last is seq {}, and the chain \
         after it is {}",
        count(end.records, "record"),
        survey.log_id(),
        end.seq,
        hex(&end.chain),
    );
    Ok(())
}

enum ExportOutput<'a> {
    File(ContinuedFile),
    Standard(BufWriter<StdoutLock<'a>>),
    /// Not a regular file, so nothing is read from it: reading a pipe would wait for its end.
    Stream(PathBuf, BufWriter<File>),
}

impl ExportOutput<'_> {
    /// Opens a regular file outside the data directory, which may hold the beginning of the export,
    /// or anything else that can be written to.
    fn open(path: &Path, data_dir: &Path) -> Result<Self, Failure> {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                let stream = OpenOptions::new().write(true).open(path);
                let stream = stream.map_err(io_failure("opening", path))?;
                Ok(Self::Stream(path.to_owned(), BufWriter::new(stream)))
            }
            Ok(_) | Err(_) => {
                refuse_target_in_source(data_dir, path)?;
                Ok(Self::File(ContinuedFile::open(path)?))
            }
        }
    }

    /// Writes a line unless it is already there. `end_before` is the last line of an export that
    /// ends before it.
    fn write_line(&mut self, line: &[u8], end_before: Option<&ExportEnd>) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.write_line(line, end_before),
            Self::Standard(out) => {
                let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
                written.map_err(output::stdout_failure)
            }
            Self::Stream(path, out) => {
                let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
                written.map_err(|error| stream_failure(path, error))
            }
        }
    }

    /// Makes everything durable. Returns how many records were already there.
    fn finish(self) -> Result<u64, Failure> {
        match self {
            Self::File(file) => file.finish(),
            Self::Standard(mut out) => out.flush().map(|()| 0).map_err(output::stdout_failure),
            Self::Stream(path, mut out) => {
                out.flush().map(|()| 0).map_err(|error| stream_failure(&path, error))
            }
        }
    }
}

/// A failed write to something other than a regular file.
fn stream_failure(path: &Path, error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Pipe,
        _ => io_failure("writing to", path)(error),
    }
}

/// A file that may hold the beginning of the export.
struct ContinuedFile {
    path: PathBuf,
    state: ExportState,
    /// Length of the content that matches the export.
    matching_bytes: u64,
    /// Records in that content.
    kept_records: u64,
}

enum ExportState {
    /// Comparing existing lines.
    Comparing(Lines<BufReader<File>>),
    /// Appending new lines.
    Writing(BufWriter<File>),
}

impl ContinuedFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(io_failure("opening", path))?;
        let state = ExportState::Comparing(Lines::new(BufReader::new(file)));
        Ok(Self { path: path.to_owned(), state, matching_bytes: 0, kept_records: 0 })
    }

    fn write_line(&mut self, line: &[u8], end_before: Option<&ExportEnd>) -> Result<(), Failure> {
        let ExportState::Comparing(lines) = &mut self.state else { return self.append_line(line) };
        let is_first = lines.number == 0;
        let found = lines.next().map_err(io_failure("reading", &self.path))?;
        let has_foreign_rest = match found {
            None => false,
            Some(ExportLine::Whole(found)) if found == line => {
                self.matching_bytes += line.len() as u64 + 1;
                self.kept_records += u64::from(end_before.is_some() && !ExportEnd::is_end(found));
                return Ok(());
            }
            // A cut first line is only ours if it is a prefix of the line.
            Some(ExportLine::Cut(found)) => {
                if is_first && !line.starts_with(found) {
                    return Err(self.foreign_file());
                }
                false
            }
            Some(ExportLine::Whole(found)) => {
                let found_end = end_before.filter(|end| end.encode().as_bytes() == found);
                let is_last = found_end.is_some()
                    && lines.next().map_err(io_failure("reading", &self.path))?.is_none();
                !is_last
            }
            Some(ExportLine::TooLong) => true,
        };
        if has_foreign_rest {
            return Err(self.foreign_file());
        }
        self.start_writing()?;
        self.append_line(line)
    }

    /// Truncates the file after the matching content and starts to append.
    fn start_writing(&mut self) -> Result<(), Failure> {
        let path = &self.path;
        let file = OpenOptions::new().write(true).open(path);
        let mut file = file.map_err(io_failure("opening", path))?;
        let cut = file.set_len(self.matching_bytes);
        let cut = cut.and_then(|()| file.seek(SeekFrom::Start(self.matching_bytes)));
        cut.map_err(io_failure("writing to", path))?;
        self.state = ExportState::Writing(BufWriter::with_capacity(1 << 20, file));
        Ok(())
    }

    fn append_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let ExportState::Writing(out) = &mut self.state else {
            unreachable!("lines are appended after the existing ones were compared");
        };
        let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
        written.map_err(io_failure("writing to", &self.path))
    }

    fn finish(self) -> Result<u64, Failure> {
        let Self { path, state, kept_records, .. } = self;
        let file = match state {
            ExportState::Comparing(mut lines) => {
                if lines.next().map_err(io_failure("reading", &path))?.is_some() {
                    return Err(Failure::Refused(format!(
                        "{} holds more than the log: line {} follows the end of this export; \
                         nothing was changed; name another file",
                        path.display(),
                        lines.number
                    )));
                }
                File::open(&path).map_err(io_failure("opening", &path))?
            }
            ExportState::Writing(out) => out
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .map_err(io_failure("writing to", &path))?,
        };
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let synced =
            file.sync_all().and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all());
        // Some file systems cannot sync a directory.
        match synced {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                Err(io_failure("syncing", &path)(error))
            }
            _ => Ok(kept_records),
        }
    }

    fn foreign_file(&self) -> Failure {
        let number = match &self.state {
            ExportState::Comparing(lines) => lines.number,
            ExportState::Writing(_) => 0,
        };
        Failure::Refused(format!(
            "{} is not the beginning of this export: line {number} differs from the log, or from \
             the range that was asked for; nothing was changed; name another file",
            self.path.display()
        ))
    }
}
