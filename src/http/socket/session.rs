//! What a route makes of a socket.

use futures_util::future::LocalBoxFuture;

use crate::broker::Subscribe;
use crate::http::problem::Problem;
use crate::http::socket::close::Closing;
use crate::record::{NewEvent, Seq};
use crate::subscription::Batch;

/// A socket's subscription, how it is told, and what its client may say.
pub struct SocketSession {
    /// What is told first.
    pub subscribe: Subscribe,
    /// How.
    pub format: Format,
    /// What the client's messages mean. Dropped when the socket has ended, with all it holds.
    pub on_message: OnMessage,
    /// Ends the socket when it is ready; `None` leaves that to the client and to the shutdown.
    pub end: Option<LocalBoxFuture<'static, Closing>>,
    /// Sees what is handed out, for a route that keeps the position or leaves records out.
    pub on_records: Option<OnRecords>,
}

/// Is given the next records, of which it may take some away, and the subscriber's position behind
/// them; also without records, when the position may have moved.
pub type OnRecords = Box<dyn FnMut(&mut Batch, Seq)>;

/// How records are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The data alone: a JSON string as its text, anything else as JSON. Marks are left out.
    Bare,
    /// `{"record":…,"cursor":…}`, and marks.
    Messages,
    /// The record alone. Marks are left out.
    Record,
}

/// What the text of a client's message asks for.
pub type OnMessage = Box<dyn FnMut(&str) -> SocketAction>;

/// What a client asks for.
pub enum SocketAction {
    /// Another subscription, from its beginning.
    Resubscribe { subscribe: Subscribe, reference: Option<Reference> },
    /// An insert: one event, or a batch, which is answered with an array.
    Insert { events: Vec<NewEvent>, is_batch: bool, reference: Option<Reference> },
    /// The text `pong`.
    Pong,
    /// What is wrong with the message; the socket stays open.
    Refuse { problem: Problem, reference: Option<Reference> },
}

/// What a client put on its message to know the answer by: a JSON string or number, sent back as it
/// came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// `json` is a string or a number of JSON.
    pub fn new(json: &str) -> Self {
        Self(json.to_owned())
    }

    pub fn json(&self) -> &str {
        &self.0
    }
}
