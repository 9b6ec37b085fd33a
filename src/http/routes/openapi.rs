//! `GET /openapi.json`: the HTTP interface described for tools.

use actix_web::HttpResponse;
use actix_web::http::header;
use utoipa::OpenApi;

use crate::http::codec::schemas;
use crate::http::routes::relay::{publish, register, socket, user_id};
use crate::http::routes::{
    bare_socket, consume, events, health, history, history_list, insert, latest, log, produce, ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Broker",
        description = "An insert-only event store for front ends: live values over SSE and \
                       WebSockets, and a verifiable history. PROTOCOL.md is normative."
    ),
    paths(
        insert::insert, events::events, latest::latest, ws::ws, bare_socket::topic,
        history_list::names, history::history, history::version, log::log, produce::produce,
        consume::consume, consume::acknowledge, register::register, register::forget,
        socket::connect, publish::publish,
        health::health, health::livez, health::readyz, health::metrics, openapi,
    ),
    components(schemas(
        schemas::InsertBody, schemas::Receipt, schemas::RecordBody, schemas::LatestBody,
        schemas::ProblemBody, schemas::AuditName, schemas::Health, schemas::ProjectionHealth,
        consume::AcknowledgeBody, register::RegisterBody, register::Registered,
        publish::PublishBody, user_id::UserId,
    )),
    tags(
        (name = "events", description = "Insert events, read their latest values and subscribe to \
            changes"),
        (name = "topics", description = "Append records to a topic, and consume them one by one"),
        (name = "audit", description = "Read the history of events and the whole log"),
        (name = "relay", description = "Send messages to registered clients over WebSockets"),
        (name = "status", description = "State and description of the server"),
    )
)]
struct ApiDocument;

/// Returns the OpenAPI 3.1 document as JSON.
///
/// # Panics
/// Never: the document always serialises.
#[must_use]
pub fn openapi_json() -> String {
    ApiDocument::openapi().to_pretty_json().expect("the document serialises")
}

/// Returns this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "The OpenAPI 3.1 document", body = Object))
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(openapi_json())
}
