//! Subscriptions: what is asked for, and where that begins.

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
    /// Records as they come: what is current first, then each new one.
    ///
    /// A stream that is not polled costs no queue: it continues with the newest version of what
    /// changed meanwhile. It ends when the broker shuts down.
    ///
    /// # Errors
    /// As a stream it fails with [`SubscriberError`](crate::subscription::SubscriberError). Neither kind ends it:
    /// [`Reset`](crate::subscription::SubscriberError::Reset) comes first when [`Subscribe::resume`] is not good
    /// here, and after [`Log`](crate::subscription::SubscriberError::Log) the next poll tries again where it
    /// stood.
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

/// A good cursor continues; any other means that the client must discard what it held, and then
/// even `replay=none` has to send everything, for the client missed an unknown part.
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

/// The journal, opened after any seq.
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
