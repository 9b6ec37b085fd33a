//! A connection that is opened for a stream, and is nothing but the stream.
//!
//! Owns what such a connection says and hears: it answers one request, writes its body, and notices
//! when the client leaves. A page that is open costs memory only for its position: none of the
//! 16 KiB of buffers that actix keeps for a connection whose next request may come at any time.
//! Promises one write for what a body hands out at once, and turns that end, however much there is
//! to write.
//! Any other request, and whatever is unusual about one, is actix's; routes, gates and problems are
//! the same service.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_web::HttpResponse;
use actix_web::rt::net::TcpStream;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// A page's request follows its connection at once; whoever waits longer is left to actix.
const REQUEST_WAIT: Duration = Duration::from_secs(1);
/// Bytes of a head that are looked at; a longer one is left to actix.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Chunks that one turn writes: a long replay leaves others their turns.
const TURN_CHUNKS_MAX: usize = 4;

/// The request for a stream that opened a connection.
pub(super) struct Opening {
    pub request: Request,
    codec: Codec,
    head_bytes: usize,
}

impl Opening {
    /// Waits for the first bytes and looks at them, without taking them.
    pub async fn peek(
        stream: &TcpStream,
        peer: SocketAddr,
        config: &ServiceConfig,
    ) -> Option<Self> {
        let peek = poll_fn(|cx| {
            let mut bytes = [0; HEAD_BYTES_MAX];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(stream.poll_peek(cx, &mut buffer)).ok();
            Poll::Ready(Self::parse(buffer.filled(), config))
        });
        let mut opening = timeout(REQUEST_WAIT, peek).await.ok()??;
        opening.request.head_mut().peer_addr = Some(peer);
        Some(opening)
    }

    /// A whole head, nothing after it, no body to come, and the path of a stream.
    fn parse(bytes: &[u8], config: &ServiceConfig) -> Option<Self> {
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
        is_plain.then_some(Self { request, codec, head_bytes: bytes.len() })
    }

    /// Takes the head off the connection and splits into the request and what answers it.
    pub fn accept(self, stream: TcpStream) -> io::Result<(Request, Answering)> {
        let mut bytes = [0; HEAD_BYTES_MAX];
        let mut taken = 0;
        while taken < self.head_bytes {
            match stream.try_read(&mut bytes[..self.head_bytes - taken])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => taken += read,
            }
        }
        Ok((self.request, Answering { stream, codec: self.codec }))
    }
}

/// `GET /events`, with a query or without. What waits before it answers is not for here: nobody
/// looks at the client meanwhile.
fn is_for_stream(bytes: &[u8]) -> bool {
    let Some(target) = bytes.strip_prefix(b"GET ") else { return false };
    let path = target.split(|byte| matches!(byte, b' ' | b'?' | b'\r')).next().unwrap_or_default();
    path == b"/events" && bytes.ends_with(b"\r\n\r\n")
}

/// A connection whose request was taken.
pub(super) struct Answering {
    stream: TcpStream,
    codec: Codec,
}

impl Answering {
    /// Writes the response until its end, or until the client leaves.
    pub fn respond(mut self, response: HttpResponse) -> io::Result<Responding> {
        let (response, body) = response.into_parts();
        let mut out = BytesMut::new();
        let size = body.size();
        self.codec.encode(Message::Item((response.into(), size)), &mut out)?;
        let body = (!matches!(size, BodySize::None | BodySize::Sized(0))).then_some(body);
        Ok(Responding { stream: self.stream, codec: self.codec, body, out })
    }
}

/// A response on its way to a client.
pub(super) struct Responding {
    stream: TcpStream,
    codec: Codec,
    /// What is still to come of the body.
    body: Option<BoxBody>,
    /// What the kernel has not taken yet: nothing, and no memory, while the client keeps up.
    out: BytesMut,
}

impl Future for Responding {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.poll_client(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..TURN_CHUNKS_MAX {
            ready!(self.poll_out(cx))?;
            if self.body.is_none() {
                return Pin::new(&mut self.stream).poll_shutdown(cx);
            }
            ready!(self.poll_body(cx))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Responding {
    /// Ready when the client has left. What it says after its request is not listened to; that it
    /// does not go on for ever is tokio's budget.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 512];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ready when the kernel has taken everything.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.out.advance(written),
            }
        }
        self.out = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let chunk = match ready!(Pin::new(body).poll_next(cx)) {
            Some(chunk) => Some(chunk.map_err(|error| io::Error::other(error.to_string()))?),
            None => {
                self.body = None;
                None
            }
        };
        Poll::Ready(self.codec.encode(Message::Chunk(chunk), &mut self.out))
    }
}
