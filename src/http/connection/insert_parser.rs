//! Recognises plain inserts in the bytes of a connection.
//!
//! It remembers the head of the last insert, because clients repeat it. A body and its length are
//! always those that actix's codec would find, and all other requests stay in the input unchanged.

use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_web::http::header;
use actix_web::http::{Method, Version};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

use crate::config::Config;
use crate::http::codec::body;
use crate::http::middleware::cors_host;

/// The only route served on these connections.
pub const INSERT_PATH: &str = "/insert";
/// Maximum bytes of a request with its head; a larger one is left to actix.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Maximum bytes of a head to remember; a longer one is parsed each time.
const KNOWN_HEAD_BYTES_MAX: usize = 1 << 10;

/// Parses the requests of a connection.
pub struct InsertParser {
    service: ServiceConfig,
    /// Bytes that were read and not answered yet.
    pub input: BytesMut,
    /// The codec that decoded the last plain insert; it encodes the answer.
    pub codec: Codec,
    /// The head of the last plain insert.
    head: KnownHead,
}

/// The bytes of a plain insert's head. A client sends the same head again and again, and the checks
/// depend only on the head's bytes and the settings.
#[derive(Default)]
struct KnownHead {
    /// Empty if there is none to remember.
    bytes: Box<[u8]>,
    /// The body length that the head declares.
    body_bytes: usize,
}

/// A complete insert request.
pub struct ParsedInsert {
    pub body: Bytes,
    /// Length of the request with its head.
    pub len: usize,
}

/// A parsed request.
pub enum ParsedRequest {
    Insert(ParsedInsert),
    /// Something else, which is still in the input.
    Other,
}

impl InsertParser {
    /// Makes a parser of a connection; `service` configures the codec.
    pub fn new(input: BytesMut, service: ServiceConfig) -> Self {
        let codec = Codec::new(service.clone());
        Self { service, input, codec, head: KnownHead::default() }
    }

    /// Parses the next request of the input; `None` while it is incomplete.
    pub fn parse(&mut self, settings: &Config) -> Option<ParsedRequest> {
        if self.head.is_start_of(&self.input) {
            return self.head.insert(&self.input).map(ParsedRequest::Insert);
        }
        self.parse_unknown(settings)
    }

    fn parse_unknown(&mut self, settings: &Config) -> Option<ParsedRequest> {
        // A copy, so that the input of another request stays unchanged.
        let seen = &self.input[..self.input.len().min(REQUEST_BYTES_MAX)];
        let mut rest = BytesMut::from(seen);
        let mut codec = Codec::new(self.service.clone());
        let incomplete = || (seen.len() == REQUEST_BYTES_MAX).then_some(ParsedRequest::Other);
        match codec.decode(&mut rest) {
            Ok(Some(Message::Item(request))) if is_plain(&request, &codec, settings) => {}
            Ok(None) => return incomplete(),
            _ => return Some(ParsedRequest::Other),
        }
        let head = &seen[..seen.len() - rest.len()];
        let body = match codec.decode(&mut rest) {
            Ok(Some(Message::Chunk(Some(body)))) => body,
            Ok(None) => return incomplete(),
            _ => return Some(ParsedRequest::Other),
        };
        match codec.decode(&mut rest) {
            Ok(Some(_)) => {
                let len = seen.len() - rest.len();
                self.head = KnownHead::new(head, len - head.len());
                self.codec = codec;
                Some(ParsedRequest::Insert(ParsedInsert { body, len }))
            }
            Ok(None) => incomplete(),
            Err(_) => Some(ParsedRequest::Other),
        }
    }
}

impl KnownHead {
    fn new(bytes: &[u8], body_bytes: usize) -> Self {
        if bytes.len() > KNOWN_HEAD_BYTES_MAX {
            return Self::default();
        }
        Self { bytes: bytes.into(), body_bytes }
    }

    /// Whether the input starts with this head.
    fn is_start_of(&self, input: &[u8]) -> bool {
        !self.bytes.is_empty() && input.starts_with(&self.bytes)
    }

    /// Takes the request that starts with this head, if it is complete.
    fn insert(&self, input: &[u8]) -> Option<ParsedInsert> {
        let len = self.bytes.len() + self.body_bytes;
        let body = input.get(self.bytes.len()..len)?;
        Some(ParsedInsert { body: Bytes::copy_from_slice(body), len })
    }
}

/// Whether a request is a plain insert: JSON with a declared length, without `Origin`, accepted by
/// all checks. The result must depend only on the head and the settings, because it is not computed
/// again for the same head.
fn is_plain(request: &Request, codec: &Codec, settings: &Config) -> bool {
    let head = request.head();
    head.method == Method::POST
        && head.version == Version::HTTP_11
        && head.uri == INSERT_PATH
        && matches!(codec.message_type(), MessageType::Payload)
        && !head.expect()
        && !head.upgrade()
        && !head.headers().contains_key(header::TRANSFER_ENCODING)
        && !head.headers().contains_key(header::ORIGIN)
        && cors_host::check_host(head, settings).is_ok()
        && body::check_media_type(head.headers()).is_ok()
        && body::declared_bytes(head.headers())
            .is_some_and(|len| len <= settings.max_body_bytes.min(REQUEST_BYTES_MAX))
}
