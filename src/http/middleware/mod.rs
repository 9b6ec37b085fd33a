//! The checks and headers of every request, the limits on streams, and the log of refusals.

pub mod cors_host;
pub mod headers;
pub mod refusal_log;
pub mod stream_limits;
