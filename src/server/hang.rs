//! Detects a start that hangs, because a disk call that never returns reports no error.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// After this many polls without progress a disk call will not return: the slowest working disks
/// take a second. Polls are counted instead of reading a clock, because the whole process may have
/// been suspended. A start that hangs ends within 11 s.
const IDLE_POLLS_MAX: u32 = 16;

/// A process that only waits uses less CPU time than this over all polls …
const PROGRESS_CPU_MIN: Duration = Duration::from_millis(50);
/// … and reads and writes less than this, which includes polling.
const PROGRESS_IO_BYTES_MIN: u64 = 64 << 10;
/// CPU time counted per poll. A virtual machine that is suspended for a moment may report the lost
/// time as CPU time of the process, but only in one poll; a process that works uses CPU time in the
/// next one too.
const CPU_PER_POLL_MAX: Duration = Duration::from_millis(25);

/// Resolves when the process has made no progress for 8 s.
pub(crate) async fn process_hung() {
    let (mut activity, mut polls) = (Activity::since(WorkDone::now()), 0);
    while polls < IDLE_POLLS_MAX {
        sleep(POLL_INTERVAL).await;
        polls += 1;
        let now = WorkDone::now();
        activity.add(now);
        if activity.is_progress() {
            (activity, polls) = (Activity::since(now), 0);
        }
    }
}

/// Work of the process since it was started.
#[derive(Clone, Copy)]
struct WorkDone {
    cpu: Duration,
    io_bytes: u64,
}

/// Work of the process since its last progress.
struct Activity {
    last: WorkDone,
    cpu: Duration,
    io_bytes: u64,
}

impl Activity {
    fn since(last: WorkDone) -> Self {
        Self { last, cpu: Duration::ZERO, io_bytes: 0 }
    }

    /// Adds the work since the last poll.
    fn add(&mut self, now: WorkDone) {
        self.cpu += now.cpu.saturating_sub(self.last.cpu).min(CPU_PER_POLL_MAX);
        self.io_bytes += now.io_bytes.saturating_sub(self.last.io_bytes);
        self.last = now;
    }

    /// True if this is more work than waiting takes.
    fn is_progress(&self) -> bool {
        self.cpu >= PROGRESS_CPU_MIN || self.io_bytes >= PROGRESS_IO_BYTES_MIN
    }
}

impl WorkDone {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        // If it cannot be read, CPU time alone decides.
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

    fn has_progressed(activity: &mut Activity, now: WorkDone) -> bool {
        activity.add(now);
        activity.is_progress()
    }

    #[test]
    fn work_is_progress_and_polling_is_not() {
        let mut activity = Activity::since(WorkDone::now());
        (0..16).for_each(|_| assert!(!has_progressed(&mut activity, WorkDone::now())));
        let mut sum = 0u64;
        while !has_progressed(&mut activity, WorkDone::now()) {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
    }

    #[test]
    fn one_jump_of_the_cpu_clock_is_not_progress() {
        let at = |ms, io_bytes| WorkDone { cpu: Duration::from_millis(ms), io_bytes };
        let mut activity = Activity::since(at(10, 1_000));
        assert!(!has_progressed(&mut activity, at(10_010, 1_100)));
        for poll in 1..16 {
            assert!(!has_progressed(&mut activity, at(10_010 + poll, 1_100 + 100 * poll)));
        }
        assert!(has_progressed(&mut activity, at(20_000, 3_000)));
        let mut activity = Activity::since(at(10, 1_000));
        assert!(has_progressed(&mut activity, at(10, 1_000 + PROGRESS_IO_BYTES_MIN)));
    }
}
