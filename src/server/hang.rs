//! Whether this process gets anywhere: a call to a disk that hangs answers neither well nor badly.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

/// How often it polls.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Without any advance in so many polls, a call does not return: the slowest disks that work take a
/// second. It is counted what was seen, not what a clock says, for the whole process may have stood
/// still. A start that hangs ends within 11 s.
const IDLE_POLLS_MAX: u32 = 16;

/// A process that only waits uses less processor time than this in all polls …
const PROGRESS_CPU_MIN: Duration = Duration::from_millis(50);
/// … and reads and writes less, of which looking is a part.
const PROGRESS_IO_BYTES_MIN: u64 = 64 << 10;
/// One poll counts for no more: a machine that is taken away for a moment may be told as processor
/// time of whoever had it, and who works does so in the next poll too.
const CPU_PER_POLL_MAX: Duration = Duration::from_millis(25);

/// What a process has done since it was started.
#[derive(Clone, Copy)]
struct WorkDone {
    cpu: Duration,
    io_bytes: u64,
}

/// What it has done since it was last seen to advance.
struct Activity {
    last: WorkDone,
    cpu: Duration,
    io_bytes: u64,
}

/// Resolves when the process has not advanced for 8 s.
pub(crate) async fn process_hung() {
    let (mut activity, mut polls) = (Activity::since(WorkDone::now()), 0);
    while polls < IDLE_POLLS_MAX {
        sleep(POLL_INTERVAL).await;
        polls += 1;
        let now = WorkDone::now();
        if activity.add_sample(now) {
            (activity, polls) = (Activity::since(now), 0);
        }
    }
}

impl Activity {
    fn since(last: WorkDone) -> Self {
        Self { last, cpu: Duration::ZERO, io_bytes: 0 }
    }

    /// Adds what was done since the last poll, and tells whether all is more than waiting takes.
    fn add_sample(&mut self, now: WorkDone) -> bool {
        self.cpu += now.cpu.saturating_sub(self.last.cpu).min(CPU_PER_POLL_MAX);
        self.io_bytes += now.io_bytes.saturating_sub(self.last.io_bytes);
        self.last = now;
        self.cpu >= PROGRESS_CPU_MIN || self.io_bytes >= PROGRESS_IO_BYTES_MIN
    }
}

impl WorkDone {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        // Without it processor time has to tell.
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            let counts = ["rchar", "wchar", "read_bytes", "write_bytes"].contains(&name);
            counts.then(|| value.parse::<u64>().ok()).flatten()
        };
        Self { cpu, io_bytes: io.lines().filter_map(bytes).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_progress_and_polling_is_not() {
        let mut activity = Activity::since(WorkDone::now());
        (0..16).for_each(|_| assert!(!activity.add_sample(WorkDone::now())));
        let mut sum = 0u64;
        while !activity.add_sample(WorkDone::now()) {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
    }

    #[test]
    fn one_jump_of_the_cpu_clock_is_not_progress() {
        let at = |ms, io_bytes| WorkDone { cpu: Duration::from_millis(ms), io_bytes };
        let mut activity = Activity::since(at(10, 1_000));
        assert!(!activity.add_sample(at(10_010, 1_100)));
        (1..16)
            .for_each(|poll| assert!(!activity.add_sample(at(10_010 + poll, 1_100 + 100 * poll))));
        assert!(activity.add_sample(at(20_000, 3_000)));
        let mut activity = Activity::since(at(10, 1_000));
        assert!(activity.add_sample(at(10, 1_000 + PROGRESS_IO_BYTES_MIN)));
    }
}
