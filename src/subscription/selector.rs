//! What a subscription asks for and may see.

use sha2::{Digest as _, Sha256};

use crate::record::{FilterSet, Identity, Record, User, View};

/// Filters, and the user who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    filters: FilterSet,
    user: Option<User>,
    /// Private records of every user are seen.
    all_users: bool,
}

/// Whose records a view may hold beside the public ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Viewer {
    AllUsers,
    Anonymous,
    User(User),
}

impl Selector {
    /// An interest of somebody, or of nobody in particular.
    #[must_use]
    pub fn new(filters: FilterSet, user: Option<User>) -> Self {
        Self { filters, user, all_users: false }
    }

    /// An interest of whoever operates the log: private records of every user are seen.
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

    /// The user who asks.
    #[cfg(test)]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Whose private records are seen.
    pub(super) fn viewer(&self) -> Viewer {
        match &self.user {
            _ if self.all_users => Viewer::AllUsers,
            Some(user) => Viewer::User(user.clone()),
            None => Viewer::Anonymous,
        }
    }

    /// Whether the record is asked for and may be seen.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.may_see(record) && self.filters.matches(record.event())
    }

    /// System records are on no stream; private ones are their user's.
    #[must_use]
    pub fn may_see(&self, record: &Record) -> bool {
        let is_seen = |to: &User| self.all_users || self.user.as_ref() == Some(to);
        !record.event().is_system() && record.to().is_none_or(is_seen)
    }

    /// Every identity that can match, when the filters are exact names only and the users known.
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

    /// The digest that a cursor carries: equal interests have equal views.
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
