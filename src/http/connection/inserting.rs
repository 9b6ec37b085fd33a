//! A connection that is opened for an insert, for as long as it asks for nothing else.
//!
//! Owns the turns of such a connection: one request as a whole, its answer, the next one. Buffers,
//! timers and routing for whatever may be asked are a fifth of what an insert costs, and more than
//! its place in the log.
//! Promises the answers of the route, by the same checks and the same handler; that what is not a
//! plain insert is actix's, byte for byte, and so is the rest of its connection.
//! Does not read HTTP: actix's codec does, both ways.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use actix_http::body::{BodySize, MessageBody as _};
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{ConnectionType, Request, ServiceConfig};
use actix_server::GracefulShutdownSignal;
use actix_web::http::header;
use actix_web::http::{Method, Version};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpResponse, web};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::Resumed;
use crate::http::{Shared, body, edge, gate, insert, problem};

/// The one route.
const PATH: &str = "/insert";
/// Bytes of a request, with its head; a larger one is left to actix.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// A longer head is looked at anew each time.
const KNOWN_HEAD_BYTES_MAX: usize = 1 << 10;
/// How long a request may take that came in parts, before it is left to actix and its limits.
const WHOLE_WAIT: Duration = Duration::from_secs(1);
/// Room for what one read takes; an answer that took more gives it back.
const READ_BYTES: usize = 4 << 10;

/// The connection.
pub(in crate::http) struct Inserting {
    stream: TcpStream,
    shared: web::Data<Shared>,
    config: ServiceConfig,
    /// What was read and not answered yet.
    input: BytesMut,
    /// Knows how the last plain request is to be answered.
    codec: Codec,
    /// What that one began with.
    head: Head,
}

/// The head of a plain insert, byte for byte. A client sends the same one again and again, and what
/// is said of a head follows from its bytes and from settings.
#[derive(Default)]
struct Head {
    /// Empty when there was none that is worth to be known.
    bytes: Box<[u8]>,
    /// What it says of the body's length.
    body_bytes: usize,
}

/// An insert that came as a whole.
struct Plain {
    body: Bytes,
    /// How long it was, with its head.
    len: usize,
}

enum Next {
    Plain(Plain),
    /// Something else, which lies in the input.
    Other,
    Closed,
}

impl Inserting {
    /// Whether a connection that began with these bytes is for inserts.
    pub(super) fn is_opened_by(bytes: &[u8]) -> bool {
        bytes.starts_with(b"POST /insert HTTP/1.1\r\n")
    }

    /// `config` says how long the client may think between two requests.
    pub(super) fn new(
        input: BytesMut,
        stream: TcpStream,
        shared: web::Data<Shared>,
        config: ServiceConfig,
    ) -> Self {
        let codec = Codec::new(config.clone());
        Self { stream, shared, config, input, codec, head: Head::default() }
    }

