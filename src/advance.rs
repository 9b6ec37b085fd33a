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

/// What a process has done.
#[derive(Clone, Copy)]
struct Done {
    cpu: Duration,
    io_bytes: u64,
}

/// Resolves when the process has not advanced for 8 s.
pub(crate) async fn stopped_advancing() {
    let (mut before, mut looks) = (Done::now(), 0);
    while looks < STILL_LOOKS_MAX {
        sleep(LOOK).await;
        looks += 1;
        let now = Done::now();
        if now.is_past(before) {
            (before, looks) = (now, 0);
        }
    }
}

impl Done {
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

    fn is_past(self, before: Self) -> bool {
        self.cpu.saturating_sub(before.cpu) >= CPU
            || self.io_bytes.saturating_sub(before.io_bytes) >= IO_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_an_advance_and_looking_is_none() {
        let before = Done::now();
        (0..16).for_each(|_| assert!(!Done::now().is_past(before)));
        let mut sum = 0u64;
        while !Done::now().is_past(before) {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
    }
}
