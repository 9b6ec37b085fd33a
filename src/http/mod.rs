//! The wire: routes, status codes, wire types and the framing of streams.
//!
//! Converts between HTTP and the calls of [`Broker`]; decides nothing itself.
//! Promises a problem document (RFC 9457) for every error, unknown routes and methods included.
//! Knows no engine and no key layout.

mod audit;
mod body;
mod connection;
mod consume;
mod edge;
mod etag;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod history;
mod insert;
mod latest;
mod listing;
mod log;
mod message;
mod names;
mod openapi;
mod page;
mod problem;
mod produce;
mod query;
mod refusals;
mod relay;
mod server;
mod socket;
mod sse;
mod status;
mod streams;
mod subscribe;
mod wire;
mod ws;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};

pub use openapi::openapi_json;
pub(crate) use server::bind;

use crate::broker::Broker;
use crate::http::edge::Edge;
use crate::http::problem::{Code, Problem};
use crate::http::refusals::Refusals;
use crate::http::streams::Streams;
use crate::relay::{Limits, Relay};

/// What handlers share.
#[derive(Clone)]
struct Shared {
    broker: Broker,
    streams: Streams,
    relay: Relay,
    refusals: Arc<Refusals>,
}

/// The routes of a broker, for each worker of an actix application.
///
/// The paths are relative to the scope that they are configured in. Clones count their streams
/// together and share the relay's registrations: clone one, do not ask anew for each worker.
#[derive(Clone)]
pub struct Routes {
    shared: web::Data<Shared>,
}

impl Broker {
    /// The routes to mount into an actix application.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let relay = Relay::new(Limits {
            registrations_max: self.config().max_registrations,
            away_max: self.config().registration_expiry,
        });
        let shared = Shared {
            broker: self.clone(),
            streams: Streams::default(),
            relay,
            refusals: Arc::default(),
        };
        Routes { shared: web::Data::new(shared) }
    }
}

impl Routes {
    /// What [`actix_web::App::configure`] and [`actix_web::Scope::configure`] take.
    pub fn into_config(self) -> impl FnOnce(&mut web::ServiceConfig) {
        move |service| configure(service, self.shared)
    }
}

fn configure(service: &mut web::ServiceConfig, shared: web::Data<Shared>) {
    let scope = web::scope("")
        .app_data(shared.clone())
        .service(resource("/insert", &[Method::POST], web::post().to(insert::insert)))
        .service(resource("/events", &[Method::GET], web::get().to(events::events)))
        .service(resource("/ws", &[Method::GET], web::get().to(ws::ws)))
        .service(resource("/subscribe/{topic}", &[Method::GET], web::get().to(subscribe::topic)))
        .service(resource("/latest", READ, read().to(latest::latest)))
        .service(resource("/audit", READ, read().to(listing::names)))
        .service(resource("/audit/{event}", READ, read().to(audit::history)))
        .service(resource("/audit/{event}/{version}", READ, read().to(audit::version)))
        .service(resource("/log", READ, read().to(log::log)))
        .service(resource("/produce/{topic}", &[Method::POST], web::post().to(produce::produce)))
        .service(resource("/consume/{topic}", &[Method::GET], web::get().to(consume::consume)))
        .service(resource("/register", &[Method::POST], web::post().to(relay::register)))
        .service(resource("/register/{uuid}", &[Method::DELETE], web::delete().to(relay::forget)))
        .service(resource("/ws/{uuid}", &[Method::GET], web::get().to(relay::socket::connect)))
        .service(resource("/publish", &[Method::POST], web::post().to(relay::publish)))
        .service(resource("/health", READ, read().to(status::health)))
        .service(resource("/livez", READ, read().to(status::livez)))
        .service(resource("/readyz", READ, read().to(status::readyz)))
        .service(resource("/metrics", READ, read().to(status::metrics)))
        .service(resource("/openapi.json", READ, read().to(openapi::openapi)))
        .service(resource("/", READ, read().to(page::index)))
        .service(resource("/page.js", READ, read().to(page::script)))
        .service(resource("/page.css", READ, read().to(page::style)))
        .service(resource("/icon.svg", READ, read().to(page::icon)))
        .default_service(web::to(not_found))
        .wrap(Edge::new(shared));
    service.service(scope);
}

/// What a read takes; RFC 9110 asks for HEAD beside GET.
const READ: &[Method] = &[Method::GET, Method::HEAD];

fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A resource that names its methods when asked with another one.
fn resource(path: &'static str, methods: &'static [Method], route: Route) -> Resource {
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    web::resource(path).route(route).default_service(web::to(move || {
        let allow = HeaderValue::from_str(&allow).expect("method names are header values");
        async move {
            let problem = Problem::new(Code::MethodNotAllowed)
                .detail(format!("use {}", allow.to_str().unwrap_or("another method")));
            let mut response = problem.response();
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    }))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    let detail = format!(
        "there is nothing at {}: see /openapi.json for the routes there are",
        request.path()
    );
    Problem::new(Code::NotFound).detail(detail).response()
}
