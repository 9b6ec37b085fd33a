//! PocketBase: `SQLite` behind HTTP, with a collection of events.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use broker_tools::http::Client;
use broker_tools::http::post;
use broker_tools::process::free_port;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::Workload;
use broker_tools::{Result, ensure};
use serde_json::{Value, json};

use crate::protocol::{EVENTS, HttpRequests};

/// A commit is synced only with this setting; PocketBase's own, NORMAL, does not survive a power
/// loss. It has one connection that writes. The route returns the setting.
const HOOK: &str = r#"
onBootstrap((event) => {
  event.next()
  event.app.nonconcurrentDB().newQuery("PRAGMA synchronous = FULL").execute()
})
routerAdd("GET", "/synchronous", (event) => {
  const row = new DynamicModel({ synchronous: 0 })
  event.app.nonconcurrentDB().newQuery("PRAGMA synchronous").one(row)
  return event.json(200, row)
})
"#;

const MAIL: &str = "bench@example.com";
const PASSWORD: &str = "only-for-this-run";

/// Inserts into the collection.
pub fn requests(seed: u64) -> HttpRequests {
    let mut workload = Workload::new(seed);
    let path = "/api/collections/bench/records";
    let bodies = (0..EVENTS).map(|event| workload.body(event));
    HttpRequests::new(bodies.map(|body| post(path, &body)).collect(), 200)
}

/// Starts a server that syncs each commit and logs no requests, and creates the collection, in
/// which anybody may insert.
pub fn start(program: &Path, scratch: &Scratch) -> Result<Server> {
    fs::create_dir(scratch.path().join("hooks"))?;
    fs::write(scratch.path().join("hooks/sync.pb.js"), HOOK)?;
    let program = || {
        let mut command = Command::new(program);
        command.args(["--dir", "data", "--hooksDir", "hooks", "--hooksWatch=false"]);
        command.args(["--migrationsDir", "migrations", "--publicDir", "public"]);
        command.env_clear().current_dir(scratch.path()).stdin(Stdio::null());
        command
    };
    let made = program().args(["superuser", "upsert", MAIL, PASSWORD]).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = free_port()?;
    let mut command = program();
    command.args(["serve", "--http", &format!("127.0.0.1:{port}")]);
    let server = Server::peer(scratch, &mut command, port)?;

    let mut client = Client::connect(server.address)?;
    let mut call = |method: &str, path: &str, token: &str, body: Value| -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(serde_json::from_slice(client.call(request.as_bytes(), 200)?)?)
    };
    let known = json!({ "identity": MAIL, "password": PASSWORD });
    let answer = call("POST", "/api/collections/_superusers/auth-with-password", "", known)?;
    let token = answer["token"].as_str().ok_or("a token is answered")?;
    call("PATCH", "/api/settings", token, json!({ "logs": { "maxDays": 0 } }))?;
    let fields = json!([{ "name": "event", "type": "text" }, { "name": "data", "type": "json" }]);
    let collection = json!({ "name": "bench", "type": "base", "fields": fields, "createRule": "" });
    // A longer answer would be chunked.
    call("POST", "/api/collections?fields=id", token, collection)?;
    let synchronous = &call("GET", "/synchronous", token, json!({}))?["synchronous"];
    if *synchronous != 2 {
        return Err(format!("commits are not synced: synchronous is {synchronous}").into());
    }
    Ok(server)
}
