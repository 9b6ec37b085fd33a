//! Properties of the parsers of a connection's first bytes and of its inserts.

use actix_http::ServiceConfig;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::http::connection::insert_parser::{InsertParser, ParsedRequest};
use crate::http::connection::request_for_stream;

/// Small, so that requests arrive in parts.
const CHUNK_BYTES: usize = 16;

/// A request for a stream is everything that was sent. Inserts are parsed the same however the
/// network splits them, and whether or not the head is known from the previous one.
pub fn connection(bytes: &[u8]) {
    // actix's codec spawns a task that updates its clock; it never runs here.
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

/// Returns the bodies of the leading plain inserts, each with the length of its request.
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
