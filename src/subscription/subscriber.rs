//! A subscriber: a position that moves through the newest records, or the log, and then follows.

use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use thiserror::Error;

use crate::record::{Cursor, Record, Seq};
use crate::subscription::batch::Batch;
use crate::subscription::group::SubscriberGroup;
use crate::subscription::hub::{Hub, LogSource};
use crate::subscription::latest::SliceLimits;
use crate::subscription::log_reader::LogReader;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, PoisonError};

/// Bytes of JSON that one step hands out; one record more than fits may be.
const STEP_BYTES_MAX: usize = 64 << 10;
/// Newest records that one step looks at before others get their turn.
const STEP_EXAMINED_MAX: usize = 1_024;
/// Recent matches that one step looks at.
const STEP_MATCHES_MAX: usize = 512;

/// Opens the log after a seq.
pub type OpenLogSource = Arc<dyn Fn(Seq) -> Box<dyn LogSource> + Send + Sync>;

/// Where a subscription starts, and how it hears of what it missed, now and when it lags.
#[derive(Clone, Debug)]
pub struct SubscriptionStart {
    /// Everything visible up to here is known to the client.
    pub position: Seq,
    /// The client held something that it must discard first.
    pub reset: bool,
    /// How it hears of what it missed.
    pub replay: Replay,
}

/// How a subscriber hears of what it missed.
#[derive(Clone)]
pub enum Replay {
    /// Every version, from the log.
    All(OpenLogSource),
    /// The newest version of everything.
    Latest,
    /// Nothing at the start; the newest versions after a lag.
    None,
}

/// What a subscriber gets next: records, then perhaps a mark.
#[derive(Debug, Default)]
pub struct Step {
    /// Ascending by seq, all after the position before.
    pub records: Batch,
    /// What is to be said after them.
    pub control: Option<ControlEvent>,
}

/// A statement about the subscription itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// Discard what you held; everything follows.
    Reset,
    /// At the subscriber's position nothing visible was pending.
    Synced {
        /// Records handed out since the start.
        events: u64,
    },
}

/// What a subscription tells beside records.
#[derive(Clone, Debug, Error)]
pub enum SubscriberError {
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// Not an end: what was held before must be discarded, for everything follows anew.
    #[error("the cursor is not good here; discard what you held, everything follows")]
    Reset,
}

/// A position and a view. Dropping it leaves the hub.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    group: Arc<SubscriberGroup>,
    slot: usize,
    position: Seq,
    replay: Replay,
    phase: SubscriberPhase,
    /// Whether the first `Synced` is still due.
    synced_due: bool,
    events: u64,
}

#[derive(Debug)]
enum SubscriberPhase {
    Reset,
    CatchUp,
    Log(LogReader),
    Follow,
}

impl Subscriber {
    pub(super) fn new(
        hub: Arc<Hub>,
        group: Arc<SubscriberGroup>,
        start: SubscriptionStart,
    ) -> Self {
        let slot = group.lock().join();
        let head = hub.with_latest(|latest| latest.head());
        let SubscriptionStart { position, reset, replay } = start;
        let starts_at_head = matches!(replay, Replay::None) && position == 0 && !reset;
        let mut subscriber = Self {
            hub,
            group,
            slot,
            position: if starts_at_head { head } else { position },
            replay,
            phase: SubscriberPhase::Reset,
            synced_due: true,
            events: 0,
        };
        if !reset {
            subscriber.catch_up();
        }
        subscriber
    }

    /// Everything visible up to here was handed out or superseded.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The cursor at a position of this subscription.
    #[must_use]
    pub fn cursor(&self, seq: Seq) -> Cursor {
        Cursor { epoch: self.hub.epoch, seq, view: self.group.digest }
    }

    /// Whether it has caught up: then it waits only for what is told.
    #[must_use]
    pub fn is_following(&self) -> bool {
        matches!(self.phase, SubscriberPhase::Follow)
    }

