//! What a connection is opened for: its first bytes tell.
//!
//! A stream has a connection of its own, which costs little while nothing happens; and inserts have
//! one, which costs little an insert.
//! Promises that any other request, and whatever is unusual about one, is actix's, byte for byte.
//! Does not read HTTP: actix's codec does.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod insert;
mod insert_parser;
mod rewind;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{KeepAlive, Request, ServiceConfig, ServiceConfigBuilder};
use actix_web::rt::net::TcpStream;
use actix_web::web;
use bytes::BytesMut;
use tokio::time::timeout;
use tokio_util::codec::Decoder as _;

pub use insert::InsertConnection;
pub use rewind::Rewind;
pub use stream::StreamConnection;

use crate::http::state::AppState;

/// A request follows its connection at once; whoever waits longer is left to actix.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are looked at; a longer head is left to actix.
const FIRST_BYTES_MAX: usize = 8 << 10;

/// A connection, by what it is opened for.
pub enum ConnectionKind {
    /// One request for a stream, and what answers it.
    Stream(Request, StreamConnection),
    /// Inserts, one after the other.
    Inserts(InsertConnection),
    /// Anything else.
    Other(Rewind),
}

/// What connections are opened with.
pub struct ConnectionRouter {
    state: web::Data<AppState>,
    /// For one request.
    single_request: ServiceConfig,
    /// For one after the other.
    keep_alive_requests: ServiceConfig,
}

impl ConnectionRouter {
    /// For clients that may think so long between two requests.
    pub fn new(state: web::Data<AppState>, idle_max: Duration) -> Self {
        let config = |keep_alive| ServiceConfigBuilder::new().keep_alive(keep_alive).build();
        let (single_request, keep_alive_requests) =
            (config(KeepAlive::Disabled), config(KeepAlive::Timeout(idle_max)));
        Self { state, single_request, keep_alive_requests }
    }

    /// Waits for the first bytes.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn route(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<ConnectionKind> {
        let Ok(bytes) = timeout(FIRST_BYTES_TIMEOUT, first_bytes(&stream)).await else {
            return Ok(ConnectionKind::Other(Rewind::new(BytesMut::new(), stream)));
        };
        let bytes = bytes?;
        if InsertConnection::is_opened_by(&bytes) {
            let (state, config) = (self.state.clone(), self.keep_alive_requests.clone());
            return Ok(ConnectionKind::Inserts(InsertConnection::new(
                bytes, stream, state, config,
            )));
        }
        let Some((mut request, codec)) = request_for_stream(&bytes, &self.single_request) else {
            return Ok(ConnectionKind::Other(Rewind::new(bytes, stream)));
        };
        request.head_mut().peer_addr = Some(peer);
        Ok(ConnectionKind::Stream(request, StreamConnection::new(stream, codec)))
    }
}

async fn first_bytes(stream: &TcpStream) -> io::Result<BytesMut> {
    loop {
        stream.readable().await?;
        match read_now(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// By itself, so that a connection that waits has no room for what it may read.
fn read_now(stream: &TcpStream) -> io::Result<BytesMut> {
    let mut bytes = [0; FIRST_BYTES_MAX];
    let read = stream.try_read(&mut bytes)?;
    Ok(BytesMut::from(&bytes[..read]))
}

/// A whole head, nothing after it, no body to come, and the path of a stream.
fn request_for_stream(bytes: &[u8], config: &ServiceConfig) -> Option<(Request, Codec)> {
    if !is_for_stream(bytes) {
        return None;
    }
    let mut codec = Codec::new(config.clone());
    let mut rest = BytesMut::from(bytes);
    let Ok(Some(Message::Item(request))) = codec.decode(&mut rest) else { return None };
    let is_plain = rest.is_empty()
        && matches!(codec.message_type(), MessageType::None)
        && !request.head().expect()
        && !request.head().upgrade();
    is_plain.then_some((request, codec))
}

/// `GET /events`, with a query or without. What waits before it answers is not for here: nobody
/// looks at the client meanwhile.
fn is_for_stream(bytes: &[u8]) -> bool {
    let Some(target) = bytes.strip_prefix(b"GET ") else { return false };
    let path = target.split(|byte| matches!(byte, b' ' | b'?' | b'\r')).next().unwrap_or_default();
    path == b"/events" && bytes.ends_with(b"\r\n\r\n")
}
