//! Which groups read which topics, so that a change of the metadata concerns them alone.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::group::ConsumerGroup;
use crate::types::Str;

/// The consumer groups of a coordinator by the topics they name. A group that is not there any more may linger here: it
/// is looked up, and found gone.
#[derive(Default, Debug)]
pub(in crate::group) struct Subscribers {
    by_name: HashMap<Str, BTreeSet<Str>>,
    /// Groups with a regular expression, which any topic may match.
    by_regex: BTreeSet<Str>,
}

impl Subscribers {
    /// Takes in what a group has begun or ceased to subscribe to since it was last noted.
    pub(super) fn note(&mut self, id: &Str, group: &mut ConsumerGroup) {
        for edge in group.named.take_edges() {
            match edge {
                Edge::Begins(topic) => {
                    let groups = self.by_name.entry(topic).or_default();
                    groups.insert(id.clone());
                }
                Edge::Ends(topic) => self.leave(&topic, id),
            }
        }
        if group.regexes.is_empty() {
            self.by_regex.remove(id);
        } else if !self.by_regex.contains(id) {
            self.by_regex.insert(id.clone());
        }
    }

    /// The group is about to go.
    pub(in crate::group) fn forget(&mut self, id: &Str, group: &ConsumerGroup) {
        let edges = group.named.edges.iter().map(|edge| match edge {
            Edge::Begins(topic) | Edge::Ends(topic) => topic,
        });
        for topic in group.named.topics().chain(edges) {
            self.leave(topic, id);
        }
        self.by_regex.remove(id);
    }

    /// The groups that read one of these topics, or might.
    pub(in crate::group) fn of(&self, topics: &BTreeSet<Str>) -> BTreeSet<Str> {
        if topics.is_empty() {
            return BTreeSet::new();
        }
        let named = topics.iter().filter_map(|topic| self.by_name.get(topic));
        named.flatten().chain(&self.by_regex).cloned().collect()
    }

    #[cfg(test)]
    pub(in crate::group) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_regex.is_empty()
    }

    fn leave(&mut self, topic: &Str, id: &Str) {
        if let Some(groups) = self.by_name.get_mut(topic) {
            groups.remove(id);
            if groups.is_empty() {
                self.by_name.remove(topic);
            }
        }
    }
}

/// The topics that a group's members name, how many members each, and which of them are news to [`Subscribers`].
#[derive(Clone, Default, Debug)]
pub(super) struct Named {
    counts: BTreeMap<Str, usize>,
    edges: Vec<Edge>,
}

#[derive(Clone, Debug)]
enum Edge {
    Begins(Str),
    Ends(Str),
}

impl Named {
    /// A member names other topics than before.
    pub fn change(&mut self, before: &BTreeSet<Str>, after: &BTreeSet<Str>) {
        for topic in after.difference(before) {
            let count = self.counts.entry(topic.clone()).or_default();
            *count += 1;
            if *count == 1 {
                self.edges.push(Edge::Begins(topic.clone()));
            }
        }
        for topic in before.difference(after) {
            let Some(count) = self.counts.get_mut(topic) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(topic);
                self.edges.push(Edge::Ends(topic.clone()));
            }
        }
    }

    pub fn topics(&self) -> impl Iterator<Item = &Str> {
        self.counts.keys()
    }

    pub fn contains(&self, topic: &str) -> bool {
        self.counts.contains_key(topic)
    }

    fn take_edges(&mut self) -> Vec<Edge> {
        std::mem::take(&mut self.edges)
    }
}
