//! Serves a connection that starts with an insert, as long as it carries only inserts.
//!
//! It reads one complete request, answers it and reads the next. actix's buffers, timers and
//! routing for arbitrary requests would take a fifth of the cost of an insert, more than its write
//! to the log. The checks and the handler are the route's. At the first request that is not a plain
//! insert, the connection goes to actix, byte for byte.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use actix_http::body::{BodySize, MessageBody as _};
use actix_http::h1::{Codec, Message};
use actix_http::{ConnectionType, ServiceConfig};
use actix_server::GracefulShutdownSignal;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpResponse, web};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::codec::Encoder as _;

use crate::http::connection::insert_parser::{
    INSERT_PATH, InsertParser, ParsedRequest, REQUEST_BYTES_MAX,
};
use crate::http::connection::rewind::Rewind;
use crate::http::middleware::headers;
use crate::http::middleware::refusals::refusal_response;
use crate::http::routes::insert::insert_body;
use crate::http::state::AppState;

/// Time for the rest of a partial request to arrive, before it is left to actix and its limits.
const PARTIAL_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Buffer size of a read; a larger buffer of an answer is freed afterwards.
const READ_BYTES: usize = 4 << 10;

/// A connection for inserts.
pub struct InsertConnection {
    stream: TcpStream,
    state: web::Data<AppState>,
    parser: InsertParser,
}

impl InsertConnection {
    /// Whether a connection that began with these bytes is for inserts.
    pub fn is_opened_by(bytes: &[u8]) -> bool {
        bytes.starts_with(b"POST /insert HTTP/1.1\r\n")
    }

    /// Makes the connection from what was read already; `service` configures the codec.
    pub fn new(
        input: BytesMut,
        stream: TcpStream,
        state: web::Data<AppState>,
        service: ServiceConfig,
    ) -> Self {
        Self { stream, state, parser: InsertParser::new(input, service) }
    }

    /// Answers inserts until the client leaves or the server stops. Returns the connection if a
    /// request is not a plain insert.
    ///
    /// # Errors
    /// The connection's error.
    pub async fn serve(
        mut self,
        stopping: GracefulShutdownSignal,
        idle_max: Duration,
    ) -> io::Result<Option<Rewind>> {
        let mut stopping = pin!(stopping.notified().fuse());
        // One timer for all requests: resetting it costs less than making another.
        let mut idle_timer = pin!(sleep(idle_max));
        let mut output = BytesMut::new();
        loop {
            idle_timer.as_mut().reset(Instant::now() + idle_max);
            let insert = match self.next(stopping.as_mut(), idle_timer.as_mut()).await? {
                Some(ParsedRequest::Insert(insert)) => insert,
                Some(ParsedRequest::Other) => {
                    return Ok(Some(Rewind::new(self.parser.input, self.stream)));
                }
                None => return Ok(None),
            };
            self.parser.input.advance(insert.len);
            let Some(mut response) = self.answer(&insert.body).await? else { return Ok(None) };
            if self.state.broker.is_stopping() {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            encode(response, &mut self.parser.codec, &mut output)?;
            self.stream.write_all(&output).await?;
            output.clear();
            if output.capacity() > READ_BYTES {
                output = BytesMut::new();
            }
            if !self.parser.codec.keep_alive() {
                return Ok(None);
            }
        }
    }

    /// Waits for the next request: until `idle_timer` fires, or up to [`PARTIAL_REQUEST_TIMEOUT`]
    /// for one that has begun, even while the server stops. `None` ends the connection.
    async fn next(
        &mut self,
        mut stopping: Pin<&mut Fuse<impl Future<Output = ()>>>,
        mut idle_timer: Pin<&mut Sleep>,
    ) -> io::Result<Option<ParsedRequest>> {
        let mut has_begun = false;
        loop {
            let is_idle = self.parser.input.is_empty();
            if !is_idle && let Some(parsed) = self.parser.parse(self.state.broker.config()) {
                return Ok(Some(parsed));
            }
            if is_idle && stopping.is_terminated() {
                return Ok(None);
            }
            if !is_idle && !has_begun {
                has_begun = true;
                idle_timer.as_mut().reset(Instant::now() + PARTIAL_REQUEST_TIMEOUT);
            }
            tokio::select! {
                biased;
                read = read(&mut self.stream, &mut self.parser.input) => {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
                () = idle_timer.as_mut() => {
                    return Ok((!is_idle).then_some(ParsedRequest::Other));
                }
                () = stopping.as_mut(), if is_idle => {}
            }
        }
    }

    /// Answers an insert; `None` if the client leaves first, which does not cancel the insert.
    /// Requests that arrive meanwhile stay in the input.
    async fn answer(&mut self, body: &Bytes) -> io::Result<Option<HttpResponse>> {
        let mut answer = pin!(answer(&self.state, body));
        loop {
            tokio::select! {
                biased;
                response = answer.as_mut() => return Ok(Some(response)),
                read = read(&mut self.stream, &mut self.parser.input),
                    if self.parser.input.len() < REQUEST_BYTES_MAX =>
                {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// Returns the route's answer with the default headers.
async fn answer(state: &AppState, body: &Bytes) -> HttpResponse {
    let answer = insert_body(&state.broker, body, INSERT_PATH).await;
    let mut response =
        answer.unwrap_or_else(|problem| refusal_response(&problem, INSERT_PATH, state));
    headers::set_defaults(response.headers_mut());
    response
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

fn encode(response: HttpResponse, codec: &mut Codec, out: &mut BytesMut) -> io::Result<()> {
    let (head, body) = response.into_parts();
    let body = body
        .try_into_bytes()
        .map_err(|_| io::Error::other("the body of an answer has no length"))?;
    let size = BodySize::Sized(body.len() as u64);
    codec.encode(Message::Item((head.into(), size)), out)?;
    codec.encode(Message::Chunk(Some(body)), out)
}
