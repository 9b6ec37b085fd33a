//! Callers that share a thread: nobody's insert is synced alone while others wait.

use futures_util::future::join_all;

use crate::record::NewEvent;
use crate::{Broker, Config};

const CALLERS: u64 = 32;
const INSERTS: u64 = 20;

/// Each insert was appended by its caller, on the thread that had all others to run, so a machine
/// with one processor took in 64 connections' inserts one after the other.
#[tokio::test]
async fn inserts_of_callers_on_one_thread_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(Config::default().data_dir(dir.path())).await.unwrap();
    let insert = || async {
        broker.insert_here(vec![NewEvent::new("company", &1).unwrap()]).await.unwrap();
    };
    // One alone: the next may be appended by its caller.
    for _ in 0..INSERTS {
        insert().await;
    }
    let before = groups(&broker);
    join_all((0..CALLERS).map(|_| async {
        for _ in 0..INSERTS {
            insert().await;
        }
    }))
    .await;
    let groups = groups(&broker) - before;
    assert!(groups * 4 <= CALLERS * INSERTS, "{groups} syncs");
    broker.shutdown().await;
}

fn groups(broker: &Broker) -> u64 {
    let metrics = broker.metrics().render();
    let groups = metrics.lines().find_map(|line| line.strip_prefix("broker_groups_total "));
    groups.map_or(0, |groups| groups.parse().unwrap())
}
