//! Filters: patterns of names.
//!
//! **Owns** [`Filter`], one pattern in the subject grammar of NATS, and [`FilterSet`], the
//! canonical set of the filters of a subscription.
//!
//! **Promises** that a filter without wildcards matches exactly its own name, that no filter
//! matches a system record, and that matching takes one pass over the name, without backtracking or
//! allocation, whatever the filter.
//!
//! **Does not** know who may use a filter, or merge filters that cover each other: `a` stays in a
//! set with `>`, because the client asked for both.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::record::name::{NAME_BYTES_MAX, Name, NameError, SYSTEM_PREFIX};

/// A name or a pattern of names: tokens separated by `.`, where `*` matches any one token and a
/// final `>` matches one or more tokens (the subject grammar of NATS).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Filter(FilterKind);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum FilterKind {
    Exact(Name),
    Pattern {
        text: Arc<str>,
        /// Bytes before the first wildcard; empty or ending with `.`. Comparing them first rules
        /// out most names.
        literal_len: usize,
    },
}

impl Filter {
    /// Checks a filter that a client sent: at most 255 bytes, and apart from wildcards it follows
    /// the rules of names.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let first_wildcard = match text.find(['*', '>']) {
            Some(at) if text.len() <= NAME_BYTES_MAX && !text.starts_with(SYSTEM_PREFIX) => at,
            _ => return Ok(Self(FilterKind::Exact(Name::parse(text)?))),
        };
        let mut at = 0;
        for token in text.split('.') {
            if let Some(wildcard) = token.find(['*', '>']) {
                let position = text[..at + wildcard].chars().count() + 1;
                if token.len() > 1 {
                    return Err(FilterError::WildcardInToken { position });
                }
                if token == ">" && at + 1 < text.len() {
                    return Err(FilterError::TailNotLast { position });
                }
            }
            at += token.len() + 1;
        }
        // Each wildcard is a whole token, so with a letter in its place the text must be a name.
        Name::parse(&text.replace(['*', '>'], "x"))?;
        Ok(Self(FilterKind::Pattern { text: text.into(), literal_len: first_wildcard }))
    }

    /// The one name that this filter matches, if it has no wildcards.
    #[must_use]
    pub fn is_exact(&self) -> Option<&Name> {
        match &self.0 {
            FilterKind::Exact(name) => Some(name),
            FilterKind::Pattern { .. } => None,
        }
    }

    /// Whether the filter matches `name`; never for the name of a system record.
    #[must_use]
    pub fn matches(&self, name: &Name) -> bool {
        match &self.0 {
            FilterKind::Exact(exact) => exact == name,
            FilterKind::Pattern { text, literal_len } => {
                let (literal, wild) = text.split_at(*literal_len);
                !name.is_system()
                    && name.as_str().strip_prefix(literal).is_some_and(|rest| covers(wild, rest))
            }
        }
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            FilterKind::Exact(name) => name.as_str(),
            FilterKind::Pattern { text, .. } => text,
        }
    }
}

/// Whether `pattern`, which begins with a wildcard, matches the tokens of `rest`.
fn covers(pattern: &str, rest: &str) -> bool {
    let mut tokens = rest.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (_, Some(token)) if token == wanted => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), formatter)
    }
}

/// Compares the bytes of the text.
impl Ord for Filter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Filter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is not a filter, and what to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// Apart from wildcards, it breaks a rule of names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A `>` followed by tokens: NATS does not have it, and it would need backtracking.
    #[error(
        "the `>` at position {position} is not the last token; end the filter there, or use `*`"
    )]
    TailNotLast {
        /// The number of the character, from 1.
        position: usize,
    },
    /// A wildcard with other characters in its token: it would look as if it matched part of one.
    #[error(
        "the wildcard at position {position} is not a whole token; put it between dots, or spell \
         the name out"
    )]
    WildcardInToken {
        /// The number of the character, from 1.
        position: usize,
    },
}

