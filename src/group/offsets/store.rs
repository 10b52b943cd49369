//! The offsets of all groups of a coordinator, committed and pending.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::protocol::group_records::OffsetCommitValue;
use crate::types::{ProducerId, Str, TopicId};

use crate::group::GroupRecord;
use crate::group::coordinator::Group;

/// An offset that a group has committed for one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    pub offset: i64,
    /// −1 where the client gave none.
    pub leader_epoch: i32,
    pub metadata: Str,
    /// Wall clock, milliseconds.
    pub commit_timestamp: i64,
    /// When it goes whatever its group does (OffsetCommit v2 to v4); −1 where the broker's retention holds.
    pub expire_timestamp: i64,
    /// Zero where it is not known: read from a log that does not keep it.
    pub topic_id: TopicId,
    /// Orders commits as the log does; a later one was stored later.
    sequence: u64,
}

/// A partition by its topic's name.
type Slot = (Str, i32);

/// A group's offsets by topic and partition.
pub(in crate::group) type GroupOffsets = BTreeMap<Str, BTreeMap<i32, CommittedOffset>>;

/// All offsets, and the topics that they are of.
#[derive(Default, Debug)]
pub(in crate::group) struct OffsetStore {
    committed: HashMap<Str, GroupOffsets>,
    pending: HashMap<ProducerId, BTreeMap<(Str, Slot), CommittedOffset>>,
    /// Which producers hold a partition of a group pending.
    holders: HashMap<Str, BTreeMap<Slot, SmallVec<[ProducerId; 1]>>>,
    /// The topics that committed or pending offsets are of, with the ids that were seen for them.
    topics: HashMap<Str, TopicUse>,
    applied: u64,
}

#[derive(Default, Debug)]
struct TopicUse {
    /// Committed and pending offsets together.
    count: usize,
    id: TopicId,
}

