//! Converts between bytes on the wire and values: paths, queries, bodies, streams and pages.

pub mod body;
pub mod etag;
pub mod insert_body;
pub mod json;
pub mod paths;
pub mod query;
pub mod record_pages;
pub mod schemas;
pub mod sse;
pub mod wire_encoding;
