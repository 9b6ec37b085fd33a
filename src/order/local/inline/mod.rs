//! The insert that comes alone, appended by the thread that brought it.

pub(super) mod append_latency;
pub(in crate::order) mod arrivals;
