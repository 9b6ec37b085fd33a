//! Streams a range of an event's versions page by page, so memory does not grow with its length.

use std::ops::RangeInclusive;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::projection::{PageQuery, ProjectionHandle, Unavailable};
use crate::record::{AUDIT_BYTES, Identity, Record, Version};

/// Maximum records of one page; the projection limits its bytes.
const PAGE_RECORDS: usize = 256;

const LINES: &str = "application/x-ndjson";

/// The versions to send, and their order.
#[derive(Clone, Debug)]
pub struct VersionRange {
    pub identity: Identity,
    /// Empty when the start is after the end.
    pub versions: RangeInclusive<Version>,
    pub descending: bool,
}

/// How the records of an answer are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Array,
    Lines,
}

impl Layout {
    /// Chooses one record per line if the request accepts that, otherwise a JSON array.
    pub fn accepted(request: &HttpRequest) -> Self {
        let accept = request.headers().get_all(header::ACCEPT);
        let lines = accept.filter_map(|value| value.to_str().ok()).any(accepts_lines);
        if lines { Self::Lines } else { Self::Array }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Array => "application/json",
            Self::Lines => LINES,
        }
    }
}

/// Whether a value of `Accept` names NDJSON with a weight other than 0 (RFC 9110, section 12.5.1).
fn accepts_lines(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(LINES));
        is_named && !parts.any(is_refusal)
    })
}

/// Whether a parameter is a weight of 0.
fn is_refusal(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0)
    })
}

/// Streams the range as the response's body. An error after the first byte ends the connection
/// without the final chunk, so that a client cannot mistake a truncated answer for a complete one.
pub fn respond(
    mut response: HttpResponseBuilder,
    projection: ProjectionHandle,
    range: VersionRange,
    layout: Layout,
) -> HttpResponse {
    response.content_type(layout.content_type()).streaming(pages(projection, range, layout))
}

/// The progress of a streamed answer.
enum PageStage {
    Rest { range: VersionRange, first: bool },
    Done,
}

fn pages(
    projection: ProjectionHandle,
    range: VersionRange,
    layout: Layout,
) -> impl Stream<Item = Result<Bytes, Unavailable>> {
    stream::try_unfold(PageStage::Rest { range, first: true }, move |stage| {
        let projection = projection.clone();
        async move {
            let PageStage::Rest { range, first } = stage else { return Ok(None) };
            let (out, next) = read_page(projection, range, layout, first).await?;
            Ok(Some((Bytes::from(out), next)))
        }
    })
}

async fn read_page(
    projection: ProjectionHandle,
    mut range: VersionRange,
    layout: Layout,
    first: bool,
) -> Result<(Vec<u8>, PageStage), Unavailable> {
    let job = tokio::task::spawn_blocking(move || {
        let query = PageQuery {
            versions: range.versions.clone(),
            limit: PAGE_RECORDS,
            descending: range.descending,
        };
        let records = match range.versions.is_empty() {
            true => Vec::new(),
            false => projection.page(&range.identity, &query)?,
        };
        range.advance(&records)?;
        Ok((encode(&records, layout, first), range))
    });
    let (mut out, range) = job.await.unwrap_or(Err(Unavailable::Invalid))?;
    if !range.versions.is_empty() {
        return Ok((out, PageStage::Rest { range, first: false }));
    }
    if layout == Layout::Array {
        out.push(b']');
    }
    Ok((out, PageStage::Done))
}

impl VersionRange {
    /// Removes the versions of these records from the range. The range was limited to versions that
    /// exist, so a page without records means that the projection is inconsistent.
    fn advance(&mut self, records: &[Record]) -> Result<(), Unavailable> {
        if self.versions.is_empty() {
            return Ok(());
        }
        let last = records.last().ok_or(Unavailable::Invalid)?.version();
        let (start, end) = (*self.versions.start(), *self.versions.end());
        self.versions = match self.descending {
            true => start..=last - 1,
            false => last + 1..=end,
        };
        Ok(())
    }
}

fn encode(records: &[Record], layout: Layout, first: bool) -> Vec<u8> {
    let records_bytes: usize = records.iter().map(|record| record.json().len() + AUDIT_BYTES).sum();
    let mut out = Vec::with_capacity(records_bytes + records.len() + 2);
    if layout == Layout::Array && first {
        out.push(b'[');
    }
    for (index, record) in records.iter().enumerate() {
        if layout == Layout::Array && !(first && index == 0) {
            out.push(b',');
        }
        record.audit_json_into(&mut out);
        if layout == Layout::Lines {
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn lines_are_sent_only_when_accept_names_them() {
        let cases: [(&[&str], Layout); 11] = [
            (&[], Layout::Array),
            (&["*/*"], Layout::Array),
            (&["application/json"], Layout::Array),
            (&["application/x-ndjson"], Layout::Lines),
            (&["Application/X-NDJSON"], Layout::Lines),
            (&["application/json, application/x-ndjson ;Q=0.5"], Layout::Lines),
            (&["application/json", "application/x-ndjson"], Layout::Lines),
            (&["application/x-ndjson;q=0"], Layout::Array),
            (&["application/x-ndjson; charset=utf-8; q=0.000"], Layout::Array),
            (&["application/x-ndjson-seq"], Layout::Array),
            (&["text/application/x-ndjson"], Layout::Array),
        ];
        for (accept, expected) in cases {
            let mut request = TestRequest::get();
            for value in accept {
                request = request.append_header((header::ACCEPT, *value));
            }
            assert_eq!(Layout::accepted(&request.to_http_request()), expected, "{accept:?}");
        }
    }
}
