//! The broker: journal, order, newest, subscribers and projection, put together.
//!
//! Owns the start and the end, and the calls that an embedding program makes.

mod alarm;
#[cfg(feature = "rabbitmq")]
mod bridging;
mod checkpoints;
mod consumers;
mod engines;
mod positions;
mod records;
mod restored;
mod sink;
#[cfg(test)]
mod simulation;
mod start;
mod verifier;
mod watchdog;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngCore as _;
use tokio::sync::{Mutex, watch};

use consumers::Consumers;
pub(crate) use consumers::{ConsumeError, ConsumeFrom};
use engines::Engines;
pub use records::Records;
pub use sink::{EventSink, SinkError, SinkFailure};
pub use start::StartError;

use worker::Worker;

use crate::audit::Salts;
use crate::bridge;
use crate::config::Config;
use crate::decide::{Proposal, Proposed, Verdict};
use crate::epochs::Epochs;
use crate::journal::{DataDir, Follower, Reader};
use crate::metrics::Metrics;
use crate::order::{Local, Order as _, ProposeError, Stopped, Submission, Ticket};
use crate::projection::{ProjectionHandle, Unavailable};
use crate::record::{Cursor, FilterSet, NewEvent, Record, Seq, User};
use crate::subscription::{Hub, Interest, OpenTail, Replay, Start, Subscriber, Tail};

/// How long a read waits for the projection to reach what was acknowledged before it.
pub(crate) const READ_WAIT: Duration = Duration::from_secs(5);

/// A running broker. A clone is cheap and means the same one.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    order: Local,
    stopped: Mutex<Option<Stopped>>,
    hub: Arc<Hub>,
    /// Seq of the last record when it was opened.
    opened_at: Seq,
    projection: ProjectionHandle,
    reader: Reader,
    epochs: Epochs,
    consumers: Consumers,
    metrics: Metrics,
    stopping: AtomicBool,
    /// Turns true when the log's storage failed for good.
    failed: watch::Receiver<bool>,
    /// Records that a checkpoint stands for and that were not read since the start.
    unverified: Arc<AtomicU64>,
    workers: Mutex<Vec<Worker>>,
    /// Set at the end of the start, when one is set up.
    #[cfg(feature = "rabbitmq")]
    bridge: std::sync::OnceLock<bridge::Bridge>,
    /// Locked until the shutdown is complete.
    directory: Mutex<Option<Arc<DataDir>>>,
}

impl Drop for Inner {
    /// Streams end and the teller goes, also for a program that never shut it down.
    fn drop(&mut self) {
        self.hub.close();
    }
}

/// What an insert answers.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// The records, in the order of the events.
    pub records: Vec<Arc<Record>>,
    /// Whether they were appended now; otherwise their ids were seen before and these are the
    /// original records.
    pub fresh: bool,
}

impl Inserted {
    /// The receipt, or those of a batch as an array.
    pub(crate) fn receipts_json(&self, is_batch: bool) -> Vec<u8> {
        if let [record] = self.records.as_slice()
            && !is_batch
        {
            return record.receipt_json();
        }
        let receipts: Vec<_> = self.records.iter().map(|record| record.receipt_json()).collect();
        [&b"["[..], &receipts.join(&b','), b"]"].concat()
    }
}

impl From<Verdict> for Inserted {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Append(records) => Self { records, fresh: true },
            Verdict::Known(records) => Self { records, fresh: false },
        }
    }
}

/// How a subscription begins.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// What is asked for; everything when not set.
    pub filters: Option<FilterSet>,
    /// Whose private records may be seen beside the public ones.
    pub user: Option<User>,
    /// Where it continues.
    pub resume: Resume,
    /// How it hears of what it missed.
    pub replay: ReplayMode,
}

/// Where a subscription continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// After what an earlier subscription had received; good only with the same filters and user,
    /// otherwise as [`Resume::Lost`].
    After(Cursor),
    /// The client holds nothing.
    #[default]
    Fresh,
    /// The client holds something, and nobody can tell what: it must discard that.
    Lost,
}

/// How a subscription without a good cursor starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayMode {
    /// Every version from the log, none conflated, then and later.
    All,
    /// The newest version of everything.
    #[default]
    Latest,
    /// Only what comes from now on.
    None,
}

