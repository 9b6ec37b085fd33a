//! The table of routes; each route has a file of its own.

pub mod bare_socket;
pub mod console;
pub mod consume;
pub mod events;
pub mod health;
pub mod history;
pub mod history_list;
pub mod insert;
pub mod latest;
pub mod log;
pub mod openapi;
pub mod produce;
pub mod relay;
pub mod ws;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};

use crate::broker::Broker;
use crate::http::middleware::Middleware;
use crate::http::middleware::stream_limits::StreamLimits;
use crate::http::problem::{Code, Problem, method_names, method_not_allowed};
use crate::http::routes::relay::{publish, register, socket};
use crate::http::state::AppState;
use crate::relay::{Relay, RelayLimits};

/// The routes of a broker, to be configured in each worker of an actix application.
///
/// Paths are relative to the scope in which the routes are configured. Clones share their stream
/// limits and the relay's registrations, so clone one value for all workers instead of calling
/// [`Broker::routes`] in each.
#[derive(Clone)]
pub struct Routes {
    pub(crate) state: web::Data<AppState>,
}

impl Broker {
    /// Returns the routes to mount into an actix application.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let relay = Relay::new(RelayLimits {
            registrations_max: self.config().max_registrations,
            disconnected_max: self.config().registration_expiry,
        });
        let state = AppState {
            broker: self.clone(),
            streams: StreamLimits::default(),
            relay,
            refusals: Arc::default(),
        };
        Routes { state: web::Data::new(state) }
    }
}

impl Routes {
    /// Returns the argument for [`actix_web::App::configure`] or [`actix_web::Scope::configure`].
    pub fn into_config(self) -> impl FnOnce(&mut web::ServiceConfig) {
        move |service| configure(service, self.state)
    }
}

/// Adds all routes, wrapped in the middleware.
fn configure(service: &mut web::ServiceConfig, state: web::Data<AppState>) {
    let scope = web::scope("")
        .app_data(state.clone())
        .service(resource("/insert", &[Method::POST], web::post().to(insert::insert)))
        .service(resource("/events", &[Method::GET], web::get().to(events::events)))
        .service(resource("/ws", &[Method::GET], web::get().to(ws::ws)))
        .service(resource("/subscribe/{topic}", &[Method::GET], web::get().to(bare_socket::topic)))
        .service(resource("/latest", READ, read().to(latest::latest)))
        .service(resource("/audit", READ, read().to(history_list::names)))
        .service(resource("/audit/{event}", READ, read().to(history::history)))
        .service(resource("/audit/{event}/{version}", READ, read().to(history::version)))
        .service(resource("/log", READ, read().to(log::log)))
        .service(resource("/produce/{topic}", &[Method::POST], web::post().to(produce::produce)))
        .service(
            resource("/consume/{topic}", consume::METHODS, web::get().to(consume::consume))
                .route(web::post().to(consume::acknowledge)),
        )
        .service(resource("/register", &[Method::POST], web::post().to(register::register)))
        .service(resource(
            "/register/{uuid}",
            &[Method::DELETE],
            web::delete().to(register::forget),
        ))
        .service(resource("/ws/{uuid}", &[Method::GET], web::get().to(socket::connect)))
        .service(resource("/publish", &[Method::POST], web::post().to(publish::publish)))
        .service(resource("/health", READ, read().to(health::health)))
        .service(resource("/livez", READ, read().to(health::livez)))
        .service(resource("/readyz", READ, read().to(health::readyz)))
        .service(resource("/metrics", READ, read().to(health::metrics)))
        .service(resource("/openapi.json", READ, read().to(openapi::openapi)))
        .service(resource("/", READ, read().to(console::index)))
        .service(resource("/page.js", READ, read().to(console::script)))
        .service(resource("/page.css", READ, read().to(console::style)))
        .service(resource("/icon.svg", READ, read().to(console::icon)))
        .default_service(web::to(not_found))
        .wrap(Middleware::new(state));
    service.service(scope);
}

/// The methods of a read; RFC 9110 requires HEAD wherever GET is supported.
const READ: &[Method] = &[Method::GET, Method::HEAD];

fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Makes a resource that answers other methods with 405 and the list of its own.
fn resource(path: &'static str, methods: &'static [Method], route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(move || async move {
        method_not_allowed(methods, format!("use {}", method_names(methods)))
    }))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    let detail = format!("there is no route {}: see /openapi.json for all routes", request.path());
    Problem::new(Code::NotFound).detail(detail).response()
}
