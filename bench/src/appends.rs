//! The floor of being durable: one append and one sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What the journal writes for one value of the workload: head 72, leaf and lengths 92, checksums
/// and salts 40, meta 40, data 200, to a multiple of 8.
const FRAME_BYTES: usize = 448;

/// Appends to a file of synced zeros, as the journal does.
pub struct Appends {
    file: File,
    end: u64,
}

impl Appends {
    /// Makes the file, with room for so many.
    pub fn new(path: &Path, frames: usize) -> io::Result<Self> {
        let file = File::create_new(path)?;
        file.write_all_at(&vec![0; frames * FRAME_BYTES], 0)?;
        file.sync_all()?;
        Ok(Self { file, end: 0 })
    }

    /// Appends a frame and syncs it.
    pub fn append(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[0xa5; FRAME_BYTES], self.end)?;
        self.file.sync_data()?;
        self.end += FRAME_BYTES as u64;
        Ok(())
    }
}
