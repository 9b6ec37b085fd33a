//! Inserts as a `Sink`, which is ready while the queue has room.
//!
//! **Owns** the events of one producer from when they are sent until their outcome is known.
//!
//! **Promises** that they are decided in the order in which they were sent; that every event has an
//! outcome before the sink reports an error or is flushed; and that memory does not grow with their
//! number, because at most one event waits outside of the queue while the producer waits too.

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
use crate::order::{EVENT_OVERHEAD_BYTES, ProposeError, Reservation, Submission, Ticket};
use crate::projection::Unavailable;
use crate::record::NewEvent;

/// A producer waits while the projection lags by three quarters of the records at which inserts are
/// refused: the rest is for queued inserts and for callers that do not wait.
const LAG_SHARE: (u64, u64) = (3, 4);

/// How long it waits for a queued record before it looks again.
const QUEUED_WAIT: Duration = Duration::from_millis(50);

type WaitingForRoom<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Inserts as a [`Sink`]; see [`Broker::sink`].
#[must_use = "sinks do nothing unless something is sent"]
pub struct EventSink {
    broker: Broker,
    /// Pending while the queue has no room.
    room: Option<WaitingForRoom<()>>,
    /// Sent, but not queued yet.
    sent_last: Option<SentEvent>,
    /// Queued and not answered yet, in order.
    in_flight: VecDeque<InFlight>,
    failures: Vec<SinkFailure>,
    sent: u64,
    durable: u64,
}

/// The last event that was sent, on its way into the queue.
enum SentEvent {
    /// Its id is being looked up.
    LookUp(NewEvent, WaitingForRoom<Result<Submission, ProposeError>>),
    /// It waits in line for room.
    InLine(Submission, WaitingForRoom<Result<Reservation, ProposeError>>),
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
    /// It is ready while the queue (`BROKER_QUEUE_BYTES`) has room, and holds at most one event
    /// beyond that. All sinks share one half of the queue, first come, first served, so that other
    /// callers are not refused because of them. A sink also waits while the readable history lags
    /// so much that inserts are about to be refused (`BROKER_MAX_PROJECTION_LAG`). Flushing and
    /// closing wait until every sent event is on stable storage; a closed sink can be used again.
    ///
    /// Each event stands alone: a refused event does not hold back later ones. Events that belong
    /// together are one atomic [`Broker::insert_batch`].
    ///
    /// Dropping a sink loses no event that it accepted: they are appended unless they are refused.
    /// Their outcomes are not reported any more, so flush or close it first.
    ///
    /// # Errors
    /// As a sink it fails with [`SinkError`], which names every sent event that was not appended,
    /// and why; all others were. The sink remains usable.
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
    /// // All at once: `forward` waits where the sink does, then flushes and closes it.
    /// let readings = stream::iter(0..1_000).map(|n| NewEvent::new("temperature", &n));
    /// readings.err_into::<Box<dyn std::error::Error>>().forward(broker.sink().sink_err_into()).await?;
    ///
    /// // One by one, with the outcome of each.
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
    /// To receive the records, map to [`Broker::insert`] instead; `buffered` bounds how many
    /// inserts are under way:
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
            sent_last: None,
            in_flight: VecDeque::new(),
            failures: Vec::new(),
            sent: 0,
            durable: 0,
        }
    }

    /// Whether a small event would be queued now, or refused for good.
    fn has_room(&self) -> bool {
        self.inner.order.admission().has_room() && self.lagged_through().is_none()
    }

    /// Waits until [`Broker::has_room`].
    async fn room(self) {
        while let Some(seq) = self.lagged_through() {
            if self.is_stopping() || self.has_failed() {
                break;
            }
            // A queued insert may be refused, and then the projection never reaches its seq.
            let is_queued = seq > self.inner.reader.durable();
            let wait = if is_queued { QUEUED_WAIT } else { READ_WAIT };
            match self.inner.projection.reached(seq, wait).await {
                Ok(())
                | Err(
                    Unavailable::Behind { .. } | Unavailable::Opening | Unavailable::Rebuilding,
                ) => {}
                // Waiting would not help; the next proposal reports the error.
                Err(_) => break,
            }
        }
        // Once nothing is admitted any more, the next proposal reports why.
        let _ = self.inner.order.admission().room().await;
    }

    /// The seq that the projection has to reach before more is sent, if it lags too much. Records
    /// from before the log was opened do not count.
    fn lagged_through(&self) -> Option<u64> {
        let (part, parts) = LAG_SHARE;
        let lag_max = self.inner.config.max_projection_lag / parts * part;
        // An upper bound of the records that are queued.
        let queued = self.queue_bytes() / EVENT_OVERHEAD_BYTES;
        let durable = self.inner.reader.durable();
        let seq = (durable + queued as u64).saturating_sub(lag_max);
        let is_far = seq > self.inner.opened_at && seq > self.inner.projection.applied();
        is_far.then_some(seq.min(durable + 1))
    }
}

