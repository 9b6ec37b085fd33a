//! The local order on a real journal whose one write can be made to fail.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use crate::decide::{FoldState, RestoredRecord};
use crate::journal::{AppendError, DataDir, Journal, JournalOptions, Reader};
use crate::order::Order;
use crate::order::admission::{Admission, AdmittedBytes};
use crate::order::fail_stop::FailStop;
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions};
use crate::order::ports::{Log, Observer, Ports, RestoredIds};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::testing::contract::{GroupFault, OrderWorld};
use crate::record::{Record, Seq, Timestamp};

/// What survives a process beside the directory.
#[derive(Default)]
struct Surviving {
    observed: Vec<Arc<Record>>,
    fault: Option<GroupFault>,
}

/// The local order: appended by its thread, or inline by the caller wherever that is possible.
pub struct LocalWorld<const INLINE: bool> {
    directory: TempDir,
    surviving: Arc<Mutex<Surviving>>,
    process: Option<LocalProcess<INLINE>>,
}

struct LocalProcess<const INLINE: bool> {
    order: ProposePath<INLINE>,
    fail_stop: FailStop,
    reader: Reader,
}

/// One way to propose.
struct ProposePath<const INLINE: bool>(Local);

impl<const INLINE: bool> Order for ProposePath<INLINE> {
    fn admission(&self) -> &Admission {
        self.0.admission()
    }

    fn queue(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        self.0.queue(admitted, submission)
    }

    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if INLINE { self.0.propose_inline(submission) } else { self.0.propose(submission) }
    }

    fn append_began(&self) -> Option<Duration> {
        self.0.append_began()
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// A journal whose next write can fail.
struct FaultyLog {
    journal: Journal,
    surviving: Arc<Mutex<Surviving>>,
    _lock: DataDir,
}

impl Log for FaultyLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        let fault = self.surviving.lock().unwrap().fault.take();
        let error = || io::Error::other("injected");
        match fault {
            None => self.journal.append(records),
            Some(GroupFault::NoSpace) => Err(AppendError::NoSpace(error())),
            Some(GroupFault::FailsNotStored) => Err(AppendError::Final(error())),
            Some(GroupFault::FailsStored) => {
                self.journal.append(records)?;
                Err(AppendError::Final(error()))
            }
        }
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        self.journal.close().map_err(|error| error.to_string())
    }
}

struct Observed(Arc<Mutex<Surviving>>);

impl Observer for Observed {
    fn committed(&mut self, group: &[Arc<Record>]) {
        self.0.lock().unwrap().observed.extend(group.iter().cloned());
    }

    fn acknowledged(&mut self) {}
}

/// Instead of a projection: ids of records since the open are recent, all older ones are listed.
struct OldIds {
    old: Vec<Arc<Record>>,
    reader: Reader,
}

impl RestoredIds for OldIds {
    fn applied(&self) -> Seq {
        self.old.last().map_or(0, |record| record.seq())
    }

    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        Ok(self.old.iter().find(|record| record.id() == *id).cloned())
    }

    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError> {
        let mut records = self.reader.follow(seq - 1).next(1).unwrap();
        Ok(Arc::new(records.remove(0)))
    }
}

impl<const INLINE: bool> LocalProcess<INLINE> {
    fn start(directory: &TempDir, surviving: &Arc<Mutex<Surviving>>) -> Self {
        let lock = DataDir::open(directory.path()).unwrap();
        let mut state = FoldState::default();
        let mut old = Vec::new();
        let options = JournalOptions { segment_bytes_max: 64 << 10 };
        let opened = Journal::open(&lock, options, 0, &mut |stored, _| {
            let record = Arc::new(stored.to_record()?);
            state.restore(RestoredRecord::of(&record));
            old.push(record);
            Ok(())
        });
        let journal = opened.unwrap().journal;
        let reader = journal.reader();
        let recent = RecentIds::new(state.last_seq(), u64::MAX);
        let fail_stop = FailStop::new(Admission::new(1 << 20));
        let ports = Ports {
            log: FaultyLog { journal, surviving: surviving.clone(), _lock: lock },
            observer: Observed(surviving.clone()),
            ids: OldIds { old, reader: reader.clone() },
        };
        let options =
            LocalOptions { clock: Timestamp::now, opening: None, inline_append_max: Duration::MAX };
        let started = Local::start(ports, state, recent, &fail_stop, options).unwrap();
        Self { order: ProposePath(started.order), fail_stop, reader }
    }

    fn stop(self) {
        self.order.stop();
        futures::executor::block_on(self.fail_stop.appender_gone());
    }
}

impl<const INLINE: bool> OrderWorld for LocalWorld<INLINE> {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let surviving = Arc::default();
        let process = Some(LocalProcess::start(&directory, &surviving));
        Self { directory, surviving, process }
    }

    fn order(&self) -> &dyn Order {
        &self.process.as_ref().unwrap().order
    }

    fn fail_next(&self, fault: GroupFault) {
        self.surviving.lock().unwrap().fault = Some(fault);
    }

    fn observed(&self) -> Vec<Arc<Record>> {
        self.surviving.lock().unwrap().observed.clone()
    }

    fn restart(mut self) -> Self {
        self.process.take().unwrap().stop();
        self.surviving.lock().unwrap().fault = None;
        self.process = Some(LocalProcess::start(&self.directory, &self.surviving));
        self
    }

    fn stored(&mut self) -> Vec<Record> {
        self.process.take().unwrap().stop();
        let process = LocalProcess::start(&self.directory, &self.surviving);
        let records = process.reader.follow(0).next(usize::MAX).unwrap();
        self.process = Some(process);
        records
    }
}

impl<const INLINE: bool> Drop for LocalWorld<INLINE> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }
}
