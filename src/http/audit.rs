//! `GET /audit`: the history of an event, one version, and the list of all events.

use std::cell::RefCell;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::Shared;
use super::etag::with_etag;
use super::history::{self, Layout, Range};
use super::names::{event_in_path, push_encoded};
use super::problem::{Code, Problem};
use super::query::{Query, malformed};
use super::wire::{AuditName, Record as RecordBody, Refusal};
use crate::projection::{NamePage, PageQuery, Pointer, ProjectionHandle, Unavailable};
use crate::record::{FilterSet, Identity, Name, Record, Timestamp, Version};

/// Events of one page of the list, unless asked otherwise; also the most.
const NAMES_MAX: usize = 1_000;

/// Most scans of the projection for one page, of 10,000 names each: 0.3 s of a blocking thread.
const NAME_SCANS_MAX: usize = 10;

/// The full history of an event, ascending, streamed.
#[utoipa::path(
    get, path = "/audit/{event}", tag = "audit",
    params(
        ("event" = String, Path, description = "The event's name, percent-encoded"),
        ("after_version" = Option<u64>, Query, description = "Only what comes after this version in the order asked for"),
        ("limit" = Option<u64>, Query, description = "At most so many; a Link with rel=next tells where to go on"),
        ("order" = Option<String>, Query, description = "`asc` (default) or `desc`"),
        ("since" = Option<String>, Query, description = "RFC 3339, inclusive"),
        ("until" = Option<String>, Query, description = "RFC 3339, exclusive"),
        ("at" = Option<String>, Query, description = "RFC 3339: the one record that was current then"),
        ("to" = Option<String>, Query, description = "The private history of a user"),
    ),
    responses(
        (status = 200, description = "An array, or lines for Accept: application/x-ndjson", body = Vec<RecordBody>),
        (status = 403, description = "Private records are their user's", body = Refusal),
        (status = 404, description = "The event does not exist", body = Refusal),
        (status = 503, description = "The history is catching up", body = Refusal),
    )
)]
pub(super) async fn history(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let known = ["after_version", "limit", "order", "since", "until", "at", "to"];
    let query = Query::parse(request.query_string(), &known)?;
    let identity = identity(event_in_path(&request, 0)?, &query)?;
    if let Some(at) = time(&query, "at", Timestamp::parse)? {
        let others = known.iter().filter(|name| !["at", "to"].contains(name));
        if let Some(other) = others.into_iter().find(|name| query.all(name).next().is_some()) {
            return Err(malformed(format!("at asks for one record; leave out {other}")));
        }
        return current_at(&shared, identity, at).await;
    }
    let asked = Asked::parse(&query)?;
    shared.broker.caught_up().await?;
    let projection = shared.broker.projection().clone();
    let (range, next) = block(move || asked.resolve(&projection, identity)).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    response.insert_header((header::VARY, "Accept"));
    if let Some(after) = next {
        response.insert_header((
            header::LINK,
            next_link(&request, "after_version", &after.to_string()),
        ));
    }
    let projection = shared.broker.projection().clone();
    Ok(history::respond(response, projection, range, Layout::asked(&request)))
}

/// One version of an event.
#[utoipa::path(
    get, path = "/audit/{event}/{version}", tag = "audit",
    params(
        ("event" = String, Path, description = "The event's name, percent-encoded"),
        ("version" = u64, Path, description = "From 1"),
        ("to" = Option<String>, Query, description = "The private history of a user"),
    ),
    responses(
        (status = 200, description = "The record", body = RecordBody,
         headers(("ETag" = String, description = "The record's hash"))),
        (status = 304, description = "As the client has it"),
        (status = 403, description = "Private records are their user's", body = Refusal),
        (status = 404, description = "The event or the version does not exist", body = Refusal),
    )
)]
pub(super) async fn version(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["to"])?;
    let identity = identity(event_in_path(&request, 1)?, &query)?;
    let (_, version) = path.into_inner();
    let unknown = || {
        let detail = format!("{version:?} is no version of {:?}", identity.event.as_str());
        Problem::new(Code::UnknownVersion).detail(detail)
    };
    let number: Version = version.parse().map_err(|_| unknown())?;
    shared.broker.caught_up().await?;
    let projection = shared.broker.projection().clone();
    let wanted = identity.clone();
    let record = block(move || {
        newest(&projection, &wanted)?;
        one(&projection, &wanted, number)
    });
    let record = record.await?.ok_or_else(unknown)?;
    let mut etag = String::from("\"");
    crate::record::push_hex(&mut etag, &record.hash());
    etag.push('"');
    Ok(with_etag(&request, &etag, "application/json", || record.audit_json()))
}

