//! Inserts as a sink, whose readiness is the queue.
//!
//! Owns the events of one producer from when they are sent until their outcome is known.
//! Promises that they are decided in the order in which they were sent, that each has an outcome
//! before the sink tells of an error or is flushed, and that memory does not grow with their
//! number: an event that is not in the queue yet is the only one, and the producer waits.

mod error;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Sink;
use tokio::task::coop;
use uuid::Uuid;

pub use error::{SinkError, SinkFailure};

use crate::broker::api::inserts::propose;
use crate::broker::{Broker, READ_WAIT};
use crate::order::{EVENT_OVERHEAD_BYTES, ProposeError, Reserved, Submission, Ticket};
use crate::projection::Unavailable;
use crate::record::NewEvent;

/// A producer waits when so many of this many records are between the log and its history that
/// inserts would be refused: the rest is for what is queued, and for those who do not wait.
const LAG_PARTS: (u64, u64) = (3, 4);

/// How long it waits for something that is queued, before it looks again.
const QUEUED_WAIT: Duration = Duration::from_millis(50);

type WaitingForRoom<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Inserts as a [`Sink`]; see [`Broker::sink`].
#[must_use = "sinks do nothing unless something is sent"]
pub struct EventSink {
    broker: Broker,
    /// Waits until the queue takes an event.
    room: Option<WaitingForRoom<()>>,
    /// Sent, and not in the queue yet.
    held: Option<SentEvent>,
    /// In the queue or on their way out of it, in order.
    in_flight: VecDeque<InFlight>,
    failures: Vec<SinkFailure>,
    sent: u64,
    durable: u64,
}

/// The event that was sent last, on its way into the queue.
enum SentEvent {
    /// Its id is looked up.
    LookUp(NewEvent, WaitingForRoom<Result<Submission, ProposeError>>),
    /// There was no room for it.
    InLine(Submission, WaitingForRoom<Result<Reserved, ProposeError>>),
}

struct InFlight {
    index: u64,
    id: Option<Uuid>,
    ticket: Ticket,
}

