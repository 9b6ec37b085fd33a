//! Bytes to values and back: query strings, bodies, event streams and pages of records.

pub mod body;
pub mod etag;
pub mod paths;
pub mod query;
pub mod record_pages;
pub mod schemas;
pub mod sse;
pub mod wire_encoding;
