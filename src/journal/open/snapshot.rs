//! The snapshot: the latest records as of a seq, so that an open can skip what came before.
//!
//! A snapshot that is read back is byte for byte as it was written and belongs to this log. It is
//! derived from the log, and the segments that it lets an open skip are verified afterwards
//! ([`crate::journal::open::unverified`]). The caller decides which records it holds and when it is
//! written.
//!
//! Format of the file `snapshot`, all numbers little-endian:
//!
//! ```text
//! bytes  field
//!     8  magic: 8A "BCHKP" 0D 0A
//!     4  format, 0
//!     4  zeros
//!    16  id of the log
//!        for each record, ascending by seq:
//!     4    length of the record, at least 1
//!     …    the record, as in `record/stored.rs`
//!     4  zeros: end of the records
//!     8  head: every record up to this seq is covered; if an identity has several records in the
//!        file, the last is the latest
//!    32  chain after the record at the head
//!     8  number of segments, s
//!     8  number of index entries, l
//!  16 s  for each segment: seq of its first record, offset where its groups end
//!  24 l  for each index entry: seq of a group's first record, index of its segment, its offset
//!     4  CRC-32C of everything before
//! ```

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::disk::{Disk, SequentialWriter};
use crate::journal::error::{JournalError, io_error};
use crate::journal::read::index::LogIndex;
use crate::journal::read::reader::Reader;
use crate::record::{Record, RecordError, Seq, StoredRecord};

pub const NAME: &str = "snapshot";
pub const TEMPORARY_NAME: &str = "snapshot.tmp";
const MAGIC: [u8; 8] = *b"\x8aBCHKP\r\n";
const FORMAT: u32 = 0;
const HEADER_BYTES: usize = 32;

/// Buffer size for reading and writing the file.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes written between two syncs: a single sync of hundreds of megabytes at the end would hold up
/// the syncs of the log.
const SYNC_BYTES: u64 = 8 << 20;

/// No log accepts a longer record, so a larger length is corrupt.
const RECORD_BYTES_MAX: u32 = 1 << 30;

/// A snapshot that was read back and found intact.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    head: Seq,
    chain: Digest,
    pub index: LogIndex,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    journal: PathBuf,
    reader: Reader,
    /// `None` once it is finished.
    file: Option<BufWriter<SequentialWriter>>,
    crc: u32,
    bytes: u64,
    synced_bytes: u64,
}

/// Path of the snapshot of a journal.
pub fn path(journal: &Path) -> PathBuf {
    journal.join(NAME)
}

impl Snapshot {
    /// Reads and checks the whole snapshot of a log; `None` if there is none.
    ///
    /// # Errors
    /// The reason why it is unusable: the log must be read from its beginning.
    pub fn read(journal: &Path, log: Uuid) -> Result<Option<Self>, String> {
        let path = path(journal);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let SnapshotTrailer { head, chain, index } =
            read_trailer(file, log).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => "it is truncated".to_owned(),
                _ => error.to_string(),
            })?;
        Ok(Some(Self { path, head, chain, index }))
    }

    /// Seq up to which every record is covered.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The log's chain after the record at the head. If the log has another chain there, the
    /// snapshot belongs to another history.
    #[must_use]
    pub fn chain(&self) -> &Digest {
        &self.chain
    }

    /// Passes every record to `visit`, ascending by seq. The visitor verifies their commitments.
    ///
    /// # Errors
    /// [`JournalError`]: the file cannot be read, or the visitor's error.
    pub fn visit(
        &self,
        visit: &mut dyn FnMut(&StoredRecord<'_>) -> Result<(), RecordError>,
    ) -> Result<(), JournalError> {
        let reading = io_error("reading", self.path.clone());
        let mut skip = [0; HEADER_BYTES];
        let file = File::open(&self.path).and_then(|mut file| {
            file.read_exact(&mut skip)?;
            Ok(BufReader::with_capacity(BUFFER_BYTES, file))
        });
        let mut file = match file {
            Ok(file) => file,
            Err(error) => return Err(reading(error)),
        };
        let (mut bytes, mut offset) = (Vec::new(), HEADER_BYTES as u64);
        loop {
            match read_record(&mut file, &mut bytes) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(reading(error)),
            }
            StoredRecord::decode(&bytes).and_then(|record| visit(&record)).map_err(|source| {
                JournalError::Record { file: self.path.clone(), offset, seq: self.head, source }
            })?;
            offset += 4 + bytes.len() as u64;
        }
    }
}

