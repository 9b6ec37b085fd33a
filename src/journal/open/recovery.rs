//! Opens a journal: scans it, repairs what a crash may have left, and starts the writer.
//!
//! Nothing is changed before the whole scan succeeded, and nothing is served before all of it is
//! durable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::audit::Digest;
use crate::journal::disk::Disk;
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::watermark::{WatermarkContents, WatermarkFile};
use crate::journal::format::{segment, watermark};
use crate::journal::open::directory::DataDir;
use crate::journal::open::opened::{OpenContext, OpenReport, OpenedJournal, TornTail};
use crate::journal::open::scan::{
    DurabilityEvidence, LogScan, RecordVisitor, ScanStart, SegmentEnd, TornGroup,
};
use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::unverified;
use crate::journal::open::unverified::read_segment;
use crate::journal::write::preallocate;
use crate::journal::write::writer::{CurrentSegment, Journal, JournalOptions, WriterStart};
use crate::record::{RecordError, Seq, StoredRecord};

/// Suffix of a quarantined tail until it is durably cut from its segment.
const CUTTING_SUFFIX: &str = ".cutting";

/// Size of the writes that rewrite the end of the log.
const REWRITE_BYTES: usize = 1024 * 1024;

/// The files of a journal, by kind.
pub struct JournalFiles {
    /// First seq and path, in log order.
    pub segments: Vec<(Seq, PathBuf)>,
    leftovers: Vec<PathBuf>,
    /// Quarantined tails that may still be in their segment.
    cutting: Vec<PathBuf>,
}

/// See [`Journal::open`].
pub fn open(
    dir: &DataDir,
    options: JournalOptions,
    context: &OpenContext<'_>,
    visit: &mut RecordVisitor<'_>,
) -> Result<OpenedJournal, JournalError> {
    let path = dir.path();
    let lease = dir.lease().ok_or_else(|| JournalError::InUse { path: path.to_owned() })?;
    let disk = Disk::default();
    let journal = dir.journal();
    let watermark_path = journal.join(watermark::NAME);
    let found = read_watermark(&watermark_path, dir)?;
    let files = list_files(&journal)?;

    let mut records_read = 0;
    let mut counting = |record: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
        records_read += 1;
        visit(record, chain)
    };
    let skipped = context.snapshot.and_then(|snapshot| {
        unverified::skip_covered(dir.log_id(), &files.segments, snapshot, context.read_from)
    });
    let (first, start, unverified) = match skipped {
        Some((first, start, unverified)) => (first, start, Some(unverified)),
        None => (0, ScanStart::default(), None),
    };
    let bytes_skipped = start.index.bytes();
    let snapshot_head = context.snapshot.map_or(0, Snapshot::head);
    let durable_seq_min = context.durable_seq_min.max(snapshot_head);
    let evidence = DurabilityEvidence {
        watermark: found.watermark,
        durable_seq_min,
        confirm_durable: context.confirm_durable,
    };
    let mut scan = LogScan::new(dir.log_id(), evidence, start, &mut counting);
    read_segments(&mut scan, &journal, &files.segments[first..])?;
    let LogScan { end, index, segment: last, torn, .. } = scan;

    for path in &files.leftovers {
        disk.remove(path).map_err(io_error("removing", path))?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&last.path);
    let file = file.map_err(io_error("opening", &last.path))?;
    let mut cutting = files.cutting.clone();
    let torn = torn
        .map(|torn| quarantine_tail(&disk, &journal, &file, &last, end.seq, torn))
        .transpose()?;
    let quarantined = torn.iter().map(|torn| torn.kept_at.with_extension(&CUTTING_SUFFIX[1..]));
    cutting.extend(quarantined.filter(|path| !files.cutting.contains(path)));
    cut_tail(&disk, &journal, &file, &last, &cutting)?;
    let rewritten_bytes = rewrite_tail(&disk, &file, synced_to(&found, &last), &last)
        .map_err(io_error("rewriting the end of", &last.path))?;
    // The name of the last segment may not have been durable either.
    disk.sync_dir(&journal).map_err(io_error("syncing", &journal))?;
    let watermark = WatermarkFile::open(&disk, &watermark_path, dir.log_id(), &found)
        .map_err(io_error("opening", &watermark_path))?;

    let report = OpenReport {
        records_read,
        bytes_read: index.bytes() - bytes_skipped,
        head: end.seq,
        groups: end.group,
        torn,
        rewritten_bytes,
    };
    let SegmentEnd { number, file_bytes, offset, .. } = last;
    let current = CurrentSegment { file: file.into(), number, file_bytes, end: offset };
    let log = dir.log_id();
    let writer = WriterStart {
        disk,
        journal,
        log,
        options,
        current,
        end,
        index,
        watermark_file: watermark,
        lease,
    };
    Ok(OpenedJournal { journal: Journal::start(writer), report, unverified })
}

fn read_watermark(path: &Path, dir: &DataDir) -> Result<WatermarkContents, JournalError> {
    let found = WatermarkFile::read(path, dir.log_id()).map_err(io_error("reading", path))?;
    if found.damaged || found.watermark.is_none() {
        tracing::warn!(
            file = %path.display(),
            usable = found.watermark.is_some(),
            "the journal's watermark is damaged or missing; without it, the loss of the \
             last records may go undetected"
        );
    }
    Ok(found)
}

