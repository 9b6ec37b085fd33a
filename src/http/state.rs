//! What the handlers of one application share.

use std::sync::Arc;

use crate::broker::Broker;
use crate::http::middleware::refusal_log::Refusals;
use crate::http::middleware::stream_limits::Streams;
use crate::relay::Relay;

/// What handlers share.
#[derive(Clone)]
pub struct AppState {
    pub broker: Broker,
    pub streams: Streams,
    pub relay: Relay,
    pub refusals: Arc<Refusals>,
}
