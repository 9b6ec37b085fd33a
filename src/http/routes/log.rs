//! `GET /log`: the whole log, one record per line.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::http::codec::query::Query;
use crate::http::codec::schemas::{ProblemBody, RecordBody};
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::journal::Follower;
use crate::record::{Record, Seq};

/// Bytes of the log to read at a time.
const READ_BYTES_MAX: usize = 256 << 10;

/// Returns the records of the log in order, one per line.
///
/// The answer ends at the last record as of the request. Each record has its hash and salts; of a
/// record that the reader may not see there are only seq and hash.
#[utoipa::path(
    get, path = "/log", tag = "audit",
    params(
        ("after" = Option<u64>, Query, description = "Only records after this seq"),
        ("limit" = Option<u64>, Query, description = "Maximum number of records, at least 1"),
    ),
    responses(
        (status = 200, description = "One record per line",
         content_type = "application/x-ndjson", body = RecordBody),
        (status = 400, description = "A parameter is not valid", body = ProblemBody),
    )
)]
pub async fn log(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["after", "limit"])?;
    let after: Seq = query.parsed("after", "a seq, as a number")?.unwrap_or(0);
    let limit = query.limit()?;
    let head = state.broker.head();
    let last = limit.map_or(head, |limit| after.saturating_add(limit).min(head));
    let follower = state.broker.reader().follow(after.min(head));
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(response.content_type("application/x-ndjson").streaming(lines(follower, last)))
}

fn lines(follower: Follower, last: Seq) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::try_unfold(follower, move |mut follower| async move {
        if follower.position() >= last {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let records = follower.next(READ_BYTES_MAX).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((encode(&records, last), follower))
        });
        let read = read.await.map_err(std::io::Error::other)?;
        read.map(Some).inspect_err(|error| tracing::error!(%error, "the log cannot be read"))
    })
}

fn encode(records: &[Record], last: Seq) -> Bytes {
    let mut out = Vec::new();
    for record in records.iter().take_while(|record| record.seq() <= last) {
        // Without authentication a request has no user, so private records are hidden.
        match record.to() {
            Some(_) => out.extend_from_slice(record.hidden_json().as_bytes()),
            None => record.audit_json_into(&mut out),
        }
        out.push(b'\n');
    }
    out.into()
}
