//! `broker import`: restores a log from its export, identical down to the last hash.
//!
//! A new directory appears only after the last line was verified. An existing one is extended only
//! after the whole file was verified, so the file is read twice.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::audit::{Digest, chain};
use crate::cli::failure::{Failure, io_failure};
use crate::cli::lines::{ExportBegin, ExportEnd, ExportLine, Lines, decode_record};
use crate::cli::output::{self, ProgressBar, count, hex, print_line};
use crate::cli::sequence::Sequence;
use crate::cli::target::{CopyPlan, CopyTarget, ExistingTarget, FinishedCopy};
use crate::config::Config;
use crate::record::{Record, RecordError};

pub(super) fn run(config: &Config, from: &Path) -> Result<(), Failure> {
    let mut export = Export::open(from)?;
    let begin = export.read_begin()?;
    let plan = CopyPlan {
        directory: &config.data_dir,
        log: begin.log,
        existing: ExistingTarget::Extend,
        segment_bytes: config.segment_bytes,
    };
    let mut before = Sequence::with_ids();
    let mut chain_before = Digest::default();
    let mut visit = |record: &Record, chain: &Digest| -> Result<(), RecordError> {
        if record.seq() <= begin.after {
            before.check(record).map_err(RecordError::System)?;
            chain_before = *chain;
        }
        Ok(())
    };
    let mut target = CopyTarget::open(plan, &mut visit)?;
    let imported = if target.existing_seq() < begin.after {
        Err(export.refuse(&format!(
            "the export begins after seq {}, but {} holds records up to seq {}: import the missing \
             ones first",
            begin.after,
            config.data_dir.display(),
            target.existing_seq()
        )))
    } else if chain_before != begin.chain {
        Err(export.refuse(&format!(
            "the export continues other records up to seq {} than those in {}: it belongs to \
             another history of this log",
            begin.after,
            config.data_dir.display()
        )))
    } else {
        import_records(&mut export, &begin, before, &mut target)
    };
    let end = match imported {
        Ok(end) => end,
        Err(failure) => {
            // Content that failed verification is discarded; after a failed write the copy is kept,
            // to be continued.
            if let Failure::Refused(_) | Failure::Damage(_) = failure {
                target.discard()?;
            }
            return Err(failure);
        }
    };
    let FinishedCopy { head, added } = target.finish()?;
    print_line(format_args!(
        "imported {} of the log {} into {}, {added} of them new; the last is seq {head}, and the \
         chain after it is {}",
        count(end.records, "record"),
        begin.log,
        config.data_dir.display(),
        hex(&end.chain),
    ))
}

/// Verifies and copies all records.
fn import_records(
    export: &mut Export,
    begin: &ExportBegin,
    before: Sequence,
    target: &mut CopyTarget,
) -> Result<ExportEnd, Failure> {
    if target.is_in_place() {
        if export.is_standard {
            return Err(Failure::Refused(
                "standard input can be read only once, but a directory that holds a log is \
                 extended only after the whole export was verified: name a file, or an empty \
                 directory"
                    .to_owned(),
            ));
        }
        let progress = ProgressBar::bytes("verifying", export.bytes);
        export.read_records(begin, before.clone(), &progress, |_, _| Ok(()))?;
        *export = Export::open(&export.path)?;
        if export.read_begin()? != *begin {
            return Err(export.refuse("the file changed while it was read"));
        }
    }
    let progress = ProgressBar::bytes("importing", export.bytes);
    export.read_records(begin, before, &progress, |record, chain| {
        target.append(&[Arc::new(record)], &[chain])
    })
}

/// A file that claims to be an export.
struct Export {
    path: std::path::PathBuf,
    is_standard: bool,
    /// Its size, if known.
    bytes: Option<u64>,
    lines: Lines<Box<dyn BufRead>>,
}

