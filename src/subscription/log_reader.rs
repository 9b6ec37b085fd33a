//! Reads the log for a subscriber: on a blocking thread, with a bounded number of reads at once.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::record::{Record, Seq};
use crate::sync::Arc;

/// Reads the log from a position, for subscribers that get every version.
pub trait LogSource: Send {
    /// The next records in order, empty at the head. May block on the disk.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, String>;

    /// The seq of the last record that was returned.
    fn position(&self) -> Seq;
}

/// Bytes of the log that one read asks for.
const STEP_LOG_BYTES_MAX: usize = 256 << 10;

/// A source after a read, and the records it returned.
type ReadResult = (Box<dyn LogSource>, Result<Vec<Record>, String>);

/// Waits for a permit to read the log.
type ReadPermit = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// The state of a subscriber's reads of the log.
pub(super) enum LogReader {
    /// A blocking thread reads.
    Busy(JoinHandle<ReadResult>),
    Idle(Box<dyn LogSource>),
    /// Waits for a permit; dropping it leaves the queue.
    Queued(Box<dyn LogSource>, ReadPermit),
    /// Between two states, and after a read that panicked.
    Moving,
}

impl LogReader {
    /// The next records, empty at the head, and the position after them.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        log_reads: &Arc<Semaphore>,
    ) -> Poll<Result<(Vec<Record>, Seq), String>> {
        loop {
            match mem::replace(self, Self::Moving) {
                Self::Idle(source) => {
                    *self = Self::Queued(source, Box::pin(log_reads.clone().acquire_owned()));
                }
                Self::Queued(mut source, mut permit) => match permit.as_mut().poll(cx) {
                    Poll::Pending => {
                        *self = Self::Queued(source, permit);
                        return Poll::Pending;
                    }
                    Poll::Ready(permit) => {
                        *self = Self::Busy(tokio::task::spawn_blocking(move || {
                            let records = source.next(STEP_LOG_BYTES_MAX);
                            drop(permit);
                            (source, records)
                        }));
                    }
                },
                Self::Busy(mut job) => match Pin::new(&mut job).poll(cx) {
                    Poll::Pending => {
                        *self = Self::Busy(job);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((source, records))) => {
                        let position = source.position();
                        *self = Self::Idle(source);
                        return Poll::Ready(records.map(|records| (records, position)));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.to_string())),
                },
                Self::Moving => {
                    return Poll::Ready(Err("the reader of the log has ended".to_owned()));
                }
            }
        }
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Busy(_) => "Busy",
            Self::Idle(_) => "Idle",
            Self::Queued(..) => "Queued",
            Self::Moving => "Moving",
        })
    }
}
