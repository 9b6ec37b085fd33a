//! Who appends: callers and the thread in turns, without a lost wake, and what a panic leaves.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::{FoldState, Limits, Proposal, Proposed, Verdict};
use crate::journal::AppendError;
use crate::order::local::inline::arrivals::LOOK_EVERY;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions, Stopped};
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::{Order as _, ProposeError, Submission, Ticket};
use crate::record::{NewEvent, Record, Seq};

/// The names of the threads that appended.
type Appended = Arc<Mutex<Vec<String>>>;

struct MemoryLog(Appended);

/// Tells how many records each group has, the first of which waits for a word.
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

struct NullObserver;

impl Observer for NullObserver {
    fn committed(&mut self, _: &[Arc<Record>]) {}
    fn acknowledged(&mut self) {}
    fn failed(&mut self, _: &AppendError) {}
}

impl RestoredIds for NullObserver {
    fn applied(&self) -> Seq {
        Seq::MAX
    }

    fn find_old(&self, _: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        Ok(None)
    }

    fn at(&mut self, _: Seq) -> Result<Arc<Record>, ProposeError> {
        Err(ProposeError::IdsNotReady)
    }
}

fn start(swift: Duration) -> (Local, Stopped, Appended) {
    let appended = Appended::default();
    let (order, stopped) = start_on(MemoryLog(appended.clone()), swift);
    (order, stopped, appended)
}

fn start_on(log: impl Log, swift: Duration) -> (Local, Stopped) {
    let options = LocalOptions { queue_bytes_max: 1 << 20, limits: Limits::NONE, swift };
    let recent = RecentIds::new(0, u64::MAX);
    Local::start(log, FoldState::default(), recent, NullObserver, NullObserver, options).unwrap()
}

fn submission(data: &str) -> Submission {
    let event = NewEvent::new("a", &data).unwrap();
    let salts = Salts { meta: [1; 16], data: [2; 16] };
    Submission::new(Proposal { events: vec![Proposed { event, salts, id_random: [3; 5] }] })
}

fn version(answer: Result<Ticket, ProposeError>) -> u64 {
    match answer.and_then(Ticket::wait) {
        Ok(Verdict::Append(records)) => records[0].version(),
        other => panic!("not appended: {other:?}"),
    }
}

/// Whether a caller that comes alone appends by itself in the end; the first is the thread's, for
/// nothing is known of the log's pace yet.
fn appends_alone(swift: Duration) -> bool {
    let (order, _stopped, appended) = start(swift);
    let caller = thread::current().name().unwrap_or_default().to_owned();
    for before in 0..1_000 {
        assert_eq!(version(order.propose_here(submission("x"))), before + 1);
        if appended.lock().unwrap().last() == Some(&caller) {
            return true;
        }
        // The thread has answered, and may still hold its turn for a moment.
        thread::yield_now();
    }
    order.stop();
    false
}

#[test]
fn a_caller_that_comes_alone_appends_by_itself_where_that_is_swift() {
    assert!(appends_alone(Duration::MAX));
    assert!(!appends_alone(Duration::ZERO));
}

/// Each was appended by its caller, on the thread that had all others to run, so a machine with one
/// processor took in 64 connections' inserts one after the other.
#[tokio::test]
async fn callers_on_one_thread_find_each_other_and_leave_it_to_the_appending_thread() {
    let (order, _stopped, appended) = start(Duration::MAX);
    let caller = thread::current().name().unwrap_or_default().to_owned();
    let by_callers = || appended.lock().unwrap().iter().filter(|name| **name == caller).count();
    // Alone, until one appends by itself and the next is to look for others.
    while !order.next_looks() || appended.lock().unwrap().last() != Some(&caller) {
        order.propose_among(submission("x")).await.unwrap().await.unwrap();
    }
    let before = by_callers();
    join_all((0..LOOK_EVERY).map(|_| async {
        order.propose_among(submission("x")).await.unwrap().await.unwrap();
    }))
    .await;
    // The one that looked may be alone after all others.
    assert!(by_callers() <= before + 1, "{} were appended by their callers", by_callers() - before);
}

/// Otherwise the disk waits while a group of nearly all is decided, and then nearly all for the
/// disk.
#[test]
fn a_peak_is_taken_in_halves() {
    let (go_on, held) = mpsc::channel();
    let sizes = Arc::<Mutex<Vec<usize>>>::default();
    let (order, _stopped) = start_on(HeldLog { held, sizes: sizes.clone() }, Duration::ZERO);
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
fn callers_and_the_thread_take_turns_and_everybody_is_answered() {
    const CALLERS: u64 = 4;
    const EACH: u64 = 2_000;
    let (order, stopped, appended) = start(Duration::MAX);
    let mut versions: Vec<u64> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let order = &order;
                scope.spawn(move || {
                    let propose = |n| match (n + caller) % 3 {
                        0 => order.propose(submission("x")),
                        _ => order.propose_here(submission("x")),
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
    stopped.blocking_recv().unwrap();
    assert_eq!(appended.lock().unwrap().len() as u64, CALLERS * EACH);
    assert!(matches!(order.propose(submission("late")), Err(ProposeError::Stopping)));
    assert!(matches!(order.propose_here(submission("late")), Err(ProposeError::Stopping)));
    assert_eq!(order.queue_bytes(), 0);
}

#[test]
fn after_a_panic_outcomes_are_unknown_and_nothing_more_is_taken() {
    for here in [false, true] {
        let (order, stopped, _) = start(Duration::MAX);
        version(order.propose(submission("x")));
        let propose = || {
            let submission = submission("panic");
            if here { order.propose_here(submission) } else { order.propose(submission) }
        };
        // A caller that appends by itself panics itself, as a request's handler may.
        let answer = thread::scope(|scope| scope.spawn(propose).join());
        if let Ok(ticket) = answer {
            assert!(matches!(ticket.and_then(Ticket::wait), Err(ProposeError::Unknown)));
        }
        stopped.blocking_recv().unwrap();
        assert!(matches!(order.propose(submission("late")), Err(ProposeError::Stopping)));
    }
}
