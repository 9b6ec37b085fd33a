//! What must hold of an export that `broker import` reads.

use crate::cli::lines::{
    ExportBegin, ExportEnd, ExportLine, Lines, decode_record, record_and_stated_hash,
};
use crate::cli::output::hex;
use crate::fuzzing::assert_matches_stored;
use crate::record::StoredRecord;

/// Lines of an export: together they are the file; each is of one kind at most, and has one form.
pub fn export(bytes: &[u8]) {
    let (mut lines, mut read) = (Lines::new(bytes), Vec::new());
    while let Some(line) = lines.next().expect("it is in memory") {
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
        assert!(ExportEnd::is_end(line), "it is looked for");
        assert_eq!(end.encode().as_bytes(), line);
    }
    assert!(decode_record(line).is_err() || !ExportEnd::is_end(line));
    check_record(line);
    // With the hash that the record has, as far as the line states one.
    if let Ok((record, stated)) = record_and_stated_hash(line)
        && let Ok(text) = std::str::from_utf8(line)
        && let Some((before, after)) = text.rsplit_once(&format!("\"hash\":\"{stated}\""))
    {
        check_record(format!("{before}\"hash\":\"{}\"{after}", hex(&record.hash())).as_bytes());
    }
}

/// A record that is imported is exported as it came, and the log gives it back.
fn check_record(line: &[u8]) {
    let Ok(record) = decode_record(line) else { return };
    assert_eq!(record.audit_json(), line);
    let bytes = record.encode_stored();
    let stored = StoredRecord::decode(&bytes).expect("it was just encoded");
    assert_eq!(stored.to_record().ok().as_ref(), Some(&record));
    assert_matches_stored(&record, &stored);
}
