//! `GET /audit/{event}`: the history of an event; `GET /audit/{event}/{version}`: one version.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::codec::etag::with_etag;
use crate::http::codec::paths::event_in_path;
use crate::http::codec::query::{Query, malformed, next_link};
use crate::http::codec::record_pages;
use crate::http::codec::record_pages::{Layout, VersionRange};
use crate::http::codec::schemas::{ProblemBody, RecordBody};
use crate::http::problem::{Code, Problem};
use crate::http::state::AppState;
use crate::projection::{PageQuery, Pointer, ProjectionHandle};
use crate::record::{Identity, Name, Record, Timestamp, Version};

/// Returns the history of an event.
///
/// The answer is streamed; each record has its hash and salts. If it cannot be completed, the
/// connection ends without the final chunk.
#[utoipa::path(
    get, path = "/audit/{event}", tag = "audit",
    params(
        ("event" = String, Path, description = "The event's name, percent-encoded"),
        ("after_version" = Option<u64>, Query, description = "Only versions after this one in the \
            requested order: greater ones, or lower ones with `order=desc`"),
        ("limit" = Option<u64>, Query, description = "Maximum number of records, at least 1; if \
            more follow, a `Link` header with `rel=next` leads to them"),
        ("order" = Option<String>, Query, description = "`asc` (default) or `desc`"),
        ("since" = Option<String>, Query, description = "Only records inserted at or after this \
            time (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Only records inserted before this time \
            (RFC 3339)"),
        ("at" = Option<String>, Query, description = "Instead of the history, the one record that \
            was current at this time (RFC 3339); only `to` may accompany it"),
        ("to" = Option<String>, Query, description = "The private history of a user; refused while \
            there is no authentication"),
    ),
    responses(
        (status = 200, description = "An array of records, or one record per line with `Accept: \
            application/x-ndjson`; with `at`, one record", body = Vec<RecordBody>),
        (status = 403, description = "Private records can be read by their user only",
            body = ProblemBody),
        (status = 404, description = "The event does not exist, or did not at that time",
            body = ProblemBody),
        (status = 503, description = "The history is catching up with the log", body = ProblemBody),
    )
)]
pub async fn history(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let known = ["after_version", "limit", "order", "since", "until", "at", "to"];
    let query = Query::parse(request.query_string(), &known)?;
    let identity = public_identity(event_in_path(&request, 0)?, &query)?;
    if let Some(at) = parse_time(&query, "at", Timestamp::parse)? {
        let others = known.iter().filter(|name| !["at", "to"].contains(name));
        if let Some(other) = others.into_iter().find(|name| query.all(name).next().is_some()) {
            return Err(malformed(format!("at returns one record; leave out {other}")));
        }
        return current_at(&state, identity, at).await;
    }
    let history_query = HistoryQuery::parse(&query)?;
    state.broker.caught_up().await?;
    let projection = state.broker.projection().clone();
    let (range, next) = read_blocking(move || history_query.resolve(&projection, identity)).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    response.insert_header((header::VARY, "Accept"));
    if let Some(after) = next {
        response.insert_header((
            header::LINK,
            next_link(request.query_string(), "after_version", &after.to_string()),
        ));
    }
    let projection = state.broker.projection().clone();
    Ok(record_pages::respond(response, projection, range, Layout::accepted(&request)))
}

/// Returns one version of an event.
#[utoipa::path(
    get, path = "/audit/{event}/{version}", tag = "audit",
    params(
        ("event" = String, Path, description = "The event's name, percent-encoded"),
        ("version" = u64, Path, description = "The version, from 1"),
        ("to" = Option<String>, Query, description = "The private history of a user; refused while \
            there is no authentication"),
    ),
    responses(
        (status = 200, description = "The record", body = RecordBody,
         headers(("ETag" = String, description = "The record's hash; the record never changes"))),
        (status = 304, description = "The client already has it"),
        (status = 403, description = "Private records can be read by their user only",
            body = ProblemBody),
        (status = 404, description = "The event or the version does not exist", body = ProblemBody),
    )
)]
pub async fn version(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["to"])?;
    let identity = public_identity(event_in_path(&request, 1)?, &query)?;
    let (_, version) = path.into_inner();
    let unknown = || {
        let detail = format!("{:?} has no version {version:?}", identity.event.as_str());
        Problem::new(Code::UnknownVersion).detail(detail)
    };
    let number: Version = version.parse().map_err(|_| unknown())?;
    state.broker.caught_up().await?;
    let projection = state.broker.projection().clone();
    let wanted = identity.clone();
    let record = read_blocking(move || {
        latest_pointer(&projection, &wanted)?;
        read_version(&projection, &wanted, number)
    });
    let record = record.await?.ok_or_else(unknown)?;
    let mut etag = String::from("\"");
    crate::record::push_hex(&mut etag, &record.hash());
    etag.push('"');
    Ok(with_etag(&request, &etag, "application/json", || record.audit_json()))
}

