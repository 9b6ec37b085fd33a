//! The progress file: the position that the store had reached, kept next to it.
//!
//! sled writes a snapshot of its page table when it is opened, and never while it runs, so an open
//! replays everything written since the last one: about 0.1 s a million records. With a progress
//! file a start need not wait for that: it takes the position from the file, and the store is
//! opened and compared with it in the background.
//!
//! The file is written in place. One that is damaged, missing, of another log or of another store
//! counts as none: the start then waits for the store to open.
//!
//! ```text
//! bytes  field, numbers big-endian
//!     8  magic: 8A "BMILE" 0D 0A
//!     8  number of the store, as in its directory's name
//!     8  seq that the store was at when it was last opened
//!    85  the applied position, as in the store
//!     4  CRC-32C of everything before
//! ```
//!
//! The log was durable up to the position, which is written after it was applied. The store may be
//! behind it, because sled keeps its last half second of writes in memory, or half a second ahead.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::projection::store::position::Applied;
use crate::projection::store::{StoreFault, keys};
use crate::record::Seq;

const FILE_NAME: &str = "progress";
/// Name of the file in earlier builds: it is not read, only removed.
const FORMER_FILE_NAME: &str = "milestone";
const BYTES: usize = 113;
const MAGIC: [u8; 8] = *b"\x8aBMILE\r\n";

/// The position that a store had reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressFile {
    /// Seq of the last record that the store held when it was opened.
    pub opened_at: Seq,
    pub applied: Applied,
}

impl ProgressFile {
    /// Reads the file of the store with this number; `None` when there is none, or none that can be
    /// used.
    pub fn read(dir: &Path, generation: u64, log_id: Uuid) -> Option<Self> {
        let mut bytes = [0; BYTES];
        if let Err(error) = File::open(path(dir)).and_then(|file| file.read_exact_at(&mut bytes, 0))
        {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::debug!(%error, "the progress file cannot be read");
            }
            return None;
        }
        match Self::decode(&bytes, generation, log_id) {
            Ok(progress_file) => progress_file,
            Err(fault) => {
                tracing::debug!(%fault, "the progress file cannot be used");
                None
            }
        }
    }

    /// Writes and syncs the file.
    pub fn write(&self, dir: &Path, generation: u64, log_id: Uuid) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path(dir))?;
        file.write_all_at(&self.encode(generation, log_id), 0)?;
        file.sync_data()
    }

    /// How many records the next open of the store replays.
    pub fn replayed(&self) -> u64 {
        self.applied.seq.saturating_sub(self.opened_at)
    }

    pub fn encode(&self, generation: u64, log_id: Uuid) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&self.opened_at.to_be_bytes());
        bytes.extend_from_slice(&self.applied.encode(log_id));
        keys::seal(&[], bytes)
    }

    /// `None` when it is of another store.
    pub fn decode(bytes: &[u8], generation: u64, log_id: Uuid) -> Result<Option<Self>, StoreFault> {
        let bytes = keys::unseal(&[], bytes).ok_or(StoreFault::Invalid("it is damaged"))?;
        let (magic, rest) = keys::take(bytes)?;
        if magic != MAGIC {
            return Err(StoreFault::Invalid("it is not a progress file"));
        }
        let (stored_generation, rest) = keys::take_u64(rest)?;
        let (opened_at, rest) = keys::take_u64(rest)?;
        let applied = Applied::decode(rest, log_id)?;
        Ok((stored_generation == generation).then_some(Self { opened_at, applied }))
    }
}

/// Removes the file, so that the next start opens the store first.
pub fn remove(dir: &Path) -> io::Result<()> {
    for name in [FILE_NAME, FORMER_FILE_NAME] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stored_format_is_unchanged() {
        let stored = &include_bytes!("../../../fuzz/corpus/index/progress")[1..];
        let log_id = Uuid::from_bytes(std::array::from_fn(|i| i as u8));
        let progress_file = ProgressFile::decode(stored, 3, log_id).unwrap().unwrap();
        assert_eq!((progress_file.opened_at, progress_file.applied.seq), (7, 1_234));
        assert_eq!(progress_file.encode(3, log_id), stored);
    }

    proptest! {
        #[test]
        fn progress_file_reads_back_for_its_store_only_and_detects_any_flipped_bit(
            seq: u64, chain: [u8; 32], opened_at: u64, generation: u64, log: [u8; 16],
            bit in 0..BYTES * 8, len in 0..BYTES,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let read = |generation, log_id| ProgressFile::read(dir.path(), generation, log_id);
            let applied = Applied { seq, chain, ..Applied::default() };
            let progress_file = ProgressFile { opened_at, applied };
            let log_id = Uuid::from_bytes(log);
            prop_assert_eq!(read(generation, log_id), None);
            // Whatever the file held before is overwritten.
            fs::write(path(dir.path()), [7; 2 * BYTES]).unwrap();
            progress_file.write(dir.path(), generation, log_id).unwrap();
            prop_assert_eq!(read(generation, log_id), Some(progress_file));
            prop_assert_eq!(read(!generation, log_id), None);
            prop_assert_eq!(read(generation, Uuid::from_u128(!log_id.as_u128())), None);
            let mut bytes = progress_file.encode(generation, log_id);
            prop_assert_eq!(bytes.len(), BYTES);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(path(dir.path()), &bytes).unwrap();
            prop_assert_eq!(read(generation, log_id), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(path(dir.path()), &bytes[..len]).unwrap();
            prop_assert_eq!(read(generation, log_id), None);
            remove(dir.path()).unwrap();
            remove(dir.path()).unwrap();
            prop_assert_eq!(read(generation, log_id), None);
        }
    }
}
