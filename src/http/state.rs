//! The state shared by all request handlers.

use std::sync::Arc;

use actix_web::HttpRequest;

use crate::broker::Broker;
use crate::http::middleware::refusal_log::RefusalLog;
use crate::http::middleware::stream_limits::{StreamLimits, StreamSlot};
use crate::http::problem::{Code, Problem};
use crate::record::User;
use crate::relay::Relay;

/// The state of one application; clones share it.
#[derive(Clone)]
pub struct AppState {
    pub broker: Broker,
    pub streams: StreamLimits,
    pub relay: Relay,
    pub refusals: Arc<RefusalLog>,
}

impl AppState {
    /// Takes a stream slot for the client of `request`, counted for `user` if there is one.
    ///
    /// # Errors
    /// A limit is reached, or the server is shutting down.
    pub fn open_stream(
        &self,
        request: &HttpRequest,
        user: Option<User>,
    ) -> Result<StreamSlot, Problem> {
        if self.broker.is_stopping() {
            return Err(Problem::new(Code::ShuttingDown).detail("retry soon"));
        }
        let address = request.peer_addr().map(|address| address.ip());
        self.streams.open(address, user, self.broker.config())
    }
}
