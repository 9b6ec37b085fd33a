//! What a connection is opened for: its first bytes tell.
//!
//! A stream has a connection of its own, which costs little while nothing happens.
//! Promises that any other request, and whatever is unusual about one, is actix's, byte for byte.
//! Does not read HTTP: actix's codec does.

mod resumed;
mod streaming;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_web::rt::net::TcpStream;
use bytes::BytesMut;
use tokio::time::timeout;
use tokio_util::codec::Decoder as _;

pub(super) use resumed::Resumed;
pub(super) use streaming::Answering;

/// A page's request follows its connection at once; whoever waits longer is left to actix.
const REQUEST_WAIT: Duration = Duration::from_secs(1);
/// Bytes that are looked at; a longer head is left to actix.
const FIRST_BYTES_MAX: usize = 8 << 10;

/// A connection, by what it is opened for.
pub(super) enum Opening {
    /// One request for a stream, and what answers it.
    Stream(Request, Answering),
    /// Anything else.
    Other(Resumed),
}

impl Opening {
    /// Waits for the first bytes.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn read(
        stream: TcpStream,
        peer: SocketAddr,
        config: &ServiceConfig,
    ) -> io::Result<Self> {
        let Ok(bytes) = timeout(REQUEST_WAIT, first_bytes(&stream)).await else {
            return Ok(Self::Other(Resumed::new(BytesMut::new(), stream)));
        };
        let bytes = bytes?;
        let Some((mut request, codec)) = request_for_stream(&bytes, config) else {
            return Ok(Self::Other(Resumed::new(bytes, stream)));
        };
        request.head_mut().peer_addr = Some(peer);
        Ok(Self::Stream(request, Answering::new(stream, codec)))
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
