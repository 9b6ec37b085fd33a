//! Broker and the bare handler, which take the same requests.

use broker_tools::workload::Workload;

use crate::protocol::HttpRequests;

/// Events that all servers get values of.
pub const EVENTS: usize = 1_000;

/// Requests that insert values for all events.
pub fn requests(seed: u64) -> HttpRequests {
    let mut workload = Workload::new(seed);
    HttpRequests::new((0..EVENTS).map(|event| workload.insert(event)).collect(), 201)
}
