//! How each server is spoken to, so that one crowd measures them all.

use broker_bench::Result;
use broker_bench::http::parse;
use broker_bench::workload::post;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// A loop that does one `write` a delivery, and nothing else: the floor.
    Bare,
    /// Broker, over server-sent events.
    Broker,
    /// nginx with nchan, over server-sent events.
    Nchan,
    /// Redis, which pushes what is published over its own protocol.
    Redis,
    /// Broker, over WebSockets.
    WebSocket,
}

/// How a server begins to talk to a subscriber.
#[derive(Debug)]
pub struct Handshake {
    /// The very first bytes.
    pub start: &'static [u8],
    /// Stands where the subscription holds.
    pub ready: &'static [u8],
}

impl ServerKind {
    /// All that are compared.
    pub const ALL: [Self; 4] = [Self::Bare, Self::Broker, Self::Nchan, Self::Redis];

    /// What it is called in the report and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Broker => "broker",
            Self::Nchan => "nchan",
            Self::Redis => "redis",
            Self::WebSocket => "broker, sockets",
        }
    }

    /// What asks for an event, or for several, separated by commas.
    pub fn subscribe(self, events: &str) -> Vec<u8> {
        let query = || format!("event={}", events.replace(',', "&event="));
        match self {
            Self::Bare => get("/events", ""),
            Self::Broker => get(&format!("/events?{}", query()), ""),
            Self::Nchan => get("/events", ""),
            Self::Redis => format!("SUBSCRIBE {events}\r\n").into_bytes(),
            Self::WebSocket => get(&format!("/ws?{}", query()), UPGRADE),
        }
    }

    /// How the answer to that begins.
    pub fn handshake(self) -> &'static Handshake {
        match self {
            Self::Bare => &Handshake { start: OK, ready: b": held" },
            Self::Broker => &Handshake { start: OK, ready: b"event:broker:synced" },
            Self::Nchan => &Handshake { start: OK, ready: b": hi" },
            Self::Redis => &Handshake { start: b"*3\r\n", ready: b":1\r\n" },
            Self::WebSocket => &Handshake { start: b"HTTP/1.1 101", ready: b"{\"synced\"" },
        }
    }

    /// What publishes a value.
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

    /// Whether the answer to that is there.
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
/// The key is that of RFC 6455, section 1.3; nobody here looks at what is made of it.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A request for a stream, with more lines in its head.
pub fn get(target: &str, more: &str) -> Vec<u8> {
    let accept = if more.is_empty() { "Accept: text/event-stream\r\n" } else { "" };
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{accept}{more}\r\n").into_bytes()
}
