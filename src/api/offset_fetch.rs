//! OffsetFetch (9): the offsets that groups have committed. v2 null topics · v7 only stable offsets (KIP-447) · v8 several
//! groups (KIP-709) · v9 member epochs (KIP-848) · v10 topics by id.

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest, RequireStable};
use crate::protocol::ErrorCode;
use crate::protocol::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
};
use crate::shard::Shard;
use crate::storage::join_bounded;

/// Groups of one request that are asked side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: OffsetFetchRequest,
    caller: Caller,
) -> OffsetFetchResponse {
    let stable = match request.require_stable {
        true => RequireStable::Yes,
        false => RequireStable::No,
    };
    let shard = &context.shard;
    if caller.version >= 8 {
        let groups = request.groups.into_iter();
        let groups = groups.map(|group| fetch(shard, caller.clone(), group, stable));
        return OffsetFetchResponse {
            groups: join_bounded(groups, DEPTH).await,
            ..OffsetFetchResponse::default()
        };
    }
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        member_epoch: -1,
        topics: request
            .topics
            .clone()
            .map(|topics| topics.into_iter().map(by_name).collect()),
        ..OffsetFetchRequestGroup::default()
    };
    let version = caller.version;
    let answer = fetch(shard, caller, group, stable).await;
    alone(version, answer, request.topics.unwrap_or_default())
}

fn by_name(topic: OffsetFetchRequestTopic) -> OffsetFetchRequestTopics {
    OffsetFetchRequestTopics {
        name: topic.name,
        partition_indexes: topic.partition_indexes,
        ..OffsetFetchRequestTopics::default()
    }
}

async fn fetch(
    shard: &Rc<Shard>,
    caller: Caller,
    group: OffsetFetchRequestGroup,
    stable: RequireStable,
) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let request = GroupRequest::OffsetFetch(group, stable);
    match shard.group_request(&group_id, caller, request).await {
        Ok(GroupReply::OffsetFetch(answer)) => answer,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => OffsetFetchResponseGroup {
            group_id,
            error_code: error.code(),
            ..OffsetFetchResponseGroup::default()
        },
    }
}

/// The answer of versions that know one group. Version 1 has no place for the group's error but its partitions.
fn alone(
    version: i16,
    answer: OffsetFetchResponseGroup,
    asked: Vec<OffsetFetchRequestTopic>,
) -> OffsetFetchResponse {
    if version < 2 && answer.error_code != ErrorCode::None.code() {
        let row = |partition_index| OffsetFetchResponsePartition {
            partition_index,
            committed_offset: -1,
            metadata: Some(Default::default()),
            error_code: answer.error_code,
            ..OffsetFetchResponsePartition::default()
        };
        let topics = asked.into_iter().map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partition_indexes.into_iter().map(row).collect(),
        });
        return OffsetFetchResponse {
            topics: topics.collect(),
            ..OffsetFetchResponse::default()
        };
    }
    let row = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let topics = answer
        .topics
        .into_iter()
        .map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(row).collect(),
        });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: answer.error_code,
        ..OffsetFetchResponse::default()
    }
}
