//! What must hold of the bytes that a connection is opened with, and of every insert on it.

use actix_http::ServiceConfig;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::http::connection::insert_parser::{InsertParser, ParsedRequest};
use crate::http::connection::request_for_stream;

/// Small, so that requests come in parts.
const CHUNK_BYTES: usize = 16;

/// A request for a stream is all that was sent. Inserts are the same however they are cut by the
/// network, and whether or not the head was known from the one before.
pub fn connection(bytes: &[u8]) {
    // actix's codec has a task that tells the time; it is never run.
    let tasks = LocalSet::new();
    let _entered = tasks.enter();
    let service = ServiceConfig::default();
    if let Some((request, _)) = request_for_stream(bytes, &service) {
        assert_eq!((request.method().as_str(), request.path()), ("GET", "/events"));
        assert!(request_for_stream(&[bytes, b"\r\n"].concat(), &service).is_none());
    }
    let whole = inserts([bytes], &service);
    assert_eq!(inserts(bytes.chunks(CHUNK_BYTES), &service), whole);
    let mut rest = bytes;
    for insert in whole {
        let (alone, after) = rest.split_at(insert.1);
        assert!(alone.ends_with(&insert.0), "a body ends its request");
        assert_eq!(inserts([alone], &service), [insert]);
        rest = after;
    }
}

/// The bodies of the plain inserts, each with the length of its request, up to whatever is none.
fn inserts<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    service: &ServiceConfig,
) -> Vec<(Bytes, usize)> {
    let settings = Config::default();
    let mut parser = InsertParser::new(BytesMut::new(), service.clone());
    let mut inserts = Vec::new();
    for chunk in chunks {
        parser.input.extend_from_slice(chunk);
        while !parser.input.is_empty()
            && let Some(parsed) = parser.parse(&settings)
        {
            let ParsedRequest::Insert(insert) = parsed else { return inserts };
            parser.input.advance(insert.len);
            inserts.push((insert.body, insert.len));
        }
    }
    inserts
}
