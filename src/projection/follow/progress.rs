//! Shows an operator the progress of a projection that is catching up or being rebuilt.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::record::Seq;

/// How often progress is logged when no bar can be drawn.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// A bar on a terminal, a log line now and then elsewhere.
pub struct ProgressDisplay {
    task: &'static str,
    bar: Option<ProgressBar>,
    began: Instant,
    logged: Instant,
    from: Seq,
}

impl ProgressDisplay {
    pub fn new(task: &'static str, from: Seq, head: Seq) -> Self {
        tracing::info!(from, head, "{task}");
        let bar = stderr().is_terminal().then(|| {
            let style = "{msg} {wide_bar} {human_pos}/{human_len} records, {per_sec}, {eta} left";
            let style = ProgressStyle::with_template(style).expect("the template is well-formed");
            ProgressBar::with_draw_target(Some(head), ProgressDrawTarget::stderr())
                .with_style(style)
                .with_position(from)
                .with_message(task)
        });
        let began = Instant::now();
        Self { task, bar, began, logged: began, from }
    }

    pub fn update(&mut self, applied: Seq, head: Seq) {
        if let Some(bar) = &self.bar {
            bar.set_length(head);
            bar.set_position(applied);
        } else if self.logged.elapsed() >= LOG_INTERVAL {
            self.logged = Instant::now();
            tracing::info!(applied, head, "{}", self.task);
        }
    }

    pub fn end(self, applied: Seq) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(records = applied - self.from, elapsed_ms, "{}: done", self.task);
    }
}
