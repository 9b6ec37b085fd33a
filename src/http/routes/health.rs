//! `/health`, `/livez`, `/readyz` and `/metrics`: the state of the server.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::broker::Broker;
use crate::http::codec::schemas::{
    BridgeHealth, BridgeInHealth, BridgeOutHealth, Health, ProblemBody, ProjectionHealth,
};
use crate::http::problem::{Code, Problem};
use crate::http::state::AppState;
use crate::projection::ProjectionState;
use crate::subscription::latest::LatestRecords;

/// Reports the state of the server in detail.
#[utoipa::path(
    get, path = "/health", tag = "status",
    responses((status = 200, description = "The state of the server, ready or not", body = Health))
)]
pub async fn health(state: web::Data<AppState>) -> HttpResponse {
    let broker = &state.broker;
    let status = readiness(&state).map_or_else(|problem| problem.code().name(), |()| "ok");
    let projection = broker.projection();
    let (events, seq) = broker.hub().with_latest(|latest| (latest.public_count(), latest.head()));
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        epoch: broker.hub().epoch().to_string(),
        seq,
        events,
        streams: state.streams.len(),
        unverified: broker.unverified(),
        projection: ProjectionHealth {
            state: state_name(&projection.state()),
            seq: projection.applied(),
            lag: projection.lag(),
            ids_readable: projection.ids_complete(),
        },
        rabbitmq: bridge_health(broker),
    })
}

/// Reports that the process is alive.
#[utoipa::path(
    get, path = "/livez", tag = "status",
    responses((status = 200, description = "The process answers", body = String))
)]
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body("ok\n")
}

/// Reports whether the server can serve requests.
#[utoipa::path(
    get, path = "/readyz", tag = "status",
    responses(
        (status = 200, description = "Inserts and reads are served", body = String),
        (status = 503, description = "Storage or history has failed, or the server is shutting \
            down", body = ProblemBody),
    )
)]
pub async fn readyz(state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    readiness(&state)?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(format!("ok\n{}", bridge_lines(&state.broker))))
}

/// Returns all metrics.
#[utoipa::path(
    get, path = "/metrics", tag = "status",
    responses((status = 200, description = "Metrics in the Prometheus text format 0.0.4",
        body = String))
)]
pub async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let broker = &state.broker;
    let metrics = broker.metrics();
    let (events, bytes, head) = broker
        .hub()
        .with_latest(|latest| (latest.public_count(), latest.public_bytes(), latest.head()));
    metrics.consumers.set(broker.hub().with_latest(LatestRecords::consumers) as f64);
    metrics.head.set(head as f64);
    metrics.applied.set(broker.projection().applied() as f64);
    metrics.lag.set(broker.projection().lag() as f64);
    metrics.unverified.set(broker.unverified() as f64);
    metrics.latest.set(events as f64);
    metrics.latest_bytes.set(bytes as f64);
    metrics.queue_bytes.set(broker.queue_bytes() as f64);
    metrics.subscribers.set(broker.hub().subscribers() as f64);
    metrics.streams.set(state.streams.len() as f64);
    metrics.registrations.set(state.relay.len() as f64);
    set_bridge_metrics(broker);
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(metrics.render())
}

/// The state of the bridge as lines for `/readyz`. A disconnected bridge does not make the server
/// unready: inserts and reads still work, and outgoing records wait in the log.
fn bridge_lines(broker: &Broker) -> String {
    let Some(BridgeHealth { out, inward }) = bridge_health(broker) else { return String::new() };
    let connection_state = |connected| if connected { "connected" } else { "away" };
    let out = out.map(|out| {
        format!("rabbitmq out: {}, {} records behind\n", connection_state(out.connected), out.lag)
    });
    let inward =
        inward.map(|inward| format!("rabbitmq in: {}\n", connection_state(inward.connected)));
    out.into_iter().chain(inward).collect()
}

fn bridge_health(broker: &Broker) -> Option<BridgeHealth> {
    let state = broker.bridge_state()?;
    let head = broker.head();
    let out = state.outbound.as_ref().map(|out| BridgeOutHealth {
        connected: out.is_connected(),
        seq: out.position(),
        lag: out.lag(head),
    });
    let inward = state.inbound.as_ref();
    let inward = inward.map(|inward| BridgeInHealth { connected: inward.is_connected() });
    Some(BridgeHealth { out, inward })
}

fn set_bridge_metrics(broker: &Broker) {
    let Some(BridgeHealth { out, inward }) = bridge_health(broker) else { return };
    let metrics = &broker.metrics().bridge;
    if let Some(out) = out {
        metrics.out_connected.set(f64::from(out.connected));
        metrics.lag.set(out.lag as f64);
    }
    if let Some(inward) = inward {
        metrics.in_connected.set(f64::from(inward.connected));
    }
}

fn readiness(state: &AppState) -> Result<(), Problem> {
    if state.broker.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown));
    }
    if state.broker.has_failed() {
        return Err(Problem::new(Code::StorageFailed).detail("inserts are no longer accepted"));
    }
    match state.broker.projection().state() {
        ProjectionState::Failed(_) => {
            Err(Problem::new(Code::Behind).detail("the history cannot be rebuilt; see the log"))
        }
        ProjectionState::CatchingUp { .. }
        | ProjectionState::Closed
        | ProjectionState::Opening { .. }
        | ProjectionState::Ready
        | ProjectionState::Rebuilding { .. } => Ok(()),
    }
}

fn state_name(state: &ProjectionState) -> &'static str {
    match state {
        ProjectionState::CatchingUp { .. } => "catching-up",
        ProjectionState::Closed => "closed",
        ProjectionState::Failed(_) => "failed",
        ProjectionState::Opening { .. } => "opening",
        ProjectionState::Ready => "ready",
        ProjectionState::Rebuilding { .. } => "rebuilding",
    }
}
