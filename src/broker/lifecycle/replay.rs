//! Restores everything that is held in memory from the last snapshot and the log behind it.

use std::sync::Arc;

use tracing::{info, warn};

use crate::audit::Digest;
use crate::broker::lifecycle::error::StartError;
use crate::config::Config;
use crate::decide::{FoldState, Limits, RestoredRecord};
use crate::journal::{
    DataDir, Journal, JournalOptions, OpenContext, OpenedJournal, Snapshot, UnverifiedSegments,
};
use crate::order::RecentIds;
use crate::projection::Applied;
use crate::record::{Record, RecordError, Seq, StoredRecord};
use crate::subscription::epochs::{Epochs, open_name};
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
    lag_max: u64,
}

/// An opened log, and what was restored from it.
pub struct ReplayedLog {
    pub journal: Journal,
    pub restored: ReplayedState,
    /// Segments that the snapshot stands for, which are still to be verified.
    pub unverified: Option<UnverifiedSegments>,
    /// Bytes of the log that were read.
    pub bytes_read: u64,
}

/// What the projection knows about the log.
#[derive(Clone, Copy, Default)]
pub struct ProjectionEvidence<'a> {
    /// The position that it had applied at least.
    pub applied: Option<&'a Applied>,
    /// Finds out its real position, which may take long.
    pub confirm: Option<&'a dyn Fn() -> Seq>,
}

/// Takes the latest records from the last snapshot, if there is one, and the rest from the log.
/// Nothing that is served comes from anywhere else.
pub fn replay(
    directory: &DataDir,
    config: &Config,
    evidence: ProjectionEvidence<'_>,
) -> Result<ReplayedLog, StartError> {
    let (snapshot, restored) = read_snapshot(directory, config);
    if let Some(replayed) = read_log(directory, config, evidence, snapshot.as_ref(), restored)? {
        return Ok(replayed);
    }
    warn!("the snapshot belongs to another history of this log; the whole log is read");
    let restored = ReplayedState::new(config);
    let replayed = read_log(directory, config, evidence, None, restored)?;
    Ok(replayed.expect("without a snapshot there is no other history"))
}

/// Bounds of the fold.
pub fn limits(config: &Config) -> Limits {
    let saturating = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    Limits {
        events_max: saturating(config.max_events),
        latest_bytes_max: saturating(config.max_latest_bytes),
        consumers_max: config.max_consumers.get(),
    }
}

/// Reads the log behind a snapshot; none if the snapshot belongs to another history.
fn read_log(
    directory: &DataDir,
    config: &Config,
    evidence: ProjectionEvidence<'_>,
    snapshot: Option<&Snapshot>,
    mut restored: ReplayedState,
) -> Result<Option<ReplayedLog>, StartError> {
    let applied_seq = evidence.applied.map_or(0, |applied| applied.seq);
    let through = snapshot.map_or(0, Snapshot::head);
    let mut is_of_another_history = false;
    let mut visit = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
        let record = Arc::new(stored.to_record()?);
        if record.seq() == applied_seq {
            restored.chain_at_applied = Some(*chain);
        }
        if record.seq() == through && snapshot.is_some_and(|snapshot| snapshot.chain() != chain) {
            is_of_another_history = true;
            return Err(RecordError::System("the snapshot has another chain here".to_owned()));
        }
        if record.seq() > applied_seq {
            restored.remember_id(&record);
        }
        // The last record that the snapshot stands for may not be in it, if it was superseded.
        if record.seq() > through || record.seq() == through && restored.latest.head() < through {
            restored.state.restore(RestoredRecord::of(&record));
            restored.take(record)?;
        }
        Ok(())
    };
    let known = OpenContext {
        durable_seq_min: applied_seq,
        confirm_durable: evidence.confirm,
        snapshot,
        // Without a projection, ids are looked up only once it is rebuilt.
        read_from: if applied_seq > 0 { applied_seq } else { Seq::MAX },
    };
    let options = JournalOptions { segment_bytes_max: config.segment_bytes };
    let opened = Journal::open_with(directory, options, &known, &mut visit);
    if is_of_another_history {
        return Ok(None);
    }
    let OpenedJournal { journal, report, unverified } = opened?;
    if let Some(torn) = &report.torn {
        warn!(
            file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
            kept_at = %torn.kept_at.display(), last_good_seq = torn.last_good_seq,
            "the log ended in an incomplete group, which nothing shows to have been acknowledged; \
             it was cut and quarantined"
        );
    }
    info!(records = report.records_read, seq = report.head, snapshot = through, "log read");
    restored.end_at(report.head);
    let bytes_read = report.bytes_read;
    Ok(Some(ReplayedLog { journal, restored, unverified, bytes_read }))
}

/// Restores from the last snapshot; nothing without one that can be used.
fn read_snapshot(directory: &DataDir, config: &Config) -> (Option<Snapshot>, ReplayedState) {
    let mut restored = ReplayedState::new(config);
    let Some(snapshot) = Journal::snapshot(directory) else { return (None, restored) };
    let visited = snapshot.visit(&mut |stored| {
        let record = Arc::new(stored.to_record()?);
        if record.seq() <= restored.latest.head() {
            return Err(RecordError::System("it is out of order in the snapshot".to_owned()));
        }
        restored.state.restore_latest(RestoredRecord::of(&record));
        restored.take(record)
    });
    match visited {
        Ok(()) => (Some(snapshot), restored),
        Err(error) => {
            warn!(%error, "the snapshot cannot be used; the whole log is read");
            (None, ReplayedState::new(config))
        }
    }
}

impl ReplayedState {
    fn new(config: &Config) -> Self {
        let lag_max = config.max_projection_lag;
        Self {
            state: FoldState::new(limits(config)),
            latest: LatestRecords::default(),
            epochs: Epochs::default(),
            opens: Vec::new(),
            recent: RecentIds::new(0, lag_max),
            chain_at_applied: None,
            lag_max,
        }
    }

    /// Adds a record that is in the state; seqs rise.
    fn take(&mut self, record: Arc<Record>) -> Result<(), RecordError> {
        self.latest.apply(&record);
        if record.event() == &open_name() {
            self.epochs.restore(record.seq(), record.data()).map_err(RecordError::System)?;
            self.opens.push(record);
        }
        Ok(())
    }

    /// Remembers the id of a record that the projection lacks. Ids before the first, and those that
    /// do not fit, are unknown until the projection has applied them.
    fn remember_id(&mut self, record: &Record) {
        if self.recent.is_empty() {
            self.recent = RecentIds::new(record.seq() - 1, self.lag_max);
        }
        self.recent.insert(record);
        self.recent.keep_last(self.lag_max / 2);
    }

    /// The log was read to its end.
    fn end_at(&mut self, head: Seq) {
        if self.recent.is_empty() {
            self.recent = RecentIds::new(head, self.lag_max);
        }
    }

    /// Whether the projection was derived from this very log.
    pub fn agrees(&self, applied: Option<&Applied>) -> bool {
        applied.is_none_or(|applied| self.chain_at_applied == Some(applied.chain))
    }
}