/// Every event with its newest version, count, first and last time.
#[utoipa::path(
    get, path = "/audit", tag = "audit",
    params(
        ("event" = Option<Vec<String>>, Query, description = "Names or filters; repeatable"),
        ("after" = Option<String>, Query, description = "Only names after this one, in the order of their bytes"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 1,000 (default); a Link with rel=next tells where to go on"),
    ),
    responses(
        (status = 200, description = "By name, in the order of bytes", body = Vec<AuditName>),
        (status = 503, description = "The history is catching up", body = Refusal),
    )
)]
pub(super) async fn names(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["event", "after", "limit"])?;
    let filters = FilterSet::parse(query.all("event"), shared.broker.config().max_filters.get());
    let filters = filters.map_err(malformed)?;
    let limit = limit(&query)?.unwrap_or(NAMES_MAX as u64).min(NAMES_MAX as u64);
    let limit = usize::try_from(limit).unwrap_or(NAMES_MAX);
    let after = match query.one("after")? {
        Some(text) => {
            Some(Name::parse(text).map_err(|error| malformed(format!("after: {error}")))?)
        }
        None => None,
    };
    shared.broker.caught_up().await?;
    let projection = shared.broker.projection().clone();
    let list = block(move || Ok(find_names(&projection, after, limit, &filters)?)).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    if let Some(after) = &list.next {
        response.insert_header((header::LINK, next_link(&request, "after", after.as_str())));
    }
    let names = list.names.iter().map(|(identity, pointer)| AuditName::new(identity, pointer));
    Ok(response.json(names.collect::<Vec<_>>()))
}

/// A page of the list.
#[derive(Debug, Default)]
struct List {
    names: Vec<(Identity, Pointer)>,
    /// The public name after which a next page goes on.
    next: Option<Name>,
}

/// Public names that match. One more than asked for is looked for, so that a next page is promised
/// only when it holds something, unless the scan ran out of its budget.
fn find_names(
    projection: &ProjectionHandle,
    after: Option<Name>,
    limit: usize,
    filters: &FilterSet,
) -> Result<List, Unavailable> {
    if let Some(names) = filters.exact_only() {
        let names = names.filter(|name| after.as_ref().is_none_or(|after| *name > after));
        return look_up_names(names, limit, |identity| projection.newest(identity));
    }
    scan_names(after, limit, filters, |after, limit, wanted| projection.names(after, limit, wanted))
}

fn look_up_names<'a>(
    names: impl Iterator<Item = &'a Name>,
    limit: usize,
    newest: impl Fn(&Identity) -> Result<Option<Pointer>, Unavailable>,
) -> Result<List, Unavailable> {
    let mut list = List::default();
    for event in names {
        let identity = Identity { event: event.clone(), to: None };
        if let Some(pointer) = newest(&identity)? {
            list.names.push((identity, pointer));
        }
        if list.is_cut_at(limit) {
            break;
        }
    }
    Ok(list)
}

