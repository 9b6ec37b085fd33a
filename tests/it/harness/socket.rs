//! WebSocket clients: tokio-tungstenite as an independent implementation, and raw frames.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::server::Server;
use crate::harness::wait::WAIT_MAX;
use crate::harness::wire::{Answer, Connection, Headers, request};

/// An open tokio-tungstenite socket with a blocking interface.
pub struct Socket {
    runtime: Runtime,
    stream: WebSocketStream<TcpStream>,
}

/// Code and reason of the close frame, or `None` if the connection ended without one.
pub type CloseReason = Option<(u16, String)>;

impl Socket {
    #[track_caller]
    pub fn open(server: &Server, target: &str) -> Self {
        Self::open_with(server, target, &[])
    }

    #[track_caller]
    pub fn open_with(server: &Server, target: &str, headers: &[(&str, &str)]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut request =
            format!("ws://{}{target}", server.address).into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        let address = server.address;
        let opened = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.expect("the server accepts");
            timeout(WAIT_MAX, client_async(request, tcp)).await.expect("an answer in time")
        });
        let (stream, _) = opened.unwrap_or_else(|error| panic!("opening {target}: {error}"));
        Self { runtime, stream }
    }

    /// The next message of any kind, or `None` at the end of the connection.
    #[track_caller]
    pub fn message(&mut self) -> Option<Message> {
        let next = self.runtime.block_on(async { timeout(WAIT_MAX, self.stream.next()).await });
        next.expect("a message in time").map(|message| message.expect("a valid message"))
    }

    /// The next text message.
    #[track_caller]
    pub fn text(&mut self) -> String {
        loop {
            match self.message() {
                Some(Message::Text(text)) => return text.to_string(),
                // tungstenite answers pings itself.
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected a text message: {other:?}"),
            }
        }
    }

    #[track_caller]
    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Messages up to and including the first `synced`.
    #[track_caller]
    pub fn until_synced(&mut self) -> Vec<Value> {
        self.until(|message| message.get("synced").is_some())
    }

    /// Messages up to and including the first for which `last` holds.
    #[track_caller]
    pub fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.json());
            if messages.last().is_some_and(&last) {
                return messages;
            }
        }
    }

    #[track_caller]
    pub fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into()));
    }

    #[track_caller]
    pub fn send_message(&mut self, message: Message) {
        let sent = self.runtime.block_on(async {
            timeout(WAIT_MAX, self.stream.send(message)).await.expect("sent in time")
        });
        sent.expect("the socket is open");
    }

    /// Sends `text` and returns the next message as JSON.
    #[track_caller]
    pub fn ask(&mut self, text: impl Into<String>) -> Value {
        self.send(text);
        self.json()
    }

    /// Skips all messages up to the end of the connection and returns how it ended.
    #[track_caller]
    pub fn end(&mut self) -> CloseReason {
        let mut end = None;
        loop {
            let next = self.runtime.block_on(async { timeout(WAIT_MAX, self.stream.next()).await });
            match next.expect("the connection ends in time") {
                Some(Ok(Message::Close(Some(frame)))) => {
                    end = Some((u16::from(frame.code), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return end,
            }
        }
    }

    /// Starts the closing handshake and returns how the connection ended.
    #[track_caller]
    pub fn close(mut self) -> CloseReason {
        self.send_message(Message::Close(None));
        self.end()
    }
}

/// The messages in one line: `a1 b2 synced`.
pub fn summary(messages: &[Value]) -> String {
    let word = |message: &Value| {
        let record = &message["record"];
        match (record["event"].as_str(), message.as_object()) {
            (Some(event), _) => format!("{event}{}", record["version"]),
            (None, Some(members)) => {
                members.keys().find(|key| *key != "ref").cloned().expect("a message has a member")
            }
            (None, None) => panic!("not an object: {message}"),
        }
    };
    messages.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The headers of a handshake, except `Host`.
pub const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Sends a handshake that is to be refused and returns the answer.
#[track_caller]
pub fn refused(address: SocketAddr, target: &str, headers: &[&str]) -> Answer {
    let headers = [&HANDSHAKE, headers].concat();
    let mut connection = Connection::open(address);
    connection.send(request("GET", target, &headers, b""));
    connection.answer("GET").expect("a complete answer")
}

/// A socket of raw frames.
pub struct Frames {
    pub connection: Connection,
    pub headers: Headers,
}

/// First byte of a frame: the FIN bit and the opcode.
pub const CONTINUATION: u8 = 0x00;
pub const CONTINUATION_LAST: u8 = 0x80;
pub const TEXT: u8 = 0x81;
pub const TEXT_FIRST: u8 = 0x01;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

impl Frames {
    #[track_caller]
    pub fn open(server: &Server, target: &str) -> Self {
        Self::open_on(server.connect(), target)
    }

    #[track_caller]
    pub fn open_on(mut connection: Connection, target: &str) -> Self {
        connection.send(request("GET", target, &HANDSHAKE, b""));
        let (status, headers) = connection.head().expect("the handshake is answered");
        assert_eq!(status, 101, "{headers:?}");
        Self { connection, headers }
    }

    /// Sends a masked frame. Returns whether the connection took it.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> bool {
        self.connection.send(masked(first, payload))
    }

    /// First byte and payload of the next frame, or `None` at the end of the connection.
    #[track_caller]
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.connection.take(2)?;
        assert_eq!(head[1] & 0x80, 0, "a server's frames are not masked");
        let len = match head[1] {
            126 => {
                let bytes = self.connection.take(2)?;
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            127 => {
                let bytes = self.connection.take(8)?;
                u64::from_be_bytes(bytes.try_into().expect("eight bytes")) as usize
            }
            len => usize::from(len),
        };
        Some((head[0], self.connection.take(len)?))
    }

    /// The next text message.
    #[track_caller]
    pub fn text(&mut self) -> String {
        loop {
            match self.frame() {
                Some((TEXT, payload)) => return String::from_utf8(payload).expect("UTF-8"),
                Some((PING | PONG, _)) => {}
                other => panic!("expected a text frame: {other:?}"),
            }
        }
    }

    /// Skips other frames and returns code and reason of the close frame.
    #[track_caller]
    pub fn close_frame(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.frame().expect("a close frame before the end");
            if first == CLOSE {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).expect("UTF-8"));
            }
        }
    }
}

/// The bytes of a client's frame, which must be masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
