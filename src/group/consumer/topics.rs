//! From subscriptions to topics: expressions evaluated, changes of the metadata noticed, targets computed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hashbrown::HashMap;
use twox_hash::XxHash3_64;

use super::assign::{Assignor, Partitions, Subscriber};
use super::group::{Change, ConsumerGroup, Profile, Resolved, Work};
use super::regex::TopicPattern;
use crate::metadata::{Image, Topic};
use crate::types::{Str, TopicId};

/// Expressions evaluated again in one heartbeat.
const EVALUATED_AT_ONCE: usize = 8;

/// Whether a heartbeat has changed what the group subscribes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subscriptions {
    Changed,
    Unchanged,
}

impl ConsumerGroup {
    /// Brings expressions and the metadata hash up to date, and begins a new epoch where topics or subscriptions are
    /// no longer what they were.
    pub(super) fn refresh(&mut self, subscriptions: Subscriptions, work: &mut Work<'_>) {
        let age = work.now.mono.since(self.refreshed_at);
        let old = !self.regexes.is_empty() && age >= work.settings.regex_refresh_ms * 1000;
        let changed = subscriptions == Subscriptions::Changed;
        let unfinished = !self.to_evaluate.is_empty();
        if !changed && !self.stale && !old && !unfinished && self.stored {
            return;
        }
        let again = self.stale || old;
        let matched = self.refresh_regexes(again, work);
        self.stale = false;
        let hash = group_hash(&self.topic_names(), work.image);
        let epoch = match changed || matched || hash != self.metadata_hash {
            true => self.epoch.saturating_add(1),
            false => self.epoch,
        };
        if epoch != self.epoch || hash != self.metadata_hash || !self.stored {
            self.write(work, Change::Epoch(Some((epoch, hash))));
        }
    }

    /// Evaluates expressions that are new, or all of them `again`, and drops those nobody uses. Whether any matches
    /// something else now. Where there are many, the next heartbeats go on: each may cost milliseconds.
    fn refresh_regexes(&mut self, again: bool, work: &mut Work<'_>) -> bool {
        if self.with_regex == 0 && self.regexes.is_empty() {
            return false;
        }
        let used: BTreeSet<Str> = self
            .members
            .values()
            .map(|member| &member.profile.regex)
            .filter(|regex| !regex.is_empty())
            .cloned()
            .collect();
        let unused: Vec<Str> = self
            .regexes
            .keys()
            .filter(|regex| !used.contains(*regex))
            .cloned()
            .collect();
        for regex in unused {
            self.write(work, Change::Regex(regex, None));
        }
        let mut due: Vec<Str> = Vec::new();
        due.extend(
            used.iter()
                .filter(|regex| !self.regexes.contains_key(*regex))
                .cloned(),
        );
        if again || !due.is_empty() {
            self.refreshed_at = work.now.mono;
        }
        if again {
            self.to_evaluate.clone_from(&used);
        }
        for _ in 0..EVALUATED_AT_ONCE {
            due.extend(self.to_evaluate.pop_first());
        }
        let mut changed = false;
        for regex in due.into_iter().filter(|regex| used.contains(regex)) {
            let known = self.regexes.get(&regex);
            let topics = matching(&regex, work.image);
            if known.is_none_or(|known| known.topics != topics) {
                changed = true;
                let at = work.now.wall;
                self.write(work, Change::Regex(regex, Some(Resolved { topics, at })));
            }
        }
        changed
    }

    /// Every topic that is asked for, by name or by expression, whether it exists or not.
    pub(super) fn topic_names(&self) -> BTreeSet<&Str> {
        let matched = self.regexes.values().flat_map(|r| r.topics.iter());
        self.named.topics().chain(matched).collect()
    }

    /// The topics a member asks for that exist.
    pub(super) fn topic_ids(&self, profile: &Profile, image: &Image) -> BTreeSet<TopicId> {
        let matched = self.regexes.get(&profile.regex).map(|r| &r.topics);
        let names = profile.topics.iter().chain(matched.into_iter().flatten());
        names
            .filter_map(|name| image.topic(name))
            .map(|topic| topic.id)
            .collect()
    }

    /// Computes the target of the present epoch, where it has none yet and the last one is old enough (KIP-1263).
    pub(super) fn assign_if_due(&mut self, work: &mut Work<'_>) {
        if self.epoch <= self.target_epoch {
            return;
        }
        // A clock that was set back must not hold the group up.
        let age = work.now.wall.0 - self.target_at.0;
        if (0..work.settings.assignment_interval_ms).contains(&age) {
            return;
        }
        for (id, target) in self.new_targets(work) {
            self.write(work, Change::Target(id, Some(target)));
        }
        let target = Some((self.epoch, work.now.wall));
        self.write(work, Change::TargetEpoch(target));
    }