/// Goes past stretches where nothing matches, up to a budget. A position is always a public name,
/// lest it tell a private one, so a stretch without any is passed whatever the budget says.
fn scan_names(
    after: Option<Name>,
    limit: usize,
    filters: &FilterSet,
    scan: impl Fn(Option<&Identity>, usize, &dyn Fn(&Identity) -> bool) -> Result<NamePage, Unavailable>,
) -> Result<List, Unavailable> {
    let mut list = List::default();
    let mut after = after.map(|event| Identity { event, to: None });
    let passed = RefCell::new(None);
    let wanted = |identity: &Identity| {
        let is_public = identity.to.is_none() && !identity.event.is_system();
        if is_public {
            *passed.borrow_mut() = Some(identity.event.clone());
        }
        is_public && filters.matches(&identity.event)
    };
    for scans in 1.. {
        let page = scan(after.as_ref(), limit + 1 - list.names.len(), &wanted)?;
        list.names.extend(page.names);
        if list.is_cut_at(limit) || page.next.is_none() {
            break;
        }
        if scans >= NAME_SCANS_MAX && passed.borrow().is_some() {
            list.next = passed.take();
            break;
        }
        after = page.next;
    }
    Ok(list)
}

impl List {
    /// Whether it holds more than was asked for; if so, it is cut there.
    fn is_cut_at(&mut self, limit: usize) -> bool {
        let is_longer = self.names.len() > limit;
        if is_longer {
            self.names.truncate(limit);
            self.next = self.names.last().map(|(identity, _)| identity.event.clone());
        }
        is_longer
    }
}

