//! Parses query strings strictly: an unknown parameter is an error, not ignored.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::http::problem::{Code, Problem};

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
                return Err(malformed(format!(
                    "there is no parameter {name:?} here; the parameters are: {}",
                    known.join(", ")
                )));
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
}

/// Returns the pairs of `query` as they were sent, without those of one parameter, which may be
/// escaped in any way.
pub fn without<'a>(query: &'a str, parameter: &str) -> impl Iterator<Item = &'a str> {
    split(query).filter(move |pair| {
        let (name, _) = name_and_value(pair);
        !decode(name).is_ok_and(|name| name == parameter)
    })
}

fn split(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn name_and_value(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
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
