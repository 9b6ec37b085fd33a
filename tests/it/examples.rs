//! Runs the examples on real sockets, through the functions that their `main` calls.

#[allow(dead_code)]
#[path = "../../examples/chat.rs"]
mod chat;
#[allow(dead_code)]
#[path = "../../examples/embedded.rs"]
mod embedded;
#[allow(dead_code)]
#[path = "../../examples/projection.rs"]
mod projection;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use broker::{Broker, NewEvent};
use futures::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::codec::{Framed, LinesCodec};

use crate::harness::server::small_in;
use crate::harness::stream::EventStream;
use crate::harness::wait::{WAIT_MAX, wait_until};
use crate::harness::wire::{Client, JSON};

async fn open(dir: &TempDir) -> Broker {
    Broker::open(small_in(dir.path())).await.expect("it opens")
}

/// A sender that stops an example, and the future that the example waits for.
fn stop() -> (oneshot::Sender<()>, impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel();
    (stop, async { stopped.await.unwrap_or_default() })
}

async fn within_limit<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT_MAX, what).await.expect("within the time limit")
}

/// A user of the chat.
struct Guest(Framed<TcpStream, LinesCodec>);

impl Guest {
    async fn enter(address: SocketAddr, name: &str) -> Self {
        let socket = TcpStream::connect(address).await.expect("it listens");
        let mut guest = Self(Framed::new(socket, LinesCodec::new()));
        assert_eq!(guest.reads().await, "who are you?");
        guest.types(name).await;
        guest
    }

    async fn types(&mut self, line: &str) {
        self.0.send(line).await.expect("it is connected");
    }

    async fn reads(&mut self) -> String {
        within_limit(self.0.next()).await.expect("it is connected").expect("a line")
    }
}

#[actix_rt::test]
async fn chat_rooms_have_a_history_and_private_messages_stay_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let address = listener.local_addr().expect("a port");
    let (stop, stopped) = stop();
    let chat = tokio::spawn(chat::run(listener, open(&dir).await, stopped));

    let (mut ann, mut bob) =
        (Guest::enter(address, "ann").await, Guest::enter(address, "bob").await);
    ann.types("hello").await;
    assert_eq!(ann.reads().await, "ann: hello");
    assert_eq!(bob.reads().await, "ann: hello");
    bob.types("hi, ann").await;
    assert_eq!(ann.reads().await, "bob: hi, ann");
    assert_eq!(bob.reads().await, "bob: hi, ann");

    ann.types("/to bob between us").await;
    assert_eq!(bob.reads().await, "(private) ann: between us");
    // Another room with its own history, which a guest who joins later reads.
    bob.types("/join tea").await;
    bob.types("anybody here?").await;
    assert_eq!(bob.reads().await, "bob: anybody here?");
    ann.types("/join no room").await;
    assert!(ann.reads().await.starts_with("! "), "an error goes to the user who caused it");
    ann.types("/join tea").await;
    assert_eq!(ann.reads().await, "bob: anybody here?");

    let mut eve = Guest::enter(address, "eve").await;
    assert_eq!(eve.reads().await, "ann: hello");
    assert_eq!(eve.reads().await, "bob: hi, ann");
    eve.types("what did I miss?").await;
    assert_eq!(eve.reads().await, "eve: what did I miss?", "no private message");

    stop.send(()).expect("it runs");
    within_limit(chat).await.expect("no panic").expect("it ends without an error");
    assert_eq!(eve.reads().await, "good night");
}

#[actix_rt::test]
async fn embedded_shop_serves_its_own_routes_and_the_brokers() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("any port");
    let client = Client(listener.local_addr().expect("a port"));
    let (stop, stopped) = stop();
    let shop = embedded::run(listener, open(&dir).await, stopped);
    let customer = actix_rt::task::spawn_blocking(move || {
        client.get("/orders/7").expect(404);
        let order = |pieces: u32| format!("{{\"item\":\"tea\",\"pieces\":{pieces}}}");
        for pieces in 1..=2 {
            let placed = client.send("POST", "/orders/7", &[JSON], order(pieces).as_bytes());
            assert_eq!(placed.expect(201).json()["version"], pieces);
            // An acknowledged order can be read.
            assert_eq!(client.get("/orders/7").expect(200).text(), order(pieces));
        }
        let blocks = EventStream::open(client.0, "/live/events?event=orders.*", &[]).until_synced();
        assert_eq!(blocks[0].version(), 2);
        let history = client.get("/live/audit/orders.7").expect(200).json();
        assert_eq!(history[0]["data"]["pieces"], 1);
        stop.send(()).expect("it runs");
    });
    let (served, asked) = within_limit(async { futures::join!(shop, customer) }).await;
    served.expect("it ends without an error");
    asked.expect("the customer's checks pass");
}

/// Runs the projection until it has stored these counts.
async fn count(broker: &Broker, file: &Path, expected: &[(&str, u64)]) -> projection::Counts {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(event, count)| ((*event).to_owned(), *count)).collect();
    let stored = file.to_owned();
    let until = actix_rt::task::spawn_blocking(move || {
        wait_until("it has counted", || {
            let stored = std::fs::read(&stored).unwrap_or_default();
            serde_json::from_slice::<projection::Counts>(&stored)
                .is_ok_and(|stored| stored.events == expected)
        });
    });
    let until = async { until.await.expect("the counts are stored") };
    within_limit(projection::run(broker, file, until)).await.expect("the projection runs")
}

#[actix_rt::test]
async fn projection_counts_every_version_once_and_resumes_from_its_cursor() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("counts.json");
    let broker = open(&dir).await;
    let insert = async |broker: &Broker, name: &str, times: u64| {
        let mut sink = broker.sink();
        for n in 0..times {
            sink.feed(NewEvent::new(name, &n).expect("an event")).await.expect("the sink has room");
        }
        sink.close().await.expect("durable");
    };
    insert(&broker, "tea", 2_500).await;
    insert(&broker, "coffee", 3).await;
    let first = count(&broker, &file, &[("coffee", 3), ("tea", 2_500)]).await;
    insert(&broker, "tea", 1).await;
    broker.shutdown().await;

    // After a reopen.
    let broker = open(&dir).await;
    insert(&broker, "milk", 1).await;
    let second = count(&broker, &file, &[("coffee", 3), ("milk", 1), ("tea", 2_501)]).await;
    assert_ne!(first.cursor, second.cursor);
    broker.shutdown().await;

    // With another log the counts start again.
    let other = tempfile::tempdir().expect("a directory");
    let broker = open(&other).await;
    insert(&broker, "tea", 1).await;
    count(&broker, &file, &[("tea", 1)]).await;
    broker.shutdown().await;
}
