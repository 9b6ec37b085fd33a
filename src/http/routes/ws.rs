//! `GET /ws`: the whole subscription over a WebSocket, and inserts the other way.

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

/// A WebSocket: records with cursors and marks; topics changed and events inserted on the way.
#[utoipa::path(
    get, path = "/ws", tag = "events",
    params(
        ("event" = Option<Vec<String>>, Query, description = "Names or filters: `*` is one token, a final `>` one or more; repeatable"),
        ("replay" = Option<String>, Query, description = "`latest` (default), `none` or `all`"),
        ("last_event_id" = Option<String>, Query, description = "A cursor of `/ws`, `/events` or `/latest`. Also lastEventId, lastEventID, and the header Last-Event-ID"),
    ),
    responses(
        (status = 101, description = "A WebSocket. From the server: {\"record\",\"cursor\"}, {\"synced\"}, {\"reset\",\"ref\"?}, {\"receipt\",\"ref\"?}, {\"problem\",\"ref\"?}, pong. From the client: {\"topics\",\"ref\"?}, {\"insert\",\"ref\"?}, ping"),
        (status = 400, description = "A parameter, or the handshake, cannot be understood", body = ProblemBody),
        (status = 403, description = "Pages of this origin may not connect", body = ProblemBody),
        (status = 426, description = "Not a WebSocket of version 13", body = ProblemBody),
        (status = 429, description = "Too many streams of this address", body = ProblemBody),
        (status = 503, description = "Too many streams, or shutting down", body = ProblemBody),
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
    let state_for_messages = state.clone();
    let on_message = Box::new(move |text: &str| {
        let (request, reference) = message::parse(text, state_for_messages.broker.config());
        match request {
            Ok(SocketRequest::Insert { events, is_batch }) => {
                SocketAction::Insert { events, is_batch, reference }
            }
            Ok(SocketRequest::Ping) => SocketAction::Pong,
            Ok(SocketRequest::Topics(filters)) => {
                // The client holds what it asked for before, and is told to discard that.
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