/// What a request for a history asks.
struct Asked {
    after: Option<Version>,
    limit: Option<u64>,
    descending: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Asked {
    fn parse(query: &Query<'_>) -> Result<Self, Problem> {
        let descending = match query.one("order")? {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(malformed(format!("order={other:?} is not asc or desc"))),
        };
        Ok(Self {
            after: query.parsed("after_version", "a version, as a number")?,
            limit: limit(query)?,
            descending,
            since: time(query, "since", Timestamp::parse_bound)?,
            until: time(query, "until", Timestamp::parse_bound)?,
        })
    }

    /// The versions that are meant, and after which one a next page goes on.
    fn resolve(
        self,
        projection: &ProjectionHandle,
        identity: Identity,
    ) -> Result<(Range, Option<Version>), Problem> {
        let (mut start, mut end) = (1, newest(projection, &identity)?.version);
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
        Ok((Range { identity, versions: start..=end, descending: self.descending }, next))
    }
}

async fn current_at(
    shared: &Shared,
    identity: Identity,
    at: Timestamp,
) -> Result<HttpResponse, Problem> {
    shared.broker.caught_up().await?;
    let projection = shared.broker.projection().clone();
    let record = block(move || {
        newest(&projection, &identity)?;
        match projection.version_at(&identity, at)? {
            Some(version) => one(&projection, &identity, version),
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

/// Nobody is a user in open mode, so private histories are nobody's.
fn identity(event: Name, query: &Query<'_>) -> Result<Identity, Problem> {
    if query.one("to")?.is_some() {
        let detail = "without authentication nobody may read what is private to a user";
        return Err(Problem::new(Code::Private).detail(detail));
    }
    Ok(Identity { event, to: None })
}

fn newest(projection: &ProjectionHandle, identity: &Identity) -> Result<Pointer, Problem> {
    projection.newest(identity)?.ok_or_else(|| {
        let detail = format!("nothing was ever inserted as {:?}", identity.event.as_str());
        Problem::new(Code::UnknownEvent).detail(detail)
    })
}

fn one(
    projection: &ProjectionHandle,
    identity: &Identity,
    version: Version,
) -> Result<Option<Record>, Problem> {
    let query = PageQuery { versions: version..=version, limit: 1, descending: false };
    Ok(projection.page(identity, &query)?.into_iter().next())
}

fn limit(query: &Query<'_>) -> Result<Option<u64>, Problem> {
    match query.parsed("limit", "a number")? {
        Some(0) => Err(malformed("limit=0 asks for nothing; write at least 1")),
        limit => Ok(limit),
    }
}

fn time(
    query: &Query<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<Timestamp, String>,
) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.one(name)? else { return Ok(None) };
    let time = parse(text).map_err(|error| {
        malformed(format!(
            "{name}={text:?} is no RFC 3339 time such as 2026-11-21T10:00:00Z: {error}"
        ))
    })?;
    Ok(Some(time))
}

/// The same request, going on after `value` (RFC 8288); relative, so that it stays right behind a
/// proxy that serves this under another path.
fn next_link(request: &HttpRequest, parameter: &str, value: &str) -> String {
    let rest = request.query_string().split('&');
    let rest = rest.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(parameter));
    let mut target = String::from("?");
    for pair in rest {
        target.push_str(pair);
        target.push('&');
    }
    target.push_str(parameter);
    target.push('=');
    push_encoded(&mut target, value);
    format!("<{target}>; rel=\"next\"")
}

/// Runs a read of the projection where it may block.
async fn block<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a read of the history panicked");
        Err(Problem::new(Code::Internal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::User;

    /// Identities that a projection might list by tens.
    fn scanned(
        all: &[Identity],
        after: Option<&Identity>,
        limit: usize,
        wanted: &dyn Fn(&Identity) -> bool,
    ) -> NamePage {
        let mut page = NamePage::default();
        let rest = all.iter().filter(|identity| after.is_none_or(|after| *identity > after));
        for (looked_at, identity) in rest.enumerate() {
            if page.names.len() >= limit || looked_at == 10 {
                return page;
            }
            page.next = Some(identity.clone());
            if wanted(identity) {
                page.names.push((identity.clone(), pointer()));
            }
        }
        page.next = None;
        page
    }

    fn pointer() -> Pointer {
        let time = Timestamp::default();
        Pointer { number: 1, version: 1, first_time: time, last_time: time, seq: 1 }
    }

    fn public(range: std::ops::Range<usize>) -> impl Iterator<Item = Identity> {
        range.map(|n| Identity { event: Name::parse(&format!("n{n:04}")).unwrap(), to: None })
    }

    /// Names on each page, and where it goes on.
    fn pages(all: &[Identity], filter: &str) -> Vec<(Vec<String>, Option<String>)> {
        let filters = FilterSet::parse([filter], 1).unwrap();
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let scan = |after: Option<&Identity>, limit, wanted: &dyn Fn(&Identity) -> bool| {
                Ok(scanned(all, after, limit, wanted))
            };
            let list = scan_names(after, 3, &filters, scan).unwrap();
            let names = list.names.iter().map(|(identity, _)| identity.event.to_string());
            pages.push((names.collect(), list.next.as_ref().map(ToString::to_string)));
            match list.next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn a_page_ends_when_the_budget_of_scans_does_and_tells_where_to_go_on() {
        let mut all: Vec<_> = public(0..250).collect();
        all.push(Identity { event: Name::parse("x.y").unwrap(), to: None });
        let expected = [
            (vec![], Some("n0099".to_owned())),
            (vec![], Some("n0199".to_owned())),
            (vec!["x.y".to_owned()], None),
        ];
        assert_eq!(pages(&all, "x.*"), expected);
    }

    #[test]
    fn a_page_never_goes_on_after_a_private_name_and_passes_any_number_of_them() {
        let private = (0..350).map(|n| Identity {
            event: Name::parse("secret").unwrap(),
            to: Some(User::parse(&format!("u{n:04}")).unwrap()),
        });
        let end = Identity { event: Name::parse("x.y").unwrap(), to: None };
        let all: Vec<_> = public(0..50).chain(private).chain([end]).collect();
        let expected = [(vec![], Some("n0049".to_owned())), (vec!["x.y".to_owned()], None)];
        assert_eq!(pages(&all, "x.*"), expected);
    }

    #[test]
    fn exact_names_are_looked_up_and_cut_at_the_limit() {
        let names: Vec<_> = public(0..5).map(|identity| identity.event).collect();
        let newest = |identity: &Identity| Ok((identity.event != names[1]).then_some(pointer()));
        let list = look_up_names(names.iter(), 2, newest).unwrap();
        assert_eq!(list.names.len(), 2);
        assert_eq!(list.next.as_ref(), Some(&names[2]));
        let list = look_up_names(names.iter().skip(3), 2, newest).unwrap();
        assert_eq!((list.names.len(), list.next), (2, None));
    }
}
