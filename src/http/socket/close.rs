//! Close codes (RFC 6455, section 7.4, and the IANA registry) and their reasons.

use std::borrow::Cow;

use crate::http::codec::sse;
use crate::http::socket::frames::FrameFault;

/// A close frame to send, with a reason of at most 123 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// `None` answers a close frame without a code.
    pub code: Option<u16>,
    pub reason: Cow<'static, str>,
}

impl Closing {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason: Cow::Borrowed(reason) }
    }

    /// Answers the client's close frame with the same code.
    pub fn echo(code: Option<u16>) -> Self {
        Self { code, reason: Cow::Borrowed("") }
    }

    /// 1001: the server shuts down. The reason is `retry:<milliseconds>`, with a random delay for
    /// each client.
    pub fn going_away() -> Self {
        let retry = String::from_utf8_lossy(&sse::retry()).trim_end().to_owned();
        Self { code: Some(1001), reason: Cow::Owned(retry) }
    }

    /// 1000: the registration was deleted.
    pub fn forgotten() -> Self {
        Self::new(1000, "the registration was deleted")
    }

    /// 4001 (private use): another connection took over. A client must not reconnect automatically
    /// after this, otherwise two connections would replace each other forever.
    pub fn taken_over() -> Self {
        Self::new(4001, "another connection took over the registration")
    }

    /// 1008: neither a pong nor anything else arrived in time.
    pub fn no_pong() -> Self {
        Self::new(1008, "a ping was not answered in time")
    }

    /// 1008: a message was not completed in time.
    pub fn message_timeout() -> Self {
        Self::new(1008, "a message arrived too slowly")
    }

    /// 1011: the server failed; the reason reveals no internals.
    pub fn log_unreadable() -> Self {
        Self::new(1011, "the log cannot be read")
    }
}

impl From<FrameFault> for Closing {
    fn from(fault: FrameFault) -> Self {
        match fault {
            FrameFault::Binary => Self::new(1003, "send text, not binary"),
            FrameFault::NotUtf8 => Self::new(1007, "a text message is not UTF-8"),
            FrameFault::Protocol(what) => Self::new(1002, what),
            FrameFault::TooLarge => {
                Self::new(1009, "a message is larger than BROKER_MAX_BODY_BYTES")
            }
        }
    }
}
