//! `GET /ws`: a subscription and inserts over one WebSocket.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::broker::{Resume, Subscribe};
use crate::http::codec::query::Query;
use crate::http::codec::schemas::ProblemBody;
use crate::http::problem::Problem;
use crate::http::routes::events::parse_subscription;
use crate::http::socket::message::SocketRequest;
use crate::http::socket::{Format, Handshake, SocketAction, SocketSession, message};
use crate::http::state::AppState;

const PARAMETERS: [&str; 5] = ["event", "replay", "last_event_id", "lastEventId", "lastEventID"];

/// Subscribes to events and inserts events over one WebSocket.
///
/// The server sends `{"record","cursor"}`, `{"synced"}`, `{"reset","ref"?}`, `{"receipt","ref"?}`,
/// `{"problem","ref"?}` and `pong`. The client may send `{"topics","ref"?}` to change its filters,
/// `{"insert","ref"?}` to insert an event or a batch, and `ping`.
#[utoipa::path(
    get, path = "/ws", tag = "events",
    params(
        ("event" = Option<Vec<String>>, Query, description = "Names or filters, repeatable; `*` \
            matches one token, a final `>` one or more. Without it, all events"),
        ("replay" = Option<String>, Query, description = "How a new subscription starts: with the \
            `latest` records (default), with `none`, or with `all` versions from the log"),
        ("last_event_id" = Option<String>, Query, description = "A cursor of `/ws`, `/events` or \
            `/latest`. Also `lastEventId`, `lastEventID` and the header `Last-Event-ID`, which \
            takes precedence"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "A parameter or the handshake is not valid",
            body = ProblemBody),
        (status = 403, description = "Pages from this origin may not connect", body = ProblemBody),
        (status = 426, description = "The request is not a WebSocket handshake of version 13",
            body = ProblemBody),
        (status = 429, description = "Too many streams from this address", body = ProblemBody),
        (status = 503, description = "Too many streams, or the server is shutting down",
            body = ProblemBody),
    )
)]
pub async fn ws(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let handshake = Handshake::check(&request, &state)?;
    let query = Query::parse(request.query_string(), &PARAMETERS)?;
    let subscribe = parse_subscription(&request, &query, state.broker.config())?;
    let (user, replay) = (subscribe.user.clone(), subscribe.replay);
    let broker = state.broker.clone();
    let on_message = Box::new(move |text: &str| {
        let (request, reference) = message::parse(text, broker.config());
        match request {
            Ok(SocketRequest::Insert { events, is_batch }) => {
                SocketAction::Insert { events, is_batch, reference }
            }
            Ok(SocketRequest::Ping) => SocketAction::Pong,
            Ok(SocketRequest::Topics(filters)) => {
                // The client holds records of its previous topics, and must discard them.
                let resume = Resume::Lost;
                let subscribe =
                    Subscribe { filters: Some(filters), user: user.clone(), resume, replay };
                SocketAction::Resubscribe { subscribe, reference }
            }
            Err(problem) => SocketAction::Refuse { problem, reference },
        }
    });
    let format = Format::Messages;
    let session = SocketSession { subscribe, format, on_message, end: None, on_records: None };
    let slot = handshake.reserve(None)?;
    handshake.accept(payload, session, slot)
}