/// The parameters of a request for a history.
#[derive(Debug)]
pub struct HistoryQuery {
    after: Option<Version>,
    limit: Option<u64>,
    descending: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl HistoryQuery {
    pub fn parse(query: &Query<'_>) -> Result<Self, Problem> {
        let descending = match query.one("order")? {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(malformed(format!("order={other:?} is not asc or desc"))),
        };
        Ok(Self {
            after: query.parsed("after_version", "a version, as a number")?,
            limit: query.limit()?,
            descending,
            since: parse_time(query, "since", Timestamp::parse_bound)?,
            until: parse_time(query, "until", Timestamp::parse_bound)?,
        })
    }

    /// Resolves the parameters to a range of versions, and the version after which the next page
    /// continues if there is one.
    fn resolve(
        self,
        projection: &ProjectionHandle,
        identity: Identity,
    ) -> Result<(VersionRange, Option<Version>), Problem> {
        let (mut start, mut end) = (1, latest_pointer(projection, &identity)?.version);
        if let Some(since) = self.since {
            start = projection.first_version_since(&identity, since)?.unwrap_or(end + 1);
        }
        if let Some(until) = self.until {
            let first_too_late = projection.first_version_since(&identity, until)?;
            end = first_too_late.map_or(end, |version| version - 1);
        }
        match self.after {
            Some(after) if self.descending => end = end.min(after.saturating_sub(1)),
            Some(after) => start = start.max(after.saturating_add(1)),
            None => {}
        }
        let mut next = None;
        if let Some(limit) = self.limit.filter(|limit| start <= end && *limit <= end - start) {
            if self.descending {
                start = end - limit + 1;
                next = Some(start);
            } else {
                end = start + limit - 1;
                next = Some(end);
            }
        }
        Ok((VersionRange { identity, versions: start..=end, descending: self.descending }, next))
    }
}

async fn current_at(
    state: &AppState,
    identity: Identity,
    at: Timestamp,
) -> Result<HttpResponse, Problem> {
    state.broker.caught_up().await?;
    let projection = state.broker.projection().clone();
    let record = read_blocking(move || {
        latest_pointer(&projection, &identity)?;
        match projection.version_at(&identity, at)? {
            Some(version) => read_version(&projection, &identity, version),
            None => Ok(None),
        }
    });
    let unknown =
        || Problem::new(Code::UnknownVersion).detail(format!("the event did not exist at {at}"));
    let record = record.await?.ok_or_else(unknown)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(response.content_type("application/json").body(record.audit_json()))
}

/// Returns the public identity of `event`. Without authentication a request has no user, so it may
/// not read private histories.
fn public_identity(event: Name, query: &Query<'_>) -> Result<Identity, Problem> {
    if query.one("to")?.is_some() {
        let detail =
            "private histories need authentication, which does not exist yet: leave out to";
        return Err(Problem::new(Code::Private).detail(detail));
    }
    Ok(Identity { event, to: None })
}

fn latest_pointer(projection: &ProjectionHandle, identity: &Identity) -> Result<Pointer, Problem> {
    projection.latest(identity)?.ok_or_else(|| {
        let detail =
            format!("nothing was ever inserted as {:?}; check the name", identity.event.as_str());
        Problem::new(Code::UnknownEvent).detail(detail)
    })
}

fn read_version(
    projection: &ProjectionHandle,
    identity: &Identity,
    version: Version,
) -> Result<Option<Record>, Problem> {
    let query = PageQuery { versions: version..=version, limit: 1, descending: false };
    Ok(projection.page(identity, &query)?.into_iter().next())
}

pub fn parse_time(
    query: &Query<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<Timestamp, String>,
) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.one(name)? else { return Ok(None) };
    let time = parse(text).map_err(|error| {
        malformed(format!(
            "{name}={text:?} is not an RFC 3339 time such as 2026-11-21T10:00:00Z: {error}"
        ))
    })?;
    Ok(Some(time))
}

/// Runs a read of the projection on a thread that may block.
pub async fn read_blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a read of the history panicked");
        Err(Problem::new(Code::Internal))
    })
}
