//! The lines of an export (PROTOCOL.md, section 17) and their codec.
//!
//! The first line states what follows, and the last one that nothing does. Between them is each
//! record as `/audit` shows it. Every line has exactly one form: a line is decoded, encoded again
//! and must be unchanged.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audit::{Digest, SALT_BYTES, Salts};
use crate::cli::output::hex;
use crate::record::json::JsonLimits;
use crate::record::{Identity, Name, Record, RecordParts, Seq, Timestamp, User, Version, json};

/// The format version that this program reads and writes.
const FORMAT: u32 = 0;

/// Maximum length of a line: a record with the largest body that can be configured, 256 MiB, plus
/// its names. A longer line is not from an export and must not fill the memory.
const LINE_BYTES_MAX: u64 = (256 << 20) + (1 << 20);

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExportBegin {
    /// The id of the log.
    pub(super) log: Uuid,
    /// The seq before the first record.
    pub(super) after: Seq,
    /// The chain after that seq.
    pub(super) chain: Digest,
}

/// The last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExportEnd {
    /// The number of records before it.
    pub(super) records: u64,
    /// Seq of the last of them.
    pub(super) seq: Seq,
    /// The chain after it.
    pub(super) chain: Digest,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BeginLine {
    export: BeginMembers,
}

#[derive(Deserialize, Serialize)]
struct BeginMembers {
    format: u32,
    log: String,
    after: Seq,
    chain: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: EndMembers,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EndMembers {
    records: u64,
    seq: Seq,
    chain: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine<'a> {
    seq: Seq,
    #[serde(borrow)]
    event: Cow<'a, str>,
    version: Version,
    id: Uuid,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    author: Option<Cow<'a, str>>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    hash: Cow<'a, str>,
    #[serde(borrow)]
    salts: [Cow<'a, str>; 2],
}

impl ExportBegin {
    pub(super) fn encode(&self) -> String {
        let (log, chain) = (self.log.to_string(), hex(&self.chain));
        let export = BeginMembers { format: FORMAT, log, after: self.after, chain };
        serde_json::to_string(&BeginLine { export }).expect("strings and numbers serialise")
    }

    /// Decodes the first line. The error says what is wrong with it.
    pub(super) fn decode(line: &[u8]) -> Result<Self, String> {
        let not_an_export = |_| "it does not begin like an export".to_owned();
        let BeginLine { export } = serde_json::from_slice(line).map_err(not_an_export)?;
        if export.format != FORMAT {
            return Err(format!(
                "it has format {}, but this version of Broker only supports format {FORMAT}: use \
                 the version that wrote it, or a newer one",
                export.format
            ));
        }
        let log = Uuid::try_parse(&export.log).map_err(|_| "it names no log".to_owned())?;
        let begin = Self { log, after: export.after, chain: parse_digest(&export.chain)? };
        require_canonical(begin.encode().as_bytes(), line)?;
        Ok(begin)
    }
}

impl ExportEnd {
    pub(super) fn encode(&self) -> String {
        let end = EndMembers { records: self.records, seq: self.seq, chain: hex(&self.chain) };
        serde_json::to_string(&EndLine { end }).expect("strings and numbers serialise")
    }

    /// True if a line claims to be the last.
    pub(super) fn is_end(line: &[u8]) -> bool {
        line.starts_with(b"{\"end\":")
    }

    /// Decodes the last line. The error says what is wrong with it.
    pub(super) fn decode(line: &[u8]) -> Result<Self, String> {
        let EndLine { end } = serde_json::from_slice(line)
            .map_err(|error| format!("it is not a valid last line: {error}"))?;
        let end = Self { records: end.records, seq: end.seq, chain: parse_digest(&end.chain)? };
        require_canonical(end.encode().as_bytes(), line)?;
        Ok(end)
    }
}

/// Decodes a record's line, whose hash must match its content. The error says what is wrong with
/// it.
pub(super) fn decode_record(line: &[u8]) -> Result<Record, String> {
    let (record, stated) = record_and_stated_hash(line)?;
    let hash = hex(&record.hash());
    if stated != hash {
        return Err(format!(
            "its hash is {stated}, but its content has the hash {hash}: it was changed"
        ));
    }
    require_canonical(&record.audit_json(), line)?;
    Ok(record)
}

/// Decodes a record's line, and returns the hash that it states without checking it.
pub(super) fn record_and_stated_hash(line: &[u8]) -> Result<(Record, Cow<'_, str>), String> {
    let parsed: RecordLine<'_> = serde_json::from_slice(line)
        .map_err(|error| format!("it is not a record of an export: {error}"))?;
    let user = |user: &Cow<'_, str>| User::stored(user).map_err(|error| format!("a user: {error}"));
    let data = parsed.data.get().as_bytes();
    let compact = json::compact(data, JsonLimits { depth_max: usize::MAX });
    let compact = compact.map_err(|error| format!("data: {error}"))?;
    let record = Record::new(RecordParts {
        seq: parsed.seq,
        identity: Identity {
            event: Name::stored(&parsed.event).map_err(|error| format!("event: {error}"))?,
            to: parsed.to.as_ref().map(user).transpose()?,
        },
        version: parsed.version,
        id: parsed.id,
        time: Timestamp::parse(&parsed.timestamp).map_err(|error| format!("timestamp: {error}"))?,
        author: parsed.author.as_ref().map(user).transpose()?,
        salts: Salts { meta: parse_salt(&parsed.salts[0])?, data: parse_salt(&parsed.salts[1])? },
        data: &compact,
    });
    Ok((record, parsed.hash))
}

/// Requires the canonical form, so that exporting an imported log gives the same file.
fn require_canonical(written: &[u8], line: &[u8]) -> Result<(), String> {
    if written == line {
        return Ok(());
    }
    let at = written.iter().zip(line).take_while(|(a, b)| a == b).count();
    Err(format!("it is not written as an export writes it, from byte {at} on"))
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    unhex(text).ok_or_else(|| "its chain is not a digest of 64 hexadecimal digits".to_owned())
}

fn parse_salt(text: &str) -> Result<[u8; SALT_BYTES], String> {
    unhex(text).ok_or_else(|| "a salt is not 32 hexadecimal digits".to_owned())
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// The lines of a file, numbered from 1.
pub(super) struct Lines<R> {
    reader: R,
    /// Number of the last line that was read.
    pub(super) number: u64,
    line: Vec<u8>,
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportLine<'a> {
    /// Complete; without its line feed.
    Whole(&'a [u8]),
    /// Cut by the end of the file.
    Cut(&'a [u8]),
    /// Longer than any line of an export.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0, line: Vec::new() }
    }

    /// Reads the next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<ExportLine<'_>>> {
        self.line.clear();
        let read = (&mut self.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(match self.line.split_last() {
            Some((b'\n', line)) => ExportLine::Whole(line),
            _ if self.line.len() as u64 > LINE_BYTES_MAX => ExportLine::TooLong,
            _ => ExportLine::Cut(&self.line),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(data: &str, to: Option<&str>) -> Record {
        Record::new(RecordParts {
            seq: 7,
            identity: Identity {
                event: Name::stored("a.\"b\"é").unwrap(),
                to: to.map(|to| User::stored(to).unwrap()),
            },
            version: 3,
            id: Uuid::from_u128(5),
            time: Timestamp::from_millis(1_234_567_890_123),
            author: Some(User::stored("auth0|ann").unwrap()),
            salts: Salts { meta: [3; 16], data: [4; 16] },
            data: data.as_bytes(),
        })
    }

    proptest! {
        #[test]
        fn record_line_round_trips_and_every_changed_byte_is_detected(at: usize, with: u8) {
            let whole = record("{\"n\":1.50,\"a\\u00e9\":[\"\\/\",-0.0]}", Some("bob"));
            let mut line = whole.audit_json();
            prop_assert_eq!(decode_record(&line), Ok(whole));
            let at = at % line.len();
            prop_assume!(line[at] != with);
            line[at] = with;
            prop_assert!(decode_record(&line).is_err(), "{}", String::from_utf8_lossy(&line));
        }

        #[test]
        fn first_and_last_line_round_trip(
            log: u128, after: u64, records: u64, chain: [u8; 32],
        ) {
            let begin = ExportBegin { log: Uuid::from_u128(log), after, chain };
            prop_assert_eq!(ExportBegin::decode(begin.encode().as_bytes()), Ok(begin));
            let end = ExportEnd { records, seq: after, chain };
            prop_assert!(ExportEnd::is_end(end.encode().as_bytes()));
            prop_assert_eq!(ExportEnd::decode(end.encode().as_bytes()), Ok(end));
        }
    }

    #[test]
    fn lines_match_the_protocol() {
        let begin = ExportBegin { log: Uuid::from_u128(1), after: 2, chain: [0xab; 32] };
        let chain = "ab".repeat(32);
        assert_eq!(
            begin.encode(),
            format!(
                "{{\"export\":{{\"format\":0,\"log\":\"00000000-0000-0000-0000-000000000001\",\
                 \"after\":2,\"chain\":\"{chain}\"}}}}"
            )
        );
        let end = ExportEnd { records: 3, seq: 5, chain: [0xab; 32] };
        let line = format!("{{\"end\":{{\"records\":3,\"seq\":5,\"chain\":\"{chain}\"}}}}");
        assert_eq!(end.encode(), line);
        let newer =
            "{\"export\":{\"format\":7,\"log\":\"x\",\"after\":2,\"chain\":\"\",\"more\":1}}";
        assert!(ExportBegin::decode(newer.as_bytes()).unwrap_err().contains("format 7"));
    }

    #[test]
    fn deep_value_is_accepted_and_noncanonical_line_is_refused() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let whole = record(&deep, None);
        assert_eq!(decode_record(&whole.audit_json()), Ok(whole.clone()));
        let spaced = String::from_utf8(whole.audit_json()).unwrap().replacen(',', ", ", 1);
        assert!(decode_record(spaced.as_bytes()).unwrap_err().contains("written"));
    }

    #[test]
    fn line_cut_by_end_of_file_is_reported() {
        let mut lines = Lines::new(&b"one\n\ntw"[..]);
        assert_eq!(lines.next().unwrap(), Some(ExportLine::Whole(b"one")));
        assert_eq!(lines.next().unwrap(), Some(ExportLine::Whole(b"")));
        assert_eq!(lines.next().unwrap(), Some(ExportLine::Cut(b"tw")));
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.number, 3);
    }
}
