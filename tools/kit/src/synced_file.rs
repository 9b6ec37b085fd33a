//! The floor of durability: one append and one sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What the journal writes for a value of the workload: head 72, leaf and lengths 92, checksums and
/// salts 40, meta 40, data 200, rounded up to a multiple of 8.
const FRAME_BYTES: usize = 448;

/// A file of synced zeros that is appended to as the journal is, from the start again when it is
/// full.
pub struct SyncedFile {
    file: File,
    offset: u64,
    frames: usize,
}

impl SyncedFile {
    /// Creates a file for this many frames.
    pub fn new(path: &Path, frames: usize) -> io::Result<Self> {
        let file = File::create_new(path)?;
        file.write_all_at(&vec![0; frames * FRAME_BYTES], 0)?;
        file.sync_all()?;
        Ok(Self { file, offset: 0, frames })
    }

    /// Appends and syncs one frame.
    pub fn append(&mut self) -> io::Result<()> {
        self.append_group(1)
    }

    /// Appends frames with one write, and syncs them.
    pub fn append_group(&mut self, frames: usize) -> io::Result<()> {
        let bytes = frames * FRAME_BYTES;
        if self.offset as usize + bytes > self.frames * FRAME_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(&vec![0xa5; bytes], self.offset)?;
        self.file.sync_data()?;
        self.offset += bytes as u64;
        Ok(())
    }
}
