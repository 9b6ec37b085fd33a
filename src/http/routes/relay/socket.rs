//! `GET /ws/{uuid}`: the socket of a registered client.

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
use crate::http::codec::query::Query;
use crate::http::codec::schemas::ProblemBody;
use crate::http::problem::{Code, Problem};
use crate::http::routes::bare_socket::parse_format;
use crate::http::routes::insert::{compact, object};
use crate::http::routes::relay::{parse_topics, unknown_registration};
use crate::http::socket::{Closing, Handshake, SocketAction, SocketSession};
use crate::http::state::AppState;
use crate::record::{FilterSet, Record, Seq};
use crate::relay::{Connection, EndReason};
use crate::subscription::Batch;

/// What a client may send, beside the text `ping`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayRequest<'a> {
    #[serde(borrow)]
    topics: &'a RawValue,
}

/// The WebSocket of a registered client: what is published to its topics, as the bare messages.
#[utoipa::path(
    get, path = "/ws/{uuid}", tag = "relay",
    params(
        ("uuid" = Uuid, Path, description = "The last segment of the registration's url"),
        ("format" = Option<String>, Query, description = "`record`: whole records instead of their data"),
    ),
    responses(
        (status = 101, description = "A WebSocket. From the server: messages, a JSON string as its text, anything else as JSON; pong. From the client: {\"topics\":[…]}, ping"),
        (status = 400, description = "A parameter or the handshake cannot be understood", body = ProblemBody),
        (status = 403, description = "Pages of this origin may not connect", body = ProblemBody),
        (status = 404, description = "There is no such registration", body = ProblemBody),
        (status = 426, description = "Not a WebSocket of version 13", body = ProblemBody),
        (status = 429, description = "Too many streams of this address or user", body = ProblemBody),
        (status = 503, description = "Too many streams, or shutting down", body = ProblemBody),
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
    // One that is refused does not end the connection that there is.
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

/// A registered client that is connected.
struct ConnectedClient {
    broker: Broker,
    connection: Connection,
}

impl ConnectedClient {
    /// Every message since the position, none superseded: what was published twice came twice.
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
        // Some clients end their text with a line break.
        if text.trim_end_matches(['\r', '\n']) == "ping" {
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
        let is_wanted = |record: &Arc<Record>| topics.want(record.event(), record.seq());
        // What is shared with others is left as it is, as long as all of it is wanted.
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
        Problem::new(Code::MalformedMessage)
            .detail(format!("{why}; this socket takes {{\"topics\":[filters]}} and the text ping"))
    };
    // An array in an object is all that can be meant.
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
