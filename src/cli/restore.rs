//! `broker restore`: creates a data directory from a backup.

use std::path::Path;

use crate::cli::backup::{copy_all, open_backup};
use crate::cli::failure::Failure;
use crate::cli::output::{count, hex, print_line};
use crate::cli::target::{CopyPlan, ExistingTarget, FinishedCopy};
use crate::config::Config;

pub(super) fn run(config: &Config, from: &Path) -> Result<(), Failure> {
    let survey = open_backup(from)?;
    let plan = CopyPlan {
        directory: &config.data_dir,
        log: survey.log_id(),
        existing: ExistingTarget::Refuse,
        segment_bytes: config.segment_bytes,
    };
    let (FinishedCopy { head, .. }, surveyed) = copy_all("restoring", &survey, plan)?;
    print_line(format_args!(
        "restored {} of the log {} to {}; the last is seq {head}, and the chain after it is {}",
        count(head, "record"),
        survey.log_id(),
        config.data_dir.display(),
        hex(&surveyed.chain),
    ))
}
