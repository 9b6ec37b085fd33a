//! The properties of the parsers in `record` and `audit`.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::audit::{LEAF_BYTES, Leaf};
use crate::record::json::{JsonError, JsonErrorKind, JsonLimits, compact};
use crate::record::{
    Consumer, Cursor, DEPTH_MAX_DEFAULT, Filter, FilterSet, Meta, Name, Record, StoredRecord,
    Timestamp, User,
};

/// The JSON check: accepted text has the same value in `serde_json`; refused text `serde_json`
/// refuses too, except for the stricter rules of I-JSON.
pub fn json(bytes: &[u8]) {
    let reference = serde_json::from_slice::<Value>(bytes);
    match compact(bytes, JsonLimits { depth_max: DEPTH_MAX_DEFAULT }) {
        Ok(kept) => {
            assert!(kept.len() <= bytes.len(), "compacting adds nothing");
            let again = compact(&kept, JsonLimits { depth_max: DEPTH_MAX_DEFAULT });
            assert_eq!(again.as_deref(), Ok(&*kept), "compacting is idempotent");
            assert!(serde_json::from_slice::<IgnoredAny>(&kept).is_ok(), "serde_json can read it");
            // serde_json may refuse a number as too large.
            if let Ok(value) = reference {
                let kept: Value = serde_json::from_slice(&kept).expect("serde_json read it before");
                assert_eq!(kept, value, "the value is unchanged");
            }
        }
        Err(JsonError { kind, line, column, offset }) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line), "the line is within the text");
            assert!(offset <= bytes.len(), "the offset is within the text");
            assert!((1..=bytes.len() + 1).contains(&column), "the column is within the text");
            let stricter = matches!(
                kind,
                JsonErrorKind::DuplicateKey(_)
                    | JsonErrorKind::LoneSurrogate(_)
                    | JsonErrorKind::TooDeep { .. }
            );
            assert!(stricter || reference.is_err(), "serde_json can read it: {kind}");
        }
    }
}

/// Names and users: accepted text is kept unchanged, and is accepted when read from disk.
pub fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = Name::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!name.is_system(), "clients cannot use system names");
        assert_eq!(Name::stored(text).as_ref(), Ok(&name));
        let filter = Filter::parse(text).expect("a name is a filter that matches itself");
        assert_eq!(filter.is_exact(), Some(&name));
        assert!(filter.matches(&name));
    }
    if let Ok(name) = Name::stored(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(user) = User::parse(text) {
        assert_eq!(user.as_str(), text);
        assert_eq!(User::stored(text), Ok(user));
    }
}

/// Filters and a name, one per line, the name last.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut filters: Vec<&str> = text.lines().collect();
    let name = filters.pop().and_then(|name| Name::parse(name).ok());
    let parsed: Vec<_> = filters.iter().map(|filter| Filter::parse(filter)).collect();
    let set = FilterSet::parse(&filters, 100);
    if filters.len() <= 100 {
        assert_eq!(set.is_ok(), parsed.iter().all(Result::is_ok));
    }
    for (filter, text) in parsed.iter().zip(&filters) {
        let Ok(filter) = filter else { continue };
        assert_eq!(filter.as_str(), *text);
        if let Some(name) = &name {
            assert_eq!(
                filter.matches(name),
                matches_by_grammar(text, name.as_str()),
                "{text} on {name:?}"
            );
        }
    }
    let Ok(set) = set else { return };
    let again = FilterSet::parse(set.canonical(), 100).expect("it was parsed before");
    assert_eq!(again, set, "the canonical form is stable");
    if let Some(name) = &name {
        let mut filters = parsed.iter().flatten();
        assert_eq!(
            set.matches(name),
            filters.any(|filter| filter.matches(name)) || parsed.is_empty()
        );
    }
}

