//! Properties of the lines that `broker import` reads.

use crate::cli::lines::{
    ExportBegin, ExportEnd, ExportLine, Lines, decode_record, record_and_stated_hash,
};
use crate::cli::output::hex;
use crate::fuzzing::records::assert_matches_stored;
use crate::record::StoredRecord;

/// The lines of a file make up the whole file; each is of at most one kind and has one canonical
/// form.
///
/// # Panics
///
/// If a property is violated.
pub fn export(bytes: &[u8]) {
    let (mut lines, mut read) = (Lines::new(bytes), Vec::new());
    while let Some(line) = lines.next().expect("reading memory cannot fail") {
        let text = match line {
            ExportLine::Whole(text) | ExportLine::Cut(text) => text,
            ExportLine::TooLong => return,
        };
        read.extend_from_slice(text);
        if matches!(line, ExportLine::Whole(_)) {
            read.push(b'\n');
        }
        check_line(text);
    }
    assert_eq!(read, bytes);
}

fn check_line(line: &[u8]) {
    let (begin, end) = (ExportBegin::decode(line), ExportEnd::decode(line));
    assert!(begin.is_err() || end.is_err());
    if let Ok(begin) = begin {
        assert_eq!(begin.encode().as_bytes(), line);
    }
    if let Ok(end) = &end {
        assert!(ExportEnd::is_end(line), "an end is recognised as one");
        assert_eq!(end.encode().as_bytes(), line);
    }
    assert!(decode_record(line).is_err() || !ExportEnd::is_end(line));
    check_record(line);
    // Again, with the right hash in place of the stated one.
    if let Ok((record, stated)) = record_and_stated_hash(line)
        && let Ok(text) = std::str::from_utf8(line)
        && let Some((before, after)) = text.rsplit_once(&format!("\"hash\":\"{stated}\""))
    {
        check_record(format!("{before}\"hash\":\"{}\"{after}", hex(&record.hash())).as_bytes());
    }
}

/// An imported record is exported unchanged, and survives storing.
fn check_record(line: &[u8]) {
    let Ok(record) = decode_record(line) else { return };
    assert_eq!(record.audit_json(), line);
    let bytes = record.encode_stored();
    let stored = StoredRecord::decode(&bytes).expect("it was just encoded");
    assert_eq!(stored.to_record().ok().as_ref(), Some(&record));
    assert_matches_stored(&record, &stored);
}
