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
    committed_count: usize,
    bytes: usize,
}

#[derive(Default, Debug)]
struct TopicUse {
    /// Whose offsets, and how many of each, committed and pending together.
    groups: BTreeMap<Str, usize>,
    id: TopicId,
}

/// What an offset costs beside its metadata, in bytes, roughly.
const OFFSET_BYTES: usize = 160;
/// The same of one that is pending, with what leads to it.
const PENDING_BYTES: usize = 512;

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
            let offset_metadata = offset.metadata.len();
            let newer = self
                .find(&group, &topic, partition)
                .is_none_or(|existing| existing.sequence < offset.sequence);
            if committed && newer {
                self.insert(&group, &topic, partition, offset);
            }
            self.bytes -= PENDING_BYTES + offset_metadata;
            self.release_topic(&topic, &group);
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

    /// How many are committed.
    pub(in crate::group) fn count(&self) -> usize {
        self.committed_count
    }

    /// What all take in memory, in bytes, roughly.
    pub(in crate::group) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(in crate::group) fn measured_bytes(&self) -> usize {
        let committed = self
            .committed()
            .map(|(.., o)| OFFSET_BYTES + o.metadata.len());
        let pending = self.pending.values().flat_map(BTreeMap::values);
        let pending = pending.map(|o| PENDING_BYTES + o.metadata.len());
        committed.chain(pending).sum()
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

    /// The id that was seen for a topic (zero: none yet), where offsets are of it.
    pub(in crate::group) fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topics.get(topic).map(|topic| topic.id)
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
        let used = gone.iter().filter_map(|topic| self.topics.get(topic));
        let groups = used.flat_map(|topic| topic.groups.keys());
        let mut groups: Vec<Str> = groups.cloned().collect();
        groups.sort();
        groups.dedup();
        groups
    }

    fn insert(&mut self, group: &Str, topic: &Str, partition: i32, offset: CommittedOffset) {
        let id = offset.topic_id;
        if !self.committed.contains_key(group) {
            self.committed.insert(group.clone(), BTreeMap::new());
        }
        self.bytes += OFFSET_BYTES + offset.metadata.len();
        let topics = self.committed.get_mut(group).expect("just put there");
        // The name is shared by all partitions of the topic: most of what an offset costs would be its topic.
        let replaced = match topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset),
            None => {
                topics.insert(topic.clone(), BTreeMap::from([(partition, offset)]));
                None
            }
        };
        match replaced {
            Some(replaced) => self.bytes -= OFFSET_BYTES + replaced.metadata.len(),
            None => {
                self.committed_count += 1;
                self.hold_topic(topic, group);
            }
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
        self.bytes += PENDING_BYTES + offset.metadata.len();
        match offsets.insert((group.clone(), slot.clone()), offset) {
            Some(replaced) => self.bytes -= PENDING_BYTES + replaced.metadata.len(),
            None => {
                self.hold_topic(topic, group);
                let slots = self.holders.entry(group.clone()).or_default();
                slots.entry(slot).or_default().push(producer);
            }
        }
        if !id.is_zero() {
            self.note_topic_id(topic, id);
        }
    }

    fn remove(&mut self, group: &Str, topic: &Str, partition: i32) {
        if let Some(topics) = self.committed.get_mut(group) {
            let partitions = topics.get_mut(topic);
            let removed = partitions.and_then(|p| p.remove(&partition));
            if topics.get(topic).is_some_and(BTreeMap::is_empty) {
                topics.remove(topic);
            }
            if topics.is_empty() {
                self.committed.remove(group);
            }
            if let Some(removed) = removed {
                self.committed_count -= 1;
                self.bytes -= OFFSET_BYTES + removed.metadata.len();
                self.release_topic(topic, group);
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
            self.release_topic(topic, group);
            if let Some(offsets) = self.pending.get_mut(&producer) {
                if let Some(removed) = offsets.remove(&(group.clone(), slot.clone())) {
                    self.bytes -= PENDING_BYTES + removed.metadata.len();
                }
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

    fn hold_topic(&mut self, topic: &Str, group: &Str) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.clone(), TopicUse::default());
        }
        let used = self.topics.get_mut(topic).expect("just put there");
        match used.groups.get_mut(group) {
            Some(count) => *count += 1,
            None => {
                used.groups.insert(group.clone(), 1);
            }
        }
    }

    fn release_topic(&mut self, topic: &Str, group: &Str) {
        let Some(used) = self.topics.get_mut(topic) else {
            return;
        };
        if let Some(count) = used.groups.get_mut(group) {
            *count -= 1;
            if *count == 0 {
                used.groups.remove(group);
            }
        }
        if used.groups.is_empty() {
            self.topics.remove(topic);
        }
    }
}