/// The filter grammar of NATS, implemented literally.
fn matches_by_grammar(filter: &str, name: &str) -> bool {
    let (filter, name): (Vec<_>, Vec<_>) = (filter.split('.').collect(), name.split('.').collect());
    let fixed = filter.strip_suffix(&[">"]).unwrap_or(&filter);
    let long_enough = if fixed.len() < filter.len() {
        name.len() > fixed.len()
    } else {
        name.len() == fixed.len()
    };
    long_enough && fixed.iter().zip(&name).all(|(wanted, token)| *wanted == "*" || wanted == token)
}

/// A cursor has one spelling.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
}

/// A topic, a consumer name and the data of its position, one per line. The name of the position
/// can be stored, the data can be read back, and another consumer does not accept it.
pub fn consumer(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next()?).ok();
    let (Some(topic), Some(name)) = (text(), text()) else { return };
    let Ok(topic) = Name::parse(topic) else { return };
    let Ok(consumer) = Consumer::parse(topic.clone(), name) else { return };
    assert_eq!((consumer.topic(), consumer.name().as_str()), (&topic, name));
    let position = consumer.position_name();
    assert!(position.is_consumer());
    assert_eq!(Name::stored(position.as_str()).as_ref(), Ok(&position));
    let Ok(version) = consumer.read(lines.next().unwrap_or_default()) else { return };
    let data = consumer.acknowledged(version);
    let compact = compact(data.as_bytes(), JsonLimits { depth_max: 1 });
    assert_eq!(compact.as_deref(), Ok(data.as_bytes()));
    assert_eq!(consumer.read(data.as_bytes()), Ok(version));
    let other = Consumer::parse(topic, "other").expect("a consumer's name");
    assert!(other == consumer || other.read(data.as_bytes()).is_err());
}

/// A time, as itself and as a bound: it survives being shown and parsed, and a bound is the first
/// whole millisecond that is not before it.
pub fn timestamp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match (Timestamp::parse(text), Timestamp::parse_bound(text)) {
        (Ok(time), Ok(bound)) => {
            let shown = time.to_string();
            assert_eq!(Timestamp::parse(&shown), Ok(time));
            assert_eq!(Timestamp::parse_bound(&shown), Ok(time), "it is in whole milliseconds");
            assert!(bound == time || bound.millis() == time.millis() + 1);
        }
        // The last fraction of a millisecond before 1970 is rounded up to 1970.
        (Err(_), Ok(bound)) => assert_eq!(bound.millis(), 0),
        (time, bound) => assert!(time.is_err() && bound.is_err(), "every time is also a bound"),
    }
}

/// A leaf, and the bytes after it as a meta.
pub fn leaf(bytes: &[u8]) {
    if let Some((leaf, _)) = bytes.split_first_chunk::<LEAF_BYTES>()
        && let Ok(decoded) = Leaf::decode(leaf)
    {
        assert_eq!(&decoded.encode(), leaf);
    }
    let meta = bytes.get(LEAF_BYTES..).unwrap_or(bytes);
    if let Ok(decoded) = Meta::decode(meta) {
        let mut again = Vec::new();
        decoded.encode_into(&mut again);
        assert_eq!(again, meta);
    }
}

/// A stored record.
pub fn record(bytes: &[u8]) {
    check_stored(bytes);
    if let Some(rest) = bytes.get(4..) {
        let mut with_valid_checksum = crc32c::crc32c(rest).to_le_bytes().to_vec();
        with_valid_checksum.extend_from_slice(rest);
        check_stored(&with_valid_checksum);
    }
}

fn check_stored(bytes: &[u8]) {
    let Ok(stored) = StoredRecord::decode(bytes) else { return };
    let Ok(record) = stored.to_record() else { return };
    assert_eq!(record.encode_stored(), bytes);
    assert_matches_stored(&record, &stored);
}

/// A record that was read back has the stored bytes and the stored leaf.
pub(crate) fn assert_matches_stored(record: &Record, stored: &StoredRecord<'_>) {
    let (leaf, meta) = record.leaf();
    assert_eq!((&leaf.encode(), meta.as_slice()), (stored.leaf, stored.meta));
    assert_eq!((record.data(), record.salts()), (stored.data, &stored.salts));
}
