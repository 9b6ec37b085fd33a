//! The engines behind the order: the journal as its log, journal and projection as its memory of
//! ids.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::error;
use uuid::Uuid;

use crate::journal::{AppendError, Follower, Journal, Reader};
use crate::order::{Log, ProposeError, RestoredIds};
use crate::projection::{IdLookup, ProjectionHandle};
use crate::record::{Record, Seq};

/// Bytes of the log that are read at a time.
const READ_BYTES_MAX: usize = 256 << 10;
/// So many records further on, a new start in the log is cheaper than reading on.
const READ_ON_MAX: u64 = 4_096;

impl Log for Journal {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        Journal::append(self, records)
    }

    fn close(self) -> Result<(), String> {
        Journal::close(self).map_err(|error| error.to_string())
    }
}

/// Old ids are in the projection, records by seq in the journal.
pub(super) struct Engines {
    projection: ProjectionHandle,
    reader: Reader,
    /// Where the last record was read: a batch that is sent again asks for one after the other.
    reading: Option<Reading>,
}

struct Reading {
    follower: Follower,
    ahead: VecDeque<Record>,
}

impl Engines {
    pub fn new(projection: ProjectionHandle, reader: Reader) -> Self {
        Self { projection, reader, reading: None }
    }

    fn read(&mut self, seq: Seq) -> Result<Arc<Record>, String> {
        let reading = match self.reading.take() {
            Some(reading) if reading.can_reach(seq) => reading,
            _ => Reading { follower: self.reader.follow(seq - 1), ahead: VecDeque::new() },
        };
        let reading = self.reading.insert(reading);
        loop {
            while let Some(record) = reading.ahead.pop_front() {
                if record.seq() == seq {
                    return Ok(Arc::new(record));
                }
            }
            let records = reading.follower.next(READ_BYTES_MAX).map_err(|e| e.to_string())?;
            if records.is_empty() {
                return Err("it is not there yet".to_owned());
            }
            reading.ahead = records.into();
        }
    }
}

impl Reading {
    fn can_reach(&self, seq: Seq) -> bool {
        let next = self.ahead.front().map_or(self.follower.position() + 1, Record::seq);
        (next..next + READ_ON_MAX).contains(&seq)
    }
}

impl RestoredIds for Engines {
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
        self.read(seq).map_err(|error| {
            self.reading = None;
            error!(%error, seq, "a durable record cannot be read back");
            ProposeError::IdsNotReady
        })
    }
}
