//! Broker as a library inside another program.

mod streams;

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use broker::{
    Broker, FilterSet, NewEvent, ProposeError, Record, ReplayMode, Resume, Subscribe, User,
};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::server::{small, small_in};
use crate::harness::stream::EventStream;
use crate::harness::wait::{WAIT_MAX, eventually};
use crate::harness::wire::{Client, JSON};

async fn open_broker() -> (Broker, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (Broker::open(small_in(dir.path())).await.expect("it opens"), dir)
}

fn event(name: &str, data: &str) -> NewEvent {
    NewEvent::from_json(name, data.as_bytes()).expect("an event")
}

fn only(filter: &str) -> Subscribe {
    let filters = FilterSet::parse([filter], 10).expect("a filter");
    Subscribe { filters: Some(filters), ..Subscribe::default() }
}

#[actix_rt::test]
async fn insert_returns_the_records_and_a_subscription_receives_them() {
    let (broker, _dir) = open_broker().await;
    let inserted = broker.insert(event("a", "{ \"n\": 1.50 }")).await.expect("inserted");
    assert!(inserted.fresh);
    assert_eq!(inserted.records[0].data(), b"{\"n\":1.50}");
    let mut records = broker.subscribe(Subscribe::default());
    let first = records.next().await.expect("a record").expect("readable");
    assert_eq!(first.json(), inserted.records[0].json());

    broker.insert(event("b", "2")).await.expect("inserted");
    let second = records.next().await.expect("a record").expect("readable");
    assert_eq!((second.event().as_str(), second.version()), ("b", 1));
    broker.shutdown().await;
    assert!(records.next().await.is_none(), "a shutdown ends the stream");
    let refused = broker.insert(event("c", "3")).await;
    assert!(matches!(refused, Err(ProposeError::Stopping)), "{refused:?}");
}

#[actix_rt::test]
async fn ids_expected_versions_and_batches_work_as_over_http() {
    let (broker, _dir) = open_broker().await;
    let id = Uuid::now_v7();
    let first = broker.insert(event("a", "1").with_id(id)).await.expect("inserted");
    let again = broker.insert(event("a", "1").with_id(id)).await.expect("known");
    assert!(!again.fresh);
    assert_eq!(again.records[0].json(), first.records[0].json());
    let taken = broker.insert(event("a", "2").with_id(id)).await;
    assert!(matches!(taken, Err(ProposeError::Rejected(_))), "{taken:?}");
    let late = broker.insert(event("a", "2").with_expected_version(0)).await;
    assert!(matches!(late, Err(ProposeError::Rejected(_))), "{late:?}");
    let batch = vec![event("a", "2"), event("a", "3").with_expected_version(2)];
    let batch = broker.insert_batch(batch).await.expect("inserted");
    assert_eq!(batch.records.iter().map(|record| record.version()).collect::<Vec<_>>(), [2, 3]);
    broker.shutdown().await;
}

#[actix_rt::test]
async fn subscription_resumes_from_a_cursor_after_a_reopen() {
    let (broker, dir) = open_broker().await;
    for name in ["a", "b", "c"] {
        broker.insert(event(name, "1")).await.expect("inserted");
    }
    let mut records = broker.subscribe(Subscribe::default());
    records.next().await.expect("a").expect("readable");
    let cursor = records.cursor();
    drop(records);
    broker.shutdown().await;

    let broker = Broker::open(small_in(dir.path())).await.expect("it opens again");
    let subscribe = Subscribe { resume: Resume::After(cursor), ..Subscribe::default() };
    let rest = broker.subscribe(subscribe).take(2).map(|record| record.expect("readable"));
    let rest: Vec<_> = rest.map(|record| record.event().as_str().to_owned()).collect().await;
    assert_eq!(rest, ["b", "c"]);
    broker.shutdown().await;
}

