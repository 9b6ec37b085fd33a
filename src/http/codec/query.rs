//! Parses query strings strictly: an unknown parameter is an error, not ignored.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::http::codec::paths::push_encoded;
use crate::http::problem::{Code, Problem};
use crate::record::FilterSet;

/// Names of the cursor parameter. A value that does not decode is an invalid cursor, never an
/// error, because an EventSource that is refused does not reconnect.
pub const CURSOR_PARAMETERS: [&str; 3] = ["last_event_id", "lastEventId", "lastEventID"];

/// The decoded pairs of a query string.
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Splits and decodes `query`, which may contain only `known` parameters.
    pub fn parse(query: &'a str, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in split(query) {
            let (name, value) = name_and_value(pair);
            let name = decode(name)?;
            let value = match CURSOR_PARAMETERS.contains(&name.as_ref()) {
                true => percent_decode_str(value).decode_utf8_lossy(),
                false => decode(value)?,
            };
            if !known.contains(&name.as_ref()) {
                return Err(unknown_parameter(&name, known));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Returns every value of a repeatable parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// Returns the value of a parameter that may occur once; empty counts as absent.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(malformed(format!("{name} occurs twice; send it once")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Parses the value of a parameter; `expected` describes it in the error.
    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let parsed = value.parse();
        parsed.map(Some).map_err(|_| malformed(format!("{name}={value:?} is not {expected}")))
    }

    /// Parses `event`: names or filters, everything if there is none.
    pub fn filters(&self, filters_max: NonZeroUsize) -> Result<FilterSet, Problem> {
        FilterSet::parse(self.all("event"), filters_max.get()).map_err(malformed)
    }

    /// Parses `limit`: a number of at least 1.
    pub fn limit(&self) -> Result<Option<u64>, Problem> {
        match self.parsed("limit", "a number")? {
            Some(0) => Err(malformed("limit=0 requests nothing; send at least 1")),
            limit => Ok(limit),
        }
    }
}

/// Makes the `Link` (RFC 8288) to the next page: the request with this query, continuing after
/// `value`. It is relative, so that it stays right behind a proxy that adds a path prefix.
pub fn next_link(query: &str, parameter: &str, value: &str) -> String {
    let mut target = String::from("?");
    for pair in without(query, parameter) {
        target.push_str(pair);
        target.push('&');
    }
    target.push_str(parameter);
    target.push('=');
    push_encoded(&mut target, value);
    format!("<{target}>; rel=\"next\"")
}

/// Returns the pairs of `query` as they were sent, without those of one parameter, which may be
/// escaped in any way.
fn without<'a>(query: &'a str, parameter: &str) -> impl Iterator<Item = &'a str> {
    split(query).filter(move |pair| !is_named(pair, parameter))
}

/// Whether a parameter, which may be escaped in any way, occurs in `query`.
pub fn contains(query: &str, parameter: &str) -> bool {
    split(query).any(|pair| is_named(pair, parameter))
}

fn is_named(pair: &str, parameter: &str) -> bool {
    let (name, _) = name_and_value(pair);
    decode(name).is_ok_and(|name| name == parameter)
}

fn split(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn name_and_value(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

fn unknown_parameter(name: &str, known: &[&str]) -> Problem {
    let known = match known {
        [] => "there are none".to_owned(),
        known => format!("the parameters are: {}", known.join(", ")),
    };
    malformed(format!("there is no parameter {name:?} here; {known}"))
}

/// Makes a 400 for the query; `detail` says what to change.
pub fn malformed(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::MalformedQuery).detail(detail)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().map_err(|_| not_utf8(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| not_utf8(text))?;
    Ok(Cow::Owned(decoded.into_owned()))
}

fn not_utf8(text: &str) -> Problem {
    malformed(format!("{text:?} does not decode to UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the link would contain the parameter twice, which is refused.
    #[test]
    fn next_link_replaces_a_parameter_whose_name_is_escaped() {
        let link = next_link("after%5Fversion=3&limit=2&%61fter_version=", "after_version", "é");
        assert_eq!(link, "<?limit=2&after_version=%C3%A9>; rel=\"next\"");
    }
}