impl Broker {
    /// Opens the data directory of `config`, recovers its log and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], a full sentence that names what to change.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let opened = tokio::task::spawn_blocking(move || start::open(config)).await;
        let inner = opened.map_err(|error| StartError::Panicked(error.to_string()))??;
        let broker = Self { inner: Arc::new(inner) };
        #[cfg(feature = "rabbitmq")]
        broker.start_bridge().await?;
        Ok(broker)
    }

    /// Appends one event; returns when it is on stable storage.
    ///
    /// # Errors
    /// [`ProposeError`]; its [`outcome`](ProposeError::outcome) says whether a retry with the same
    /// id may be needed.
    pub async fn insert(&self, event: NewEvent) -> Result<Inserted, ProposeError> {
        self.insert_batch(vec![event]).await
    }

    /// Appends events atomically, decided in order; returns when all are on stable storage.
    ///
    /// # Errors
    /// As [`Broker::insert`].
    pub async fn insert_batch(&self, events: Vec<NewEvent>) -> Result<Inserted, ProposeError> {
        Ok(self.propose(events).await?.await?.into())
    }

    /// As [`Broker::insert_batch`], for a thread that may be held for one swift append.
    pub(crate) async fn insert_here(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Inserted, ProposeError> {
        Ok(self.propose_here(events).await?.await?.into())
    }

    /// The first half of [`Broker::insert_batch`]: what is proposed before something else is decided
    /// before it. The ticket is the second half.
    pub(crate) async fn propose(&self, events: Vec<NewEvent>) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose(submission)
    }

    /// The first half of [`Broker::insert_here`].
    pub(crate) async fn propose_here(&self, events: Vec<NewEvent>) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose_among(submission).await
    }

    /// Records as they come: what is current first, then each new one.
    ///
    /// A stream that is not polled costs no queue: it continues with the newest version of what
    /// changed meanwhile. It ends when the broker shuts down.
    ///
    /// # Errors
    /// As a stream it fails with [`SubscriberError`]. Neither kind ends it:
    /// [`Reset`](SubscriberError::Reset) comes first when [`Subscribe::resume`] is not good here,
    /// and after [`Log`](SubscriberError::Log) the next poll tries again where it stood.
    ///
    /// ```
    /// use broker::{Broker, Config, NewEvent, Subscribe};
    /// use futures::{StreamExt as _, TryStreamExt as _};
    ///
    /// # #[actix_rt::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let broker = Broker::open(Config::default().data_dir(directory.path().join("data"))).await?;
    /// broker.insert(NewEvent::new("greeting", &"hello")?).await?;
    ///
    /// let newest = broker.subscribe(Subscribe::default()).take(1);
    /// let names: Vec<_> = newest.map_ok(|record| record.event().to_string()).try_collect().await?;
    /// assert_eq!(names, ["greeting"]);
    /// # broker.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self, subscribe: Subscribe) -> Records {
        Records::new(self.subscriber(subscribe))
    }

    /// Stops accepting inserts and ends subscriptions, appends what is queued, closes the log and
    /// the projection.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        #[cfg(feature = "rabbitmq")]
        if let Some(bridge) = self.inner.bridge.get() {
            // It keeps its position in the log.
            bridge.stop().await;
        }
        self.inner.order.stop();
        {
            // Held until the thread is gone, so that a second call waits too.
            let mut stopped = self.inner.stopped.lock().await;
            if let Some(stopped) = stopped.as_mut() {
                // The thread is gone either way.
                let _ = stopped.await;
            }
            *stopped = None;
        }
        let projection = self.inner.projection.clone();
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        let closed = tokio::task::spawn_blocking(move || {
            drop(workers);
            projection.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the projection was not closed cleanly");
        }
        self.inner.directory.lock().await.take();
    }

    /// The settings that it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Ends subscriptions and refuses inserts; what is queued goes on.
    pub(crate) fn begin_shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.inner.hub.close();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// Whether the log's storage failed, or a thread that serves it is gone.
    pub(crate) fn has_failed(&self) -> bool {
        let failed = &self.inner.failed;
        *failed.borrow() || failed.has_changed().is_err() || self.inner.hub.is_closed()
    }

    /// Turns true when the log's storage failed for good.
    pub(crate) fn failure(&self) -> watch::Receiver<bool> {
        self.inner.failed.clone()
    }

    pub(crate) fn subscriber(&self, subscribe: Subscribe) -> Subscriber {
        let interest =
            Interest::new(subscribe.filters.unwrap_or_else(FilterSet::everything), subscribe.user);
        let start = self.start_of(&interest, subscribe.resume, subscribe.replay);
        self.inner.hub.subscribe(interest, start)
    }

    /// The cursor at a position of the subscription with these filters and this user.
    pub(crate) fn cursor_at(&self, filters: &FilterSet, user: &User, seq: Seq) -> Cursor {
        let interest = Interest::new(filters.clone(), Some(user.clone()));
        Cursor { epoch: self.inner.hub.epoch(), seq, view: interest.view() }
    }

    fn start_of(&self, interest: &Interest, resume: Resume, mode: ReplayMode) -> Start {
        let good = match resume {
            Resume::After(cursor) => {
                self.inner.epochs.position(cursor, interest.view(), self.head())
            }
            Resume::Fresh | Resume::Lost => None,
        };
        beginning(good, resume, mode, &self.inner.reader)
    }

    /// The seq up to which everything is durable and visible.
    pub(crate) fn head(&self) -> Seq {
        self.inner.hub.with_newest(|newest| newest.head())
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn projection(&self) -> &ProjectionHandle {
        &self.inner.projection
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// Records that a checkpoint stands for and that were not read since the start.
    pub(crate) fn unverified(&self) -> u64 {
        self.inner.unverified.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// How the bridge to RabbitMQ stands, if one is set up.
    pub(crate) fn bridge_state(&self) -> Option<&bridge::State> {
        #[cfg(feature = "rabbitmq")]
        return self.inner.bridge.get().map(bridge::Bridge::state);
        #[cfg(not(feature = "rabbitmq"))]
        None
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        self.inner.order.queue_bytes()
    }

    /// Waits until reads see everything that is visible now.
    ///
    /// # Errors
    /// [`Unavailable::Behind`] after five seconds, and at once what will not pass by waiting.
    pub(crate) async fn caught_up(&self) -> Result<(), Unavailable> {
        self.inner.projection.reached(self.head(), READ_WAIT).await
    }

    /// Looks up the caller's ids, off the appending thread.
    async fn look_up(&self, events: Vec<NewEvent>) -> Result<Submission, ProposeError> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(ProposeError::Stopping);
        }
        let has_ids = events.iter().any(|event| event.id.is_some());
        let mut submission = Submission::new(propose(events));
        if !has_ids {
            return Ok(submission);
        }
        let Inner { projection, reader, .. } = &*self.inner;
        let mut engines = Engines::new(projection.clone(), reader.clone());
        let looked_up = tokio::task::spawn_blocking(move || {
            engines.look_up(&mut submission)?;
            Ok(submission)
        });
        // A thread that a disk holds is not waited for: nothing was stored.
        let looked_up = tokio::time::timeout(READ_WAIT, looked_up).await;
        let looked_up = looked_up.map_err(|_| {
            tracing::error!("a look-up of ids did not end");
            ProposeError::IdsNotReady
        });
        looked_up?.unwrap_or_else(|error| {
            tracing::error!(%error, "a look-up of ids panicked");
            Err(ProposeError::IdsNotReady)
        })
    }
}

