//! OffsetCommit and TxnOffsetCommit: who may commit, and what is stored.

use crate::protocol::ErrorCode;
use crate::protocol::group_records::OffsetCommitValue;
use crate::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Str, TopicId};

use crate::group::classic::{self, State};
use crate::group::coordinator::{Claim, Group, code, record_bytes_max};
use crate::group::{Caller, GroupContext, GroupCoordinator, GroupOutput, GroupRecord};
use crate::metadata::Topic;

/// From here on topics are named by id.
const TOPIC_ID_VERSION: i16 = 10;
/// From here on clients understand the errors of the consumer protocol.
const MEMBER_EPOCH_VERSION: i16 = 9;

/// One offset to commit, in the words of either request.
struct Commit<'a> {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a Str>,
    /// Wall clock, milliseconds; −1 where the broker's retention holds.
    expire_timestamp: i64,
}

/// Commits a group's offsets, in as far as its topics exist and whoever asks may.
pub(in crate::group) fn commit(
    coordinator: &mut GroupCoordinator,
    caller: &Caller,
    request: OffsetCommitRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> OffsetCommitResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref(),
        epoch: request.generation_id_or_member_epoch,
        transactional: false,
    };
    let by_id = caller.version >= TOPIC_ID_VERSION;
    let find = |name: &Str, id: TopicId| match by_id {
        true => context
            .image
            .topic_by_id(id)
            .ok_or(ErrorCode::UnknownTopicId),
        false => {
            let found = context.image.topic(name);
            found.ok_or(ErrorCode::UnknownTopicOrPartition)
        }
    };
    let topics: Vec<Result<&Topic, ErrorCode>> = request
        .topics
        .iter()
        .map(|topic| find(&topic.name, topic.topic_id))
        .collect();
    // A request of unknown topics only is answered without a look at the group, and makes none.
    let admitted = match topics.iter().any(Result::is_ok) {
        true => admit(coordinator, &request.group_id, &claim, caller.version),
        false => Ok(request.group_id.clone()),
    };
    let texts = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (&topic.name, partition.committed_metadata.as_ref()))
    });
    let admitted = admitted.and_then(|group| check_fit(group, texts, context));
    let now_ms = context.now.wall.0;
    let expire_timestamp = match request.retention_time_ms {
        -1 => -1,
        retention_ms => now_ms.saturating_add(retention_ms),
    };
    let mut records = Vec::new();
    let mut response = OffsetCommitResponse::default();
    let asked_topics = request.topics.iter().zip(topics);
    // A topic without partitions is not answered.
    for (asked, topic) in asked_topics.filter(|(asked, _)| !asked.partitions.is_empty()) {
        let row = |partition: &OffsetCommitRequestPartition| {
            let topic = topic?;
            let group = admitted.as_ref().map_err(|error| *error)?;
            let commit = Commit {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
                expire_timestamp,
            };
            let index = partition.partition_index;
            check_partition(coordinator, context, group, &claim, topic, index)?;
            records.push(record(group, topic, &commit, context)?);
            Ok(())
        };
        let rows: Vec<Result<(), ErrorCode>> = asked.partitions.iter().map(row).collect();
        let partition =
            |(asked, result): (&OffsetCommitRequestPartition, _)| OffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code: code(result),
            };
        response.topics.push(OffsetCommitResponseTopic {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partitions.iter().zip(rows).map(partition).collect(),
        });
    }
    if let Ok(group) = &admitted {
        let member_id = &request.member_id;
        keep_session(coordinator, group, member_id, context, out);
    }
    coordinator.write(records, out);
    response
}

/// Commits a group's offsets in a producer's transaction: they are pending until its marker comes.
pub(in crate::group) fn commit_in_txn(
    coordinator: &mut GroupCoordinator,
    request: TxnOffsetCommitRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> TxnOffsetCommitResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref(),
        epoch: request.generation_id,
        transactional: true,
    };
    let find = |name: &Str| {
        let found = context.image.topic(name);
        found.ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    let topics: Vec<Result<&Topic, ErrorCode>> =
        request.topics.iter().map(|t| find(&t.name)).collect();
    let admitted = match topics.iter().any(Result::is_ok) {
        _ if request.group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
        true => admit_in_txn(coordinator, &request.group_id, &claim),
        false => Ok(request.group_id.clone()),
    };
    let texts = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (&topic.name, partition.committed_metadata.as_ref()))
    });
    let admitted = admitted.and_then(|group| check_fit(group, texts, context));
    let mut records = Vec::new();
    let mut response = TxnOffsetCommitResponse::default();
    let asked_topics = request.topics.iter().zip(topics);
    // A topic without partitions is not answered.
    for (asked, topic) in asked_topics.filter(|(asked, _)| !asked.partitions.is_empty()) {
        let row = |partition: &TxnOffsetCommitRequestPartition| {
            let topic = topic?;
            let group = admitted.as_ref().map_err(|error| *error)?;
            let commit = Commit {
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref(),
                expire_timestamp: -1,
            };
            let index = partition.partition_index;
            check_partition(coordinator, context, group, &claim, topic, index).map_err(in_txn)?;
            records.push(record(group, topic, &commit, context)?);
            Ok(())
        };
        let rows: Vec<Result<(), ErrorCode>> = asked.partitions.iter().map(row).collect();
        let partition = |(asked, result): (&TxnOffsetCommitRequestPartition, _)| {
            TxnOffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code: code(result),
            }
        };
        response.topics.push(TxnOffsetCommitResponseTopic {
            name: asked.name.clone(),
            partitions: asked.partitions.iter().zip(rows).map(partition).collect(),
        });
    }
    let producer = (
        ProducerId(request.producer_id),
        ProducerEpoch(request.producer_epoch),
    );
    coordinator.write_in(Some(producer), records, out);
    response
}

