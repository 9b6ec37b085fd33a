//! `GET /events`: a subscription as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use metrics::Counter;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{debug, error};

use crate::broker::{ReplayMode, Resume, Subscribe};
use crate::config::Config;
use crate::http::client_cursor::ClientCursor;
use crate::http::codec::query::{CURSOR_PARAMETERS, Query, malformed};
use crate::http::codec::schemas::ProblemBody;
use crate::http::codec::sse;
use crate::http::codec::sse::{Dispatch, Encoder};
use crate::http::middleware::stream_limits::StreamSlot;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::subscription::{ControlEvent, Step, Subscriber};

const PARAMETERS: [&str; 6] =
    ["event", "replay", "dispatch", "last_event_id", "lastEventId", "lastEventID"];

/// Subscribes to events as server-sent events.
///
/// The stream starts with the latest record of every matching event, followed by `broker:synced`;
/// then it carries each new record. `broker:reset` tells the client to discard what it held. A
/// client reconnects with `Last-Event-ID` and is sent what changed in between.
#[utoipa::path(
    get, path = "/events", tag = "events",
    params(
        ("event" = Option<Vec<String>>, Query, description = "Names or filters, repeatable; `*` \
            matches one token, a final `>` one or more. Without it, all events"),
        ("replay" = Option<String>, Query, description = "How a new stream starts: with the \
            `latest` records (default), with `none`, or with `all` versions from the log"),
        ("dispatch" = Option<String>, Query, description = "`message` dispatches records as \
            default `message` events instead of by their name"),
        ("last_event_id" = Option<String>, Query, description = "A cursor, for clients that cannot \
            set the header, which takes precedence. Also `lastEventId` and `lastEventID`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that \
            was received"),
    ),
    responses(
        (status = 200, description = "The stream. A client that accepts `text/event-stream` gets \
            200 with only a `retry` line instead of 429 or 503",
            content_type = "text/event-stream", body = String),
        (status = 400, description = "A parameter is not valid", body = ProblemBody),
        (status = 429, description = "Too many streams from this address", body = ProblemBody),
        (status = 503, description = "Too many streams, or the server is shutting down",
            body = ProblemBody),
    )
)]
pub async fn events(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let broker = &state.broker;
    let config = broker.config();
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let dispatch = match query.one("dispatch")? {
        None => Dispatch::Named,
        Some("message") => Dispatch::Message,
        Some(other) => return Err(malformed(format!("dispatch={other:?} is not `message`"))),
    };
    let subscribe = parse_subscription(&request, &query, config)?;
    let slot = state.open_stream(&request, None);
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        .insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("identity")))
        .insert_header(("X-Accel-Buffering", "no"));
    let slot = match slot {
        Ok(slot) => slot,
        // EventSource never reconnects after any other status.
        Err(problem) if accepts_event_stream(&request) => {
            broker.metrics().refused(problem.code().name());
            return Ok(response.body(sse::retry()));
        }
        Err(problem) => return Err(problem),
    };
    let subscriber = broker.subscriber(subscribe);
    Ok(response.body(EventStream {
        subscriber,
        encoder: Encoder::new(dispatch),
        heartbeat: Heartbeat::new(config.heartbeat),
        client_cursor: ClientCursor::default(),
        ended: false,
        reason: "the client left",
        delivered: broker.metrics().delivered.clone(),
        delivered_bytes: broker.metrics().delivered_bytes.clone(),
        _slot: slot,
    }))
}

/// Parses a subscription from the query and the `Last-Event-ID` header.
pub fn parse_subscription(
    request: &HttpRequest,
    query: &Query<'_>,
    config: &Config,
) -> Result<Subscribe, Problem> {
    let filters = query.filters(config.max_filters);
    let replay = match query.one("replay")? {
        None | Some("latest") => ReplayMode::Latest,
        Some("none") => ReplayMode::None,
        Some("all") => ReplayMode::All,
        Some(other) => {
            return Err(malformed(format!("replay={other:?} is not latest, none or all")));
        }
    };
    let mut resume = header_cursor(request);
    let mut in_query = CURSOR_PARAMETERS.iter().flat_map(|name| query.all(name));
    if resume == Resume::Fresh
        && let Some(cursor) = in_query.find(|cursor| !cursor.is_empty())
    {
        resume = resume_after(cursor);
    }
    Ok(Subscribe { filters: Some(filters?), user: None, resume, replay })
}

