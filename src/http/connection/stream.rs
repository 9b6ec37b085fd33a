//! Serves a connection that carries a single request for a stream.
//!
//! It writes the body of the answer and notices when the client leaves. An idle stream takes memory
//! only for its position, without the 16 KiB of buffers that actix keeps for the next request of a
//! connection. A chunk of the body is written at once, and a poll writes a limited number of
//! chunks. Routing, checks and problems are those of every request.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody as _};
use actix_http::h1::{Codec, Message};
use actix_web::HttpResponse;
use actix_web::rt::net::TcpStream;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::codec::Encoder as _;

/// Maximum chunks written in one poll, so that a long replay lets other tasks run.
const CHUNKS_PER_POLL_MAX: usize = 4;

/// A connection whose request was read.
pub struct StreamConnection {
    stream: TcpStream,
    codec: Codec,
}

impl StreamConnection {
    pub fn new(stream: TcpStream, codec: Codec) -> Self {
        Self { stream, codec }
    }

    /// Returns a future that writes the response until it ends or the client leaves.
    ///
    /// # Errors
    /// The codec's error if the head cannot be encoded.
    pub fn respond(mut self, response: HttpResponse) -> io::Result<StreamResponse> {
        let (response, body) = response.into_parts();
        let mut out = BytesMut::new();
        let size = body.size();
        self.codec.encode(Message::Item((response.into(), size)), &mut out)?;
        let body = (!matches!(size, BodySize::None | BodySize::Sized(0))).then_some(body);
        Ok(StreamResponse { stream: self.stream, codec: self.codec, body, out })
    }
}

/// A response that is being written.
pub struct StreamResponse {
    stream: TcpStream,
    codec: Codec,
    /// The rest of the body.
    body: Option<BoxBody>,
    /// Bytes not written yet; empty and without memory while the client keeps up.
    out: BytesMut,
}

impl Future for StreamResponse {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.poll_client(cx)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..CHUNKS_PER_POLL_MAX {
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

impl StreamResponse {
    /// Ready when the client has left. Anything that it sends after its request is discarded;
    /// tokio's budget bounds the loop.
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

    /// Ready when everything was written.
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
        let chunk = ready!(Pin::new(body).poll_next(cx)).transpose();
        let chunk = chunk.map_err(|error| io::Error::other(error.to_string()))?;
        if chunk.is_none() {
            self.body = None;
        }
        Poll::Ready(self.codec.encode(Message::Chunk(chunk), &mut self.out))
    }
}
