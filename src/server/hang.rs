//! Whether this process gets anywhere: a call to a disk that hangs answers neither well nor badly.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// Without any advance in so many looks, a call does not return: the slowest disks that work take a
/// second. It is counted what was seen, not what a clock says, for the whole process may have stood
/// still. A start that hangs ends within 11 s.
const STILL_LOOKS_MAX: u32 = 16;

/// A process that only waits uses less processor time than this in all looks …
const CPU: Duration = Duration::from_millis(50);
/// … and reads and writes less, of which looking is a part.
const IO_BYTES: u64 = 64 << 10;
/// One look counts for no more: a machine that is taken away for a moment may be told as processor
/// time of whoever had it, and who works does so in the next look too.
const CPU_A_LOOK: Duration = Duration::from_millis(25);

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
pub(crate) async fn stopped_advancing() {
    let (mut advance, mut looks) = (Activity::since(WorkDone::now()), 0);
    while looks < STILL_LOOKS_MAX {
        sleep(LOOK).await;
        looks += 1;
        let now = WorkDone::now();
        if advance.is_seen(now) {
            (advance, looks) = (Activity::since(now), 0);
        }
    }
}

impl Activity {
    fn since(last: WorkDone) -> Self {
        Self { last, cpu: Duration::ZERO, io_bytes: 0 }
    }

    /// Adds what was done since the last look, and tells whether all is more than waiting takes.
    fn is_seen(&mut self, now: WorkDone) -> bool {
        self.cpu += now.cpu.saturating_sub(self.last.cpu).min(CPU_A_LOOK);
        self.io_bytes += now.io_bytes.saturating_sub(self.last.io_bytes);
        self.last = now;
        self.cpu >= CPU || self.io_bytes >= IO_BYTES
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
    fn work_is_an_advance_and_looking_is_none() {
        let mut advance = Activity::since(WorkDone::now());
        (0..16).for_each(|_| assert!(!advance.is_seen(WorkDone::now())));
        let mut sum = 0u64;
        while !advance.is_seen(WorkDone::now()) {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
    }

    #[test]
    fn one_leap_of_a_clock_is_no_advance() {
        let at = |ms, io_bytes| WorkDone { cpu: Duration::from_millis(ms), io_bytes };
        let mut advance = Activity::since(at(10, 1_000));
        assert!(!advance.is_seen(at(10_010, 1_100)));
        (1..16).for_each(|look| assert!(!advance.is_seen(at(10_010 + look, 1_100 + 100 * look))));
        assert!(advance.is_seen(at(20_000, 3_000)));
        let mut advance = Activity::since(at(10, 1_000));
        assert!(advance.is_seen(at(10, 1_000 + IO_BYTES)));
    }
}
