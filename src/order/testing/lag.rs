//! The bound on how far the projection may lag.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::decide::{FoldState, RestoredRecord, Verdict};
use crate::order::Order as _;
use crate::order::admission::Admission;
use crate::order::fail_stop::FailStop;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions};
use crate::order::ports::{Ports, RestoredIds};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::testing::fakes::{NullLog, NullObserver, submission};
use crate::record::{NewEvent, Record, Seq, Timestamp};

/// A projection whose position the test sets.
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
    submission(0..len)
}

fn start(state: FoldState, recent: RecentIds, applied: &Arc<AtomicU64>) -> Local {
    let ports =
        Ports { log: NullLog, observer: NullObserver, ids: FixedProjection(applied.clone()) };
    let options =
        LocalOptions { clock: Timestamp::now, opening: None, inline_append_max: Duration::MAX };
    let fail_stop = FailStop::new(Admission::new(64 << 20));
    Local::start(ports, state, recent, &fail_stop, options).unwrap().order
}

/// After a start, when the projection lagged by more records than recent ids are kept.
#[test]
fn an_id_that_is_neither_applied_nor_recent_is_not_taken_for_new() {
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
fn inserts_are_refused_while_the_projection_lags_too_much() {
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
        // Nothing is committed meanwhile that would notice it.
        applied.fetch_add(10_000, Ordering::AcqRel);
        assert!(insert().is_ok());
    }
    order.stop();
}
