//! `broker restore`: a data directory out of a backup.

use std::path::Path;

use crate::cli::Failure;
use crate::cli::backup::{backup_of, copy_all};
use crate::cli::output::{count, hex, say};
use crate::cli::target::{Existing, Finished, Plan};
use crate::config::Config;

pub(super) fn run(config: &Config, from: &Path) -> Result<(), Failure> {
    let survey = backup_of(from)?;
    let plan = Plan {
        place: &config.data_dir,
        log: survey.log_id(),
        existing: Existing::Refuse,
        segment_bytes: config.segment_bytes,
    };
    let (Finished { head, .. }, surveyed) = copy_all("restoring", &survey, plan)?;
    say(format_args!(
        "restored {} of the log {} to {}; the last is seq {head}, the chain after it {}",
        count(head, "record"),
        survey.log_id(),
        config.data_dir.display(),
        hex(&surveyed.chain),
    ))
}
