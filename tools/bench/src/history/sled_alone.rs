//! sled with the entries of Broker's projection, or with an entry for each version, in the same
//! batches. Nothing else is done: no log is read, and nothing is checked. What Broker remembers of
//! an event from an earlier batch is looked up.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::Result;
use broker_tools::workload::name;

/// Versions in a full block of Broker's projection. sled alone is measured with such blocks, and
/// with an entry for each version, on which the goals were based.
pub const BROKER_BLOCK: u64 = 16;
/// An entry for each version.
pub const SINGLE_BLOCK: u64 = 1;

/// As in Broker: records of a step, how long a short step waits for more, and how many records may
/// wait before inserts are refused.
const STEP_RECORDS_MAX: usize = 1_000;
const REST: Duration = Duration::from_millis(50);
const LAG_RECORDS_MAX: u64 = 2_000_000;

/// Lengths in Broker's entries. The first location of a block takes some 7 more.
const LOCATION_IN_BLOCK_BYTES: usize = 15;
/// Length of a location with an entry of its own.
const LOCATION_BYTES: usize = 38;
const FIELDS_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 4;

/// A database with the settings of Broker's.
struct Index {
    db: sled::Db,
    /// Versions in a full block.
    block: u64,
    seq: u64,
}

/// The entry of an event: the number of its history, its latest version, and the locations of the
/// versions that do not fill a block yet.
struct IndexEntry {
    number: u64,
    version: u64,
    open: Vec<u8>,
}

impl Index {
    fn open(path: &Path, block: u64) -> Result<Self> {
        let config = sled::Config::new().path(path).cache_capacity(64 << 20);
        let db = config.segment_size(8 << 20).flush_every_ms(Some(500)).open()?;
        Ok(Self { db, block, seq: 0 })
    }

    /// Applies a batch: the entry of each event in it, every full block, and a position.
    fn step(&mut self, events: &[usize]) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut changed: HashMap<Vec<u8>, IndexEntry> = HashMap::new();
        for &event in events {
            self.seq += 1;
            let mut key = vec![b'n'];
            key.extend_from_slice(name(event).as_bytes());
            key.push(0);
            let entry = match changed.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let stored = self.db.get(unknown.key())?;
                    let stored = stored.map(|value| IndexEntry::decode(&value));
                    unknown.insert(stored.unwrap_or(IndexEntry::new(self.seq)))
                }
            };
            if let Some((key, block)) = entry.push(self.seq, self.block) {
                batch.insert(&key, block);
            }
        }
        for (key, entry) in &changed {
            batch.insert(key.as_slice(), entry.encode(self.seq));
        }
        let mut position = [0x5a; 85];
        position[..8].copy_from_slice(&self.seq.to_be_bytes());
        batch.insert(b"a", position.as_slice());
        Ok(self.db.apply_batch(batch)?)
    }
}

impl IndexEntry {
    fn new(number: u64) -> Self {
        Self { number, version: 0, open: Vec::new() }
    }

    /// Adds a version, and returns the key and value of the block that it fills, if it does.
    fn push(&mut self, seq: u64, versions: u64) -> Option<([u8; 17], Vec<u8>)> {
        self.version += 1;
        let bytes = if versions == 1 { LOCATION_BYTES } else { LOCATION_IN_BLOCK_BYTES };
        // As in Broker, numbers that change little, and a checksum.
        let checksum = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        self.open.resize(self.open.len() + bytes - checksum.len(), 0);
        self.open.extend_from_slice(&checksum);
        if !self.version.is_multiple_of(versions) {
            return None;
        }
        let mut key = [b'h'; 17];
        key[1..9].copy_from_slice(&self.number.to_be_bytes());
        key[9..].copy_from_slice(&(self.version + 1 - versions).to_be_bytes());
        let mut block = std::mem::take(&mut self.open);
        block.extend_from_slice(&[0x5a; CHECKSUM_BYTES]);
        Some((key, block))
    }

    /// Two times and the seq follow the version, and are not decoded.
    fn encode(&self, seq: u64) -> Vec<u8> {
        let mut value = Vec::with_capacity(FIELDS_BYTES + self.open.len() + CHECKSUM_BYTES);
        for field in [self.number, self.version, seq, seq, seq] {
            value.extend_from_slice(&field.to_be_bytes());
        }
        value.extend_from_slice(&self.open);
        value.extend_from_slice(&[0x5a; CHECKSUM_BYTES]);
        value
    }

    fn decode(value: &[u8]) -> Self {
        let field = |at: usize| {
            let bytes = value[at..at + 8].try_into().expect("the slice has eight bytes");
            u64::from_be_bytes(bytes)
        };
        let open = value[FIELDS_BYTES..value.len() - CHECKSUM_BYTES].to_vec();
        Self { number: field(0), version: field(8), open }
    }
}

/// Applies records of a number of events as fast as possible, and returns the seconds.
pub fn fill(path: &Path, block: u64, records: usize, events: usize) -> Result<f64> {
    let mut index = Index::open(path, block)?;
    let started = Instant::now();
    let mut step = Vec::with_capacity(STEP_RECORDS_MAX);
    for first in (0..records).step_by(STEP_RECORDS_MAX) {
        step.clear();
        step.extend((first..records.min(first + STEP_RECORDS_MAX)).map(|record| record % events));
        index.step(&step)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Waiting records, and the thread that applies them.
pub struct Queue {
    waiting: Mutex<VecDeque<usize>>,
    filled: Condvar,
    taken: AtomicU64,
    applied: AtomicU64,
}

impl Queue {
    /// Starts with an empty database, until the program ends.
    pub fn start(path: &Path, block: u64) -> Result<Arc<Self>> {
        let mut index = Index::open(path, block)?;
        let queue = Arc::new(Self {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            taken: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        });
        let shared = queue.clone();
        thread::spawn(move || {
            loop {
                let step = shared.next();
                if let Err(error) = index.step(&step) {
                    eprintln!("sled: {error}");
                    std::process::exit(1);
                }
                shared.applied.fetch_add(step.len() as u64, Ordering::Relaxed);
            }
        });
        Ok(queue)
    }

    /// Takes a record of an event, unless too many wait.
    pub fn take(&self, event: usize) -> bool {
        if self.lag() >= LAG_RECORDS_MAX {
            return false;
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(event);
        if waiting.len() == STEP_RECORDS_MAX {
            self.filled.notify_one();
        }
        true
    }

    /// The number of applied records.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// The number of waiting records.
    pub fn lag(&self) -> u64 {
        let applied = self.applied();
        self.taken.load(Ordering::Relaxed).saturating_sub(applied)
    }

    fn next(&self) -> Vec<usize> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |waiting: &mut VecDeque<usize>| waiting.len() < STEP_RECORDS_MAX;
        let waited = self.filled.wait_timeout_while(waiting, REST, is_short);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let len = waiting.len().min(STEP_RECORDS_MAX);
        waiting.drain(..len).collect()
    }
}