impl OffsetStore {
    /// Applies one record of an offset. A pending one counts when [`OffsetStore::end_transaction`] says so; a
    /// tombstone also takes what is pending.
    pub(in crate::group) fn apply(
        &mut self,
        group: &Str,
        topic: &Str,
        partition: i32,
        value: Option<&OffsetCommitValue>,
        producer: Option<ProducerId>,
    ) {
        self.applied += 1;
        let Some(value) = value else {
            return self.remove(group, topic, partition);
        };
        let offset = CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: value.expire_timestamp,
            topic_id: value.topic_id,
            sequence: self.applied,
        };
        match producer {
            None => self.insert(group, topic, partition, offset),
            Some(producer) => self.insert_pending(producer, group, topic, partition, offset),
        }
    }

    /// Ends a producer's transaction: its pending offsets are committed, but where a later commit outside of it
    /// exists, or dropped. Returns the groups that were concerned.
    pub(in crate::group) fn end_transaction(
        &mut self,
        producer: ProducerId,
        committed: bool,
    ) -> Vec<Str> {
        let Some(pending) = self.pending.remove(&producer) else {
            return Vec::new();
        };
        let mut groups: Vec<Str> = Vec::new();
        for ((group, (topic, partition)), offset) in pending {
            self.release_holder(producer, &group, &topic, partition);
            let newer = self
                .find(&group, &topic, partition)
                .is_none_or(|existing| existing.sequence < offset.sequence);
            if committed && newer {
                self.insert(&group, &topic, partition, offset);
            }
            self.release_topic(&topic);
            if groups.last() != Some(&group) {
                groups.push(group);
            }
        }
        groups
    }

    pub(in crate::group) fn find(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<&CommittedOffset> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// A group's committed offsets.
    pub(in crate::group) fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.committed.get(group)
    }

    /// Whether a transaction holds an offset for this partition pending.
    pub(in crate::group) fn is_pending(&self, group: &str, topic: &Str, partition: i32) -> bool {
        let slots = self.holders.get(group);
        slots.is_some_and(|slots| slots.contains_key(&(topic.clone(), partition)))
    }

    /// Whether any transaction holds an offset of this group pending.
    pub(in crate::group) fn has_pending(&self, group: &str) -> bool {
        self.holders.contains_key(group)
    }

    pub(in crate::group) fn committed(
        &self,
    ) -> impl Iterator<Item = (&Str, &Str, i32, &CommittedOffset)> {
        self.committed.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                let offsets = partitions.iter();
                offsets.map(move |(partition, offset)| (group, topic, *partition, offset))
            })
        })
    }

    /// Groups that have offsets, committed or pending, and are not in `groups`.
    pub(in crate::group) fn groups_without(&self, groups: &HashMap<Str, Group>) -> Vec<Str> {
        let all = self.committed.keys().chain(self.holders.keys());
        let mut missing: Vec<Str> = all
            .filter(|id| !groups.contains_key(*id))
            .cloned()
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// The topics that offsets are of, with the id that was seen for each (zero: none yet).
    pub(in crate::group) fn topics(&self) -> impl Iterator<Item = (&Str, TopicId)> {
        self.topics.iter().map(|(name, topic)| (name, topic.id))
    }

    /// Notes the id of a topic, where offsets are of it.
    pub(in crate::group) fn note_topic_id(&mut self, topic: &str, id: TopicId) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.id = id;
        }
    }

    /// Tombstones for what `which` says of a group's offsets, pending ones too.
    pub(in crate::group) fn tombstones(
        &self,
        group: &Str,
        which: impl Fn(&Str, i32) -> bool,
    ) -> Vec<GroupRecord> {
        let committed = self.committed.get(group).into_iter().flatten();
        let committed = committed.flat_map(|(topic, partitions)| {
            partitions.keys().map(move |partition| (topic, *partition))
        });
        let pending = self.holders.get(group).into_iter().flatten();
        let pending = pending.map(|((topic, partition), _)| (topic, *partition));
        let mut slots: Vec<(&Str, i32)> = committed
            .chain(pending)
            .filter(|(topic, partition)| which(topic, *partition))
            .collect();
        slots.sort();
        slots.dedup();
        let tombstone = |(topic, partition): (&Str, i32)| GroupRecord::Offset {
            group: group.clone(),
            topic: topic.clone(),
            partition,
            value: None,
        };
        slots.into_iter().map(tombstone).collect()
    }

    /// Groups with offsets, committed or pending, of a topic that `gone` names.
    pub(in crate::group) fn groups_with(&self, gone: &[Str]) -> Vec<Str> {
        let committed = self.committed.iter().filter(|(_, topics)| {
            let mut gone = gone.iter();
            gone.any(|topic| topics.contains_key(topic))
        });
        let pending = self.holders.iter().filter(|(_, slots)| {
            let mut topics = slots.keys().map(|(topic, _)| topic);
            topics.any(|topic| gone.contains(topic))
        });
        let committed = committed.map(|(group, _)| group);
        let mut groups: Vec<Str> = committed
            .chain(pending.map(|(group, _)| group))
            .cloned()
            .collect();
        groups.sort();
        groups.dedup();
        groups
    }

    fn insert(&mut self, group: &Str, topic: &Str, partition: i32, offset: CommittedOffset) {
        let id = offset.topic_id;
        if !self.committed.contains_key(group) {
            self.committed.insert(group.clone(), BTreeMap::new());
        }
        let topics = self.committed.get_mut(group).expect("just put there");
        // The name is shared by all partitions of the topic: most of what an offset costs would be its topic.
        let replaced = match topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset).is_some(),
            None => {
                topics.insert(topic.clone(), BTreeMap::from([(partition, offset)]));
                false
            }
        };
        if !replaced {
            self.hold_topic(topic);
        }
        if !id.is_zero() {
            self.note_topic_id(topic, id);
        }
    }

    fn insert_pending(
        &mut self,
        producer: ProducerId,
        group: &Str,
        topic: &Str,
        partition: i32,
        offset: CommittedOffset,
    ) {
        let id = offset.topic_id;
        let slot = (topic.clone(), partition);
        let offsets = self.pending.entry(producer).or_default();
        if offsets
            .insert((group.clone(), slot.clone()), offset)
            .is_none()
        {
            self.hold_topic(topic);
            let slots = self.holders.entry(group.clone()).or_default();
            slots.entry(slot).or_default().push(producer);
        }
        if !id.is_zero() {
            self.note_topic_id(topic, id);
        }
    }

    fn remove(&mut self, group: &Str, topic: &Str, partition: i32) {
        if let Some(topics) = self.committed.get_mut(group) {
            let partitions = topics.get_mut(topic);
            let removed = partitions.is_some_and(|p| p.remove(&partition).is_some());
            if topics.get(topic).is_some_and(BTreeMap::is_empty) {
                topics.remove(topic);
            }
            if topics.is_empty() {
                self.committed.remove(group);
            }
            if removed {
                self.release_topic(topic);
            }
        }
        let slot = (topic.clone(), partition);
        let holders = self
            .holders
            .get(group)
            .and_then(|slots| slots.get(&slot))
            .cloned()
            .unwrap_or_default();
        for producer in holders {
            self.release_holder(producer, group, topic, partition);
            self.release_topic(topic);
            if let Some(offsets) = self.pending.get_mut(&producer) {
                offsets.remove(&(group.clone(), slot.clone()));
                if offsets.is_empty() {
                    self.pending.remove(&producer);
                }
            }
        }
    }

    fn release_holder(&mut self, producer: ProducerId, group: &Str, topic: &Str, partition: i32) {
        let Some(slots) = self.holders.get_mut(group) else {
            return;
        };
        let slot = (topic.clone(), partition);
        if let Some(producers) = slots.get_mut(&slot) {
            producers.retain(|other| *other != producer);
            if producers.is_empty() {
                slots.remove(&slot);
            }
        }
        if slots.is_empty() {
            self.holders.remove(group);
        }
    }

    fn hold_topic(&mut self, topic: &Str) {
        match self.topics.get_mut(topic) {
            Some(used) => used.count += 1,
            None => {
                let used = TopicUse {
                    count: 1,
                    ..TopicUse::default()
                };
                self.topics.insert(topic.clone(), used);
            }
        }
    }

    fn release_topic(&mut self, topic: &Str) {
        if let Some(used) = self.topics.get_mut(topic) {
            used.count -= 1;
            if used.count == 0 {
                self.topics.remove(topic);
            }
        }
    }
}