impl Broker {
    /// A sink that appends each event that is sent into it, in order, and holds back a producer
    /// that is faster than the disk.
    ///
    /// It is ready while the queue (`BROKER_QUEUE_BYTES`) has room, and holds one event more at
    /// most. All sinks together have half of the queue, so that nobody else is refused for them, and
    /// are served in the order in which they came. It also waits while the readable history is so far behind that inserts are
    /// about to be refused (`BROKER_MAX_PROJECTION_LAG`). Flushing waits until everything that was
    /// sent is on stable storage, and so does closing; a sink that was closed can still be used.
    ///
    /// Each event stands alone: one that is refused holds back none of those after it. Where they
    /// belong together, [`Broker::insert_batch`] is one atomic insert.
    ///
    /// A sink that is dropped lets go of nothing: what it accepted is queued and appended, unless
    /// it is refused; but nobody is told of that any more, so flush or close it first.
    ///
    /// # Errors
    /// As a sink it fails with [`SinkError`], which tells of every event that was sent: those that
    /// were not appended, and why, and that all others were. It can be used on.
    ///
    /// ```
    /// use broker::{Broker, Config, NewEvent};
    /// use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
    ///
    /// # #[actix_rt::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let broker = Broker::open(Config::default().data_dir(directory.path().join("data"))).await?;
    ///
    /// // All at once: `forward` waits where the sink does, and flushes and closes it in the end.
    /// let readings = stream::iter(0..1_000).map(|n| NewEvent::new("temperature", &n));
    /// readings.err_into::<Box<dyn std::error::Error>>().forward(broker.sink().sink_err_into()).await?;
    ///
    /// // One by one, and what became of each.
    /// let mut sink = broker.sink();
    /// sink.feed(NewEvent::new("temperature", &21)?).await?;
    /// sink.feed(NewEvent::new("temperature", &22)?.with_expected_version(7)).await?;
    /// let error = sink.flush().await.expect_err("the second expected another version");
    /// assert_eq!(error.failures()[0].index, 1);
    /// assert_eq!((sink.sent(), sink.durable()), (2, 1));
    /// # broker.shutdown().await;
    /// # Ok(()) }
    /// ```
    ///
    /// Who wants the records that were made maps to [`Broker::insert`] instead, with as many at
    /// once as `buffered` is told:
    ///
    /// ```
    /// # use broker::{Broker, Config, NewEvent};
    /// # use futures::{StreamExt as _, TryStreamExt as _, stream};
    /// # #[actix_rt::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let broker = Broker::open(Config::default().data_dir(directory.path().join("data"))).await?;
    /// let events = (0..100).map(|n| NewEvent::new("n", &n)).collect::<Result<Vec<_>, _>>()?;
    /// let inserted = stream::iter(events).map(|event| broker.insert(event)).buffered(16);
    /// let versions: Vec<_> = inserted.map_ok(|one| one.records[0].version()).try_collect().await?;
    /// assert_eq!(versions.last(), Some(&100));
    /// # broker.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn sink(&self) -> EventSink {
        EventSink {
            broker: self.clone(),
            room: None,
            held: None,
            in_flight: VecDeque::new(),
            failures: Vec::new(),
            sent: 0,
            durable: 0,
        }
    }

    /// Whether a small event would be taken now, or be told why not.
    fn has_room(&self) -> bool {
        self.inner.order.has_room() && self.lagged_through().is_none()
    }

    /// Waits until it would.
    async fn room(self) {
        while let Some(seq) = self.lagged_through() {
            if self.is_stopping() || self.has_failed() {
                break;
            }
            // What is queued may be refused, and then nothing comes that would tell.
            let is_queued = seq > self.inner.reader.durable();
            let patience = if is_queued { QUEUED_WAIT } else { READ_WAIT };
            match self.inner.projection.reached(seq, patience).await {
                Ok(())
                | Err(
                    Unavailable::Behind { .. } | Unavailable::Opening | Unavailable::Rebuilding,
                ) => {}
                // It is not waited for in vain; who proposes is told what is wrong.
                Err(_) => break,
            }
        }
        // When nothing more is taken, who proposes is told why.
        let _ = self.inner.order.room().await;
    }

    /// The seq that the projection has to reach before more is sent, if it is far behind. What it
    /// lacked when the log was opened holds back nobody.
    fn lagged_through(&self) -> Option<u64> {
        let (part, parts) = LAG_PARTS;
        let lag_max = self.inner.config.max_projection_lag / parts * part;
        // What is queued comes too, before anybody is asked again: so many records at most.
        let queued = self.inner.order.queue_bytes() / EVENT_OVERHEAD_BYTES;
        let durable = self.inner.reader.durable();
        let seq = (durable + queued as u64).saturating_sub(lag_max);
        let is_far = seq > self.inner.opened_at && seq > self.inner.projection.applied();
        is_far.then_some(seq.min(durable + 1))
    }
}

impl EventSink {
    /// How many events it has accepted; the next one has this index.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them are known to be on stable storage; as of the last time that it was polled.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Takes in the event that was sent last.
    fn accept(&mut self, event: NewEvent) {
        if event.id.is_none() && !self.broker.is_stopping() {
            return self.line_up(Submission::new(propose(vec![event])));
        }
        let (broker, looked_up) = (self.broker.clone(), event.clone());
        let look_up = Box::pin(async move { broker.look_up(vec![looked_up]).await });
        self.held = Some(SentEvent::LookUp(event, look_up));
    }

    /// Queues the event that was sent last, or has it wait.
    fn line_up(&mut self, submission: Submission) {
        let order = &self.broker.inner.order;
        match order.try_reserve(&submission) {
            Err(ProposeError::QueueFull) => {
                let reserve = Box::pin(order.reserve(&submission));
                self.held = Some(SentEvent::InLine(submission, reserve));
            }
            reserved => self.propose(reserved, submission),
        }
    }