/// A good cursor continues; any other means that the client must discard what it held, and then
/// even `replay=none` has to send everything, for the client missed an unknown part.
fn beginning(good: Option<Seq>, resume: Resume, mode: ReplayMode, reader: &Reader) -> Start {
    let replay = match mode {
        ReplayMode::All => Replay::All(log_tails(reader)),
        ReplayMode::None if resume == Resume::Fresh => Replay::None,
        ReplayMode::Latest | ReplayMode::None => Replay::Latest,
    };
    let reset = good.is_none() && resume != Resume::Fresh;
    Start { position: good.unwrap_or(0), reset, replay }
}

/// The journal, opened after any seq.
fn log_tails(reader: &Reader) -> OpenTail {
    let reader = reader.clone();
    Arc::new(move |after| Box::new(LogTail(reader.follow(after))))
}

/// The journal as subscribers read it.
struct LogTail(Follower);

impl Tail for LogTail {
    fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, String> {
        self.0.next(bytes_max).map_err(|error| error.to_string())
    }

    fn position(&self) -> Seq {
        self.0.position()
    }
}

/// Draws the random bytes that the records will need.
pub(crate) fn propose(events: Vec<NewEvent>) -> Proposal {
    let mut random = rand::rng();
    let events = events.into_iter().map(|event| {
        let mut salts = Salts { meta: [0; 16], data: [0; 16] };
        let mut id_random = [0; 5];
        random.fill_bytes(&mut salts.meta);
        random.fill_bytes(&mut salts.data);
        random.fill_bytes(&mut id_random);
        Proposed { event, salts, id_random }
    });
    Proposal { events: events.collect() }
}
