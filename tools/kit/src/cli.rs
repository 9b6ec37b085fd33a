//! Parts of the tools' command lines.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Result;
use crate::plot::{self, Plot};
use crate::report::Report;

/// Where a report goes, besides standard output.
#[derive(Default)]
pub struct Output {
    /// File for the figures as JSON.
    pub json: Option<PathBuf>,
    /// File for the plot.
    pub svg: Option<PathBuf>,
}

impl Output {
    /// Prints the report, and writes the files.
    pub fn write(&self, report: &Report, plot: &Plot) -> Result {
        print!("{report}");
        if let Some(path) = &self.json {
            std::fs::write(path, report.json())?;
        }
        if let Some(path) = &self.svg {
            std::fs::write(path, plot::svg(plot, report))?;
        }
        Ok(())
    }
}

/// Parses a number that is not zero.
pub fn positive(value: &str) -> Result<u64> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{value} is not a number above zero").into()),
    }
}

/// Prints the error of a program, if there is one.
#[must_use]
pub fn exit_code(program: &str, outcome: Result) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