/// Whether the claim may commit to this group; a group that is not there is made by its first offset. Returns the
/// group's name in memory of its own.
fn admit(
    coordinator: &GroupCoordinator,
    id: &Str,
    claim: &Claim<'_>,
    version: i16,
) -> Result<Str, ErrorCode> {
    let understands = version >= MEMBER_EPOCH_VERSION;
    match coordinator.groups.get_key_value(id) {
        None if claim.epoch < 0 => Ok(id.detach()),
        None if understands => Err(ErrorCode::GroupIdNotFound),
        None => Err(ErrorCode::IllegalGeneration),
        Some((id, Group::Classic(group))) => group.check_commit(claim).map(|()| id.clone()),
        Some((id, Group::Consumer(group))) => match group.check_commit(claim, version) {
            Err(ErrorCode::StaleMemberEpoch) if !understands => Err(ErrorCode::UnsupportedVersion),
            checked => checked.map(|()| id.clone()),
        },
    }
}

/// As [`admit`], with the errors that a transactional producer understands.
fn admit_in_txn(
    coordinator: &GroupCoordinator,
    id: &Str,
    claim: &Claim<'_>,
) -> Result<Str, ErrorCode> {
    match coordinator.groups.get_key_value(id) {
        None if claim.epoch < 0 => Ok(id.detach()),
        None => Err(ErrorCode::IllegalGeneration),
        Some((id, Group::Classic(group))) => group.check_commit(claim).map(|()| id.clone()),
        Some((id, Group::Consumer(group))) => {
            let checked = group.check_commit(claim, MEMBER_EPOCH_VERSION);
            checked.map(|()| id.clone()).map_err(in_txn)
        }
    }
}

fn in_txn(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        error => error,
    }
}

/// What an offset of a new partition, and its group where that is new too, costs in bytes, roughly.
const COMMIT_BYTES: usize = 2048;

/// Whether the partition exists, the member may commit for it, and there is room where it is new to the group.
fn check_partition(
    coordinator: &GroupCoordinator,
    context: &GroupContext<'_>,
    group: &Str,
    claim: &Claim<'_>,
    topic: &Topic,
    partition: i32,
) -> Result<(), ErrorCode> {
    if topic.partition(PartitionIndex(partition)).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let known = coordinator.offsets.find(group, &topic.name, partition);
    if known.is_none() && !context.has_room(COMMIT_BYTES) {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    match coordinator.groups.get(group) {
        Some(Group::Consumer(group)) => group.check_commit_partition(claim, topic.id, partition),
        Some(Group::Classic(_)) | None => Ok(()),
    }
}

/// Whether each offset's record fits the partition; where one does not nothing of the request is stored, as Kafka has it.
/// What is longer than metadata may be is refused by itself, and is not looked at here.
fn check_fit<'a>(
    group: Str,
    mut texts: impl Iterator<Item = (&'a Str, Option<&'a Str>)>,
    context: &GroupContext<'_>,
) -> Result<Str, ErrorCode> {
    let bytes_max = record_bytes_max(context);
    let too_large = |(topic, metadata): (&Str, Option<&Str>)| {
        let metadata = metadata.filter(|text| !is_too_long(text, context));
        RECORD_BYTES + group.len() + topic.len() + metadata.map_or(0, |text| text.len()) > bytes_max
    };
    match texts.any(too_large) {
        true => Err(ErrorCode::UnknownServerError),
        false => Ok(group),
    }
}

/// What an offset's record takes beside its texts, in bytes, at most.
const RECORD_BYTES: usize = 128;

/// Kafka counts what Java counts: UTF-16 units.
fn is_too_long(metadata: &str, context: &GroupContext<'_>) -> bool {
    let units = metadata.encode_utf16().count();
    units as i64 > i64::from(context.config.offset_metadata_max_bytes)
}

fn record(
    group: &Str,
    topic: &Topic,
    commit: &Commit<'_>,
    context: &GroupContext<'_>,
) -> Result<GroupRecord, ErrorCode> {
    let metadata = commit.metadata.map(Str::detach).unwrap_or_default();
    if is_too_long(&metadata, context) {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(GroupRecord::Offset {
        group: group.clone(),
        topic: topic.name.clone(),
        partition: commit.partition,
        value: Some(OffsetCommitValue {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata,
            commit_timestamp: context.now.wall.0,
            expire_timestamp: commit.expire_timestamp,
            topic_id: topic.id,
        }),
    })
}

/// A member of a classic group that commits is alive.
fn keep_session(
    coordinator: &mut GroupCoordinator,
    group: &Str,
    member_id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let alive = match coordinator.groups.get(group) {
        Some(Group::Classic(group)) => {
            matches!(group.state, State::Stable | State::PreparingRebalance)
        }
        _ => false,
    };
    if alive {
        classic::on_commit(coordinator, group, member_id, context, out);
    }
}
