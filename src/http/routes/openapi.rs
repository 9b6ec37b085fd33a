//! `GET /openapi.json`: the wire, described for tools.

use actix_web::HttpResponse;
use actix_web::http::header;
use utoipa::OpenApi;

use crate::http::codec::schemas;
use crate::http::routes::{
    bare_socket, consume, events, health, history, history_list, insert, latest, log, produce,
    relay, ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Broker",
        description = "An insert-only event store for front ends: live newest values over SSE, \
                       and a history that can be trusted. PROTOCOL.md is normative."
    ),
    paths(
        insert::insert, events::events, latest::latest, ws::ws, bare_socket::topic,
        history_list::names, history::history, history::version, log::log, produce::produce,
        consume::consume, relay::register, relay::forget,
        relay::socket::connect, relay::publish, health::health, health::livez, health::readyz, health::metrics,
        openapi,
    ),
    components(schemas(
        schemas::InsertBody, schemas::Receipt, schemas::RecordBody, schemas::LatestBody, schemas::ProblemBody,
        schemas::AuditName, schemas::Health, schemas::ProjectionHealth,
        relay::RegisterBody, relay::Registered, relay::PublishBody, relay::UserId,
    )),
    tags(
        (name = "events", description = "Insert, and see what is newest"),
        (name = "topics", description = "Produce to a topic, and consume it record by record"),
        (name = "audit", description = "The whole history"),
        (name = "relay", description = "Messages to registered clients over WebSockets"),
        (name = "status", description = "How the server is"),
    )
)]
struct ApiDocument;

/// The OpenAPI 3.1 document as JSON.
#[must_use]
pub fn openapi_json() -> String {
    ApiDocument::openapi().to_pretty_json().expect("the document serialises")
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(openapi_json())
}
