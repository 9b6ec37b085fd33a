//! Why a socket ends, as its client is told: the close codes of RFC 6455, section 7.4, and of
//! IANA's registry.

use std::borrow::Cow;

use crate::http::codec::sse;
use crate::http::socket::frames::FrameFault;

/// A close frame to send: a code, and a reason of at most 123 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// `None` answers a close frame that had none.
    pub code: Option<u16>,
    pub reason: Cow<'static, str>,
}

impl Closing {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason: Cow::Borrowed(reason) }
    }

    /// The closing handshake's second half: the code that came.
    pub fn echo(code: Option<u16>) -> Self {
        Self { code, reason: Cow::Borrowed("") }
    }

    /// 1001: the server goes. The reason says when to come back, `retry:<milliseconds>`, each
    /// client at a time of its own.
    pub fn going_away() -> Self {
        let retry = String::from_utf8_lossy(&sse::retry()).trim_end().to_owned();
        Self { code: Some(1001), reason: Cow::Owned(retry) }
    }

    /// 1000: what the socket was for is no more.
    pub fn forgotten() -> Self {
        Self::new(1000, "the registration was deleted")
    }

    /// 4001, of the range for private use: who is told this must not come back by itself, or two
    /// connections would take over from each other for ever.
    pub fn taken_over() -> Self {
        Self::new(4001, "another connection took the registration over")
    }

    /// 1008: no pong, and nothing else, came in time.
    pub fn no_pong() -> Self {
        Self::new(1008, "a ping was not answered in time")
    }

    /// 1008: a message was begun and not ended in time.
    pub fn message_timeout() -> Self {
        Self::new(1008, "a message came too slowly")
    }

    /// 1011: not the client's doing; it says nothing of the inside.
    pub fn log_unreadable() -> Self {
        Self::new(1011, "the log cannot be read")
    }
}

impl From<FrameFault> for Closing {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::Binary => Self::new(1003, "send text, not binary"),
            FrameFault::NotUtf8 => Self::new(1007, "a text is not UTF-8"),
            FrameFault::Protocol(what) => Self::new(1002, what),
            FrameFault::TooLarge => {
                Self::new(1009, "a message is larger than BROKER_MAX_BODY_BYTES")
            }
        }
    }
}