    /// Answers insert by insert, until the client leaves or the server stops; or until it asks for
    /// something else: then here is the connection.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn serve(
        mut self,
        stopping: GracefulShutdownSignal,
        idle_max: Duration,
    ) -> io::Result<Option<Resumed>> {
        let mut stopping = pin!(stopping.notified().fuse());
        // One for all requests: to put it off costs less than to make another.
        let mut patience = pin!(sleep(idle_max));
        let mut output = BytesMut::new();
        loop {
            patience.as_mut().reset(Instant::now() + idle_max);
            let plain = match self.next(stopping.as_mut(), patience.as_mut()).await? {
                Next::Plain(plain) => plain,
                Next::Other => return Ok(Some(Resumed::new(self.input, self.stream))),
                Next::Closed => return Ok(None),
            };
            self.input.advance(plain.len);
            let Some(mut response) = self.answer(&plain.body).await? else { return Ok(None) };
            if self.shared.broker.is_stopping() {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            encode(response, &mut self.codec, &mut output)?;
            self.stream.write_all(&output).await?;
            output.clear();
            if output.capacity() > READ_BYTES {
                output = BytesMut::new();
            }
            if !self.codec.keep_alive() {
                return Ok(None);
            }
        }
    }

    /// Waits for the next request, as long as there is patience; one that has begun, for
    /// [`WHOLE_WAIT`], also while the server stops.
    async fn next(
        &mut self,
        mut stopping: Pin<&mut Fuse<impl Future<Output = ()>>>,
        mut patience: Pin<&mut Sleep>,
    ) -> io::Result<Next> {
        let mut has_begun = false;
        loop {
            let is_idle = self.input.is_empty();
            if !is_idle && let Some(next) = self.parse() {
                return Ok(next);
            }
            if is_idle && stopping.is_terminated() {
                return Ok(Next::Closed);
            }
            if !is_idle && !has_begun {
                has_begun = true;
                patience.as_mut().reset(Instant::now() + WHOLE_WAIT);
            }
            tokio::select! {
                biased;
                read = read(&mut self.stream, &mut self.input) => {
                    if read? == 0 {
                        return Ok(Next::Closed);
                    }
                }
                () = patience.as_mut() => {
                    return Ok(if is_idle { Next::Closed } else { Next::Other });
                }
                () = stopping.as_mut(), if is_idle => {}
            }
        }
    }

    /// What lies in the input; nothing yet while a part is missing.
    fn parse(&mut self) -> Option<Next> {
        if self.head.begins(&self.input) {
            return self.head.insert(&self.input).map(Next::Plain);
        }
        self.parse_anew()
    }

    fn parse_anew(&mut self) -> Option<Next> {
        // A copy, so that what is not plain stays as it came.
        let seen = &self.input[..self.input.len().min(REQUEST_BYTES_MAX)];
        let mut rest = BytesMut::from(seen);
        let mut codec = Codec::new(self.config.clone());
        let more = || (seen.len() == REQUEST_BYTES_MAX).then_some(Next::Other);
        match codec.decode(&mut rest) {
            Ok(Some(Message::Item(request))) if self.is_plain(&request, &codec) => {}
            Ok(None) => return more(),
            _ => return Some(Next::Other),
        }
        let head = &seen[..seen.len() - rest.len()];
        let body = match codec.decode(&mut rest) {
            Ok(Some(Message::Chunk(Some(body)))) => body,
            Ok(None) => return more(),
            _ => return Some(Next::Other),
        };
        match codec.decode(&mut rest) {
            Ok(Some(_)) => {
                let len = seen.len() - rest.len();
                self.head = Head::new(head, len - head.len());
                self.codec = codec;
                Some(Next::Plain(Plain { body, len }))
            }
            Ok(None) => more(),
            Err(_) => Some(Next::Other),
        }
    }

    /// Whether there is nothing to a request but an insert of JSON with a length, of no page of
    /// another origin, that every check lets through. What it says must follow from the head and
    /// from settings: it is not asked again about the same head.
    fn is_plain(&self, request: &Request, codec: &Codec) -> bool {
        let head = request.head();
        head.method == Method::POST
            && head.version == Version::HTTP_11
            && head.uri == PATH
            && matches!(codec.message_type(), MessageType::Payload)
            && !head.expect()
            && !head.upgrade()
            && !head.headers().contains_key(header::TRANSFER_ENCODING)
            && !head.headers().contains_key(header::ORIGIN)
            && gate::check_host(head, self.shared.broker.config()).is_ok()
            && body::check_media_type(head.headers()).is_ok()
            && body::declared_bytes(head.headers()).is_some_and(|len| len <= self.body_bytes_max())
    }

    fn body_bytes_max(&self) -> usize {
        self.shared.broker.config().max_body_bytes.min(REQUEST_BYTES_MAX)
    }

    /// The answer to an insert; none when the client leaves before, which ends the waiting and not
    /// the insert. What it sends meanwhile is for later.
    async fn answer(&mut self, body: &Bytes) -> io::Result<Option<HttpResponse>> {
        let mut answer = pin!(answer(&self.shared, body));
        loop {
            tokio::select! {
                biased;
                response = answer.as_mut() => return Ok(Some(response)),
                read = read(&mut self.stream, &mut self.input),
                    if self.input.len() < REQUEST_BYTES_MAX =>
                {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Head {
    fn new(bytes: &[u8], body_bytes: usize) -> Self {
        if bytes.len() > KNOWN_HEAD_BYTES_MAX {
            return Self::default();
        }
        Self { bytes: bytes.into(), body_bytes }
    }

    /// Whether a request begins with this head again.
    fn begins(&self, input: &[u8]) -> bool {
        !self.bytes.is_empty() && input.starts_with(&self.bytes)
    }

    /// That request, when all of it is there.
    fn insert(&self, input: &[u8]) -> Option<Plain> {
        let len = self.bytes.len() + self.body_bytes;
        let body = input.get(self.bytes.len()..len)?;
        Some(Plain { body: Bytes::copy_from_slice(body), len })
    }
}

/// What the route answers, dressed as every answer is.
async fn answer(shared: &Shared, body: &Bytes) -> HttpResponse {
    let answer = insert::answer(&shared.broker, body, PATH).await;
    let mut response = answer.unwrap_or_else(|problem| problem::refused(&problem, PATH, shared));
    edge::dress(response.headers_mut());
    response
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

fn encode(response: HttpResponse, codec: &mut Codec, out: &mut BytesMut) -> io::Result<()> {
    let (head, body) = response.into_parts();
    let body = body.try_into_bytes().map_err(|_| io::Error::other("an answer without an end"))?;
    let size = BodySize::Sized(body.len() as u64);
    codec.encode(Message::Item((head.into(), size)), out)?;
    codec.encode(Message::Chunk(Some(body)), out)
}
