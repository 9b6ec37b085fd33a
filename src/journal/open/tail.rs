//! Repairs the end of the last segment after a crash: quarantines and cuts a torn tail, and syncs
//! what may not have been synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::journal::disk::Disk;
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::segment::FIRST_GROUP_AT;
use crate::journal::format::watermark::WatermarkContents;
use crate::journal::open::opened::TornTail;
use crate::journal::open::scan::{SegmentEnd, TornGroup};
use crate::record::Seq;

/// Prefix of the files that hold quarantined tails.
pub const TORN_PREFIX: &str = "torn-";

/// Suffix of a quarantined tail until it is durably cut from its segment.
const CUTTING_SUFFIX: &str = ".cutting";

/// Size of the writes that rewrite the end of the log.
const REWRITE_BYTES: usize = 1024 * 1024;

/// The last segment, open for repair.
pub struct LastSegment<'a> {
    disk: &'a Disk,
    journal: &'a Path,
    end: &'a SegmentEnd,
    file: File,
}

/// Whether a file name is that of a quarantined tail that may still be in its segment.
pub fn is_cutting(name: &str) -> bool {
    name.starts_with(TORN_PREFIX) && name.ends_with(CUTTING_SUFFIX)
}

impl<'a> LastSegment<'a> {
    pub fn open(
        disk: &'a Disk,
        journal: &'a Path,
        end: &'a SegmentEnd,
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new().read(true).write(true).open(&end.path);
        let file = file.map_err(io_error("opening", &end.path))?;
        Ok(Self { disk, journal, end, file })
    }

    /// Copies a torn tail to a quarantine file and syncs it, before the segment is changed.
    pub fn quarantine(
        &self,
        torn: TornGroup,
        last_good_seq: Seq,
    ) -> Result<TornTail, JournalError> {
        let TornGroup { offset, bytes } = torn;
        let path = &self.end.path;
        let mut tail = vec![0; usize::try_from(bytes).expect("the scan read it into memory")];
        self.file.read_exact_at(&mut tail, offset).map_err(io_error("reading", path))?;
        let kept_at = self.write_quarantined(last_good_seq, &tail)?;
        self.disk.sync_dir(self.journal).map_err(io_error("syncing", self.journal))?;
        Ok(TornTail { file: path.clone(), offset, bytes, kept_at, last_good_seq })
    }

    /// If there is a tail to cut, overwrites everything behind the log with zeros and syncs it.
    /// `leftovers` are the tails that an interrupted open may not have cut.
    ///
    /// Reading zeros does not show that a tail is gone: if the sync of an earlier cut failed, the
    /// system may hold the zeros in memory and treat them as written, and a power cut would bring
    /// the tail back behind records appended since. So the quarantine file keeps the suffix
    /// `.cutting` until the cut is durable.
    pub fn cut(&self, leftovers: &[PathBuf], torn: Option<&TornTail>) -> Result<(), JournalError> {
        let mut cutting = leftovers.to_vec();
        let torn = torn.map(|torn| torn.kept_at.with_extension(&CUTTING_SUFFIX[1..]));
        cutting.extend(torn.filter(|path| !leftovers.contains(path)));
        if cutting.is_empty() {
            return Ok(());
        }
        let SegmentEnd { path, offset, file_bytes, .. } = self.end;
        let zeroed = self.disk.zero(&self.file, *offset, file_bytes - offset);
        zeroed
            .and_then(|()| self.disk.sync(&self.file))
            .map_err(io_error("cutting a torn group from", path))?;
        for path in &cutting {
            self.disk.rename(path, &path.with_extension("")).map_err(io_error("renaming", path))?;
        }
        self.disk.sync_dir(self.journal).map_err(io_error("syncing", self.journal))
    }

    /// Writes and syncs everything between the watermark and the end of the log again; returns the
    /// number of bytes.
    ///
    /// The process that wrote it may have died before its sync, or the sync failed and the system
    /// holds the bytes in memory and treats them as written. Only the last segment can hold such
    /// bytes: a segment is started after everything before it was synced.
    pub fn rewrite(&self, watermark: &WatermarkContents) -> Result<u64, JournalError> {
        let from = self.synced_to(watermark);
        let mut buffer = vec![0; REWRITE_BYTES];
        self.rewrite_from(from, &mut buffer)
            .map_err(io_error("rewriting the end of", &self.end.path))?;
        Ok(self.end.offset - from)
    }

    /// The file of the segment.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Writes a torn tail under the first free name `torn-<last good seq>-<n>`, with the suffix
    /// `.cutting`. Returns the name without the suffix, which the file gets once the tail is cut.
    fn write_quarantined(&self, last_good_seq: Seq, tail: &[u8]) -> Result<PathBuf, JournalError> {
        let disk = self.disk;
        for n in 1u32.. {
            let name = format!("{TORN_PREFIX}{last_good_seq}-{n}");
            let kept_at = self.journal.join(&name);
            if kept_at.exists() {
                continue;
            }
            let path = self.journal.join(name + CUTTING_SUFFIX);
            let file = match disk.create_new(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Left by an interrupted open; if it is complete, no second copy is needed.
                    if has_content(&path, tail).map_err(io_error("reading", &path))? {
                        rewrite_file(disk, &path).map_err(io_error("syncing", &path))?;
                        return Ok(kept_at);
                    }
                    continue;
                }
                Err(error) => return Err(io_error("creating", path)(error)),
            };
            if let Err(error) = disk.write(&file, tail, 0).and_then(|()| disk.sync_all(&file)) {
                // A partial copy is useless: the whole tail is still in the segment.
                let _ = disk.remove(&path);
                return Err(io_error("quarantining a torn group in", path)(error));
            }
            return Ok(kept_at);
        }
        unreachable!("a directory holds fewer than 2^32 files")
    }

    /// The offset up to which the watermark shows that the segment was synced.
    fn synced_to(&self, contents: &WatermarkContents) -> u64 {
        let watermark = contents.watermark.filter(|watermark| watermark.segment == self.end.number);
        let offset = watermark.map(|watermark| watermark.offset);
        offset.filter(|offset| *offset <= self.end.offset).unwrap_or(FIRST_GROUP_AT)
    }

    fn rewrite_from(&self, mut at: u64, buffer: &mut [u8]) -> io::Result<()> {
        while at < self.end.offset {
            let left = self.end.offset - at;
            let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.file.read_exact_at(&mut buffer[..len], at)?;
            self.disk.write(&self.file, &buffer[..len], at)?;
            at += len as u64;
        }
        self.disk.sync(&self.file)
    }
}

fn has_content(path: &Path, tail: &[u8]) -> io::Result<bool> {
    fs::read(path).map(|bytes| bytes == tail)
}

/// Writes and syncs the file again: after a failed sync, the system may treat unwritten pages as
/// clean.
fn rewrite_file(disk: &Disk, path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    disk.write(&file, &bytes, 0)?;
    disk.sync_all(&file)
}
