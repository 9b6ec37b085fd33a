//! Routes new connections by their first bytes: to a stream, to the insert loop or to actix.
//!
//! Owns the connections of streams, which take little memory while they are idle, and of inserts,
//! which take little CPU per request.
//! Promises that every other request, and every unusual one, reaches actix byte for byte.
//! Does not parse HTTP itself: actix's codec does.

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

/// Clients send a request right after connecting; connections that take longer are left to actix.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum bytes to inspect; a request with a longer head is left to actix.
const FIRST_BYTES_MAX: usize = 8 << 10;

/// A new connection, by its first request.
pub enum ConnectionKind {
    /// A request for a stream, and the connection to answer it on.
    Stream(Request, StreamConnection),
    /// A connection for inserts.
    Inserts(InsertConnection),
    /// Anything else, for actix.
    Other(Rewind),
}

/// Routes the connections of one worker.
pub struct ConnectionRouter {
    state: web::Data<AppState>,
    /// For connections that end with their request.
    single_request: ServiceConfig,
    /// For connections that are kept alive.
    keep_alive_requests: ServiceConfig,
}

impl ConnectionRouter {
    /// Makes a router; `idle_max` is the maximum pause between two requests.
    pub fn new(state: web::Data<AppState>, idle_max: Duration) -> Self {
        let config = |keep_alive| ServiceConfigBuilder::new().keep_alive(keep_alive).build();
        let (single_request, keep_alive_requests) =
            (config(KeepAlive::Disabled), config(KeepAlive::Timeout(idle_max)));
        Self { state, single_request, keep_alive_requests }
    }

    /// Waits for the first bytes of a connection and routes it.
    ///
    /// # Errors
    /// The connection's error.
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

/// Reads available bytes. A separate function, so that the buffer does not become part of the
/// future of every waiting connection.
fn read_now(stream: &TcpStream) -> io::Result<BytesMut> {
    let mut bytes = [0; FIRST_BYTES_MAX];
    let read = stream.try_read(&mut bytes)?;
    Ok(BytesMut::from(&bytes[..read]))
}

/// Parses a request for a stream: a complete head with nothing after it, and no body.
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

/// Whether the bytes are a request for `/events`. Routes that wait before they answer do not belong
/// here, because meanwhile nothing would notice that the client has left.
fn is_for_stream(bytes: &[u8]) -> bool {
    let Some(target) = bytes.strip_prefix(b"GET ") else { return false };
    let path = target.split(|byte| matches!(byte, b' ' | b'?' | b'\r')).next().unwrap_or_default();
    path == b"/events" && bytes.ends_with(b"\r\n\r\n")
}
