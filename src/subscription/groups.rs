//! Finds the subscriber groups that a record matches.

use std::collections::HashMap;
use std::sync::Arc;

use crate::record::{FilterSet, Identity, Record};
use crate::subscription::group::SubscriberGroup;
use crate::subscription::selector::{Selector, Viewer};

/// All groups, one for each selector. Joining and leaving cost the same however many there are.
///
/// A group of exact names is listed under each identity that it can match, so that one look-up
/// finds the groups of a record. Any other is listed by its filters, which are evaluated once for
/// all users.
#[derive(Debug, Default)]
pub(super) struct SubscriberGroups {
    all: HashMap<Selector, GroupMember>,
    by_identity: HashMap<Identity, HashMap<GroupId, Arc<SubscriberGroup>>>,
    by_filters: HashMap<FilterSet, HashMap<Viewer, Arc<SubscriberGroup>>>,
    last: GroupId,
}

type GroupId = u64;

#[derive(Debug)]
struct GroupMember {
    group: Arc<SubscriberGroup>,
    id: GroupId,
    subscribers: usize,
}

impl SubscriberGroups {
    /// Adds a subscriber to the group of a selector, which `make` creates for the first one.
    pub fn join(
        &mut self,
        selector: Selector,
        make: impl FnOnce(Selector) -> SubscriberGroup,
    ) -> Arc<SubscriberGroup> {
        if let Some(member) = self.all.get_mut(&selector) {
            member.subscribers += 1;
            return member.group.clone();
        }
        self.last += 1;
        let (id, group) = (self.last, Arc::new(make(selector.clone())));
        if let Some(identities) = selector.identities() {
            for identity in identities {
                self.by_identity.entry(identity).or_default().insert(id, group.clone());
            }
        } else {
            let by_viewer = self.by_filters.entry(selector.filters().clone()).or_default();
            by_viewer.insert(selector.viewer(), group.clone());
        }
        self.all.insert(selector, GroupMember { group: group.clone(), id, subscribers: 1 });
        group
    }

    /// Removes a subscriber, and its group with the last one.
    pub fn leave(&mut self, selector: &Selector) {
        let Some(member) = self.all.get_mut(selector) else { return };
        member.subscribers -= 1;
        if member.subscribers > 0 {
            return;
        }
        let id = member.id;
        self.all.remove(selector);
        match selector.identities() {
            Some(identities) => {
                identities.iter().for_each(|identity| self.remove_identity(identity, id));
            }
            None => self.remove_filters(selector),
        }
    }

    /// Calls `visit` with each group whose selector matches a record.
    pub fn for_each_match(&self, record: &Record, mut visit: impl FnMut(&Arc<SubscriberGroup>)) {
        if record.event().is_system() {
            return;
        }
        let by_name = self.by_identity.get(record.identity());
        by_name.into_iter().flat_map(HashMap::values).for_each(&mut visit);
        for (filters, by_viewer) in &self.by_filters {
            if !filters.matches(record.event()) {
                continue;
            }
            match record.to() {
                Some(user) => {
                    let viewers = [Viewer::User(user.clone()), Viewer::AllUsers];
                    viewers.iter().filter_map(|viewer| by_viewer.get(viewer)).for_each(&mut visit);
                }
                None => by_viewer.values().for_each(&mut visit),
            }
        }
    }

    /// Filter sets that are evaluated for each record.
    pub fn evaluations(&self) -> usize {
        self.by_filters.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<SubscriberGroup>> {
        self.all.values().map(|member| &member.group)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_identity.is_empty() && self.by_filters.is_empty()
    }

    fn remove_identity(&mut self, identity: &Identity, id: GroupId) {
        if let Some(groups) = self.by_identity.get_mut(identity) {
            groups.remove(&id);
            if groups.is_empty() {
                self.by_identity.remove(identity);
            }
        }
    }

    fn remove_filters(&mut self, selector: &Selector) {
        if let Some(by_viewer) = self.by_filters.get_mut(selector.filters()) {
            by_viewer.remove(&selector.viewer());
            if by_viewer.is_empty() {
                self.by_filters.remove(selector.filters());
            }
        }
    }
}
