//! The id of a registration is a bearer secret, so no log may contain it.

use crate::harness::program::{Program, small};
use crate::harness::socket::{Frames, TEXT, refused};
use crate::harness::wire::JSON;

#[test]
fn registration_id_is_never_logged() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = small(dir.path());
    command.env("BROKER_LOG", "trace").env("BROKER_MAX_STREAMS", "1");
    let program = Program::start(command);
    let body = b"{\"user_id\":\"ann\",\"topics\":[\"cats\"]}";
    let answer = program.client.send("POST", "/register", &[JSON], body).expect(200).json();
    let url = answer["url"].as_str().expect("a url").to_owned();
    let path = url.strip_prefix("ws://localhost").expect("the host of the request");
    let id = path.strip_prefix("/ws/").expect("a socket's path");
    let address = program.client.0;

    let mut socket = Frames::open_on(program.connect(), path);
    socket.send(TEXT, b"not what is expected");
    assert!(socket.text().contains("malformed-json"));
    // Every kind of refusal; some are logged as warnings.
    refused(address, path, &[]).problem(503, "too-many-streams");
    refused(address, path, &["Origin: https://evil.example"]).problem(403, "origin-refused");
    refused(address, &format!("{path}?x=1"), &[]).problem(400, "malformed-query");
    program.client.get(path).problem(426, "upgrade-required");
    program.client.get(&format!("{path}/")).problem(404, "not-found");
    let register = format!("/register/{id}");
    program.client.get(&register).problem(405, "method-not-allowed");
    program.client.send("DELETE", &register, &[], b"").expect(204);
    program.client.send("DELETE", &register, &[], b"").problem(404, "unknown-registration");
    refused(address, path, &[]).problem(404, "unknown-registration");

    let log = program.log();
    assert!(!log.contains(id) && !log.contains(&id.replace('-', "")), "{log}");
    assert!(log.contains("too-many-streams") && log.contains("/ws/{uuid}"), "{log}");
    assert!(log.contains("origin-refused") && log.contains("unknown-registration"), "{log}");
}
