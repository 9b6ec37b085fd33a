//! Opens a journal: scans it, repairs what a crash may have left, and starts the writer.
//!
//! Nothing is changed before the whole scan succeeded, and nothing is served before all of it is
//! durable.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::disk::Disk;
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::watermark;
use crate::journal::format::watermark::{WatermarkContents, WatermarkFile};
use crate::journal::open::directory::DataDir;
use crate::journal::open::files::list_files;
use crate::journal::open::log_end::{DurabilityEvidence, LogEnd};
use crate::journal::open::opened::{OpenContext, OpenReport, OpenedJournal};
use crate::journal::open::scan::{
    LogScan, RecordVisitor, ScanStart, SegmentEnd, SegmentFile, TornGroup,
};
use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::tail::LastSegment;
use crate::journal::open::unverified::{UnverifiedSegments, read_segment, skip_covered};
use crate::journal::read::index::LogIndex;
use crate::journal::write::writer::{CurrentSegment, Journal, JournalOptions, WriterStart};
use crate::record::{RecordError, Seq, StoredRecord};

/// The result of scanning a journal.
struct ScannedLog {
    end: LogEnd,
    index: LogIndex,
    last: SegmentEnd,
    torn: Option<TornGroup>,
    unverified: Option<UnverifiedSegments>,
    records_read: u64,
    bytes_read: u64,
}

/// See [`Journal::open`].
pub fn open(
    dir: &DataDir,
    options: JournalOptions,
    context: &OpenContext<'_>,
    visit: &mut RecordVisitor<'_>,
) -> Result<OpenedJournal, JournalError> {
    let in_use = || JournalError::InUse { path: dir.path().to_owned() };
    let lease = dir.lease().ok_or_else(in_use)?;
    let (journal, log) = (dir.journal(), dir.log_id());
    let watermark_path = journal.join(watermark::NAME);
    let watermark = read_watermark(&watermark_path, log)?;
    let files = list_files(&journal)?;
    let scanned = scan(dir, &files.segments, context, &watermark, visit)?;

    let disk = Disk::default();
    for path in &files.leftovers {
        disk.remove(path).map_err(io_error("removing", path))?;
    }
    let ScannedLog { end, index, last, unverified, records_read, bytes_read, .. } = scanned;
    let segment = LastSegment::open(&disk, &journal, &last)?;
    let torn = scanned.torn.map(|torn| segment.quarantine(torn, end.seq)).transpose()?;
    segment.cut(&files.cutting, torn.as_ref())?;
    let rewritten_bytes = segment.rewrite(&watermark)?;
    // The name of the last segment may not have been durable either.
    disk.sync_dir(&journal).map_err(io_error("syncing", &journal))?;
    let watermark_file = WatermarkFile::open(&disk, &watermark_path, log, &watermark)
        .map_err(io_error("opening", &watermark_path))?;

    let (head, groups) = (end.seq, end.group);
    let report = OpenReport { records_read, bytes_read, head, groups, torn, rewritten_bytes };
    let file = segment.into_file().into();
    let SegmentEnd { number, file_bytes, offset, .. } = last;
    let current = CurrentSegment { file, number, file_bytes, end: offset };
    let start =
        WriterStart { disk, journal, log, options, current, end, index, watermark_file, lease };
    Ok(OpenedJournal { journal: Journal::start(start), report, unverified })
}

fn read_watermark(path: &Path, log: Uuid) -> Result<WatermarkContents, JournalError> {
    let found = WatermarkFile::read(path, log).map_err(io_error("reading", path))?;
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

fn scan(
    dir: &DataDir,
    segments: &[(Seq, PathBuf)],
    context: &OpenContext<'_>,
    watermark: &WatermarkContents,
    visit: &mut RecordVisitor<'_>,
) -> Result<ScannedLog, JournalError> {
    let log = dir.log_id();
    let skipped = context
        .snapshot
        .and_then(|snapshot| skip_covered(log, segments, snapshot, context.read_from));
    let (start, unverified) = match skipped {
        Some((start, unverified)) => (start, Some(unverified)),
        None => (ScanStart::default(), None),
    };
    let bytes_skipped = start.index.bytes();
    let segments = &segments[start.segments..];
    let mut records_read = 0;
    let mut counting = |record: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
        records_read += 1;
        visit(record, chain)
    };
    let evidence = DurabilityEvidence {
        watermark: watermark.watermark,
        durable_seq_min: context.durable_seq_min.max(context.snapshot.map_or(0, Snapshot::head)),
        confirm_durable: context.confirm_durable,
    };
    let mut scan = LogScan::new(log, evidence, start, &mut counting);
    if segments.is_empty() {
        return Err(scan.damage(&dir.journal(), 0, "there is no segment".to_owned()));
    }
    let mut bytes = Vec::new();
    for (i, (first_seq, path)) in segments.iter().enumerate() {
        read_segment(path, &mut bytes)?;
        let is_last = i + 1 == segments.len();
        let file = SegmentFile { path, first_seq: *first_seq, is_last };
        scan.scan_segment(&file, &bytes)?;
    }
    scan.finish()?;
    let LogScan { end, index, segment: last, torn, .. } = scan;
    let bytes_read = index.bytes() - bytes_skipped;
    Ok(ScannedLog { end, index, last, torn, unverified, records_read, bytes_read })
}
