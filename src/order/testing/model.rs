//! The model of an order: a mutex, a vector as the disk, and faults in pairs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use crate::decide::{FoldState, RestoredRecord, SeenIds, Verdict};
use crate::order::Order;
use crate::order::admission::{Admission, AdmittedBytes};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::testing::contract::{GroupFault, OrderWorld};
use crate::record::{Record, Timestamp};

/// What survives a process.
#[derive(Default)]
struct ModelDisk {
    records: Vec<Arc<Record>>,
    observed: Vec<Arc<Record>>,
    fault: Option<GroupFault>,
}

#[derive(Default)]
struct ModelProcess {
    state: FoldState,
    failed: bool,
}

pub struct ModelWorld {
    disk: Arc<Mutex<ModelDisk>>,
    order: ModelOrder,
}

struct ModelOrder {
    admission: Admission,
    disk: Arc<Mutex<ModelDisk>>,
    process: Mutex<ModelProcess>,
}

struct ModelIndex<'a>(&'a [Arc<Record>]);

impl SeenIds for ModelIndex<'_> {
    fn find(&self, id: &Uuid) -> Option<Arc<Record>> {
        self.0.iter().find(|record| record.id() == *id).cloned()
    }
}

impl Order for ModelOrder {
    fn admission(&self) -> &Admission {
        &self.admission
    }

    fn queue(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        self.admission.release(admitted);
        let (answer, ticket) = Ticket::new();
        answer.send(self.decide(submission)).expect("the ticket was just made");
        Ok(ticket)
    }

    fn append_began(&self) -> Option<Duration> {
        None
    }

    fn stop(&self) {
        self.admission.stop();
    }
}

impl ModelOrder {
    fn decide(&self, submission: Submission) -> Result<Verdict, ProposeError> {
        let mut disk = self.disk.lock().unwrap();
        let mut process = self.process.lock().unwrap();
        if process.failed {
            return Err(ProposeError::StorageFailed);
        }
        let seen = ModelIndex(&disk.records);
        let now = Timestamp::from_millis(disk.records.len() as u64);
        let verdict = process.state.decide(submission.proposal, &seen, now)?;
        let Verdict::Append(records) = &verdict else { return Ok(verdict) };
        match disk.fault.take() {
            None => {
                process.state.settle();
                disk.records.extend(records.iter().cloned());
                disk.observed.extend(records.iter().cloned());
                Ok(verdict)
            }
            Some(GroupFault::NoSpace) => {
                process.state.undo();
                Err(ProposeError::NoSpace)
            }
            Some(fault) => {
                process.failed = true;
                if fault == GroupFault::FailsStored {
                    disk.records.extend(records.iter().cloned());
                }
                Err(ProposeError::Unknown)
            }
        }
    }
}

impl ModelWorld {
    fn on(disk: Arc<Mutex<ModelDisk>>) -> Self {
        let mut state = FoldState::default();
        for record in &disk.lock().unwrap().records {
            state.restore(RestoredRecord::of(record));
        }
        let process = Mutex::new(ModelProcess { state, failed: false });
        let admission = Admission::new(1 << 20);
        Self { disk: disk.clone(), order: ModelOrder { admission, disk, process } }
    }
}

impl OrderWorld for ModelWorld {
    fn open() -> Self {
        Self::on(Arc::default())
    }

    fn order(&self) -> &dyn Order {
        &self.order
    }

    fn fail_next(&self, fault: GroupFault) {
        self.disk.lock().unwrap().fault = Some(fault);
    }

    fn observed(&self) -> Vec<Arc<Record>> {
        self.disk.lock().unwrap().observed.clone()
    }

    fn restart(self) -> Self {
        self.disk.lock().unwrap().fault = None;
        Self::on(self.disk)
    }

    fn stored(&mut self) -> Vec<Record> {
        self.disk.lock().unwrap().records.iter().map(|record| (**record).clone()).collect()
    }
}
