//! What a route supplies to a socket.

use futures_util::future::LocalBoxFuture;

use crate::broker::Subscribe;
use crate::http::problem::Problem;
use crate::http::socket::close::Closing;
use crate::record::{NewEvent, Seq};
use crate::subscription::Batch;

/// A socket's subscription, its format and the handling of the client's messages.
pub struct SocketSession {
    /// The initial subscription.
    pub subscribe: Subscribe,
    /// How records are sent.
    pub format: Format,
    /// Interprets the client's messages. Dropped when the socket ends.
    pub on_message: OnMessage,
    /// Closes the socket when it is ready; `None` if only the client or the shutdown ends it.
    pub end: Option<LocalBoxFuture<'static, Closing>>,
    /// Observes the records that are sent, for a route that stores the position or removes records.
    pub on_records: Option<OnRecords>,
}

/// Receives the next records, some of which it may remove, and the subscriber's position after
/// them. It is also called without records, when the position may have advanced.
pub type OnRecords = Box<dyn FnMut(&mut Batch, Seq)>;

/// How records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The data alone: a JSON string as its text, anything else as JSON. No control events.
    Bare,
    /// `{"record":…,"cursor":…}`, and control events.
    Messages,
    /// The record alone. No control events.
    Record,
}

/// Interprets the text of a client's message.
pub type OnMessage = Box<dyn FnMut(&str) -> SocketAction>;

/// What a client's message makes the socket do.
pub enum SocketAction {
    /// Replace the subscription by another one.
    Resubscribe { subscribe: Subscribe, reference: Option<Reference> },
    /// Insert one event, or a batch, which is answered with an array.
    Insert { events: Vec<NewEvent>, is_batch: bool, reference: Option<Reference> },
    /// Answer with the text `pong`.
    Pong,
    /// Answer with a problem; the socket stays open.
    Refuse { problem: Problem, reference: Option<Reference> },
}

/// The `ref` of a client's message, by which it recognises the answer: a JSON string or number,
/// sent back unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// `json` must be a JSON string or number.
    pub fn new(json: &str) -> Self {
        Self(json.to_owned())
    }

    pub fn json(&self) -> &str {
        &self.0
    }
}