impl Export {
    fn open(path: &Path) -> Result<Self, Failure> {
        let is_standard = path == Path::new("-");
        let (reader, bytes): (Box<dyn BufRead>, _) = if is_standard {
            (Box::new(BufReader::new(io::stdin())), None)
        } else {
            let file = File::open(path).map_err(io_failure("opening", path))?;
            let found = file.metadata().map_err(io_failure("reading", path))?;
            let bytes = found.is_file().then_some(found.len());
            (Box::new(BufReader::with_capacity(1 << 20, file)), bytes)
        };
        Ok(Self { path: path.to_owned(), is_standard, bytes, lines: Lines::new(reader) })
    }

    /// Reads the first line.
    fn read_begin(&mut self) -> Result<ExportBegin, Failure> {
        let begin = match self.next()? {
            None => Err("the file is empty".to_owned()),
            Some(ExportLine::Whole(line)) => ExportBegin::decode(line),
            Some(ExportLine::Cut(_) | ExportLine::TooLong) => {
                Err("it does not begin like an export".to_owned())
            }
        };
        begin.map_err(|what| self.refuse(&format!("line 1: {what}")))
    }

    /// Reads every record with the chain after it, up to the last line, which must agree with them.
    fn read_records(
        &mut self,
        begin: &ExportBegin,
        mut sequence: Sequence,
        progress: &ProgressBar,
        mut take: impl FnMut(Record, Digest) -> Result<(), Failure>,
    ) -> Result<ExportEnd, Failure> {
        let mut end = ExportEnd { records: 0, seq: begin.after, chain: begin.chain };
        loop {
            let line = match self.next()? {
                Some(ExportLine::Whole(line)) => line,
                None | Some(ExportLine::Cut(_)) => {
                    return Err(self.refuse(&format!(
                        "the file is cut: the line that ends an export is missing after seq {}; \
                         continue the export into this file, or copy the file again",
                        end.seq
                    )));
                }
                Some(ExportLine::TooLong) => {
                    return Err(self.refuse_line("it is longer than any record"));
                }
            };
            progress.add(line.len() as u64 + 1);
            if ExportEnd::is_end(line) {
                let stated = ExportEnd::decode(line).map_err(|what| self.refuse_line(&what))?;
                return self.check_end(stated, end);
            }
            let record = decode_record(line).map_err(|what| self.refuse_line(&what))?;
            sequence.check(&record).map_err(|wrong| {
                self.refuse_line(&format!("{}: {wrong}", output::record_name(&record)))
            })?;
            end = ExportEnd {
                records: end.records + 1,
                seq: record.seq(),
                chain: chain(&end.chain, &record.leaf().0.encode()),
            };
            take(record, end.chain)?;
        }
    }

    /// Checks the last line against the records before it.
    fn check_end(&mut self, stated: ExportEnd, found: ExportEnd) -> Result<ExportEnd, Failure> {
        if (stated.records, stated.seq) != (found.records, found.seq) {
            return Err(self.refuse_line(&format!(
                "it states {} up to seq {}, but {} up to seq {} precede it: the last lines are \
                 missing",
                count(stated.records, "record"),
                stated.seq,
                count(found.records, "record"),
                found.seq
            )));
        }
        if stated.chain != found.chain {
            return Err(self.refuse_line(&format!(
                "it states the chain {}, but the records before it have the chain {}: one of them \
                 was replaced together with its hash",
                hex(&stated.chain),
                hex(&found.chain)
            )));
        }
        if self.next()?.is_some() {
            return Err(self.refuse_line("it follows the line that ends the export"));
        }
        Ok(stated)
    }

    fn next(&mut self) -> Result<Option<ExportLine<'_>>, Failure> {
        let path = &self.path;
        self.lines.next().map_err(|error| io_failure("reading", path)(error))
    }

    fn refuse_line(&self, what: &str) -> Failure {
        self.refuse(&format!("line {}: {what}", self.lines.number))
    }

    fn refuse(&self, what: &str) -> Failure {
        let name = match self.is_standard {
            true => "standard input".to_owned(),
            false => self.path.display().to_string(),
        };
        Failure::Refused(format!("{name} is not imported, and nothing of it is stored: {what}"))
    }
}
