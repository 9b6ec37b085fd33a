//! The local order on a real journal, with faults at its one write.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use crate::decide::{FoldState, Limits, RestoredRecord};
use crate::journal::{AppendError, DataDir, Journal, JournalOptions, Reader};
use crate::order::local::recent_ids::RecentIds;
use crate::order::local::{Local, LocalOptions, Stopped};
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::testing::contract::{GroupFault, OrderWorld};
use crate::order::{Order, ProposeError, Submission, Ticket};
use crate::record::{Record, Seq};

/// What outlives a process beside the directory.
#[derive(Default)]
struct Surviving {
    told: Vec<Arc<Record>>,
    fault: Option<GroupFault>,
}

/// The local order: appended by its thread, or by the caller wherever that is possible.
pub struct LocalWorld<const HERE: bool> {
    directory: TempDir,
    outside: Arc<Mutex<Surviving>>,
    process: Option<LocalProcess<HERE>>,
}

struct LocalProcess<const HERE: bool> {
    order: ProposePath<HERE>,
    stopped: Stopped,
    reader: Reader,
}

/// One way to propose.
struct ProposePath<const HERE: bool>(Local);

impl<const HERE: bool> Order for ProposePath<HERE> {
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if HERE { self.0.propose_here(submission) } else { self.0.propose(submission) }
    }
}

/// A journal of which one write fails.
struct FaultyLog {
    journal: Journal,
    outside: Arc<Mutex<Surviving>>,
    _lock: DataDir,
}

impl Log for FaultyLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        let fault = self.outside.lock().unwrap().fault.take();
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
        self.0.lock().unwrap().told.extend(group.iter().cloned());
    }

    fn acknowledged(&mut self) {}

    fn failed(&mut self, _: &AppendError) {}
}

/// No projection: every id after the open's head is recent, every older one is in this list.
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

impl<const HERE: bool> LocalProcess<HERE> {
    fn start(directory: &TempDir, outside: &Arc<Mutex<Surviving>>) -> Self {
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
        let limits = Limits::NONE;
        let recent = RecentIds::new(state.last_seq(), u64::MAX);
        let (order, stopped) = Local::start(
            FaultyLog { journal, outside: outside.clone(), _lock: lock },
            state,
            recent,
            OldIds { old, reader: reader.clone() },
            Observed(outside.clone()),
            LocalOptions { queue_bytes_max: 1 << 20, limits, swift: Duration::MAX },
        )
        .unwrap();
        Self { order: ProposePath(order), stopped, reader }
    }

    fn stop(self) {
        self.order.0.stop();
        self.stopped.blocking_recv().unwrap();
    }
}

impl<const HERE: bool> OrderWorld for LocalWorld<HERE> {
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outside = Arc::default();
        let process = Some(LocalProcess::start(&directory, &outside));
        Self { directory, outside, process }
    }

    fn order(&self) -> &dyn Order {
        &self.process.as_ref().unwrap().order
    }

    fn fail_next(&self, fault: GroupFault) {
        self.outside.lock().unwrap().fault = Some(fault);
    }

    fn told(&self) -> Vec<Arc<Record>> {
        self.outside.lock().unwrap().told.clone()
    }

    fn restart(mut self) -> Self {
        self.process.take().unwrap().stop();
        self.outside.lock().unwrap().fault = None;
        self.process = Some(LocalProcess::start(&self.directory, &self.outside));
        self
    }

    fn stored(&mut self) -> Vec<Record> {
        self.process.take().unwrap().stop();
        let process = LocalProcess::start(&self.directory, &self.outside);
        let records = process.reader.follow(0).next(usize::MAX).unwrap();
        self.process = Some(process);
        records
    }
}

impl<const HERE: bool> Drop for LocalWorld<HERE> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }
}
