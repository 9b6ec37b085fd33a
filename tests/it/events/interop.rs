//! An independent client, the crate eventsource-client, reads the stream correctly.

use std::time::Duration;

use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::harness::server::{Server, small};
use crate::harness::wait::WAIT_MAX;

#[test]
fn eventsource_client_reads_records_control_events_utf8_and_large_values() {
    let server = Server::with(small().heartbeat(Duration::from_millis(20)));
    let large = format!("\"{}\"", "Grüße 你好 😀 \\n".repeat(20_000));
    server.client().put("größe", &large);
    let url = format!("http://{}/events", server.address);
    let again = ReconnectOptions::reconnect(true).delay(Duration::from_millis(10)).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = ClientBuilder::for_url(&url).expect("a url").reconnect(again).build_http();
        let mut stream = client.stream();
        let mut events = Vec::new();
        while events.len() < 3 {
            let item = timeout(WAIT_MAX, stream.next()).await.expect("an item in time");
            match item.expect("the stream continues").expect("the client can parse it") {
                SSE::Event(event) => {
                    if event.event_type == "broker:synced" {
                        server.client().put("live", "{\"a\":[1.0]}");
                    }
                    events.push(event);
                }
                SSE::Comment(comment) => assert_eq!(comment, ""),
                SSE::Connected(_) => {}
            }
        }
        let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(names, ["größe", "broker:synced", "live"]);
        assert!(events[0].data.ends_with(&format!(",\"data\":{large}}}")));
        assert!(events[2].data.ends_with(",\"data\":{\"a\":[1.0]}}"));
        assert!(events.iter().all(|event| event.id.is_some()));
        assert!(events[0].retry.is_some_and(|millis| (1_000..=5_000).contains(&millis)));
    });
}
