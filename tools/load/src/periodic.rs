//! Repeats an action at a steady rate during a measurement, and times it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_tools::Result;

/// A thread that repeats an action until it is ended.
pub struct Periodic {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<u32>>>,
}

impl Periodic {
    /// Starts to repeat the action this often a second.
    pub fn start(per_second: f64, once: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_secs_f64(1.0 / per_second);
        let over = is_over.clone();
        Self { is_over, thread: thread::spawn(move || repeat(&over, interval, once)) }
    }

    /// Ends the thread. Returns the duration of each repetition in microseconds, ascending.
    pub fn end(self) -> Result<Vec<u32>> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut took_us = self.thread.join().map_err(|_| "a thread panicked")??;
        took_us.sort_unstable();
        Ok(took_us)
    }
}

fn repeat(
    is_over: &AtomicBool,
    interval: Duration,
    mut once: impl FnMut() -> io::Result<()>,
) -> io::Result<Vec<u32>> {
    let mut took_us = Vec::new();
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        once()?;
        took_us.push(started.elapsed().as_micros() as u32);
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(took_us)
}
