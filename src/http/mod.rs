//! The wire: routes, status codes, wire types and the framing of streams.
//!
//! Converts between HTTP and the calls of [`Broker`]; decides nothing itself.
//! Promises a problem document (RFC 9457) for every error, unknown routes and methods included.
//! Knows no engine and no key layout.

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

/// The routes of a broker, for each worker of an actix application.
///
/// The paths are relative to the scope that they are configured in. Clones count their streams
/// together and share the relay's registrations: clone one, do not ask anew for each worker.
#[derive(Clone)]
pub struct Routes {
    state: web::Data<AppState>,
}

impl Broker {
    /// The routes to mount into an actix application.
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
    /// What [`actix_web::App::configure`] and [`actix_web::Scope::configure`] take.
    pub fn into_config(self) -> impl FnOnce(&mut web::ServiceConfig) {
        move |service| configure(service, self.state)
    }
}
