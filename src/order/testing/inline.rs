//! Who appends: callers and the appending thread alternate without a lost wake-up; and what a panic
//! leaves behind.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use futures_util::future::join_all;

use crate::decide::{FoldState, Verdict};
use crate::journal::AppendError;
use crate::order::Order as _;
use crate::order::admission::Admission;
use crate::order::fail_stop::{FailStop, Stage};
use crate::order::local::inline::arrivals::YIELD_EVERY;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions};
use crate::order::ports::{Log, Ports};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::testing::fakes;
use crate::order::testing::fakes::{NoIds, NullObserver};
use crate::record::{Record, Timestamp};

/// The names of the threads that appended.
type Appended = Arc<Mutex<Vec<String>>>;

struct MemoryLog(Appended);

/// Reports the size of each group; the first one waits until it is released.
struct HeldLog {
    held: mpsc::Receiver<()>,
    sizes: Arc<Mutex<Vec<usize>>>,
}

impl Log for MemoryLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        assert_ne!(records[0].data(), b"\"panic\"", "asked for");
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().extend(records.iter().map(|_| name.clone()));
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

impl Log for HeldLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        let mut sizes = self.sizes.lock().unwrap();
        sizes.push(records.len());
        if let [_] = sizes[..] {
            drop(sizes);
            self.held.recv().unwrap();
        }
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

fn start(inline_append_max: Duration) -> (Local, FailStop, Appended) {
    let appended = Appended::default();
    let (order, fail_stop) = start_on(MemoryLog(appended.clone()), inline_append_max);
    (order, fail_stop, appended)
}

fn start_on(log: impl Log, inline_append_max: Duration) -> (Local, FailStop) {
    let ports = Ports { log, observer: NullObserver, ids: NoIds };
    let options = LocalOptions { clock: Timestamp::now, opening: None, inline_append_max };
    let fail_stop = FailStop::new(Admission::new(1 << 20));
    let recent = RecentIds::new(0, u64::MAX);
    let started = Local::start(ports, FoldState::default(), recent, &fail_stop, options).unwrap();
    (started.order, fail_stop)
}

fn submission(data: &str) -> Submission {
    fakes::submission([data])
}

fn version(answer: Result<Ticket, ProposeError>) -> u64 {
    match answer.and_then(Ticket::wait) {
        Ok(Verdict::Append(records)) => records[0].version(),
        other => panic!("not appended: {other:?}"),
    }
}

/// Whether a lone caller appends inline sooner or later. The first append is the thread's, because no
/// latency is known yet.
fn appends_inline(inline_append_max: Duration) -> bool {
    let (order, _, appended) = start(inline_append_max);
    let caller = thread::current().name().unwrap_or_default().to_owned();
    for before in 0..1_000 {
        assert_eq!(version(order.propose_inline(submission("x"))), before + 1);
        if appended.lock().unwrap().last() == Some(&caller) {
            return true;
        }
        // The thread has answered, but may still hold the permit for a moment.
        thread::yield_now();
    }
    order.stop();
    false
}

#[test]
fn a_lone_caller_appends_inline_only_while_appends_are_short() {
    assert!(appends_inline(Duration::MAX));
    assert!(!appends_inline(Duration::ZERO));
}

/// Once, each caller appended inline on the thread that had to run all others, so a machine with one
/// processor appended the inserts of 64 connections one by one.
#[tokio::test]
async fn callers_on_one_thread_notice_each_other_and_queue() {
    let (order, _, appended) = start(Duration::MAX);
    let caller = thread::current().name().unwrap_or_default().to_owned();
    let by_callers = || appended.lock().unwrap().iter().filter(|name| **name == caller).count();
    // Alone, until one has appended inline and the next is to yield.
    while !order.next_yields() || appended.lock().unwrap().last() != Some(&caller) {
        order.propose_waiting(submission("x")).await.unwrap().await.unwrap();
    }
    let before = by_callers();
    join_all((0..YIELD_EVERY).map(|_| async {
        order.propose_waiting(submission("x")).await.unwrap().await.unwrap();
    }))
    .await;
    // The one that yielded may be alone after all others.
    assert!(by_callers() <= before + 1, "{} were appended inline", by_callers() - before);
}

/// Otherwise the disk waits while a group of nearly all is decided, and then nearly all wait for the
/// disk.
#[test]
fn a_group_takes_half_of_the_submissions_in_flight() {
    let (go_on, held) = mpsc::channel();
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let (order, _) = start_on(HeldLog { held, sizes: sizes.clone() }, Duration::ZERO);
    let first = order.propose(submission("x")).unwrap();
    while sizes.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    let rest: Vec<_> = (0..99).map(|_| order.propose(submission("x")).unwrap()).collect();
    go_on.send(()).unwrap();
    for ticket in std::iter::once(first).chain(rest) {
        version(Ok(ticket));
    }
    assert_eq!(*sizes.lock().unwrap(), [1, 50, 49]);
}

#[test]
fn every_caller_is_answered_while_callers_and_the_thread_append() {
    const CALLERS: u64 = 4;
    const EACH: u64 = 2_000;
    let (order, fail_stop, appended) = start(Duration::MAX);
    let mut versions: Vec<u64> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let order = &order;
                scope.spawn(move || {
                    let propose = |n| match (n + caller) % 3 {
                        0 => order.propose(submission("x")),
                        _ => order.propose_inline(submission("x")),
                    };
                    (0..EACH).map(|n| version(propose(n))).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=CALLERS * EACH).collect::<Vec<_>>());
    order.stop();
    block_on(fail_stop.appender_gone());
    assert_eq!(fail_stop.stage(), Stage::Sound);
    assert_eq!(appended.lock().unwrap().len() as u64, CALLERS * EACH);
    assert!(matches!(order.propose(submission("late")), Err(ProposeError::Stopping)));
    assert!(matches!(order.propose_inline(submission("late")), Err(ProposeError::Stopping)));
    assert_eq!(order.admission().bytes(), 0);
}

#[test]
fn after_a_panic_outcomes_are_unknown_and_the_storage_counts_as_failed() {
    for inline in [false, true] {
        let (order, fail_stop, _) = start(Duration::MAX);
        version(order.propose(submission("x")));
        let propose = || {
            let submission = submission("panic");
            if inline { order.propose_inline(submission) } else { order.propose(submission) }
        };
        // A caller that appends inline panics itself, as a request's handler may.
        let answer = thread::scope(|scope| scope.spawn(propose).join());
        if let Ok(ticket) = answer {
            assert!(matches!(ticket.and_then(Ticket::wait), Err(ProposeError::Unknown)));
        }
        block_on(fail_stop.appender_gone());
        assert_eq!(fail_stop.stage(), Stage::Failed);
        let late = order.propose(submission("late"));
        assert!(matches!(late, Err(ProposeError::StorageFailed)), "{late:?}");
    }
}
