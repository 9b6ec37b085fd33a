//! The engines behind the order: the journal as its log, journal and projection as its memory of
//! ids.
//!
//! An id may name the place of its record in the log (`record::names_place`): then the record there
//! is compared with it. Any other id is in the projection.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::error;
use uuid::Uuid;

use crate::decide::{Proposed, is_same_insert};
use crate::journal::{AppendError, Follower, Journal, LocatedRecord, LocationError, Reader};
use crate::order::{Log, LookedUp, ProposeError, RestoredIds, Submission};
use crate::projection::{IdLookup, ProjectionHandle, Unavailable};
use crate::record::{Record, Seq, named_seqs};

/// Bytes of the log that are read at a time.
const READ_BYTES_MAX: usize = 256 << 10;
/// So many records further on, a new start in the log is cheaper than reading on.
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

/// Finds ids that do not name their place; derived from the log, and behind it.
pub trait IdIndex: Send + 'static {
    /// Records up to here can be found.
    fn applied(&self) -> Seq;

    /// The record that an id belongs to, as far as it is applied.
    ///
    /// # Errors
    /// [`Unavailable`] when nothing can be told now.
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

/// Old ids are in the log and the projection, records by seq in the log.
pub struct IdFinder<P = ProjectionHandle> {
    projection: P,
    reader: Reader,
    /// Where the last record was read: a batch that is sent again asks for one after the other.
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

    /// Looks up the caller's ids, off the appending thread: reading the log for an id that only
    /// seems to name a place takes up to a MiB of it. What the projection cannot tell now is asked
    /// again behind the queue, where recent ids are known.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when the log cannot be read where an id may belong.
    pub fn look_up(&mut self, submission: &mut Submission) -> Result<(), ProposeError> {
        // Before the look-up: what comes later is not looked at.
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
                // The fold refuses at the first that differs, so the rest need not be loaded; what
                // is the same is as large as the request itself.
                let is_same = is_same_insert(&record, event);
                submission.known.insert(id, Arc::new(record));
                if !is_same {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The durable record that an id belongs to, as far as the projection has come.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when it cannot be known now.
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

    /// The record that an id names and belongs to, up to here.
    fn named(&mut self, id: &Uuid, through: Seq) -> Result<Option<Record>, LocationError> {
        for seq in named_seqs(id, through) {
            // Most ids that seem to name a place do not: the record itself is read only for one
            // that does.
            let located = self.locate(seq)?;
            if located.meta().id == *id {
                return self.reader.read_at(&located.place).map(Some);
            }
        }
        Ok(None)
    }

    /// What names a durable record, and where it lies.
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
            // After an error the next look begins anew.
            let located = reading.follower.next_located(READ_BYTES_MAX)?;
            if located.is_empty() {
                return Err(LocationError::Nowhere);
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
        let read = self.locate(seq).and_then(|located| self.reader.read_at(&located.place));
        read.map(Arc::new).map_err(|error| {
            error!(%error, seq, "a durable record cannot be read back");
            ProposeError::IdsNotReady
        })
    }
}
