//! `GET /openapi.json`: the wire, described for tools.

use actix_web::HttpResponse;
use actix_web::http::header;
use utoipa::OpenApi;

use crate::http::{
    audit, consume, events, insert, latest, listing, log, produce, relay, status, subscribe, wire,
    ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Broker",
        description = "An insert-only event store for front ends: live newest values over SSE, \
                       and a history that can be trusted. PROTOCOL.md is normative."
    ),
    paths(
        insert::insert, events::events, latest::latest, ws::ws, subscribe::topic,
        listing::names, audit::history, audit::version, log::log, produce::produce,
        consume::consume, relay::register, relay::forget,
        relay::socket::connect, relay::publish, status::health, status::livez, status::readyz, status::metrics,
        openapi,
    ),
    components(schemas(
        wire::InsertBody, wire::Receipt, wire::Record, wire::Latest, wire::Refusal,
        wire::AuditName, wire::Health, wire::ProjectionHealth,
        relay::Registration, relay::Registered, relay::Message, relay::UserId,
    )),
    tags(
        (name = "events", description = "Insert, and see what is newest"),
        (name = "topics", description = "Produce to a topic, and consume it record by record"),
        (name = "audit", description = "The whole history"),
        (name = "relay", description = "Messages to registered clients over WebSockets"),
        (name = "status", description = "How the server is"),
    )
)]
struct Api;

/// The OpenAPI 3.1 document as JSON.
#[must_use]
pub fn openapi_json() -> String {
    Api::openapi().to_pretty_json().expect("the document serialises")
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(openapi_json())
}