pub fn list_files(journal: &Path) -> Result<JournalFiles, JournalError> {
    let mut files =
        JournalFiles { segments: Vec::new(), leftovers: Vec::new(), cutting: Vec::new() };
    for entry in fs::read_dir(journal).map_err(io_error("listing", journal))? {
        let entry = entry.map_err(io_error("listing", journal))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if preallocate::is_leftover(&name) {
            files.leftovers.push(path);
        } else if name.starts_with("torn-") && name.ends_with(CUTTING_SUFFIX) {
            files.cutting.push(path);
        } else if segment::is_segment(&name) {
            let Some(first_seq) = segment::first_seq(&name) else {
                let what = "the file name ends in .seg but states no seq".to_owned();
                let (offset, last_good_seq) = (0, 0);
                return Err(JournalError::Damage { file: path, offset, last_good_seq, what });
            };
            files.segments.push((first_seq, path));
        }
    }
    files.segments.sort();
    files.leftovers.sort();
    Ok(files)
}

fn read_segments(
    scan: &mut LogScan<'_>,
    journal: &Path,
    segments: &[(Seq, PathBuf)],
) -> Result<(), JournalError> {
    if segments.is_empty() {
        return Err(scan.damage(journal, 0, "there is no segment".to_owned()));
    }
    let mut bytes = Vec::new();
    for (i, (first_seq, path)) in segments.iter().enumerate() {
        read_segment(path, &mut bytes)?;
        scan.scan_segment(path, *first_seq, &bytes, i + 1 < segments.len())?;
    }
    scan.finish()
}

/// Copies a torn tail to a quarantine file and syncs it, before the segment is changed.
fn quarantine_tail(
    disk: &Disk,
    journal: &Path,
    file: &File,
    last: &SegmentEnd,
    last_good_seq: Seq,
    torn: TornGroup,
) -> Result<TornTail, JournalError> {
    let TornGroup { offset, bytes } = torn;
    let mut tail = vec![0; usize::try_from(bytes).expect("the scan read it into memory")];
    file.read_exact_at(&mut tail, offset).map_err(io_error("reading", &last.path))?;
    let kept_at = write_quarantined(disk, journal, last_good_seq, &tail)?;
    disk.sync_dir(journal).map_err(io_error("syncing", journal))?;
    Ok(TornTail { file: last.path.clone(), offset, bytes, kept_at, last_good_seq })
}

/// Writes a torn tail under the first free name `torn-<last good seq>-<n>`, with the suffix
/// `.cutting`. Returns the name without the suffix, which the file gets once the tail is cut.
fn write_quarantined(
    disk: &Disk,
    journal: &Path,
    last_good_seq: Seq,
    tail: &[u8],
) -> Result<PathBuf, JournalError> {
    for n in 1u32.. {
        let kept_at = journal.join(format!("torn-{last_good_seq}-{n}"));
        if kept_at.exists() {
            continue;
        }
        let path = journal.join(format!("torn-{last_good_seq}-{n}{CUTTING_SUFFIX}"));
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

/// If there is a tail to cut, overwrites everything behind the log with zeros and syncs it.
///
/// Reading zeros does not show that a tail is gone: if the sync of an earlier cut failed, the
/// system may hold the zeros in memory and treat them as written, and a power cut would bring the
/// tail back behind records appended since. So the quarantine file keeps the suffix `.cutting`
/// until the cut is durable.
fn cut_tail(
    disk: &Disk,
    journal: &Path,
    file: &File,
    last: &SegmentEnd,
    cutting: &[PathBuf],
) -> Result<(), JournalError> {
    if cutting.is_empty() {
        return Ok(());
    }
    disk.zero(file, last.offset, last.file_bytes - last.offset)
        .and_then(|()| disk.sync(file))
        .map_err(io_error("cutting a torn group from", &last.path))?;
    for path in cutting {
        disk.rename(path, &path.with_extension("")).map_err(io_error("renaming", path))?;
    }
    disk.sync_dir(journal).map_err(io_error("syncing", journal))
}

/// The offset up to which the watermark shows that the last segment was synced.
fn synced_to(found: &WatermarkContents, last: &SegmentEnd) -> u64 {
    let offset = found.watermark.filter(|mark| mark.segment == last.number).map(|mark| mark.offset);
    offset.filter(|offset| *offset <= last.offset).unwrap_or(segment::FIRST_GROUP_AT)
}

/// Writes and syncs everything between `from` and the end of the log again.
///
/// The process that wrote it may have died before its sync, or the sync failed and the system holds
/// the bytes in memory and treats them as written. Only the last segment can hold such bytes: a
/// segment is started after everything before it was synced.
fn rewrite_tail(disk: &Disk, file: &File, from: u64, last: &SegmentEnd) -> io::Result<u64> {
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut at = from;
    while at < last.offset {
        let len = usize::try_from(last.offset - at).map_or(REWRITE_BYTES, |n| n.min(REWRITE_BYTES));
        file.read_exact_at(&mut buffer[..len], at)?;
        disk.write(file, &buffer[..len], at)?;
        at += len as u64;
    }
    disk.sync(file)?;
    Ok(at - from)
}
