//! `broker verify`: checks everything in a data directory that nobody is using.

use crate::cli::backup::name_bad_record;
use crate::cli::failure::Failure;
use crate::cli::output::{self, ProgressBar, count, hex, print_line};
use crate::cli::scratch::Scratch;
use crate::cli::sequence::Sequence;
use crate::cli::snapshot::SnapshotCheck;
use crate::config::Config;
use crate::journal::{DirError, RESTORE, Survey, SurveyReport};
use crate::projection::{Comparison, compare, refuse_data_loss};

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let survey = Survey::locked(&config.data_dir).map_err(|error| match error {
        DirError::Locked { .. } => Failure::Refused(format!(
            "{error}; or make a backup with broker backup, and verify that"
        )),
        error => error.into(),
    })?;
    let (surveyed, events, snapshot) = check_log(&survey)?;
    let SurveyReport { head, groups, chain, .. } = &surveyed;
    print_line(format_args!(
        "log {}: {} in {}, {}; the chain after seq {head} is {}",
        survey.log_id(),
        count(*head, "record"),
        count(*groups, "group"),
        count(events, "event"),
        hex(chain),
    ))?;
    for note in notes(&surveyed) {
        print_line(format_args!("note: {note}"))?;
    }
    print_line(snapshot.verdict(surveyed.head)?)?;
    check_history(&survey, &surveyed, config.cache_bytes)?;
    print_line("no damage was found")
}

/// Checks every checksum, commitment and link of the log, the rules between records, and the
/// snapshot.
pub(super) fn check_log(survey: &Survey) -> Result<(SurveyReport, u64, SnapshotCheck), Failure> {
    let mut snapshot = SnapshotCheck::read(survey);
    let mut sequence = Sequence::with_ids();
    let progress = ProgressBar::bytes("verifying the log", Some(survey.log_bytes()));
    let read = survey.read(|group| {
        for record in group.records {
            sequence.check(record).map_err(|wrong| {
                Failure::Damage(format!(
                    "the log is damaged in {} at byte {}: {wrong}; the first bad record is {}",
                    group.file.display(),
                    group.offset,
                    output::record_name(record),
                ))
            })?;
            snapshot.check(record, &sequence)?;
        }
        progress.add(group.bytes);
        Ok(())
    });
    let surveyed = read.map_err(|failure| name_bad_record(survey, failure))?;
    Ok((surveyed, sequence.events(), snapshot))
}

/// Irregularities that do not affect anything acknowledged.
pub(super) fn notes(surveyed: &SurveyReport) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(tail) = &surveyed.tail {
        notes.push(format!(
            "a group in {} at byte {}, {} long, was never completed; nothing shows that it was \
             acknowledged, and the next start cuts it off and keeps it in a separate file",
            tail.file.display(),
            tail.offset,
            count(tail.bytes, "byte"),
        ));
    }
    match (surveyed.watermark.seq, surveyed.watermark.damaged) {
        (None, _) => notes.push(
            "the watermark is missing or damaged: without it the loss of the last records would go \
             unnoticed; the next start writes it again"
                .to_owned(),
        ),
        (Some(_), true) => notes.push(
            "one of the two slots of the watermark is damaged; the other is intact, and the next \
             start writes it again"
                .to_owned(),
        ),
        (Some(_), false) => {}
    }
    notes
}

/// Compares the projection with the log, in a copy, because sled writes to whatever it opens.
fn check_history(
    survey: &Survey,
    surveyed: &SurveyReport,
    cache_bytes: u64,
) -> Result<(), Failure> {
    let dir = survey.path().join("projection");
    refuse_data_loss(&dir)?;
    let copy = Scratch::copy_of(&dir)?;
    let progress = ProgressBar::records("verifying the history", surveyed.head);
    let (log, reader) = (survey.log_id(), &surveyed.reader);
    let compared = compare(copy.path(), log, cache_bytes, reader, |seq| progress.set(seq))?;
    drop(progress);
    match compared {
        Comparison::Absent => print_line("history: there is none yet; the next start builds it"),
        Comparison::Ahead(what) => Err(Failure::Damage(format!("{what}; {RESTORE}"))),
        Comparison::Differs { what, record } => {
            let dir = dir.display();
            let of = record.map(|record| {
                format!("; the first bad record is {}", output::record_name(&record))
            });
            Err(Failure::Damage(format!(
                "the history in {dir} is damaged: {what}{}; the log is intact: run broker rebuild, \
                 or start the server, which rebuilds it when it finds the damage",
                of.unwrap_or_default(),
            )))
        }
        Comparison::Held => Err(Failure::Refused(format!(
            "the copy of the history in {} is in use and was not compared with the log: run the \
             command again",
            copy.path().display()
        ))),
        Comparison::Same(applied) => {
            let rest = match surveyed.head - applied.seq {
                0 => String::new(),
                behind => format!("; the next start applies {} more", count(behind, "record")),
            };
            let compared = count(applied.seq, "record");
            print_line(format_args!("history: {compared} compared, no difference{rest}"))
        }
    }
}
