//! `GET /ws/{uuid}`: the WebSocket of a registered client.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::broker::{Broker, ReplayMode, Resume, Subscribe};
use crate::config::Config;
use crate::http::codec::json::{compact, object};
use crate::http::codec::query::Query;
use crate::http::codec::schemas::ProblemBody;
use crate::http::problem::{Code, Problem};
use crate::http::routes::bare_socket::parse_format;
use crate::http::routes::relay::register::{parse_topics, unknown_registration};
use crate::http::socket::message::is_ping;
use crate::http::socket::{Closing, Handshake, SocketAction, SocketSession};
use crate::http::state::AppState;
use crate::record::{FilterSet, Record, Seq};
use crate::relay::{Connection, EndReason};
use crate::subscription::Batch;

/// The message of a client that changes its topics.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayRequest<'a> {
    #[serde(borrow)]
    topics: &'a RawValue,
}

/// Connects a registered client over a WebSocket.
///
/// The server sends every message published to the client's topics since it registered: a JSON
/// string as its text, any other value as JSON. The client may send `{"topics":[…]}` to change its
/// topics, and `ping`, which is answered with `pong`. A second connection replaces the first.
#[utoipa::path(
    get, path = "/ws/{uuid}", tag = "relay",
    params(
        ("uuid" = Uuid, Path, description = "The last segment of the registration's url"),
        ("format" = Option<String>, Query, description = "`record` sends whole records instead of \
            their data"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "A parameter or the handshake is not valid",
            body = ProblemBody),
        (status = 403, description = "Pages from this origin may not connect", body = ProblemBody),
        (status = 404, description = "The registration does not exist", body = ProblemBody),
        (status = 426, description = "The request is not a WebSocket handshake of version 13",
            body = ProblemBody),
        (status = 429, description = "Too many streams from this address or of this user",
            body = ProblemBody),
        (status = 503, description = "Too many streams, or the server is shutting down",
            body = ProblemBody),
    )
)]
pub async fn connect(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let id = Uuid::try_parse(&path).map_err(|_| unknown_registration())?;
    let user = state.relay.user(id).ok_or_else(unknown_registration)?;
    let handshake = Handshake::check(&request, &state)?;
    let format = parse_format(&Query::parse(request.query_string(), &["format"])?)?;
    // Before connecting, so that a refused connection does not end the existing one.
    let slot = handshake.reserve(Some(user))?;
    let (connection, ends) = state.relay.connect(id).ok_or_else(unknown_registration)?;
    let client = ConnectedClient { broker: state.broker.clone(), connection };
    let subscribe = client.subscription();
    let client = Rc::new(RefCell::new(client));
    let on_records = client.clone();
    let session = SocketSession {
        subscribe,
        format,
        on_message: Box::new(move |text| client.borrow_mut().on_message(text)),
        end: Some(ends.map(closing).boxed_local()),
        on_records: Some(Box::new(move |records, position| {
            on_records.borrow().on_records(records, position);
        })),
    };
    handshake.accept(payload, session, slot)
}

/// A connected client and its registration.
struct ConnectedClient {
    broker: Broker,
    connection: Connection,
}

impl ConnectedClient {
    /// Subscribes to every version after the client's position: a relay delivers each message, not
    /// only the latest.
    fn subscription(&self) -> Subscribe {
        let (user, filters) = (self.connection.user(), self.connection.topics().filters());
        let cursor = self.broker.cursor_at(filters, user, self.connection.position());
        Subscribe {
            filters: Some(filters.clone()),
            user: Some(user.clone()),
            resume: Resume::After(cursor),
            replay: ReplayMode::All,
        }
    }

    fn on_message(&mut self, text: &str) -> SocketAction {
        if is_ping(text) {
            return SocketAction::Pong;
        }
        match parse_topics_message(text, self.broker.config()) {
            Ok(filters) => {
                let topics = self.connection.topics().changed(self.broker.head(), filters);
                self.connection.change(topics);
                SocketAction::Resubscribe { subscribe: self.subscription(), reference: None }
            }
            Err(problem) => SocketAction::Refuse { problem, reference: None },
        }
    }

    fn on_records(&self, records: &mut Batch, position: Seq) {
        let topics = self.connection.topics();
        let is_wanted = |record: &Arc<Record>| topics.matches(record.event(), record.seq());
        // The batch is shared with other clients, and is copied only if some of it is not wanted.
        if !records.iter().all(is_wanted) {
            let wanted: Vec<_> =
                records.iter().filter(|record| is_wanted(record)).cloned().collect();
            *records = wanted.into();
        }
        self.connection.set_position(position);
    }
}

pub fn parse_topics_message(text: &str, config: &Config) -> Result<FilterSet, Problem> {
    let refuse = |why: String| {
        Problem::new(Code::MalformedMessage).detail(format!(
            "{why}; this socket accepts {{\"topics\":[filters]}} and the text ping"
        ))
    };
    // The topics are an array, one level deep.
    let json = compact(text.as_bytes(), 1, config)?;
    let request: RelayRequest<'_> = object(&json, "an object with topics").map_err(refuse)?;
    parse_topics(request.topics, config).map_err(refuse)
}

fn closing(ending: EndReason) -> Closing {
    match ending {
        EndReason::Forgotten => Closing::forgotten(),
        EndReason::TakenOver => Closing::taken_over(),
    }
}
