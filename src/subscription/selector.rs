//! Selects the records that a subscription asks for and may see.

use sha2::{Digest as _, Sha256};

use crate::record::{FilterSet, Identity, Record, User, View};

/// Filters, and the user whose private records match too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    filters: FilterSet,
    user: Option<User>,
    /// Private records of every user match.
    all_users: bool,
}

/// Whose private records a selector matches, besides the public ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Viewer {
    AllUsers,
    Anonymous,
    User(User),
}

impl Selector {
    /// Selects public records, and the private ones of `user` if there is one.
    #[must_use]
    pub fn new(filters: FilterSet, user: Option<User>) -> Self {
        Self { filters, user, all_users: false }
    }

    /// Selects public records and the private ones of every user, for the operator of the log.
    #[cfg(feature = "rabbitmq")]
    #[must_use]
    pub fn for_all_users(filters: FilterSet) -> Self {
        Self { filters, user: None, all_users: true }
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// The user whose private records match.
    #[cfg(test)]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Whose private records match.
    pub(super) fn viewer(&self) -> Viewer {
        match &self.user {
            _ if self.all_users => Viewer::AllUsers,
            Some(user) => Viewer::User(user.clone()),
            None => Viewer::Anonymous,
        }
    }

    /// Whether a filter matches the record and it may be seen.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.may_see(record) && self.filters.matches(record.event())
    }

    /// Whether the record may be seen: system records never, private ones by their user.
    #[must_use]
    pub fn may_see(&self, record: &Record) -> bool {
        let is_seen = |to: &User| self.all_users || self.user.as_ref() == Some(to);
        !record.event().is_system() && record.to().is_none_or(is_seen)
    }

    /// Every identity that can match, if all filters are exact names and the users are known.
    #[must_use]
    pub fn identities(&self) -> Option<Vec<Identity>> {
        if self.all_users {
            return None;
        }
        let names = self.filters.exact_only()?;
        let mut identities = Vec::new();
        for event in names {
            identities.push(Identity { event: event.clone(), to: None });
            if self.user.is_some() {
                identities.push(Identity { event: event.clone(), to: self.user.clone() });
            }
        }
        Some(identities)
    }

    /// The digest in cursors: equal selectors have equal digests.
    #[must_use]
    pub fn view(&self) -> View {
        let mut digest = Sha256::new();
        for filter in self.filters.canonical() {
            digest.update(filter.as_bytes());
            digest.update([0]);
        }
        digest.update([1 + u8::from(self.all_users)]);
        digest.update(self.user.as_ref().map_or("", User::as_str).as_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        let (first, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
        View(u64::from_be_bytes(*first))
    }
}
