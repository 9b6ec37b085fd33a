//! Plain inserts among the bytes of a connection.
//!
//! Owns what is told of a request before it is whole, and what is remembered of the last one.
//! Promises that what is taken is what actix's codec takes, body and length, and that everything
//! else stays in the input as it came.

use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{Request, ServiceConfig};
use actix_web::http::header;
use actix_web::http::{Method, Version};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

use crate::config::Config;
use crate::http::codec::body;
use crate::http::middleware::cors_host;

/// The one route.
pub const INSERT_PATH: &str = "/insert";
/// Bytes of a request, with its head; a larger one is left to actix.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;
/// A longer head is looked at anew each time.
const KNOWN_HEAD_BYTES_MAX: usize = 1 << 10;

/// What was read, request by request.
pub struct InsertParser {
    service: ServiceConfig,
    /// What was read and not answered yet.
    pub input: BytesMut,
    /// Knows how the last plain request is to be answered.
    pub codec: Codec,
    /// What that one began with.
    head: KnownHead,
}

/// The head of a plain insert, byte for byte. A client sends the same one again and again, and what
/// is said of a head follows from its bytes and from settings.
#[derive(Default)]
struct KnownHead {
    /// Empty when there was none that is worth to be known.
    bytes: Box<[u8]>,
    /// What it says of the body's length.
    body_bytes: usize,
}

/// An insert that came as a whole.
pub struct ParsedInsert {
    pub body: Bytes,
    /// How long it was, with its head.
    pub len: usize,
}

/// A request, by who answers it.
pub enum ParsedRequest {
    Insert(ParsedInsert),
    /// Something else, which lies in the input.
    Other,
}

impl InsertParser {
    /// `config` says how long the client may think between two requests.
    pub fn new(input: BytesMut, service: ServiceConfig) -> Self {
        let codec = Codec::new(service.clone());
        Self { service, input, codec, head: KnownHead::default() }
    }

    /// What lies in the input; nothing yet while a part is missing.
    pub fn parse(&mut self, settings: &Config) -> Option<ParsedRequest> {
        if self.head.is_start_of(&self.input) {
            return self.head.insert(&self.input).map(ParsedRequest::Insert);
        }
        self.parse_unknown(settings)
    }

    fn parse_unknown(&mut self, settings: &Config) -> Option<ParsedRequest> {
        // A copy, so that what is not plain stays as it came.
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

    /// Whether a request begins with this head again.
    fn is_start_of(&self, input: &[u8]) -> bool {
        !self.bytes.is_empty() && input.starts_with(&self.bytes)
    }

    /// That request, when all of it is there.
    fn insert(&self, input: &[u8]) -> Option<ParsedInsert> {
        let len = self.bytes.len() + self.body_bytes;
        let body = input.get(self.bytes.len()..len)?;
        Some(ParsedInsert { body: Bytes::copy_from_slice(body), len })
    }
}

/// Whether there is nothing to a request but an insert of JSON with a length, of no page of
/// another origin, that every check lets through. What it says must follow from the head and
/// from settings: it is not asked again about the same head.
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
