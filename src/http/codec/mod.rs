//! TODO http/codec.

pub mod body;
pub mod etag;
pub mod paths;
pub mod query;
pub mod record_pages;
pub mod schemas;
pub mod sse;
