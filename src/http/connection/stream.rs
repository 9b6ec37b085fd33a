//! A connection that is opened for a stream, and is nothing but the stream.
//!
//! Owns what such a connection says and hears: it answers one request, writes its body, and notices
//! when the client leaves. A page that is open costs memory only for its position: none of the
//! 16 KiB of buffers that actix keeps for a connection whose next request may come at any time.
//! Promises one write for what a body hands out at once, and turns that end, however much there is
//! to write.
//! Routes, gates and problems are those of every request.

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

/// Chunks that one turn writes: a long replay leaves others their turns.
const CHUNKS_PER_POLL_MAX: usize = 4;

/// A connection whose request was taken.
pub struct StreamConnection {
    stream: TcpStream,
    codec: Codec,
}

impl StreamConnection {
    pub fn new(stream: TcpStream, codec: Codec) -> Self {
        Self { stream, codec }
    }

    /// Writes the response until its end, or until the client leaves.
    pub fn respond(mut self, response: HttpResponse) -> io::Result<StreamResponse> {
        let (response, body) = response.into_parts();
        let mut out = BytesMut::new();
        let size = body.size();
        self.codec.encode(Message::Item((response.into(), size)), &mut out)?;
        let body = (!matches!(size, BodySize::None | BodySize::Sized(0))).then_some(body);
        Ok(StreamResponse { stream: self.stream, codec: self.codec, body, out })
    }
}

/// A response on its way to a client.
pub struct StreamResponse {
    stream: TcpStream,
    codec: Codec,
    /// What is still to come of the body.
    body: Option<BoxBody>,
    /// What the kernel has not taken yet: nothing, and no memory, while the client keeps up.
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
