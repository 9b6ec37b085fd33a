//! The message relay.

mod publish;
mod register;
mod secret;
mod sockets;

use serde_json::Value;

use crate::harness::server::Server;
use crate::harness::wire::Answer;

const JSON: &str = "Content-Type: application/json";

fn post(server: &Server, route: &str, body: &str) -> Answer {
    server.client().send("POST", route, &[JSON], body.as_bytes())
}

/// Registers and returns the path of the socket.
#[track_caller]
fn register(server: &Server, body: &str) -> String {
    let answer = post(server, "/register", body).expect(200).json();
    let url = answer["url"].as_str().expect("a url");
    url.strip_prefix("ws://localhost").expect("the host of the request").to_owned()
}

#[track_caller]
fn publish(server: &Server, body: &str) -> Value {
    post(server, "/publish", body).expect(201).json()
}

/// `/register/{uuid}` from the socket's path `/ws/{uuid}`.
fn registration(path: &str) -> String {
    path.replace("/ws/", "/register/")
}

fn delete(server: &Server, target: &str) -> Answer {
    server.client().send("DELETE", target, &[], b"")
}
