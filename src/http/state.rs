//! The state shared by all request handlers.

use std::sync::Arc;

use crate::broker::Broker;
use crate::http::middleware::refusal_log::RefusalLog;
use crate::http::middleware::stream_limits::StreamLimits;
use crate::relay::Relay;

/// The state of one application; clones share it.
#[derive(Clone)]
pub struct AppState {
    pub broker: Broker,
    pub streams: StreamLimits,
    pub relay: Relay,
    pub refusals: Arc<RefusalLog>,
}
