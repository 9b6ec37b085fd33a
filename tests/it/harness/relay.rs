//! Requests to the message relay.

use serde_json::Value;

use crate::harness::server::Server;
use crate::harness::wire::{Answer, JSON};

/// Registers and returns the path of the socket.
#[track_caller]
pub fn register(server: &Server, body: &str) -> String {
    let answer = post(server, "/register", body).expect(200).json();
    let url = answer["url"].as_str().expect("a url");
    url.strip_prefix("ws://localhost").expect("the host of the request").to_owned()
}

/// Publishes and returns the receipt.
#[track_caller]
pub fn publish(server: &Server, body: &str) -> Value {
    post(server, "/publish", body).expect(201).json()
}

#[track_caller]
pub fn post(server: &Server, route: &str, body: &str) -> Answer {
    server.client().send("POST", route, &[JSON], body.as_bytes())
}