#[actix_rt::test]
async fn only_the_user_sees_private_records() {
    let (broker, _dir) = open_broker().await;
    broker.insert(event("note", "1").to("ann").expect("a user")).await.expect("inserted");
    broker.insert(event("note", "2").to("bob").expect("a user")).await.expect("inserted");
    broker.insert(event("note", "3")).await.expect("inserted");
    let user = User::parse("ann").expect("a user");
    for (user, expected) in [(Some(user), vec!["1", "3"]), (None, vec!["3"])] {
        let count = expected.len();
        for replay in [ReplayMode::Latest, ReplayMode::All] {
            let subscribe = Subscribe { user: user.clone(), replay, ..only("note") };
            let seen = broker.subscribe(subscribe).take(count).map(|r| r.expect("readable"));
            let seen: Vec<_> = seen.collect().await;
            let data: Vec<_> = seen.iter().map(Record::data).collect();
            assert_eq!(data, expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        }
    }
    broker.shutdown().await;
}

#[actix_rt::test]
async fn routes_can_be_mounted_in_a_scope_of_another_application() {
    let (broker, _dir) = open_broker().await;
    let routes = broker.routes();
    let server = HttpServer::new(move || {
        App::new()
            .route("/own", web::get().to(|| async { HttpResponse::Ok().body("mine") }))
            .service(web::scope("/broker").configure(routes.clone().into_config()))
    });
    let server = server.workers(1).disable_signals().bind((Ipv4Addr::LOCALHOST, 0));
    let server = server.expect("any port");
    let client = Client(server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    let requests = actix_rt::task::spawn_blocking(move || use_under(client, "/broker"));
    requests.await.expect("the checks of the routes pass");
    broker.shutdown().await;
    handle.stop(true).await;
}

fn use_under(client: Client, prefix: &str) {
    assert_eq!(client.get("/own").expect(200).text(), "mine");
    let body = b"{\"event\":\"a\",\"data\":1}";
    let inserted = client.send("POST", &format!("{prefix}/insert"), &[JSON], body).expect(201);
    assert_eq!(inserted.json()["version"], 1);
    client.send("POST", &format!("{prefix}/insert"), &[JSON], body).expect(201);
    let target = format!("{prefix}/events");
    let blocks = EventStream::open(client.0, &target, &[]).until_synced();
    assert_eq!(blocks[0].version(), 2);
    assert_eq!(client.get(&format!("{prefix}/audit/a/1")).expect(200).json()["version"], 1);
    let page = client.get(&format!("{prefix}/audit/a?limit=1")).expect(200);
    assert_eq!(page.header("link"), Some("<?limit=1&after_version=1>; rel=\"next\""));
    client.get(&format!("{prefix}/nothing")).problem(404, "not-found");
    client.send("PUT", &format!("{prefix}/insert"), &[], b"").problem(405, "method-not-allowed");
    assert_eq!(client.get("/insert").status, 404, "there are no routes outside of the scope");
}

#[actix_rt::test]
async fn second_broker_on_one_directory_is_refused() {
    let (broker, dir) = open_broker().await;
    broker.insert(event("a", "1")).await.expect("inserted");
    let Err(refused) = Broker::open(small_in(dir.path())).await else { panic!("two at once") };
    let sentence = refused.to_string();
    assert!(sentence.contains("data is in use by"), "{sentence}");
    assert!(sentence.contains(&std::process::id().to_string()), "{sentence}");
    broker.insert(event("a", "2")).await.expect("the first still works");
    broker.shutdown().await;
    let broker =
        Broker::open(small_in(dir.path())).await.expect("it opens after the first has ended");
    let seen = broker.subscribe(only("a")).next().await.expect("a record").expect("readable");
    assert_eq!(seen.version(), 2);
    broker.shutdown().await;
}

#[actix_rt::test]
async fn dropped_broker_releases_its_directory() {
    let (broker, dir) = open_broker().await;
    broker.insert(event("a", "1")).await.expect("inserted");
    drop(broker);
    let deadline = Instant::now() + WAIT_MAX;
    let broker = loop {
        match Broker::open(small_in(dir.path())).await {
            Ok(broker) => break broker,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    let inserted = broker.insert(event("a", "2")).await.expect("inserted");
    assert_eq!(inserted.records[0].version(), 2);
    broker.shutdown().await;
}

#[actix_rt::test]
async fn brokers_on_two_directories_are_independent() {
    let ((one, _dir), (other, _other_dir)) = (open_broker().await, open_broker().await);
    one.insert(event("a", "1")).await.expect("inserted");
    let inserted = other.insert(event("a", "2")).await.expect("inserted");
    assert_eq!(inserted.records[0].version(), 1);
    one.shutdown().await;
    other.insert(event("a", "3")).await.expect("the other still works");
    other.shutdown().await;
}

#[actix_rt::test]
async fn unpolled_subscription_skips_to_the_latest_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let broker = Broker::open(small_in(dir.path()).window_bytes(1 << 10)).await.expect("it opens");
    let mut records = broker.subscribe(Subscribe::default());
    for n in 1..=200 {
        broker.insert(event("a", &n.to_string())).await.expect("inserted");
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        seen.push(records.next().await.expect("a record").expect("readable").version());
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert!(seen.len() < 200, "superseded versions are skipped");
    broker.shutdown().await;
}

#[actix_rt::test]
async fn failed_open_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("data"), "a file").expect("a file");
    let Err(refused) = Broker::open(small_in(dir.path())).await else { panic!("it opened a file") };
    assert!(refused.to_string().contains("is not a directory"), "{refused}");
}

/// `broker_run` reads the environment and waits for a signal, so the test runs itself again in a
/// child process.
#[test]
fn broker_run_serves_until_sigterm() {
    if std::env::var_os("BROKER_TEST_CHILD").is_some() {
        let served = actix_rt::System::new().block_on(broker::broker_run("*".to_owned()));
        return served.expect("it ends without an error");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["--exact", "library::broker_run_serves_until_sigterm"])
        .env("BROKER_TEST_CHILD", "1")
        .env("PORT", "0")
        .env("BROKER_DATA_DIR", dir.path().join("data"))
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let client = Client(eventually("it listens", || listening(child.id())));
    client.put("a", "1");
    // The argument of `broker_run` is the allowed origin.
    let answer = client.get_with("/latest", &["Origin: https://anywhere.example"]).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let pid = Pid::from_raw(child.id().try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it runs");
    let mut output = String::new();
    let stdout = child.stdout.as_mut().expect("it is piped");
    stdout.read_to_string(&mut output).expect("UTF-8");
    assert!(child.wait().expect("it ends").success(), "{output}");
}

/// The address on which a process listens, from its descriptors and the system's socket table.
fn listening(pid: u32) -> Option<SocketAddr> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let sockets: HashSet<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.replace(']', "")))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let port = table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_ours = fields.get(3) == Some(&"0A") && sockets.contains(*fields.get(9)?);
        is_ours.then(|| u16::from_str_radix(fields[1].split(':').nth(1)?, 16).ok()).flatten()
    });
    Some((Ipv4Addr::LOCALHOST, port?).into())
}

#[test]
fn check_reports_every_invalid_setting_at_once() {
    let config = small().max_depth(0).segment_bytes(1).heartbeat(Duration::ZERO);
    let Err(refused) = config.check() else { panic!("three faults") };
    let text = refused.to_string();
    for name in ["BROKER_MAX_DEPTH", "BROKER_SEGMENT_BYTES", "BROKER_HEARTBEAT_SECONDS"] {
        assert!(text.contains(name), "{text}");
    }
}
