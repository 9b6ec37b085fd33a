//! A subscriber: catches up from the latest records or the log, then follows its group.

use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use thiserror::Error;

use crate::record::{Cursor, Record, Seq};
use crate::subscription::batch::Batch;
use crate::subscription::group::SubscriberGroup;
use crate::subscription::hub::Hub;
use crate::subscription::latest::{LatestRecords, SliceLimits};
use crate::subscription::log_reader::{LogReader, LogSource};
use crate::subscription::selector::Selector;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, PoisonError};

/// Bytes of JSON at which a step ends; its last record may exceed it.
const STEP_BYTES_MAX: usize = 64 << 10;
/// Latest records that one step examines before it yields.
const STEP_EXAMINED_MAX: usize = 1_024;
/// Recent matches that one step takes at most.
const STEP_MATCHES_MAX: usize = 512;

/// Opens the log after a seq.
pub type OpenLogSource = Arc<dyn Fn(Seq) -> Box<dyn LogSource> + Send + Sync>;

/// Where a subscription starts, and how it catches up at the start and after a lag.
#[derive(Clone, Debug)]
pub struct SubscriptionStart {
    /// The client has everything visible up to here.
    pub position: Seq,
    /// The client must first discard what it has.
    pub reset: bool,
    /// How it catches up.
    pub replay: Replay,
}

/// How a subscriber catches up.
#[derive(Clone)]
pub enum Replay {
    /// With every version, from the log.
    All(OpenLogSource),
    /// With the latest version of everything.
    Latest,
    /// Not at all at the start; with the latest versions after a lag.
    None,
}

/// What a subscriber gets next: records, then perhaps a control event.
#[derive(Debug, Default)]
pub struct Step {
    /// Ascending by seq, all after the previous position.
    pub records: Batch,
    /// Follows the records.
    pub control: Option<ControlEvent>,
}

/// A statement about the subscription itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// The client must discard what it has; everything follows.
    Reset,
    /// The subscriber has caught up: nothing visible is pending at its position.
    Synced {
        /// Records delivered since the start.
        events: u64,
    },
}

/// An item of a stream of records that is not a record.
#[derive(Clone, Debug, Error)]
pub enum SubscriberError {
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
    /// The stream goes on: discard everything received before, because all of it follows again.
    #[error("the cursor is not valid for this log; discard what you have, everything follows")]
    Reset,
}

/// A position in a group. Dropping it leaves the group.
#[derive(Debug)]
pub struct Subscriber {
    hub: Arc<Hub>,
    group: Arc<SubscriberGroup>,
    slot: usize,
    position: Seq,
    replay: Replay,
    phase: SubscriberPhase,
    /// Whether the one `Synced` is still to come.
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

impl Hub {
    /// Starts a subscription.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, selector: Selector, start: SubscriptionStart) -> Subscriber {
        let group = self.join(selector);
        Subscriber::new(self.clone(), group, start)
    }
}

impl Subscriber {
    fn new(hub: Arc<Hub>, group: Arc<SubscriberGroup>, start: SubscriptionStart) -> Self {
        let slot = group.lock().join();
        let head = hub.with_latest(LatestRecords::head);
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

    /// Everything visible up to here was delivered or superseded.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The cursor at a position of this subscription.
    #[must_use]
    pub fn cursor(&self, seq: Seq) -> Cursor {
        Cursor { epoch: self.hub.epoch, seq, view: self.group.digest }
    }

    /// Whether it has caught up and waits for the dispatcher.
    #[must_use]
    pub fn is_following(&self) -> bool {
        matches!(self.phase, SubscriberPhase::Follow)
    }

    /// The next step; `None` when the hub has closed.
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
                // The step examined its maximum without a match: yield to other tasks.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Starts to catch up, at first or after a lag.
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

    /// `Ready(None)` if it lagged and must catch up.
    fn step_follow(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let dispatched_through = self.hub.dispatched_through.load(Ordering::Acquire);
        let batch = {
            let mut queue = self.group.lock();
            let is_complete = queue.is_complete_after(self.position);
            // Read after the list, because the dispatcher stores a gap before it lists what
            // follows.
            let is_past_gap = self.position >= self.hub.lost_through.load(Ordering::Acquire);
            if is_complete && is_past_gap {
                let batch = queue.after(self.position, |seqs| self.hub.find_in_window(seqs));
                if batch.is_none() {
                    self.position = self.position.max(dispatched_through);
                    queue.sleep(self.slot, cx.waker());
                    return Poll::Pending;
                }
                batch
            } else {
                None
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
    /// The records from the window, up to a step's bytes; none if the first has left the window.
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