    /// What comes next; `None` when the hub has closed.
    pub fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Step, SubscriberError>>> {
        loop {
            if self.hub.closed.load(Ordering::SeqCst) {
                return Poll::Ready(None);
            }
            let step = match &mut self.phase {
                SubscriberPhase::Reset => {
                    self.catch_up();
                    Some(Step { records: Batch::default(), control: Some(ControlEvent::Reset) })
                }
                SubscriberPhase::CatchUp => self.step_latest(),
                SubscriberPhase::Log(reader) => match reader.poll(cx, &self.hub.log_reads) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(reason)) => {
                        self.catch_up();
                        return Poll::Ready(Some(Err(SubscriberError::Log(reason))));
                    }
                    Poll::Ready(Ok((records, position))) => self.step_log(records, position),
                },
                SubscriberPhase::Follow => match self.step_follow(cx) {
                    Poll::Pending if self.hub.closed.load(Ordering::SeqCst) => continue,
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(step) => step,
                },
            };
            if let Some(step) = step {
                self.events += step.records.len() as u64;
                return Poll::Ready(Some(Ok(step)));
            }
            if !matches!(self.phase, SubscriberPhase::Follow) {
                // A long way past what does not match: others get their turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Leaves whatever it did for the way back from a lag, or from nothing.
    fn catch_up(&mut self) {
        self.phase = match &self.replay {
            Replay::All(open) => SubscriberPhase::Log(LogReader::Idle(open(self.position))),
            Replay::Latest | Replay::None => SubscriberPhase::CatchUp,
        };
    }

    fn step_latest(&mut self) -> Option<Step> {
        let selector = &self.group.selector;
        let limits = SliceLimits { examined_max: STEP_EXAMINED_MAX, bytes_max: STEP_BYTES_MAX };
        let identities = selector.identities();
        let slice = self.hub.with_latest(|latest| match identities {
            Some(identities) => {
                latest.after_among(self.position, STEP_BYTES_MAX, identities.iter())
            }
            None => latest.after(self.position, limits, |record| selector.matches(record)),
        });
        self.position = slice.position;
        self.finish(slice.records, slice.complete)
    }

    fn step_log(&mut self, records: Vec<Record>, position: Seq) -> Option<Step> {
        let complete = records.is_empty();
        let selector = &self.group.selector;
        let records = records
            .into_iter()
            .filter(|record| record.seq() > self.position && selector.matches(record))
            .map(Arc::new)
            .collect();
        self.position = self.position.max(position);
        self.finish(records, complete)
    }

    fn finish(&mut self, records: Vec<Arc<Record>>, complete: bool) -> Option<Step> {
        let mut control = None;
        if complete {
            self.phase = SubscriberPhase::Follow;
            if mem::take(&mut self.synced_due) {
                control = Some(ControlEvent::Synced { events: self.events + records.len() as u64 });
            }
        }
        let step = Step { records: records.into(), control };
        (control.is_some() || !step.records.is_empty()).then_some(step)
    }

    /// `Ready(None)` when it lagged and must catch up.
    fn step_follow(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let dispatched_through = self.hub.dispatched_through.load(Ordering::Acquire);
        let batch = {
            let mut queue = self.group.lock();
            let is_complete = queue.is_complete_after(self.position);
            // Looked at after the list: what is listed behind a gap is told after the gap was.
            let is_past_gap = self.position >= self.hub.lost_through.load(Ordering::Acquire);
            if !(is_complete && is_past_gap) {
                None
            } else {
                let batch = queue.after(self.position, |seqs| self.hub.find_in_window(seqs));
                if batch.is_none() {
                    self.position = self.position.max(dispatched_through);
                    queue.sleep(self.slot, cx.waker());
                    return Poll::Pending;
                }
                batch
            }
        };
        let Some((last, records)) = batch.and_then(|batch| Some((batch.last()?.seq(), batch)))
        else {
            self.catch_up();
            return Poll::Ready(None);
        };
        self.position = last;
        Poll::Ready(Some(Step { records, control: None }))
    }
}

impl Hub {
    /// The records from the window, up to a step's bytes; none when the first is gone already.
    fn find_in_window(&self, seqs: &mut dyn Iterator<Item = Seq>) -> Vec<Arc<Record>> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let mut records = Vec::new();
        for record in seqs.take(STEP_MATCHES_MAX).map_while(|seq| window.find(seq)) {
            bytes += record.json().len();
            records.push(record.clone());
            if bytes >= STEP_BYTES_MAX {
                break;
            }
        }
        records
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.group.lock().leave(self.slot);
        self.hub.leave(&self.group);
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::All(_) => "All",
            Self::Latest => "Latest",
            Self::None => "None",
        })
    }
}
