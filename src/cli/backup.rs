//! `broker backup`: copies a log, also while a server is writing it.

use std::path::Path;

use crate::cli::failure::{Failure, io_failure};
use crate::cli::output::{self, ProgressBar, count, hex, print_line};
use crate::cli::sequence::Sequence;
use crate::cli::target::{
    CopyPlan, CopyTarget, ExistingTarget, FinishedCopy, is_partial, partial_path, resolve,
};
use crate::config::Config;
use crate::journal::{DirError, JournalError, RESTORE, Survey, SurveyReport};

pub(super) fn run(config: &Config, to: &Path) -> Result<(), Failure> {
    let survey = Survey::concurrent(&config.data_dir)?;
    let plan = CopyPlan {
        directory: to,
        log: survey.log_id(),
        existing: ExistingTarget::Extend,
        segment_bytes: config.segment_bytes,
    };
    let (FinishedCopy { head, added }, surveyed) = copy_all("backing up", &survey, plan)?;
    print_line(format_args!(
        "backed up {} of the log {} to {}, {added} of them new; the last is seq {head}, and the \
         chain after it is {}",
        count(head, "record"),
        survey.log_id(),
        to.display(),
        hex(&surveyed.chain),
    ))
}

/// Copies the whole log. Every group is verified before it is written.
pub(super) fn copy_all(
    what: &'static str,
    survey: &Survey,
    plan: CopyPlan<'_>,
) -> Result<(FinishedCopy, SurveyReport), Failure> {
    refuse_target_in_source(survey.path(), plan.directory)?;
    refuse_source_in_partial(survey.path(), plan.directory)?;
    let mut target = CopyTarget::open(plan, &mut |_, _| Ok(()))?;
    let progress = ProgressBar::bytes(what, Some(survey.log_bytes()));
    let mut sequence = Sequence::without_ids();
    let read = survey.read(|group| {
        for record in group.records {
            sequence.check(record).map_err(|wrong| {
                let (file, offset) = (group.file.display(), group.offset);
                let name = output::record_name(record);
                Failure::Damage(format!("in {file} at byte {offset}, {name}: {wrong}"))
            })?;
        }
        progress.add(group.bytes);
        target.append(group.records, group.chains)
    });
    let surveyed = read.map_err(|failure| name_bad_record(survey, failure))?;
    drop(progress);
    if let Some(tail) = &surveyed.tail {
        print_line(format_args!(
            "the log ends in {} at byte {} with an incomplete group; it was never acknowledged and \
             is not copied",
            tail.file.display(),
            tail.offset
        ))?;
    }
    Ok((target.finish()?, surveyed))
}

/// Names the damaged record in the failure.
pub(super) fn name_bad_record(survey: &Survey, failure: Failure) -> Failure {
    let Failure::Journal(error) = &failure else { return failure };
    let Some(suspect) = survey.first_bad_record(error) else { return failure };
    let names = suspect.names.as_ref();
    let names = names.map(|(event, version, to)| (event.as_str(), *version, to.as_deref()));
    let first = output::record_name_from(suspect.seq, names);
    let (file, offset, what) = match error {
        JournalError::Damage { file, offset, what, .. } => (file, offset, what.clone()),
        JournalError::Record { file, offset, source, .. } => (file, offset, source.to_string()),
        JournalError::DamagedRecord { .. }
        | JournalError::InUse { .. }
        | JournalError::Io { .. } => return failure,
    };
    Failure::Damage(format!(
        "the journal is damaged in {} at byte {offset}: {what}; the first bad record is {first}; \
         {RESTORE}",
        file.display()
    ))
}

/// Refuses a target inside the directory that is copied.
pub(super) fn refuse_target_in_source(source: &Path, directory: &Path) -> Result<(), Failure> {
    let source = source.canonicalize().map_err(io_failure("finding", source))?;
    let directory = resolve(directory)?;
    if directory.starts_with(&source) {
        return Err(Failure::Refused(format!(
            "{} lies in the directory that is copied, {}: choose another target, preferably on \
             another disk",
            directory.display(),
            source.display()
        )));
    }
    Ok(())
}

/// Refuses a source that overlaps the partial directory of its own copy.
fn refuse_source_in_partial(source: &Path, directory: &Path) -> Result<(), Failure> {
    let source = source.canonicalize().map_err(io_failure("finding", source))?;
    let directory = resolve(directory)?;
    // It would be mistaken for an interrupted copy, continued and renamed.
    let partial = resolve(&partial_path(&directory))?;
    if partial.starts_with(&source) || source.starts_with(&partial) {
        return Err(Failure::Refused(format!(
            "a copy to {} is written to {} until it is complete, but that is where the directory \
             that is copied lies: choose another target, preferably on another disk",
            directory.display(),
            partial.display()
        )));
    }
    Ok(())
}

/// Opens a backup for reading. Refuses a partial one, and any directory that is not a backup.
pub(super) fn open_backup(path: &Path) -> Result<Survey, Failure> {
    if is_partial(&resolve(path)?) {
        return Err(Failure::Refused(format!(
            "{} is an unfinished copy, and may lack the end of the log: run the command that was \
             making it again, or name another backup",
            path.display()
        )));
    }
    Survey::concurrent(path).map_err(|error| match error {
        DirError::NoLog { path } => Failure::Refused(format!(
            "{} holds no backup: name the directory of one",
            path.display()
        )),
        error => error.into(),
    })
}
