//! The bound on how far the projection may be behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::{FoldState, Limits, Proposal, Proposed, RestoredRecord, Verdict};
use crate::journal::AppendError;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions};
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::{Order as _, ProposeError, Submission, Ticket};
use crate::record::{NewEvent, Record, Seq, Timestamp};

/// A disk that nothing is read from.
struct NoLog;

impl Log for NoLog {
    fn append(&mut self, _: &[Arc<Record>]) -> Result<(), AppendError> {
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

struct NoObserver;

impl Observer for NoObserver {
    fn committed(&mut self, _: &[Arc<Record>]) {}

    fn acknowledged(&mut self) {}

    fn failed(&mut self, _: &AppendError) {}
}

/// A projection that stands where the test says.
struct FixedProjection(Arc<AtomicU64>);

impl RestoredIds for FixedProjection {
    fn applied(&self) -> Seq {
        self.0.load(Ordering::Acquire)
    }

    fn find_old(&self, _: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        Ok(None)
    }

    fn at(&mut self, _: Seq) -> Result<Arc<Record>, ProposeError> {
        Err(ProposeError::IdsNotReady)
    }
}

fn batch(len: u64) -> Submission {
    let events = (0..len).map(|n| Proposed {
        event: NewEvent::new("a", &n).unwrap(),
        salts: Salts { meta: [1; 16], data: [2; 16] },
        id_random: [3; 5],
    });
    Submission::new(Proposal { events: events.collect() })
}

fn start(state: FoldState, recent: RecentIds, applied: &Arc<AtomicU64>) -> Local {
    let limits = Limits::NONE;
    let (order, _) = Local::start(
        NoLog,
        state,
        recent,
        FixedProjection(applied.clone()),
        NoObserver,
        LocalOptions { queue_bytes_max: 64 << 20, limits, swift: Duration::MAX },
    )
    .unwrap();
    order
}

/// After a start with a projection that was further behind than recent ids are kept.
#[test]
fn an_id_between_what_is_applied_and_what_is_recent_is_not_taken_for_new() {
    let applied = Arc::new(AtomicU64::new(70));
    let mut state = FoldState::default();
    state.restore(RestoredRecord {
        seq: 100,
        time: Timestamp::from_millis(1),
        identity: NewEvent::new("b", &1).unwrap().identity,
        version: 1,
        data_bytes: 1,
    });
    let order = start(state, RecentIds::new(100, 1_000), &applied);
    let insert = || {
        let mut submission = batch(1);
        submission.proposal.events[0].event.id = Some(Uuid::from_u128(7));
        submission.looked_up.others = 90;
        order.propose(submission).and_then(Ticket::wait)
    };
    assert!(matches!(insert(), Err(ProposeError::IdsNotReady)));
    applied.store(100, Ordering::Release);
    assert!(matches!(insert(), Ok(Verdict::Append(_))));
    order.stop();
}

#[test]
fn inserts_are_refused_when_the_projection_lags_and_go_on_when_it_has_moved() {
    const LAG_MAX: u64 = 20_000;
    let applied = Arc::new(AtomicU64::new(0));
    let order = start(FoldState::default(), RecentIds::new(0, LAG_MAX), &applied);
    let mut head = 0;
    let mut insert = || match order.propose(batch(5_000)).and_then(Ticket::wait) {
        Ok(Verdict::Append(records)) => {
            head += records.len() as u64;
            Ok(head)
        }
        Err(ProposeError::ProjectionLag { records }) => Err(records),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        let stands = applied.load(Ordering::Acquire);
        let lag = loop {
            match insert() {
                Ok(head) => assert!(head - stands < LAG_MAX + 5_000),
                Err(lag) => break lag,
            }
        };
        assert!((LAG_MAX..LAG_MAX + 5_000).contains(&lag), "{lag}");
        assert_eq!(insert(), Err(lag), "nothing was stored");
        // Nothing is committed meanwhile that would take notice of it.
        applied.fetch_add(10_000, Ordering::AcqRel);
        assert!(insert().is_ok());
    }
    order.stop();
}
