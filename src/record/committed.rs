//! A committed record, and its JSON.

use bytes::Bytes;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::audit::{Digest, Leaf, Salts, commit};
use crate::record::hex::{hex_digits, push_hex};
use crate::record::identity::{Identity, Seq, Version};
use crate::record::meta::{META_BYTES_MAX, Meta};
use crate::record::name::{Name, User};
use crate::record::time::Timestamp;

/// One committed version of an event; immutable.
///
/// A clone is cheap: names and bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    seq: Seq,
    identity: Identity,
    version: Version,
    id: Uuid,
    time: Timestamp,
    author: Option<User>,
    salts: Salts,
    /// The whole record as JSON; `data` is its last member, so that both share one allocation.
    json: Bytes,
    /// The offset of `data` in `json`.
    data_at: usize,
}

/// The arguments of [`Record::new`].
#[derive(Clone, Debug)]
pub struct RecordParts<'a> {
    /// Position in the log.
    pub seq: Seq,
    /// Event and audience.
    pub identity: Identity,
    /// Version within the identity.
    pub version: Version,
    /// Identity of the insert.
    pub id: Uuid,
    /// When it was decided.
    pub time: Timestamp,
    /// Authenticated subject.
    pub author: Option<User>,
    /// Salts of its two commitments.
    pub salts: Salts,
    /// Compact JSON.
    pub data: &'a [u8],
}

/// Bytes that [`Record::audit_json`] adds to a record's JSON: a digest and two salts in
/// hexadecimal, and their names.
pub(crate) const AUDIT_BYTES: usize =
    ",\"hash\":\"\",\"salts\":[\"\",\"\"]".len() + 2 * (32 + 2 * 16);

impl Record {
    /// Makes a record and encodes its JSON.
    #[must_use]
    pub fn new(parts: RecordParts<'_>) -> Self {
        let RecordParts { seq, identity, version, id, time, author, salts, data } = parts;
        let users = [(",\"author\":", &author), (",\"to\":", &identity.to)];
        let users = users.into_iter().filter_map(|(member, user)| Some((member, user.as_ref()?)));
        let users_len = users.clone().map(|(member, user)| member.len() + 2 + user.as_str().len());
        // Exact unless a name must be escaped: the latest records stay in memory, so spare capacity
        // would be wasted.
        let mut json = String::with_capacity(
            "{\"seq\":,\"event\":\"\",\"version\":,\"id\":\"\",\"timestamp\":\"\",\"data\":}".len()
                + (digits(seq) + identity.event.as_str().len() + digits(version))
                + (Hyphenated::LENGTH + "2026-11-21T10:00:00.123Z".len())
                + (users_len.sum::<usize>() + data.len()),
        );
        // Every record is encoded here, so this avoids the slower general formatter.
        json.push_str("{\"seq\":");
        json.push_str(itoa::Buffer::new().format(seq));
        json.push_str(",\"event\":");
        push_string(&mut json, identity.event.as_str());
        json.push_str(",\"version\":");
        json.push_str(itoa::Buffer::new().format(version));
        json.push_str(",\"id\":\"");
        json.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        json.push_str("\",\"timestamp\":\"");
        time.push_to(&mut json);
        json.push('"');
        for (member, user) in users {
            json.push_str(member);
            push_string(&mut json, user.as_str());
        }
        json.push_str(",\"data\":");
        let data_at = json.len();
        let mut json = json.into_bytes();
        json.extend_from_slice(data);
        json.push(b'}');
        Self { seq, identity, version, id, time, author, salts, json: json.into(), data_at }
    }

    /// Position in the log.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Event and audience.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> &Name {
        &self.identity.event
    }

    /// The user that the record is private to.
    #[must_use]
    pub fn to(&self) -> Option<&User> {
        self.identity.to.as_ref()
    }

    /// Version within the identity.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Identity of the insert.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When it was decided; never earlier than the record before.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The authenticated subject that inserted it.
    #[must_use]
    pub fn author(&self) -> Option<&User> {
        self.author.as_ref()
    }

    /// The salts of its two commitments.
    #[must_use]
    pub fn salts(&self) -> &Salts {
        &self.salts
    }

    /// The value: compact JSON, byte for byte as the client sent it.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.json[self.data_at..self.json.len() - 1]
    }

    /// The whole record as JSON, as streams deliver it.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The receipt: the record's JSON without `data`.
    #[must_use]
    pub fn receipt_json(&self) -> Vec<u8> {
        [&self.json[..self.data_at - ",\"data\":".len()], b"}"].concat()
    }

    /// The record's JSON with `hash` and `salts` in hexadecimal, so that a reader can verify it.
    /// The history and exports have this form.
    #[must_use]
    pub fn audit_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.json.len() + AUDIT_BYTES);
        self.audit_json_into(&mut json);
        json
    }

    /// Appends [`Record::audit_json`] to `json`.
    pub fn audit_json_into(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(&self.json[..self.json.len() - 1]);
        json.extend_from_slice(b",\"hash\":\"");
        json.extend(hex_digits(&self.hash()));
        json.extend_from_slice(b"\",\"salts\":[\"");
        json.extend(hex_digits(&self.salts.meta));
        json.extend_from_slice(b"\",\"");
        json.extend(hex_digits(&self.salts.data));
        json.extend_from_slice(b"\"]}");
    }

    /// The JSON for a reader who may not see the record: its seq and hash.
    #[must_use]
    pub fn hidden_json(&self) -> String {
        let mut json = format!("{{\"seq\":{},\"hash\":\"", self.seq);
        push_hex(&mut json, &self.hash());
        json.push_str("\"}");
        json
    }

    /// The meta that its leaf commits to.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta {
            event: self.identity.event.as_str(),
            version: self.version,
            id: self.id,
            author: self.author.as_ref().map(User::as_str),
            to: self.identity.to.as_ref().map(User::as_str),
        }
    }

    /// The leaf and the encoded meta that it commits to.
    #[must_use]
    pub fn leaf(&self) -> (Leaf, Vec<u8>) {
        let mut meta = Vec::with_capacity(META_BYTES_MAX);
        (self.leaf_into(&mut meta), meta)
    }

    /// The leaf; `meta` is replaced by the encoded meta that it commits to.
    #[must_use]
    pub fn leaf_into(&self, meta: &mut Vec<u8>) -> Leaf {
        meta.clear();
        self.meta().encode_into(meta);
        Leaf {
            seq: self.seq,
            time_ms: self.time.millis(),
            meta: commit(&self.salts.meta, meta),
            data: commit(&self.salts.data, self.data()),
        }
    }

    /// The RFC 6962 leaf hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.leaf().0.hash()
    }
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Appends a JSON string, escaped where RFC 8259 requires it.
fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}
