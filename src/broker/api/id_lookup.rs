//! Finds the record of an id: the journal and the projection as the order's memory of ids.
//!
//! An id may name the seq of its record (`record::is_self_locating`); then the record there is compared
//! with it. Any other id is in the projection.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::error;
use uuid::Uuid;

use crate::decide::{Proposed, is_same_insert};
use crate::journal::{AppendError, Follower, Journal, LocatedRecord, LocationError, Reader};
use crate::order::{Log, LookedUp, ProposeError, RestoredIds, Submission};
use crate::projection::{IdLookup, ProjectionHandle, Unavailable};
use crate::record::{Record, Seq, encoded_seqs};

/// Bytes of the log that are read at once.
const READ_BYTES_MAX: usize = 256 << 10;
/// A record further ahead than this is reached faster through the index than by reading on.
const READ_ON_MAX: u64 = 4_096;

impl Log for Journal {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        Journal::append(self, records)
    }

    fn has_room(&self, bytes: usize) -> bool {
        Journal::has_room(self, bytes)
    }

    fn close(self) -> Result<(), String> {
        Journal::close(self).map_err(|error| error.to_string())
    }
}

/// Finds ids that do not name their seq. It is derived from the log and lags behind it.
pub trait IdIndex: Send + 'static {
    /// Records up to here can be found.
    fn applied(&self) -> Seq;

    /// The record with this id, if it is applied.
    ///
    /// # Errors
    /// [`Unavailable`] if that is not known now.
    fn by_id(&self, id: &Uuid) -> Result<IdLookup, Unavailable>;
}

impl IdIndex for ProjectionHandle {
    fn applied(&self) -> Seq {
        Self::applied(self)
    }

    fn by_id(&self, id: &Uuid) -> Result<IdLookup, Unavailable> {
        Self::by_id(self, id)
    }
}

/// Looks in the log for ids that name their seq, and in the projection for all others.
pub struct IdFinder<P = ProjectionHandle> {
    projection: P,
    reader: Reader,
    /// Where the last record was read: the ids of a repeated batch follow each other in the log.
    reading: Option<LogWalk>,
}

struct LogWalk {
    follower: Follower,
    ahead: VecDeque<LocatedRecord>,
}

impl<P: IdIndex> IdFinder<P> {
    pub fn new(projection: P, reader: Reader) -> Self {
        Self { projection, reader, reading: None }
    }

    /// Looks up the caller's ids before the queue, because an id that only seems to name a seq may
    /// take reading a MiB of the log. An id that the projection does not know yet is looked up
    /// again on the appending thread, where recent ids are known.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] if the log cannot be read where an id may belong.
    pub fn look_up(&mut self, submission: &mut Submission) -> Result<(), ProposeError> {
        // Read before the look-up, which does not cover later records.
        let through = LookedUp { named: self.reader.durable(), others: self.projection.applied() };
        submission.looked_up = through;
        for Proposed { event, .. } in &submission.proposal.events {
            let Some(id) = event.id else { continue };
            let named = self.named(&id, through.named).map_err(|error| {
                error!(%error, "the log cannot be read where an id may belong");
                ProposeError::IdsNotReady
            });
            let found = match named? {
                Some(record) => Some(record),
                None => match self.projection.by_id(&id) {
                    Ok(IdLookup::Found(record)) => Some(record),
                    Ok(IdLookup::Absent) => None,
                    Ok(IdLookup::NotYet) | Err(_) => {
                        submission.looked_up.others = 0;
                        None
                    }
                },
            };
            if let Some(record) = found {
                // The fold rejects at the first record that differs, so the rest is not loaded. The
                // records that do not differ are as large as the request itself.
                let is_same = is_same_insert(&record, event);
                submission.known.insert(id, Arc::new(record));
                if !is_same {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The durable record with this id, as far as the projection has applied the log.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] if that is not known now.
    #[cfg(feature = "rabbitmq")]
    pub fn find(&mut self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        let named = self.named(id, self.reader.durable()).map_err(|error| {
            error!(%error, "the log cannot be read where an id may belong");
            ProposeError::IdsNotReady
        })?;
        match named {
            Some(record) => Ok(Some(Arc::new(record))),
            None => self.find_old(id),
        }
    }

    /// The record up to `through` whose seq this id names and that has it.
    fn named(&mut self, id: &Uuid, through: Seq) -> Result<Option<Record>, LocationError> {
        for seq in encoded_seqs(id, through) {
            // Most ids that seem to name a seq do not, so the record itself is read only if the id
            // matches.
            let located = self.locate(seq)?;
            if located.meta().id == *id {
                return self.reader.read_at(&located.location).map(Some);
            }
        }
        Ok(None)
    }

    /// The meta and location of a durable record.
    fn locate(&mut self, seq: Seq) -> Result<LocatedRecord, LocationError> {
        let mut reading = match self.reading.take() {
            Some(reading) if reading.can_reach(seq) => reading,
            _ => LogWalk { follower: self.reader.follow(seq - 1), ahead: VecDeque::new() },
        };
        loop {
            while let Some(located) = reading.ahead.pop_front() {
                if located.seq() == seq {
                    self.reading = Some(reading);
                    return Ok(located);
                }
            }
            // After an error the next look-up starts again.
            let located = reading.follower.next_located(READ_BYTES_MAX)?;
            if located.is_empty() {
                return Err(LocationError::OutsideLog);
            }
            reading.ahead = located.into();
        }
    }
}

impl LogWalk {
    fn can_reach(&self, seq: Seq) -> bool {
        let next = self.ahead.front().map_or(self.follower.position() + 1, |ahead| ahead.seq());
        (next..next + READ_ON_MAX).contains(&seq)
    }
}

impl<P: IdIndex> RestoredIds for IdFinder<P> {
    fn applied(&self) -> Seq {
        self.projection.applied()
    }

    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        match self.projection.by_id(id) {
            Ok(IdLookup::Found(record)) => Ok(Some(Arc::new(record))),
            Ok(IdLookup::Absent) => Ok(None),
            Ok(IdLookup::NotYet) | Err(_) => Err(ProposeError::IdsNotReady),
        }
    }

    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError> {
        let read = self.locate(seq).and_then(|located| self.reader.read_at(&located.location));
        read.map(Arc::new).map_err(|error| {
            error!(%error, seq, "a durable record cannot be read back");
            ProposeError::IdsNotReady
        })
    }
}
