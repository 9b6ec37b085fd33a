//! What every request passes: headers, CORS and `Host`, and the limits on streams.

pub mod cors_host;
pub mod headers;
pub mod refusal_log;
pub mod stream_limits;
