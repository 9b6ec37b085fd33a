//! What the log gives back at a start.

use std::sync::Arc;

use bytes::Bytes;
use rand::Rng as _;
use tracing::{info, warn};
use uuid::Uuid;

use crate::audit::Digest;
use crate::broker::api::inserts::propose;
use crate::broker::lifecycle::start::StartError;
use crate::config::Config;
use crate::decide::{FoldState, Limits, RestoredRecord, SeenIds, Verdict};
use crate::journal::{
    DataDir, Journal, JournalOptions, OpenContext, OpenedJournal, Snapshot, UnverifiedSegments,
};
use crate::order::RecentIds;
use crate::projection::Applied;
use crate::record::{Data, Epoch, Identity, NewEvent, Record, RecordError, Seq, StoredRecord};
use crate::subscription::epochs::{Epochs, open_data, open_name};
use crate::subscription::latest::LatestRecords;

/// Collected while the log is read.
pub struct ReplayedState {
    pub state: FoldState,
    pub latest: LatestRecords,
    pub epochs: Epochs,
    /// The records of all opens.
    pub opens: Vec<Arc<Record>>,
    /// Ids that the projection does not hold yet.
    pub recent: RecentIds,
    /// The chain at the projection's position.
    chain_at_applied: Option<Digest>,
}

/// A log that was opened, and what it gave back.
pub struct ReplayedLog {
    pub journal: Journal,
    pub restored: ReplayedState,
    /// What a checkpoint stands for, and is to be verified.
    pub earlier: Option<UnverifiedSegments>,
    /// Bytes of the log that were read.
    pub bytes_read: u64,
}

/// What the projection knows of the log.
#[derive(Clone, Copy, Default)]
pub struct ProjectionEvidence<'a> {
    /// How far it had come, at least.
    pub applied: Option<&'a Applied>,
    /// Tells how far it really is, where that takes time.
    pub prove: Option<&'a dyn Fn() -> Seq>,
}

/// Takes the newest records from the last checkpoint, if there is one, and the rest from the log:
/// nothing that is served comes from anywhere else.
pub fn restore(
    directory: &DataDir,
    config: &Config,
    evidence: ProjectionEvidence<'_>,
) -> Result<ReplayedLog, StartError> {
    let lag_max = config.max_projection_lag;
    let (snapshot, restored) = from_snapshot(directory, lag_max);
    let restart = read_log(directory, config, evidence, snapshot.as_ref(), restored)?;
    match restart {
        Some(restart) => Ok(restart),
        None => {
            warn!("the checkpoint is of another history of this log; the whole log is read");
            let restored = ReplayedState::new(lag_max);
            let restart = read_log(directory, config, evidence, None, restored)?;
            Ok(restart.expect("without a checkpoint there is none to differ from"))
        }
    }
}

/// Reads the log behind a checkpoint; nothing, when the checkpoint is of another history.
fn read_log(
    directory: &DataDir,
    config: &Config,
    evidence: ProjectionEvidence<'_>,
    snapshot: Option<&Snapshot>,
    mut restored: ReplayedState,
) -> Result<Option<ReplayedLog>, StartError> {
    let applied_seq = evidence.applied.map_or(0, |applied| applied.seq);
    let lag_max = config.max_projection_lag;
    let through = snapshot.map_or(0, Snapshot::head);
    let mut is_of_another_history = false;
    let mut visit = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
        let record = Arc::new(stored.to_record()?);
        if record.seq() == applied_seq {
            restored.chain_at_applied = Some(*chain);
        }
        if record.seq() == through && snapshot.is_some_and(|found| found.chain() != chain) {
            is_of_another_history = true;
            return Err(RecordError::System("the checkpoint knows another one".to_owned()));
        }
        if record.seq() > applied_seq {
            restored.remember_id(&record, lag_max);
        }
        // The last one that the checkpoint stands for may have been no newest value.
        if record.seq() > through || record.seq() == through && restored.latest.head() < through {
            restored.state.restore(RestoredRecord::of(&record));
            restored.take(record)?;
        }
        Ok(())
    };
    let known = OpenContext {
        proven: applied_seq,
        prove: evidence.prove,
        snapshot,
        // Without a projection all ids are looked up later, when it is rebuilt.
        read_from: if applied_seq > 0 { applied_seq } else { Seq::MAX },
    };
    let options = JournalOptions { segment_bytes_max: config.segment_bytes };
    let opened = Journal::open_knowing(directory, options, &known, &mut visit);
    if is_of_another_history {
        return Ok(None);
    }
    let OpenedJournal { journal, report, earlier } = opened?;
    if let Some(torn) = &report.torn {
        warn!(
            file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
            kept_at = %torn.kept_at.display(), last_good_seq = torn.last_good_seq,
            "the log ended in a group that is not whole and that nothing shows to have been \
             acknowledged; it was cut and kept aside"
        );
    }
    info!(records = report.records_read, seq = report.head, snapshot = through, "log read");
    Ok(Some(ReplayedLog { journal, restored, earlier, bytes_read: report.bytes_read }))
}