impl SnapshotWriter {
    /// Starts a new snapshot; the existing one stays until this one is finished.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn begin(reader: &Reader) -> io::Result<Self> {
        let journal = reader.state().journal().to_owned();
        let path = journal.join(TEMPORARY_NAME);
        let disk = Disk::default();
        let file = disk.create(&path)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, SequentialWriter { disk, file, at: 0 });
        let file = Some(file);
        let reader = reader.clone();
        let mut writer = Self { journal, reader, file, crc: 0, bytes: 0, synced_bytes: 0 };
        writer.put(&MAGIC)?;
        writer.put(&FORMAT.to_le_bytes())?;
        writer.put(&[0; 4])?;
        let log = writer.reader.state().log();
        writer.put(log.as_bytes())?;
        Ok(writer)
    }

    /// Adds a record, with a higher seq than the one before.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let stored = record.encode_stored();
        let len = u32::try_from(stored.len()).map_err(io::Error::other)?;
        self.put(&len.to_le_bytes())?;
        self.put(&stored)?;
        if self.bytes - self.synced_bytes >= SYNC_BYTES {
            let file = self.file()?;
            file.flush()?;
            let SequentialWriter { disk, file, .. } = file.get_ref();
            disk.sync(file)?;
            self.synced_bytes = self.bytes;
        }
        Ok(())
    }

    /// Makes the snapshot durable, replaces the previous one and returns the size in bytes.
    ///
    /// `head` is the seq up to which records are covered; they must be durable.
    ///
    /// # Errors
    /// The log cannot be read at `head`, or the file cannot be written, synced or renamed.
    pub fn finish(mut self, head: Seq) -> io::Result<u64> {
        let chain = self.reader.chain_after(head).map_err(io::Error::other)?;
        self.put(&[0; 4])?;
        self.put(&head.to_le_bytes())?;
        self.put(&chain)?;
        let index = self.reader.state().index();
        self.put(&index.encode())?;
        let crc = self.crc;
        self.put(&crc.to_le_bytes())?;
        let journal = self.journal.clone();
        let file = self.file()?;
        file.flush()?;
        let SequentialWriter { disk, file, .. } = file.get_ref();
        disk.sync_all(file)?;
        disk.rename(&journal.join(TEMPORARY_NAME), &path(&journal))?;
        disk.sync_dir(&journal)?;
        self.file = None;
        Ok(self.bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
        self.file()?.write_all(bytes)
    }

    fn file(&mut self) -> io::Result<&mut BufWriter<SequentialWriter>> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the snapshot is already finished"))
    }
}

impl Drop for SnapshotWriter {
    /// Removes an unfinished file, which would take space that the log needs.
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Discards the buffer without writing it.
            let (SequentialWriter { disk, .. }, _) = file.into_parts();
            // If this fails, the next open removes it.
            let _ = disk.remove(&self.journal.join(TEMPORARY_NAME));
        }
    }
}

/// The fields of a snapshot behind its records.
pub struct SnapshotTrailer {
    pub head: Seq,
    pub chain: Digest,
    pub index: LogIndex,
}

/// Reads and checks a whole snapshot of the log `log`, and returns its trailer.
pub fn read_trailer(file: impl Read, log: Uuid) -> io::Result<SnapshotTrailer> {
    ChecksummedFile { file: BufReader::with_capacity(BUFFER_BYTES, file), crc: 0 }.read_trailer(log)
}

/// A reader that computes a checksum of everything it reads.
struct ChecksummedFile<R> {
    file: BufReader<R>,
    crc: u32,
}

impl<R: Read> ChecksummedFile<R> {
    fn read_trailer(&mut self, log: Uuid) -> io::Result<SnapshotTrailer> {
        if self.read_array()? != MAGIC {
            return Err(io::Error::other("it is not a snapshot"));
        }
        let format = u32::from_le_bytes(self.read_array()?);
        if (format, self.read_array()?) != (FORMAT, [0; 4]) {
            return Err(io::Error::other("it has another format"));
        }
        if Uuid::from_bytes(self.read_array()?) != log {
            return Err(io::Error::other("it belongs to another log"));
        }
        let mut bytes = Vec::new();
        while read_record(self, &mut bytes)? {}
        let head = u64::from_le_bytes(self.read_array()?);
        let chain = self.read_array()?;
        let index = LogIndex::decode(self)?;
        let crc = self.crc;
        if u32::from_le_bytes(self.read_array()?) != crc {
            return Err(io::Error::other("its checksum does not match"));
        }
        if !self.file.fill_buf()?.is_empty() {
            return Err(io::Error::other("bytes follow its end"));
        }
        Ok(SnapshotTrailer { head, chain, index })
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for ChecksummedFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..read]);
        Ok(read)
    }
}

/// Reads the stored bytes of the next record; returns false after the last one.
fn read_record(file: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 4];
    file.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > RECORD_BYTES_MAX {
        return Err(io::Error::other("a record states an impossible length"));
    }
    bytes.clear();
    // The buffer grows with the bytes read, not with what a corrupt length claims.
    file.take(u64::from(len)).read_to_end(bytes)?;
    if bytes.len() != len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(len > 0)
}