/// Reads the cursor of the header; a value that is not text is an invalid cursor.
fn header_cursor(request: &HttpRequest) -> Resume {
    let value = request.headers().get("Last-Event-ID").filter(|value| !value.is_empty());
    value.map_or(Resume::Fresh, |value| value.to_str().map_or(Resume::Lost, resume_after))
}

fn resume_after(cursor: &str) -> Resume {
    cursor.parse().map_or(Resume::Lost, Resume::After)
}

pub fn accepts_event_stream(request: &HttpRequest) -> bool {
    let accept = request.headers().get_all(header::ACCEPT);
    accept.filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|range| {
            let essence = range.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case("text/event-stream")
        })
    })
}

/// A subscription as a response body. The next chunk is polled only when the previous one was
/// written, so a slow client costs a position and no queue.
struct EventStream {
    subscriber: Subscriber,
    encoder: Encoder,
    heartbeat: Heartbeat,
    client_cursor: ClientCursor,
    ended: bool,
    /// Why the stream ended, for the log.
    reason: &'static str,
    delivered: Counter,
    delivered_bytes: Counter,
    _slot: StreamSlot,
}

impl Drop for EventStream {
    fn drop(&mut self) {
        debug!(reason = self.reason, seq = self.client_cursor.seq(), "subscription ended");
    }
}

impl EventStream {
    /// Encodes a step. Records that a subscriber group receives together are encoded once for all,
    /// except for a stream's first block.
    fn encode(&mut self, step: &Step) -> Bytes {
        self.delivered.increment(step.records.len() as u64);
        if let Some(last) = step.records.last() {
            self.client_cursor.sent(last.seq());
        }
        if step.control.is_none() && !self.encoder.is_first() {
            let dispatch = self.encoder.dispatch();
            let chunk = step.records.encoded(dispatch.encoding(), |records| {
                let mut encoder = Encoder::for_group(dispatch);
                encoder.records(self.subscriber.cursor(0), records);
                encoder.take().into()
            });
            return self.sent(chunk);
        }
        self.encoder.records(self.subscriber.cursor(0), &step.records);
        match step.control {
            Some(ControlEvent::Reset) => {
                self.encoder.control_event(self.subscriber.cursor(0), ControlEvent::Reset);
                self.client_cursor.sent(0);
            }
            Some(event @ ControlEvent::Synced { .. }) => self.synced(event),
            None => {}
        }
        self.chunk()
    }

    fn synced(&mut self, event: ControlEvent) {
        let position = self.subscriber.position();
        self.encoder.control_event(self.subscriber.cursor(position), event);
        self.client_cursor.synced(position);
    }

    /// Makes a heartbeat, or a `synced` event if one is due.
    fn heartbeat_chunk(&mut self) -> Bytes {
        if self.client_cursor.is_synced_due(&self.subscriber) {
            self.synced(ControlEvent::Synced { events: 0 });
            return self.chunk();
        }
        Bytes::from_static(sse::HEARTBEAT)
    }

    fn chunk(&mut self) -> Bytes {
        let chunk = self.encoder.take().into();
        self.sent(chunk)
    }

    fn sent(&mut self, chunk: Bytes) -> Bytes {
        self.delivered_bytes.increment(chunk.len() as u64);
        self.heartbeat.last_sent = Instant::now();
        chunk
    }
}

/// Determines when an idle stream needs a heartbeat. Each delivery postpones it, but the timer is
/// reset only when it fires: resetting it for each delivery would cost as much as encoding one.
struct Heartbeat {
    period: Duration,
    last_sent: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Heartbeat {
    fn new(period: Duration) -> Self {
        let last_sent = Instant::now();
        Self { period, last_sent, timer: Box::pin(sleep_until(last_sent + period)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let due = self.last_sent + self.period;
            let is_due = due <= now;
            if is_due {
                self.last_sent = now;
            }
            self.timer.as_mut().reset(self.last_sent + self.period);
            if is_due {
                return Poll::Ready(());
            }
        }
    }
}

impl MessageBody for EventStream {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.subscriber.poll_step(cx) {
            Poll::Ready(Some(Ok(step))) => return Poll::Ready(Some(Ok(self.encode(&step)))),
            Poll::Ready(end) => {
                self.reason = "shutdown";
                if let Some(Err(error)) = end {
                    error!(%error, "a stream ended early because the log cannot be read");
                    self.reason = "the log cannot be read";
                }
                self.ended = true;
                return Poll::Ready(Some(Ok(sse::retry().into())));
            }
            Poll::Pending => {}
        }
        match self.heartbeat.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Ok(self.heartbeat_chunk()))),
            Poll::Pending => Poll::Pending,
        }
    }
}
