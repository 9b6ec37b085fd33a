//! What a relay client gets, and since when.

use crate::record::{Filter, FilterSet, Name, Seq};

/// Filters, each with the position after which it counts.
///
/// So what a client changes holds from then on, however far behind it is: a topic that stays misses
/// nothing, one that is new begins now, and one that is gone is gone at once. No filters at all
/// match nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// What to subscribe to; `None` is nothing.
    filters: Option<FilterSet>,
    /// Each filter with the position after which it counts.
    since: Vec<(Filter, Seq)>,
}

impl Topics {
    /// Nothing, until the client says what.
    #[must_use]
    pub fn none() -> Self {
        Self { filters: None, since: Vec::new() }
    }

    /// These filters from `position` on.
    #[must_use]
    pub fn after(position: Seq, filters: FilterSet) -> Self {
        let since = filters.iter().map(|filter| (filter.clone(), position)).collect();
        Self { filters: Some(filters), since }
    }

    /// Other filters: who stood among the old ones keeps its position, the others count after
    /// `position`. `None` is nothing at all.
    #[must_use]
    pub fn changed(&self, position: Seq, filters: Option<FilterSet>) -> Self {
        let Some(filters) = filters else { return Self::none() };
        let mut changed = Self::after(position, filters);
        for (filter, since) in &mut changed.since {
            if let Some((_, before)) = self.since.iter().find(|(known, _)| known == filter) {
                *since = *before;
            }
        }
        changed
    }

    /// What to subscribe to; `None` is nothing.
    #[must_use]
    pub fn filters(&self) -> Option<&FilterSet> {
        self.filters.as_ref()
    }

    /// Whether a message of this name at this position is for the client.
    #[must_use]
    pub fn want(&self, name: &Name, seq: Seq) -> bool {
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
    fn no_topics_want_nothing() {
        assert!(!Topics::none().want(&name("cats"), 1));
        let topics = Topics::after(0, filters(&["cats"])).changed(5, None);
        assert_eq!(topics, Topics::none());
        assert_eq!(topics.filters(), None);
    }

    #[test]
    fn a_topic_that_stays_misses_nothing_and_a_new_one_begins_now() {
        let topics = Topics::after(3, filters(&["cats", "birds"]));
        assert!(!topics.want(&name("cats"), 3));
        assert!(topics.want(&name("cats"), 4));
        let topics = topics.changed(10, Some(filters(&["cats", "dogs"])));
        assert!(topics.want(&name("cats"), 4));
        assert!(!topics.want(&name("dogs"), 10));
        assert!(topics.want(&name("dogs"), 11));
        assert!(!topics.want(&name("birds"), 11));
    }

    #[test]
    fn a_topic_that_comes_back_begins_anew() {
        let topics = Topics::after(0, filters(&["cats"]));
        let topics = topics.changed(5, None).changed(8, Some(filters(&["cats"])));
        assert!(!topics.want(&name("cats"), 8));
        assert!(topics.want(&name("cats"), 9));
    }

    #[test]
    fn any_of_several_filters_that_match_a_name_is_enough() {
        let topics = Topics::after(2, filters(&["pets.cats"]));
        let topics = topics.changed(10, Some(filters(&["pets.cats", "pets.*"])));
        assert!(topics.want(&name("pets.cats"), 3));
        assert!(!topics.want(&name("pets.dogs"), 3));
        assert!(topics.want(&name("pets.dogs"), 11));
    }
}