    /// The targets of the present subscriptions, where they are not what they were.
    fn new_targets(&self, work: &Work<'_>) -> Vec<(Str, Partitions)> {
        let mut known: HashMap<(&BTreeSet<Str>, &Str), Rc<BTreeSet<TopicId>>> = HashMap::new();
        let mut topics: BTreeMap<TopicId, i32> = BTreeMap::new();
        let mut subscribers = Vec::with_capacity(self.members.len());
        for (id, member) in &self.members {
            let profile = &member.profile;
            let ids = known
                .entry((&profile.topics, &profile.regex))
                .or_insert_with(|| {
                    let ids = self.topic_ids(profile, work.image);
                    topics.extend(ids.iter().map(|id| (*id, count(*id, work.image))));
                    Rc::new(ids)
                });
            subscribers.push(Subscriber {
                member_id: id,
                instance_id: profile.instance_id.as_ref(),
                topics: ids.clone(),
                previous: self.targets.get(id),
            });
        }
        let result = self
            .assignor(&work.settings.assignors)
            .assign(&subscribers, &topics);
        self.members
            .keys()
            .zip(result)
            .filter(|(id, target)| match self.targets.get(*id) {
                Some(before) => before != target,
                None => !target.is_empty(),
            })
            .map(|(id, target)| (id.clone(), target))
            .collect()
    }

    /// The assignor most members ask for, else the first that is configured.
    pub(super) fn assignor(&self, configured: &[Assignor]) -> Assignor {
        let asked = |assignor: &Assignor| {
            let asks = |name: &Str| *name == *assignor.name();
            let profiles = self.members.values().map(|member| &member.profile);
            profiles
                .filter(|profile| profile.assignor.as_ref().is_some_and(asks))
                .count()
        };
        // The first of equals, where `max_by_key` would take the last.
        let most = configured
            .iter()
            .rev()
            .max_by_key(|assignor| asked(assignor));
        most.copied().unwrap_or(Assignor::Uniform)
    }
}

fn count(topic: TopicId, image: &Image) -> i32 {
    image
        .topic_by_id(topic)
        .map_or(0, |topic| topic.partitions_count() as i32)
}

/// The topics that the expression matches; none if it is not one (its syntax was checked when it came).
fn matching(regex: &str, image: &Image) -> BTreeSet<Str> {
    let Ok(pattern) = TopicPattern::new(regex) else {
        return BTreeSet::new();
    };
    image
        .topics()
        .filter(|topic| pattern.matches(&topic.name))
        .map(|topic| topic.name.detach())
        .collect()
}

/// What Kafka keeps in the group's record to notice that topics have changed: their ids, partitions and racks.
///
/// - 0 where none of the topics exists.
/// - Source: KIP-1101; the layout is what Kafka 4.3.1 was seen to hash (XXH3, 64 bits; numbers little-endian, texts in
///   UTF-16 followed by their length).
pub(super) fn group_hash(names: &BTreeSet<&Str>, image: &Image) -> i64 {
    let mut bytes = Vec::new();
    for name in names {
        if let Some(topic) = image.topic(name) {
            bytes.extend(topic_hash(topic, image).to_le_bytes());
        }
    }
    match bytes.is_empty() {
        true => 0,
        false => XxHash3_64::oneshot(&bytes) as i64,
    }
}

fn topic_hash(topic: &Topic, image: &Image) -> u64 {
    let mut bytes = vec![0];
    for half in topic.id.0.chunks(8) {
        bytes.extend(half.iter().rev());
    }
    put_text(&mut bytes, &topic.name);
    bytes.extend((topic.partitions_count() as i32).to_le_bytes());
    for (index, partition) in topic.partitions() {
        bytes.extend(index.0.to_le_bytes());
        let mut racks: Vec<&Str> = partition
            .replicas
            .iter()
            .filter_map(|node| image.broker(*node)?.rack.as_ref())
            .collect();
        racks.sort();
        for rack in racks {
            bytes.extend((rack.encode_utf16().count() as i32).to_le_bytes());
            put_text(&mut bytes, rack);
        }
    }
    XxHash3_64::oneshot(&bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend((units.len() as i32).to_le_bytes());
}
