//! Equal proposals in equal order, at equal times, make equal bytes, whatever the settings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::{FoldState, Limits, Proposal, Proposed};
use crate::journal::AppendError;
use crate::order::Order as _;
use crate::order::admission::Admission;
use crate::order::fail_stop::FailStop;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions};
use crate::order::ports::{Log, Ports, RestoredIds};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::testing::fakes::NullObserver;
use crate::record::{NewEvent, Record, Seq, Timestamp};

/// Every record in order, whatever the groups; clones share it.
#[derive(Clone, Default)]
struct SharedLog(Arc<Mutex<Vec<Arc<Record>>>>);

impl Log for SharedLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        self.0.lock().unwrap().extend(records.iter().cloned());
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

impl RestoredIds for SharedLog {
    /// None, so every id is recent.
    fn applied(&self) -> Seq {
        0
    }

    fn find_old(&self, _: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        Ok(None)
    }

    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError> {
        Ok(self.0.lock().unwrap()[usize::try_from(seq).unwrap() - 1].clone())
    }
}

struct OrderingProcess {
    order: Local,
    fail_stop: FailStop,
    log: SharedLog,
}

impl OrderingProcess {
    fn start(queue_bytes: usize, inline_append_max: Duration) -> Self {
        let limits = Limits { events_max: 2, ..Limits::NONE };
        let log = SharedLog::default();
        let ports = Ports { log: log.clone(), observer: NullObserver, ids: log.clone() };
        let clock = || Timestamp::from_millis(1_000);
        let opening = Some(proposal(&[(0, 0, None)], 9));
        let options = LocalOptions { clock, opening, inline_append_max };
        let fail_stop = FailStop::new(Admission::new(queue_bytes));
        let recent = RecentIds::new(0, u64::MAX);
        let started = Local::start(ports, FoldState::new(limits), recent, &fail_stop, options);
        Self { order: started.unwrap().order, fail_stop, log }
    }

    fn stop(self) -> Vec<u8> {
        self.order.stop();
        block_on(self.fail_stop.appender_gone());
        let records = self.log.0.lock().unwrap();
        records.iter().flat_map(|record| record.encode_stored()).collect()
    }
}

/// Events as (name, data, id), with random bytes drawn from `random`.
fn proposal(events: &[(u8, u64, Option<u8>)], random: u8) -> Proposal {
    let events = events.iter().map(|(name, data, id)| {
        let mut event = NewEvent::new(["a", "b", "c"][usize::from(*name)], data).unwrap();
        event.id = id.map(|id| Uuid::from_u128(u128::from(id)));
        let salts = Salts { meta: [random; 16], data: [random ^ 1; 16] };
        Proposed { event, salts, id_random: [random; 5] }
    });
    Proposal { events: events.collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_do_not_depend_on_groups_queues_or_who_appends(
        history in prop::collection::vec(
            prop::collection::vec((0u8..3, 0u64..3, prop::option::of(0u8..4)), 1..4), 1..40
        ),
    ) {
        let one_by_one = OrderingProcess::start(4 << 10, Duration::MAX);
        let at_once = OrderingProcess::start(64 << 20, Duration::ZERO);
        let submissions = |index: usize| Submission::new(proposal(&history[index], index as u8));
        let tickets: Vec<_> = (0..history.len())
            .map(|index| at_once.order.propose(submissions(index)))
            .collect();
        for (index, ticket) in tickets.into_iter().enumerate() {
            let proposed = one_by_one.order.propose_inline(submissions(index));
            let alone = proposed.and_then(Ticket::wait);
            let grouped = ticket.and_then(Ticket::wait);
            prop_assert_eq!(format!("{alone:?}"), format!("{grouped:?}"));
        }
        prop_assert_eq!(one_by_one.stop(), at_once.stop());
    }
}
