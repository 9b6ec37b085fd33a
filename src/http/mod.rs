//! The HTTP interface of a broker.
//!
//! Owns the routes, status codes, wire types and the framing of streams: it converts between HTTP
//! and the calls of [`Broker`].
//! Promises a problem document (RFC 9457) for every error, including unknown routes and methods.
//! Does not make decisions, and does not know engines or key layouts.

mod codec;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod middleware;
mod problem;
mod routes;
mod server;
mod socket;
mod state;

use std::sync::Arc;

use actix_web::web;

pub use routes::openapi::openapi_json;
pub(crate) use server::bind;

use crate::broker::Broker;
use crate::http::middleware::stream_limits::StreamLimits;
use crate::http::routes::configure;
use crate::http::state::AppState;
use crate::relay::{Relay, RelayLimits};

/// The routes of a broker, to be configured in each worker of an actix application.
///
/// Paths are relative to the scope in which the routes are configured. Clones share their stream
/// limits and the relay's registrations, so clone one value for all workers instead of calling
/// [`Broker::routes`] in each.
#[derive(Clone)]
pub struct Routes {
    state: web::Data<AppState>,
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