/// What the last checkpoint gives back; without one that is of use, nothing.
fn from_snapshot(directory: &DataDir, lag_max: u64) -> (Option<Snapshot>, ReplayedState) {
    let mut restored = ReplayedState::new(lag_max);
    let Some(snapshot) = Journal::snapshot(directory) else { return (None, restored) };
    let visited = snapshot.visit(&mut |stored| {
        let record = Arc::new(stored.to_record()?);
        if record.seq() <= restored.latest.head() {
            return Err(RecordError::System("it is out of order in the checkpoint".to_owned()));
        }
        restored.state.restore_latest(RestoredRecord::of(&record));
        restored.take(record)
    });
    match visited {
        Ok(()) => (Some(snapshot), restored),
        Err(error) => {
            warn!(%error, "the checkpoint is of no use; the whole log is read");
            (None, ReplayedState::new(lag_max))
        }
    }
}

impl ReplayedState {
    fn new(lag_max: u64) -> Self {
        Self {
            state: FoldState::default(),
            latest: LatestRecords::default(),
            epochs: Epochs::default(),
            opens: Vec::new(),
            recent: RecentIds::new(0, lag_max),
            chain_at_applied: None,
        }
    }

    /// Takes in a record that the state has; seqs rise.
    fn take(&mut self, record: Arc<Record>) -> Result<(), RecordError> {
        self.latest.apply(&record);
        if record.event() == &open_name() {
            self.epochs.restore(record.seq(), record.data()).map_err(RecordError::System)?;
            self.opens.push(record);
        }
        Ok(())
    }

    /// What lies before the first, and what does not fit, is unknown until the projection has come
    /// so far.
    fn remember_id(&mut self, record: &Record, lag_max: u64) {
        if self.recent.is_empty() {
            self.recent = RecentIds::new(record.seq() - 1, lag_max);
        }
        self.recent.insert(record);
        self.recent.keep_last(lag_max / 2);
    }

    /// Whether the projection was derived from this very log.
    pub fn agrees(&self, applied: Option<&Applied>) -> bool {
        applied.is_none_or(|applied| self.chain_at_applied == Some(applied.chain))
    }

    /// Draws this open's epoch and makes it durable before anything is served.
    pub fn append_open(
        &mut self,
        journal: &mut Journal,
        lag_max: u64,
    ) -> Result<Epoch, StartError> {
        let epoch = Epoch(rand::rng().random());
        let event = NewEvent {
            identity: Identity { event: open_name(), to: None },
            data: Data::checked(Bytes::from(open_data(epoch))),
            id: None,
            expected_version: None,
            author: None,
        };
        let limits = Limits::NONE;
        let now = crate::record::Timestamp::now();
        let verdict = self.state.decide(propose(vec![event]), &NothingSeen, now, limits);
        let Ok(Verdict::Append(records)) = verdict else {
            unreachable!("an event without id or expectation is always appended");
        };
        journal.append(&records)?;
        self.state.settle();
        for record in records {
            self.remember_id(&record, lag_max);
            self.take(record).expect("it was just written so");
        }
        self.recent.count_from_here();
        Ok(epoch)
    }
}

struct NothingSeen;

impl SeenIds for NothingSeen {
    fn find(&self, _: &Uuid) -> Option<Arc<Record>> {
        None
    }
}
