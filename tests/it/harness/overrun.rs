//! Load that makes slow readers lag.

use crate::harness::server::Server;

/// The events of the load are `e0` to `e4`.
pub const EVENTS: usize = 5;
/// Versions of each event.
pub const ROUNDS: u64 = 400;
const DATA_BYTES: usize = 4_000;

/// Inserts far more than socket buffers and the window hold.
pub fn overrun_buffers(server: &Server) {
    let data = "x".repeat(DATA_BYTES);
    for _ in 0..ROUNDS / 10 {
        let batch: Vec<_> = (0..10 * EVENTS)
            .map(|n| format!("{{\"event\":\"e{}\",\"data\":\"{data}\"}}", n % EVENTS))
            .collect();
        server.client().insert(format!("[{}]", batch.join(","))).expect(201);
    }
}
