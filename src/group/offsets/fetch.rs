//! OffsetFetch: what a group has committed. A group that is not there has committed nothing, which is no error.

use crate::protocol::ErrorCode;
use crate::protocol::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::types::{Str, TopicId};

use super::OffsetStore;
use crate::group::coordinator::Group;
use crate::group::request::RequireStable;
use crate::group::{Caller, GroupContext, GroupCoordinator};

/// From here on topics are named by id.
const TOPIC_ID_VERSION: i16 = 10;

/// One group's committed offsets, of the topics asked for or of all.
pub(in crate::group) fn fetch(
    coordinator: &GroupCoordinator,
    caller: &Caller,
    request: OffsetFetchRequestGroup,
    stable: RequireStable,
    context: &GroupContext<'_>,
) -> OffsetFetchResponseGroup {
    let by_id = caller.version >= TOPIC_ID_VERSION;
    let checked = match coordinator.groups.get(&request.group_id) {
        Some(Group::Consumer(group)) => {
            group.check_fetch(request.member_id.as_ref(), request.member_epoch)
        }
        Some(Group::Classic(_)) | None => Ok(()),
    };
    if let Err(error) = checked {
        return OffsetFetchResponseGroup {
            group_id: request.group_id,
            error_code: error.code(),
            ..OffsetFetchResponseGroup::default()
        };
    }
    let reading = Reading {
        offsets: &coordinator.offsets,
        group: &request.group_id,
        stable,
        context,
    };
    let topics = match &request.topics {
        None => reading.all(by_id),
        Some(topics) if by_id => topics.iter().map(|t| reading.topic_by_id(t)).collect(),
        Some(topics) => topics.iter().map(|t| reading.topic_by_name(t)).collect(),
    };
    OffsetFetchResponseGroup {
        topics,
        group_id: request.group_id,
        error_code: ErrorCode::None.code(),
    }
}

struct Reading<'a, 'c> {
    offsets: &'a OffsetStore,
    group: &'a Str,
    stable: RequireStable,
    context: &'a GroupContext<'c>,
}

impl Reading<'_, '_> {
    fn all(&self, by_id: bool) -> Vec<OffsetFetchResponseTopics> {
        let Some(topics) = self.offsets.of_group(self.group) else {
            return Vec::new();
        };
        let mut rows = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            let id = self.id_of(name);
            if by_id && id.is_zero() {
                // There is no way to name it.
                continue;
            }
            let partitions = partitions
                .keys()
                .map(|partition| self.partition(name, id, *partition))
                .collect();
            rows.push(OffsetFetchResponseTopics {
                name: name.clone(),
                topic_id: id,
                partitions,
            });
        }
        rows
    }

    fn topic_by_name(&self, asked: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let id = self.id_of(&asked.name);
        let partition = |index: &i32| self.partition(&asked.name, id, *index);
        OffsetFetchResponseTopics {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        }
    }

    fn topic_by_id(&self, asked: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let topic = self.context.image.topic_by_id(asked.topic_id);
        let partition = |index: &i32| match topic {
            Some(topic) => self.partition(&topic.name, topic.id, *index),
            None => none(*index, ErrorCode::UnknownTopicId),
        };
        OffsetFetchResponseTopics {
            name: topic.map_or(Str::EMPTY, |topic| topic.name.clone()),
            topic_id: asked.topic_id,
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        }
    }

    fn partition(&self, topic: &Str, id: TopicId, partition: i32) -> OffsetFetchResponsePartitions {
        let unstable = self.stable == RequireStable::Yes
            && self.offsets.is_pending(self.group, topic, partition);
        if unstable {
            return none(partition, ErrorCode::UnstableOffsetCommit);
        }
        let found = self.offsets.find(self.group, topic, partition);
        // An offset of an older topic of the same name says nothing of this one.
        let same = |other: TopicId| other.is_zero() || id.is_zero() || other == id;
        match found.filter(|offset| same(offset.topic_id)) {
            Some(offset) => OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch,
                metadata: Some(offset.metadata.clone()),
                error_code: ErrorCode::None.code(),
            },
            None => none(partition, ErrorCode::None),
        }
    }

    fn id_of(&self, topic: &str) -> TopicId {
        let found = self.context.image.topic(topic);
        found.map_or(TopicId::ZERO, |topic| topic.id)
    }
}

fn none(partition: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        metadata: Some(Str::EMPTY),
        error_code: error.code(),
        ..OffsetFetchResponsePartitions::default()
    }
}
