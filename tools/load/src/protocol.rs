//! The protocol of each server, so that the same subscribers measure them all.

use broker_tools::Result;
use broker_tools::http::{ACCEPT_EVENTS, get, parse, post};

/// The servers that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The floor: a loop that does one `write` for each delivery.
    Bare,
    /// Broker, over server-sent events.
    Broker,
    /// nginx with nchan, over server-sent events.
    Nchan,
    /// Redis pub/sub, over its own protocol.
    Redis,
    /// Broker, over WebSockets.
    WebSocket,
}

/// How a server starts a subscriber's stream.
#[derive(Debug)]
pub struct Handshake {
    /// The first bytes.
    pub start: &'static [u8],
    /// Bytes that show that the subscription is active.
    pub ready: &'static [u8],
}

impl ServerKind {
    /// All servers that are compared.
    pub const ALL: [Self; 4] = [Self::Bare, Self::Broker, Self::Nchan, Self::Redis];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Broker => "broker",
            Self::Nchan => "nchan",
            Self::Redis => "redis",
            Self::WebSocket => "broker, sockets",
        }
    }

    /// The request to subscribe to an event, or to several, separated by commas.
    pub fn subscribe(self, events: &str) -> Vec<u8> {
        let query = || format!("event={}", events.replace(',', "&event="));
        match self {
            Self::Bare | Self::Nchan => get("/events", ACCEPT_EVENTS),
            Self::Broker => get(&format!("/events?{}", query()), ACCEPT_EVENTS),
            Self::Redis => format!("SUBSCRIBE {events}\r\n").into_bytes(),
            Self::WebSocket => get(&format!("/ws?{}", query()), UPGRADE),
        }
    }

    /// The start of the answer to that request.
    pub fn handshake(self) -> &'static Handshake {
        match self {
            Self::Bare => &Handshake { start: OK, ready: b": held" },
            Self::Broker => &Handshake { start: OK, ready: b"event:broker:synced" },
            Self::Nchan => &Handshake { start: OK, ready: b": hi" },
            Self::Redis => &Handshake { start: b"*3\r\n", ready: b":1\r\n" },
            Self::WebSocket => &Handshake { start: b"HTTP/1.1 101", ready: b"{\"synced\"" },
        }
    }

    /// The request to publish a value.
    pub fn publish(self, event: &str, value: &str) -> Vec<u8> {
        match self {
            Self::Broker | Self::WebSocket => {
                post("/insert", &format!("{{\"event\":\"{event}\",\"data\":{value}}}"))
            }
            Self::Bare | Self::Nchan => post("/publish", value),
            Self::Redis => {
                let (name, len) = (event.len(), value.len());
                format!("*3\r\n$7\r\nPUBLISH\r\n${name}\r\n{event}\r\n${len}\r\n{value}\r\n")
                    .into_bytes()
            }
        }
    }

    /// Whether the answer to that request is complete.
    pub fn is_acknowledged(self, bytes: &[u8]) -> Result<bool> {
        let refused = || format!("not published: {}", String::from_utf8_lossy(bytes));
        if self == Self::Redis {
            return if bytes.starts_with(b":") {
                Ok(bytes.ends_with(b"\r\n"))
            } else {
                Err(refused().into())
            };
        }
        match parse(bytes) {
            None => Ok(false),
            Some(response) if matches!(response.status, 201 | 202) => Ok(true),
            Some(_) => Err(refused().into()),
        }
    }
}

const OK: &[u8] = b"HTTP/1.1 200";
/// The key is that of RFC 6455, section 1.3; the server's answer to it is not checked.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