impl EventSink {
    /// Number of accepted events; the next one has this index.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Number of events known to be on stable storage, as of the last poll.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Begins to queue an event.
    fn accept(&mut self, event: NewEvent) {
        if event.id.is_none() && !self.broker.is_stopping() {
            return self.line_up(Submission::new(propose(vec![event])));
        }
        let (broker, looked_up) = (self.broker.clone(), event.clone());
        let look_up = Box::pin(async move { broker.look_up(vec![looked_up]).await });
        self.sent_last = Some(SentEvent::LookUp(event, look_up));
    }

    /// Queues the submission if there is room, or has it wait in line.
    fn line_up(&mut self, submission: Submission) {
        let admission = self.broker.inner.order.admission();
        match admission.try_reserve(&submission) {
            Err(ProposeError::QueueFull) => {
                let reserve = Box::pin(admission.reserve(&submission));
                self.sent_last = Some(SentEvent::InLine(submission, reserve));
            }
            reserved => self.queue(reserved, submission),
        }
    }

    fn queue(&mut self, reserved: Result<Reservation, ProposeError>, submission: Submission) {
        let id = submission.proposal.events[0].event.id;
        let order = &self.broker.inner.order;
        match reserved.and_then(|reserved| order.queue(reserved.admit(), submission)) {
            Ok(ticket) => self.in_flight.push_back(InFlight { index: self.sent - 1, id, ticket }),
            Err(error) => self.failures.push(SinkFailure { index: self.sent - 1, id, error }),
        }
    }

    /// Ready when the last event is queued.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(sent) = &mut self.sent_last {
            match sent {
                SentEvent::LookUp(event, look_up) => {
                    let (looked_up, id) = (ready!(look_up.as_mut().poll(cx)), event.id);
                    self.sent_last = None;
                    match looked_up {
                        Ok(submission) => self.line_up(submission),
                        Err(error) => {
                            self.failures.push(SinkFailure { index: self.sent - 1, id, error });
                        }
                    }
                }
                SentEvent::InLine(_, reserve) => {
                    let reserved = ready!(reserve.as_mut().poll(cx));
                    if let Some(SentEvent::InLine(submission, _)) = self.sent_last.take() {
                        self.queue(reserved, submission);
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Takes the outcomes that are known; ready when no outcome is pending.
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

    /// Ready when every sent event has an outcome.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SinkError>> {
        ready!(self.poll_queued(cx));
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
        ready!(self.poll_queued(cx));
        // Pending outcomes are awaited when the sink is flushed.
        let _ = self.poll_outcomes(cx);
        if !self.failures.is_empty() {
            return self.poll_settled(cx);
        }
        ready!(self.poll_room(cx));
        // A producer that never waits for anything must yield now and then.
        ready!(coop::poll_proceed(cx)).made_progress();
        Poll::Ready(Ok(()))
    }

    /// # Panics
    /// If the sink is not ready, as [`Sink::start_send`] says.
    fn start_send(mut self: Pin<&mut Self>, event: NewEvent) -> Result<(), SinkError> {
        assert!(self.sent_last.is_none(), "an event is sent only after poll_ready was ready");
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
    /// An accepted event is not lost, so the last one is queued even beyond the bound.
    fn drop(&mut self) {
        let submission = match self.sent_last.take() {
            None => return,
            // An id that was not looked up yet is looked up on the appending thread.
            Some(SentEvent::LookUp(event, _)) => Submission::new(propose(vec![event])),
            Some(SentEvent::InLine(submission, _)) => submission,
        };
        let order = &self.broker.inner.order;
        let admitted = order.admission().admit_beyond(&submission);
        if let Err(error) = admitted.and_then(|admitted| order.queue(admitted, submission)) {
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