    fn propose(&mut self, reserved: Result<Reserved, ProposeError>, submission: Submission) {
        let id = submission.proposal.events[0].event.id;
        let order = &self.broker.inner.order;
        match reserved.and_then(|reserved| order.propose_in(reserved, submission)) {
            Ok(ticket) => self.in_flight.push_back(InFlight { index: self.sent - 1, id, ticket }),
            Err(error) => self.failures.push(SinkFailure { index: self.sent - 1, id, error }),
        }
    }

    /// Ready when everything that was sent is queued.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(held) = &mut self.held {
            match held {
                SentEvent::LookUp(event, look_up) => {
                    let (looked_up, id) = (ready!(look_up.as_mut().poll(cx)), event.id);
                    self.held = None;
                    match looked_up {
                        Ok(submission) => self.line_up(submission),
                        Err(error) => {
                            self.failures.push(SinkFailure { index: self.sent - 1, id, error });
                        }
                    }
                }
                SentEvent::InLine(_, reserve) => {
                    let reserved = ready!(reserve.as_mut().poll(cx));
                    if let Some(SentEvent::InLine(submission, _)) = self.held.take() {
                        self.propose(reserved, submission);
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Takes in the outcomes that are there; ready when none is to come.
    fn poll_outcomes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(InFlight { index, id, ticket }) = self.in_flight.front_mut() {
            match ready!(Pin::new(ticket).poll(cx)) {
                Ok(_) => self.durable += 1,
                Err(error) => self.failures.push(SinkFailure { index: *index, id: *id, error }),
            }
            self.in_flight.pop_front();
        }
        Poll::Ready(())
    }

    /// Ready when everything that was sent has an outcome.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        ready!(self.poll_held(cx));
        ready!(self.poll_outcomes(cx));
        let failures = std::mem::take(&mut self.failures);
        Poll::Ready(SinkError::of(failures, self.sent))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.is_none() && self.broker.has_room() {
            return Poll::Ready(());
        }
        let room = self.room.get_or_insert_with(|| Box::pin(self.broker.clone().room()));
        ready!(room.as_mut().poll(cx));
        self.room = None;
        Poll::Ready(())
    }
}

impl Sink<NewEvent> for EventSink {
    type Error = SinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        ready!(self.poll_held(cx));
        // Those that are still to come are waited for when it is flushed.
        let _ = self.poll_outcomes(cx);
        if !self.failures.is_empty() {
            return self.poll_settled(cx);
        }
        ready!(self.poll_room(cx));
        // A producer that never waits for anything else lets others have their turn.
        ready!(coop::poll_proceed(cx)).made_progress();
        Poll::Ready(Ok(()))
    }

    /// # Panics
    /// When the sink is not ready, as [`Sink::start_send`] says.
    fn start_send(mut self: Pin<&mut Self>, event: NewEvent) -> Result<(), SinkError> {
        assert!(self.held.is_none(), "an event is sent only when poll_ready was ready");
        self.sent += 1;
        self.accept(event);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.poll_settled(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        self.poll_flush(cx)
    }
}

impl Drop for EventSink {
    /// What was accepted is not lost, so the last event goes past the queue's bound, if need be.
    fn drop(&mut self) {
        let submission = match self.held.take() {
            None => return,
            // An id that was not looked up is looked up on the appending thread.
            Some(SentEvent::LookUp(event, _)) => Submission::new(propose(vec![event])),
            Some(SentEvent::InLine(submission, _)) => submission,
        };
        if let Err(error) = self.broker.inner.order.propose_beyond(submission) {
            tracing::warn!(%error, "the last event of a sink that was dropped is not inserted");
        }
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("EventSink");
        out.field("sent", &self.sent).field("durable", &self.durable);
        out.field("failures", &self.failures).finish_non_exhaustive()
    }
}
