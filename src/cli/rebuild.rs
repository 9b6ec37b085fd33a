//! `broker rebuild`: rebuilds the history and compares it with the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::cli::backup::name_bad_record;
use crate::cli::failure::{Failure, io_failure};
use crate::cli::output::{self, ProgressBar, count, print_line};
use crate::config::Config;
use crate::journal::{DataDir, Reader, Survey, SurveyReport};
use crate::projection::{
    Comparison, Projection, ProjectionOptions, ProjectionState, compare, refuse_data_loss,
};
use crate::record::{Record, Seq};

/// How often the comparison is tried while sled is still closing the history: 3 s each make a
/// minute, enough to write the largest cache.
const COMPARE_TRIES_MAX: u32 = 20;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    // Refuses a directory without a log; opening it would create one.
    let survey = Survey::concurrent(&config.data_dir)?;
    // The store is the only evidence of the lost records, and a rebuild would move it away.
    refuse_data_loss(&survey.path().join("projection"))?;
    let directory = DataDir::open(&config.data_dir)?;
    let progress = ProgressBar::bytes("reading the log", Some(survey.log_bytes()));
    let read = survey.read(|group| {
        progress.add(group.bytes);
        Ok::<_, Failure>(())
    });
    let SurveyReport { head, reader, .. } =
        read.map_err(|failure| name_bad_record(&survey, failure))?;
    drop(progress);
    let dir = directory.path().join("projection");
    let quarantined = build(&dir, directory.log_id(), config.cache_bytes, &reader, head)?;
    compare_with_log(&dir, directory.log_id(), config.cache_bytes, &reader, head)?;
    print_line(format_args!(
        "the history was built from {} of the log, and agrees with it",
        count(head, "record")
    ))?;
    match quarantined {
        Some(quarantined) => print_line(format_args!(
            "the old one is kept in {}, and may be deleted",
            quarantined.display()
        )),
        None => Ok(()),
    }
}

/// Builds a new history up to `head`. Returns where the old one was moved, if there was one.
fn build(
    dir: &Path,
    log: Uuid,
    cache_bytes: u64,
    reader: &Reader,
    head: Seq,
) -> Result<Option<PathBuf>, Failure> {
    let options = ProjectionOptions {
        cache_bytes_max: cache_bytes,
        burst_lag_records_max: 0,
        // The comparison opens it again.
        replayed_records_max: u64::MAX,
        ..ProjectionOptions::default()
    };
    let created = Projection::recreate(dir, log, options);
    let (projection, quarantined) = created.map_err(io_failure("moving away", dir))?;
    let handle =
        projection.start(reader.clone(), true).map_err(io_failure("starting a thread for", dir))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(io_failure("preparing to wait for", dir))?;
    let reached = runtime.block_on(handle.reached(head, Duration::MAX));
    let state = handle.state();
    handle.close();
    reached.map_err(|unavailable| {
        let why = match state {
            ProjectionState::Failed(reason) => reason,
            _ => unavailable.to_string(),
        };
        Failure::Refused(format!(
            "the history in {} cannot be built: {why}; check the disk and run the command again",
            dir.display()
        ))
    })?;
    Ok(quarantined)
}

/// Requires a history that agrees with the log up to `head`.
fn compare_with_log(
    dir: &Path,
    log: Uuid,
    cache_bytes: u64,
    reader: &Reader,
    head: Seq,
) -> Result<(), Failure> {
    let progress = ProgressBar::records("comparing the history with the log", head);
    let mut compared = Comparison::Held;
    for _ in 0..COMPARE_TRIES_MAX {
        compared = compare(dir, log, cache_bytes, reader, |seq| progress.set(seq))?;
        if compared != Comparison::Held {
            break;
        }
    }
    match compared {
        Comparison::Same(applied) if applied.seq == head => Ok(()),
        Comparison::Absent if head == 0 => Ok(()),
        Comparison::Absent | Comparison::Same(_) => Err(Failure::Damage(format!(
            "the history in {} was built, but is not there: check the disk and the memory",
            dir.display()
        ))),
        Comparison::Ahead(what) => Err(built_wrong(dir, &what, None)),
        Comparison::Differs { what, record } => Err(built_wrong(dir, &what, record)),
        Comparison::Held => Err(Failure::Refused(format!(
            "the history in {} was built, but not compared with the log, because it was still \
             being written after a minute: run broker verify",
            dir.display()
        ))),
    }
}

fn built_wrong(dir: &Path, what: &str, record: Option<Box<Record>>) -> Failure {
    let name = record.map(|record| format!(", at {}", output::record_name(&record)));
    Failure::Damage(format!(
        "the history in {} was built, but differs from the log: {what}{}; check the disk and the \
         memory",
        dir.display(),
        name.unwrap_or_default(),
    ))
}
