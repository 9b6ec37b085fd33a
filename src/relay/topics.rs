//! The topics of a relay client, each with the position from which it counts.

use crate::record::{Filter, FilterSet, Name, Seq};

/// Filters, each with the position after which it counts.
///
/// A change therefore takes effect at the position where the client made it, however far behind the
/// client is: a kept topic misses nothing, a new one starts at the change, a removed one ends at
/// once. No filters match nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    filters: FilterSet,
    /// Each filter with the position after which it counts.
    since: Vec<(Filter, Seq)>,
}

impl Topics {
    /// Topics that count after `position`.
    #[must_use]
    pub fn after(position: Seq, filters: FilterSet) -> Self {
        let since = filters.iter().map(|filter| (filter.clone(), position)).collect();
        Self { filters, since }
    }

    /// Topics with other filters: those that were here before keep their position, new ones count
    /// after `position`.
    #[must_use]
    pub fn changed(&self, position: Seq, filters: FilterSet) -> Self {
        let mut changed = Self::after(position, filters);
        for (filter, since) in &mut changed.since {
            if let Some((_, before)) = self.since.iter().find(|(known, _)| known == filter) {
                *since = *before;
            }
        }
        changed
    }

    /// The filters to subscribe to.
    #[must_use]
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// Whether the client gets a message with this name and seq.
    #[must_use]
    pub fn matches(&self, name: &Name, seq: Seq) -> bool {
        self.since.iter().any(|(filter, since)| *since < seq && filter.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> FilterSet {
        FilterSet::parse(texts, 10).expect("filters")
    }

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    #[test]
    fn no_topics_match_nothing() {
        let nothing = Topics::after(0, FilterSet::nothing());
        assert!(!nothing.matches(&name("cats"), 1));
        let topics = Topics::after(0, filters(&["cats"])).changed(5, FilterSet::nothing());
        assert_eq!(topics, nothing);
    }

    #[test]
    fn kept_topic_misses_nothing_and_a_new_one_starts_at_the_change() {
        let topics = Topics::after(3, filters(&["cats", "birds"]));
        assert!(!topics.matches(&name("cats"), 3));
        assert!(topics.matches(&name("cats"), 4));
        let topics = topics.changed(10, filters(&["cats", "dogs"]));
        assert!(topics.matches(&name("cats"), 4));
        assert!(!topics.matches(&name("dogs"), 10));
        assert!(topics.matches(&name("dogs"), 11));
        assert!(!topics.matches(&name("birds"), 11));
    }

    #[test]
    fn topic_that_was_removed_and_added_starts_again() {
        let topics = Topics::after(0, filters(&["cats"]));
        let topics = topics.changed(5, FilterSet::nothing()).changed(8, filters(&["cats"]));
        assert!(!topics.matches(&name("cats"), 8));
        assert!(topics.matches(&name("cats"), 9));
    }

    #[test]
    fn one_matching_filter_is_enough() {
        let topics = Topics::after(2, filters(&["pets.cats"]));
        let topics = topics.changed(10, filters(&["pets.cats", "pets.*"]));
        assert!(topics.matches(&name("pets.cats"), 3));
        assert!(!topics.matches(&name("pets.dogs"), 3));
        assert!(topics.matches(&name("pets.dogs"), 11));
    }
}
