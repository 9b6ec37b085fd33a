//! The message relay.

mod publish;
mod register;
mod secret;
mod sockets;

use crate::harness::server::Server;
use crate::harness::wire::Answer;

/// `/register/{uuid}` from the socket's path `/ws/{uuid}`.
fn registration(path: &str) -> String {
    path.replace("/ws/", "/register/")
}

fn delete(server: &Server, target: &str) -> Answer {
    server.client().send("DELETE", target, &[], b"")
}
