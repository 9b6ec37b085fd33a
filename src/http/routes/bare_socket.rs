//! `GET /subscribe/{topic}`: the values of one event over a WebSocket.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::broker::Subscribe;
use crate::http::codec::paths::event_in_path;
use crate::http::codec::query::{Query, malformed};
use crate::http::codec::schemas::ProblemBody;
use crate::http::problem::{Code, Problem};
use crate::http::socket::message::is_ping;
use crate::http::socket::{Format, Handshake, SocketAction, SocketSession};
use crate::http::state::AppState;
use crate::record::FilterSet;

/// Subscribes to one event over a WebSocket.
///
/// The server sends the event's latest value and then each new value: a JSON string as its text,
/// any other value as JSON. A client that falls behind gets the latest value. The client may send
/// the text `ping`, which is answered with `pong`.
#[utoipa::path(
    get, path = "/subscribe/{topic}", tag = "topics",
    params(
        ("topic" = String, Path, description = "The event's name, percent-encoded; filters are not \
            allowed"),
        ("format" = Option<String>, Query, description = "`record` sends whole records instead of \
            their data"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "The name, a parameter or the handshake is not valid",
            body = ProblemBody),
        (status = 403, description = "Pages from this origin may not connect", body = ProblemBody),
        (status = 426, description = "The request is not a WebSocket handshake of version 13",
            body = ProblemBody),
        (status = 429, description = "Too many streams from this address", body = ProblemBody),
        (status = 503, description = "Too many streams, or the server is shutting down",
            body = ProblemBody),
    )
)]
pub async fn topic(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let handshake = Handshake::check(&request, &state)?;
    let query = Query::parse(request.query_string(), &["format"])?;
    let format = parse_format(&query)?;
    let name = event_in_path(&request, 0)?;
    let filters = FilterSet::parse([name.as_str()], 1).map_err(malformed)?;
    let subscribe = Subscribe { filters: Some(filters), ..Subscribe::default() };
    let on_message = Box::new(on_message);
    let session = SocketSession { subscribe, format, on_message, end: None, on_records: None };
    let slot = handshake.reserve(None)?;
    handshake.accept(payload, session, slot)
}

/// Parses the `format` parameter of a socket that sends bare messages.
pub fn parse_format(query: &Query<'_>) -> Result<Format, Problem> {
    match query.one("format")? {
        None => Ok(Format::Bare),
        Some("record") => Ok(Format::Record),
        Some(other) => Err(malformed(format!("format={other:?} is not `record`"))),
    }
}

fn on_message(text: &str) -> SocketAction {
    if is_ping(text) {
        return SocketAction::Pong;
    }
    let problem = Problem::new(Code::MalformedMessage)
        .detail("this socket accepts only the text ping; use GET /ws for inserts and topics");
    SocketAction::Refuse { problem, reference: None }
}
