//! How committed offsets go: asked for, expired (KIP-211), or with their topic.

use std::collections::BTreeSet;

use crate::protocol::ErrorCode;
use crate::protocol::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use crate::types::{PartitionIndex, Str, TopicId};

use super::CommittedOffset;
use crate::group::classic::{ClassicGroup, State};
use crate::group::coordinator::{Group, code};
use crate::group::{GroupContext, GroupCoordinator, GroupOutput, GroupRecord};

/// Deletes offsets of topics that the group does not read.
pub(in crate::group) fn delete(
    coordinator: &mut GroupCoordinator,
    request: OffsetDeleteRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> OffsetDeleteResponse {
    let found = coordinator.groups.get_key_value(&request.group_id);
    let error = match found {
        _ if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
        None => ErrorCode::GroupIdNotFound,
        // Of opaque members nobody knows what they read.
        Some((_, Group::Classic(group)))
            if group.state != State::Empty && !group.is_consumers() =>
        {
            ErrorCode::NonEmptyGroup
        }
        Some(_) => ErrorCode::None,
    };
    let Some((id, group)) = found.filter(|_| !error.is_error()) else {
        return OffsetDeleteResponse {
            error_code: error.code(),
            ..OffsetDeleteResponse::default()
        };
    };
    let mut records = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    // A topic without partitions is not answered.
    for asked in request.topics.iter().filter(|t| !t.partitions.is_empty()) {
        let known = context.image.topic(&asked.name);
        let subscribed = group.subscribes_to(&asked.name);
        let check = |partition: i32| {
            let found = known.and_then(|topic| topic.partition(PartitionIndex(partition)));
            found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            match subscribed {
                true => Err(ErrorCode::GroupSubscribedToTopic),
                false => Ok(()),
            }
        };
        let listed = |topic: &Str, partition: i32| {
            let mut partitions = asked.partitions.iter();
            *topic == asked.name
                && partitions.any(|p| p.partition_index == partition)
                && check(partition).is_ok()
        };
        records.extend(coordinator.offsets.tombstones(id, listed));
        let row = |partition: i32| OffsetDeleteResponsePartition {
            partition_index: partition,
            error_code: code(check(partition)),
        };
        let rows = asked.partitions.iter().map(|p| row(p.partition_index));
        topics.push(OffsetDeleteResponseTopic {
            name: asked.name.clone(),
            partitions: rows.collect(),
        });
    }
    coordinator.write(records, out);
    OffsetDeleteResponse {
        topics,
        ..OffsetDeleteResponse::default()
    }
}

/// Takes away the offsets that have expired, and the groups that nothing is left of.
pub(in crate::group) fn expire(
    coordinator: &mut GroupCoordinator,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let now_ms = context.now.wall.0;
    let retention_ms = i64::from(context.config.offsets_retention_minutes) * 60_000;
    let mut records = Vec::new();
    for (id, group) in &coordinator.groups {
        let Some(base) = base_of(group) else {
            continue;
        };
        let expired = |topic: &Str, partition: i32, offset: &CommittedOffset| {
            let past = match offset.expire_timestamp {
                -1 => now_ms.saturating_sub(base.timestamp(offset)) >= retention_ms,
                at => now_ms >= at,
            };
            past && !group.subscribes_to(topic)
                && !coordinator.offsets.is_pending(id, topic, partition)
        };
        let mut all_expired = true;
        let topics = coordinator.offsets.of_group(id).into_iter().flatten();
        for (topic, partitions) in topics {
            for (partition, offset) in partitions {
                if expired(topic, *partition, offset) {
                    records.push(GroupRecord::Offset {
                        group: id.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        value: None,
                    });
                } else {
                    all_expired = false;
                }
            }
        }
        let unused = match group {
            Group::Classic(group) => group.state == State::Empty && !group.awaits_ids(),
            Group::Consumer(group) => group.is_empty(),
        };
        if all_expired && unused && !coordinator.offsets.has_pending(id) {
            records.extend(group.tombstones(id));
        }
    }
    coordinator.write(records, out);
}

/// What an offset's age is counted from.
enum Base {
    /// When the group became empty.
    Since(i64),
    /// When it was committed.
    Commit,
}

impl Base {
    fn timestamp(&self, offset: &CommittedOffset) -> i64 {
        match self {
            Base::Since(timestamp) => *timestamp,
            Base::Commit => offset.commit_timestamp,
        }
    }
}

/// `None`: no offset of this group may expire now.
fn base_of(group: &Group) -> Option<Base> {
    let classic: &ClassicGroup = match group {
        Group::Consumer(_) => return Some(Base::Commit),
        Group::Classic(group) => group,
    };
    if classic.protocol_type.is_none() {
        // A "simple" consumer that never joins.
        return Some(Base::Commit);
    }
    match classic.state {
        State::Empty => Some(classic.state_timestamp.map_or(Base::Commit, Base::Since)),
        // Of topics that nobody subscribes to any more.
        State::Stable if classic.is_consumers() && classic.subscribed.is_some() => {
            Some(Base::Commit)
        }
        _ => None,
    }
}

/// Takes away the offsets of topics that the image does not have, or has under another id than they were committed for.
///
/// - `changed`: the topics to look at; `None` for all.
pub(in crate::group) fn drop_deleted_topics(
    coordinator: &mut GroupCoordinator,
    changed: Option<&BTreeSet<Str>>,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let mut gone = Vec::new();
    let mut found = Vec::new();
    let offsets = &coordinator.offsets;
    let used: Vec<(&Str, TopicId)> = match changed {
        None => offsets.topics().collect(),
        Some(changed) => changed
            .iter()
            .filter_map(|name| Some((name, offsets.topic_id(name)?)))
            .collect(),
    };
    for (name, id) in used {
        match context.image.topic(name) {
            Some(topic) if id.is_zero() => found.push((name.clone(), topic.id)),
            Some(topic) if topic.id == id => {}
            _ => gone.push(name.clone()),
        }
    }
    for (name, id) in found {
        coordinator.offsets.note_topic_id(&name, id);
    }
    if gone.is_empty() {
        return;
    }
    let mut records = Vec::new();
    for group in coordinator.offsets.groups_with(&gone) {
        let of_gone = |topic: &Str, _| gone.contains(topic);
        records.extend(coordinator.offsets.tombstones(&group, of_gone));
    }
    coordinator.write(records, out);
}