/// The filters of one subscription: sorted, each once.
///
/// Sets of the same filters in any order are equal, so that subscribers with the same set share its
/// evaluation, and a cursor of one is valid for the other.
#[derive(Clone, Debug)]
pub struct FilterSet {
    filters: Box<[Filter]>,
    /// The names of the filters without wildcards: one look-up for all of them.
    exact: HashSet<Name>,
    /// The filters with wildcards, evaluated one by one; few, because the set is limited.
    patterns: Box<[Filter]>,
}

impl FilterSet {
    /// Checks the filters that a client sent; no filters mean everything visible, like `>`.
    ///
    /// # Errors
    ///
    /// [`FilterSetError::TooMany`] beyond `max` filters, counting repeated ones, without reading
    /// the rest; otherwise the first filter that breaks a rule.
    pub fn parse<T: AsRef<str>>(
        filters: impl IntoIterator<Item = T>,
        max: usize,
    ) -> Result<Self, FilterSetError> {
        let mut parsed = Vec::new();
        for (index, filter) in filters.into_iter().enumerate() {
            if index == max {
                return Err(FilterSetError::TooMany { max });
            }
            let filter = Filter::parse(filter.as_ref())
                .map_err(|source| FilterSetError::Filter { number: index + 1, source })?;
            parsed.push(filter);
        }
        if parsed.is_empty() {
            return Ok(Self::everything());
        }
        Ok(Self::from_filters(parsed))
    }

    /// The set that matches every visible name: `>`.
    #[must_use]
    pub fn everything() -> Self {
        let everything = Filter(FilterKind::Pattern { text: ">".into(), literal_len: 0 });
        Self::from_filters(vec![everything])
    }

    /// The empty set, which matches nothing. [`FilterSet::parse`] never returns it.
    #[must_use]
    pub fn nothing() -> Self {
        Self::from_filters(Vec::new())
    }

    fn from_filters(mut filters: Vec<Filter>) -> Self {
        filters.sort_unstable();
        filters.dedup();
        let exact = filters.iter().filter_map(Filter::is_exact).cloned().collect();
        let patterns = filters.iter().filter(|filter| filter.is_exact().is_none()).cloned();
        Self { patterns: patterns.collect(), exact, filters: filters.into() }
    }

    /// Whether any of the filters matches `name`.
    #[must_use]
    pub fn matches(&self, name: &Name) -> bool {
        self.exact.contains(name) || self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// All names that this set matches, in order, if it has no patterns: subscribers are then found
    /// by name without evaluating filters.
    #[must_use]
    pub fn exact_only(&self) -> Option<impl Iterator<Item = &Name>> {
        let is_exact = self.patterns.is_empty();
        is_exact.then(|| self.filters.iter().filter_map(Filter::is_exact))
    }

    /// Each filter, sorted by bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Filter> {
        self.filters.iter()
    }

    /// The filters with wildcards, in order.
    #[must_use]
    pub fn patterns(&self) -> &[Filter] {
        &self.patterns
    }

    /// The text of each filter, sorted by bytes, for a digest of the set.
    ///
    /// No filter contains a control character, so any of them can separate the texts.
    pub fn canonical(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(Filter::as_str)
    }
}

impl PartialEq for FilterSet {
    fn eq(&self, other: &Self) -> bool {
        self.filters == other.filters
    }
}

impl Eq for FilterSet {}

impl Hash for FilterSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.filters.hash(state);
    }
}

/// Why filters do not form a set, and what to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FilterSetError {
    /// One of them is not a filter.
    #[error("filter {number}: {source}")]
    Filter {
        /// The number of the filter, from 1.
        number: usize,
        /// The rule that it breaks.
        source: FilterError,
    },
    /// More than the limit: each pattern costs an evaluation for every name that changes.
    #[error("more than {max} filters; use fewer, for example one with a wildcard")]
    TooMany {
        /// The maximum number of filters.
        max: usize,
    },
}

#[cfg(test)]
mod tests;
