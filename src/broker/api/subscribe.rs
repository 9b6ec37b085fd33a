//! Subscriptions: what a caller asks for, and where its stream begins.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::api::records::Records;
use crate::journal::{Follower, Reader};
use crate::record::{Cursor, FilterSet, Record, Seq, User};
use crate::subscription::{
    LogSource, OpenLogSource, Replay, Selector, Subscriber, SubscriptionStart,
};

/// How a subscription begins.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// The events to receive; all if not set.
    pub filters: Option<FilterSet>,
    /// The user whose private records are received with the public ones.
    pub user: Option<User>,
    /// Where it continues.
    pub resume: Resume,
    /// How it starts without a valid cursor, and what it receives after lagging.
    pub replay: ReplayMode,
}

/// Where a subscription continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// After the cursor of an earlier subscription. It is valid only with the same filters and
    /// user; otherwise as [`Resume::Lost`].
    After(Cursor),
    /// The client holds nothing.
    #[default]
    Fresh,
    /// The client holds records of an unknown position, which it must discard.
    Lost,
}

/// How a subscription without a valid cursor starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayMode {
    /// Every version from the log, none conflated, at the start and later.
    All,
    /// The latest version of every event.
    #[default]
    Latest,
    /// Only records that are appended from now on.
    None,
}

impl Broker {
    /// A stream of records: the current ones first, then each new one.
    ///
    /// A stream that is not polled costs no queue: it continues with the latest version of every
    /// event that changed meanwhile. It ends when the broker shuts down.
    ///
    /// # Errors
    /// The stream's items fail with [`SubscriberError`](crate::SubscriberError), which never ends
    /// it. [`Reset`](crate::SubscriberError::Reset) comes first if [`Subscribe::resume`] is not
    /// valid here; after [`Log`](crate::SubscriberError::Log) the next poll tries again at the same
    /// position.
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
    /// let latest = broker.subscribe(Subscribe::default()).take(1);
    /// let names: Vec<_> = latest.map_ok(|record| record.event().to_string()).try_collect().await?;
    /// assert_eq!(names, ["greeting"]);
    /// # broker.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn subscribe(&self, subscribe: Subscribe) -> Records {
        Records::new(self.subscriber(subscribe))
    }

    pub(crate) fn subscriber(&self, subscribe: Subscribe) -> Subscriber {
        let selector =
            Selector::new(subscribe.filters.unwrap_or_else(FilterSet::everything), subscribe.user);
        let start = self.start_of(&selector, subscribe.resume, subscribe.replay);
        self.inner.hub.subscribe(selector, start)
    }

    /// The cursor at a position of the subscription with these filters and this user.
    pub(crate) fn cursor_at(&self, filters: &FilterSet, user: &User, seq: Seq) -> Cursor {
        let selector = Selector::new(filters.clone(), Some(user.clone()));
        Cursor { epoch: self.inner.hub.epoch(), seq, view: selector.view() }
    }

    fn start_of(&self, selector: &Selector, resume: Resume, mode: ReplayMode) -> SubscriptionStart {
        let good = match resume {
            Resume::After(cursor) => {
                self.inner.epochs.position(cursor, selector.view(), self.head())
            }
            Resume::Fresh | Resume::Lost => None,
        };
        beginning(good, resume, mode, &self.inner.reader)
    }
}

/// A valid cursor continues. Any other means that the client must discard its records, and then even
/// `replay=none` sends everything, because the client has missed an unknown part.
pub fn beginning(
    good: Option<Seq>,
    resume: Resume,
    mode: ReplayMode,
    reader: &Reader,
) -> SubscriptionStart {
    let replay = match mode {
        ReplayMode::All => Replay::All(log_tails(reader)),
        ReplayMode::None if resume == Resume::Fresh => Replay::None,
        ReplayMode::Latest | ReplayMode::None => Replay::Latest,
    };
    let reset = good.is_none() && resume != Resume::Fresh;
    SubscriptionStart { position: good.unwrap_or(0), reset, replay }
}

/// Opens the journal after any seq.
pub fn log_tails(reader: &Reader) -> OpenLogSource {
    let reader = reader.clone();
    Arc::new(move |after| Box::new(JournalSource(reader.follow(after))))
}

/// The journal as subscribers read it.
struct JournalSource(Follower);

impl LogSource for JournalSource {
    fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, String> {
        self.0.next(bytes_max).map_err(|error| error.to_string())
    }

    fn position(&self) -> Seq {
        self.0.position()
    }
}
