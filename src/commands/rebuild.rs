//! `broker rebuild`: the history anew, and compared with the log.

use std::time::Duration;

use super::backup::name_bad;
use super::output::{self, Progress, count, say};
use super::{Failure, io_failure};
use crate::config::Config;
use crate::journal::{DataDir, Survey, Surveyed};
use crate::projection::{Comparison, Options, Projection, State, compare};

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    // Refuses a directory without a log, which opening it would make.
    let survey = Survey::beside(&config.data_dir)?;
    let directory = DataDir::open(&config.data_dir)?;
    let progress = Progress::bytes("reading the log", Some(survey.log_bytes()));
    let read = survey.read(|taken| {
        progress.add(taken.bytes);
        Ok::<_, Failure>(())
    });
    let Surveyed { head, reader, .. } = read.map_err(|failure| name_bad(&survey, failure))?;
    drop(progress);

    let dir = directory.path().join("projection");
    let options = Options { cache_bytes_max: config.cache_bytes, give_way_records_max: 0 };
    let anew = Projection::anew(&dir, directory.log_id(), options);
    let (projection, aside) = anew.map_err(io_failure("moving aside", &dir))?;
    let handle = projection
        .start(reader.clone(), true)
        .map_err(io_failure("starting a thread for", &dir))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(io_failure("preparing to wait for", &dir))?;
    let reached = runtime.block_on(handle.reached(head, Duration::MAX));
    let state = handle.state();
    handle.close();
    reached.map_err(|unavailable| {
        let why = match state {
            State::Failed(reason) => reason,
            _ => unavailable.to_string(),
        };
        Failure::Refused(format!(
            "the history in {} cannot be built: {why}; check the disk, and run the command again",
            dir.display()
        ))
    })?;

    let progress = Progress::records("comparing the history with the log", head);
    let log = directory.log_id();
    match compare(&dir, log, config.cache_bytes, &reader, |seq| progress.at(seq))? {
        Comparison::Same(applied) if applied.seq == head => {}
        Comparison::Absent if head == 0 => {}
        Comparison::Absent | Comparison::Same(_) => {
            let dir = dir.display();
            return Err(Failure::Damage(format!(
                "the history in {dir} was built and is not there: check the disk and the memory"
            )));
        }
        Comparison::Differs { what, record } => {
            let name = record.map(|record| format!(", at {}", output::name(&record)));
            return Err(Failure::Damage(format!(
                "the history in {} was built and differs from the log: {what}{}; check the disk \
                 and the memory",
                dir.display(),
                name.unwrap_or_default(),
            )));
        }
    }
    drop(progress);
    say(format_args!(
        "the history was built from {} of the log, and agrees with them",
        count(head, "record")
    ))?;
    match aside {
        Some(aside) => {
            say(format_args!("the old one is kept in {}, and may be deleted", aside.display()))
        }
        None => Ok(()),
    }
}
