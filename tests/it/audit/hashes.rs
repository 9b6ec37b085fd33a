//! Recomputes the hashes of records from the documented encodings alone.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::harness::server::Server;

/// Meta: event, version, id, author, to. Strings are prefixed by their length in one byte.
fn meta(record: &Value) -> Vec<u8> {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    let mut meta = Vec::new();
    let push = |meta: &mut Vec<u8>, text: &str| {
        meta.push(u8::try_from(text.len()).expect("at most 255 bytes"));
        meta.extend_from_slice(text.as_bytes());
    };
    push(&mut meta, text("event"));
    meta.extend_from_slice(&record["version"].as_u64().expect("a version").to_be_bytes());
    meta.extend_from_slice(text("id").parse::<Uuid>().expect("a UUID").as_bytes());
    push(&mut meta, text("author"));
    push(&mut meta, text("to"));
    meta
}

fn from_hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    assert!(text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{text}");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("a byte");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The leaf of a record: format, seq, time and the two salted commitments.
pub fn leaf_of_line(line: &str) -> [u8; 84] {
    let record: Value = serde_json::from_str(line).expect("a record");
    leaf(&record, data_of(line)).try_into().expect("84 bytes")
}

/// The leaf hash of RFC 6962.
fn leaf_hash(record: &Value, data: &str) -> Vec<u8> {
    Sha256::new().chain_update([0]).chain_update(leaf(record, data)).finalize().to_vec()
}

fn leaf(record: &Value, data: &str) -> Vec<u8> {
    let salts = [from_hex(&record["salts"][0]), from_hex(&record["salts"][1])];
    assert!(salts.iter().all(|salt| salt.len() == 16));
    let time = record["timestamp"].as_str().expect("a time");
    let time = chrono::DateTime::parse_from_rfc3339(time).expect("RFC 3339").timestamp_millis();
    let mut leaf = vec![0_u8; 4];
    leaf.extend_from_slice(&record["seq"].as_u64().expect("a seq").to_be_bytes());
    leaf.extend_from_slice(&u64::try_from(time).expect("after 1970").to_be_bytes());
    leaf.extend(Sha256::new().chain_update(&salts[0]).chain_update(meta(record)).finalize());
    leaf.extend(Sha256::new().chain_update(&salts[1]).chain_update(data).finalize());
    assert_eq!(leaf.len(), 84);
    leaf
}

/// The bytes of `data` in a record with its hash.
fn data_of(line: &str) -> &str {
    let data = line.split_once(",\"data\":").expect("data").1;
    data.rsplit_once(",\"hash\":\"").expect("a hash").0
}

#[test]
fn every_hash_matches_the_documented_leaf() {
    let server = Server::start();
    let id = Uuid::from_u128(u128::MAX / 3);
    for body in [
        "{\"event\":\"a\",\"data\":0.1000000000000000055}".to_owned(),
        "{\"event\":\"größe.東京\",\"data\":{ \"z\" : \"\\u00e9\" , \"a\" : [ ] }}".to_owned(),
        format!("{{\"event\":\"{}\",\"data\":null,\"id\":\"{id}\"}}", "x".repeat(255)),
        "[{\"event\":\"a\",\"data\":1},{\"event\":\"a\",\"data\":1}]".to_owned(),
    ] {
        server.client().insert(body).expect(201);
    }
    let server = server.restart();
    let lines = server.client().lines("/log");
    assert_eq!(lines.len(), 7);
    let mut salts = Vec::new();
    for line in &lines {
        let record: Value = serde_json::from_str(line).expect("a record");
        let hash = leaf_hash(&record, data_of(line));
        assert_eq!(from_hex(&record["hash"]), hash, "{line}");
        salts.extend([record["salts"][0].to_string(), record["salts"][1].to_string()]);
    }
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 2 * lines.len(), "no salt is used twice");
}

#[test]
fn changing_any_member_changes_the_hash() {
    let server = Server::start();
    server.client().put("a", "\"value\"");
    let line = server.client().lines("/log").pop().expect("a record");
    let record: Value = serde_json::from_str(&line).expect("a record");
    let hash = from_hex(&record["hash"]);
    assert_eq!(leaf_hash(&record, data_of(&line)), hash);
    assert_ne!(leaf_hash(&record, "\"Value\""), hash);
    for (member, other) in [
        ("event", Value::from("b")),
        ("version", 2.into()),
        ("seq", 3.into()),
        ("author", "ann".into()),
        ("to", "ann".into()),
        ("timestamp", "2026-01-01T00:00:00Z".into()),
    ] {
        let mut changed = record.clone();
        changed[member] = other;
        assert_ne!(leaf_hash(&changed, data_of(&line)), hash, "{member}");
    }
}

#[test]
fn every_route_shows_the_same_bytes_of_a_record() {
    let server = Server::start();
    server.client().put("a", "1");
    let in_log = server.client().lines("/log").pop().expect("a record");
    let alone = server.client().get("/audit/a/1").expect(200);
    let in_history = server.client().lines("/audit/a").pop().expect("a record");
    assert_eq!((in_log.as_str(), in_log.as_str()), (alone.text(), in_history.as_str()));
}
