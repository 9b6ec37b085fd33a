//! `GET /audit`: lists all events.

use std::cell::RefCell;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::codec::query::{Query, malformed, next_link};
use crate::http::codec::schemas::{AuditName, ProblemBody};
use crate::http::problem::Problem;
use crate::http::routes::history::read_blocking;
use crate::http::state::AppState;
use crate::projection::{NamePage, Pointer, ProjectionHandle, Unavailable};
use crate::record::{FilterSet, Identity, Name};

/// Default and maximum number of events on one page.
const NAMES_MAX: usize = 1_000;

/// Maximum scans of the projection for one page, of 10,000 names each: 0.3 s of a blocking thread.
const NAME_SCANS_MAX: usize = 10;

/// Lists all events that have a public history.
#[utoipa::path(
    get, path = "/audit", tag = "audit",
    params(
        ("event" = Option<Vec<String>>, Query, description = "Names or filters, repeatable; `*` \
            matches one token, a final `>` one or more. Without it, all events"),
        ("after" = Option<String>, Query, description = "Only names after this one, in byte order"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events, 1 to 1,000 \
            (default); if more follow, a `Link` header with `rel=next` leads to them"),
    ),
    responses(
        (status = 200, description = "The events by name, in byte order. A page under a filter may \
            be short or empty although a `Link` follows", body = Vec<AuditName>),
        (status = 503, description = "The history is catching up with the log", body = ProblemBody),
    )
)]
pub async fn names(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["event", "after", "limit"])?;
    let filters = query.filters(state.broker.config().max_filters)?;
    let limit = query.limit()?.unwrap_or(NAMES_MAX as u64).min(NAMES_MAX as u64);
    let limit = usize::try_from(limit).unwrap_or(NAMES_MAX);
    let after = match query.one("after")? {
        Some(text) => {
            Some(Name::parse(text).map_err(|error| malformed(format!("after: {error}")))?)
        }
        None => None,
    };
    state.broker.caught_up().await?;
    let projection = state.broker.projection().clone();
    let list = read_blocking(move || Ok(find_names(&projection, after, limit, &filters)?)).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    if let Some(after) = &list.next {
        response.insert_header((
            header::LINK,
            next_link(request.query_string(), "after", after.as_str()),
        ));
    }
    let names = list.names.iter().map(|(identity, pointer)| AuditName::new(identity, pointer));
    Ok(response.json(names.collect::<Vec<_>>()))
}

/// One page of the list.
#[derive(Debug, Default)]
struct NameList {
    names: Vec<(Identity, Pointer)>,
    /// The public name after which the next page continues.
    next: Option<Name>,
}

/// Finds the public names that match. It looks for one more than requested, so that a next page is
/// announced only if it has entries, unless the scan used up its budget.
fn find_names(
    projection: &ProjectionHandle,
    after: Option<Name>,
    limit: usize,
    filters: &FilterSet,
) -> Result<NameList, Unavailable> {
    if let Some(names) = filters.exact_only() {
        let names = names.filter(|name| after.as_ref().is_none_or(|after| *name > after));
        return look_up_names(names, limit, |identity| projection.latest(identity));
    }
    scan_names(after, limit, filters, |after, limit, wanted| projection.names(after, limit, wanted))
}

fn look_up_names<'a>(
    names: impl Iterator<Item = &'a Name>,
    limit: usize,
    latest: impl Fn(&Identity) -> Result<Option<Pointer>, Unavailable>,
) -> Result<NameList, Unavailable> {
    let mut list = NameList::default();
    for event in names {
        let identity = Identity { event: event.clone(), to: None };
        if let Some(pointer) = latest(&identity)? {
            list.names.push((identity, pointer));
        }
        if list.is_cut_at(limit) {
            break;
        }
    }
    Ok(list)
}

/// Scans until the page is full or the budget is used up. The next page must start after a public
/// name, because a private one would be disclosed; without one, the scan continues past the budget.
fn scan_names<F>(
    after: Option<Name>,
    limit: usize,
    filters: &FilterSet,
    scan: F,
) -> Result<NameList, Unavailable>
where
    F: Fn(Option<&Identity>, usize, &dyn Fn(&Identity) -> bool) -> Result<NamePage, Unavailable>,
{
    let mut list = NameList::default();
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

impl NameList {
    /// Cuts the list to `limit` names, and returns whether it was longer.
    fn is_cut_at(&mut self, limit: usize) -> bool {
        let is_longer = self.names.len() > limit;
        if is_longer {
            self.names.truncate(limit);
            self.next = self.names.last().map(|(identity, _)| identity.event.clone());
        }
        is_longer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Timestamp, User};

    /// Scans as a projection does, ten identities at a time.
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

    /// Returns the names of each page, and the name after which the next one continues.
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
    fn page_that_uses_up_its_scans_ends_with_a_next_name() {
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
    fn next_name_is_public_however_many_private_names_are_skipped() {
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
        let latest = |identity: &Identity| Ok((identity.event != names[1]).then_some(pointer()));
        let list = look_up_names(names.iter(), 2, latest).unwrap();
        assert_eq!(list.names.len(), 2);
        assert_eq!(list.next.as_ref(), Some(&names[2]));
        let list = look_up_names(names.iter().skip(3), 2, latest).unwrap();
        assert_eq!((list.names.len(), list.next), (2, None));
    }
}
