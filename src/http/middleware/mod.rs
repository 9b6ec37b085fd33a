//! TODO http/middleware.

pub mod cors_host;
pub mod headers;
pub mod refusal_log;
pub mod stream_limits;
