//! ListOffsets (2). v2 isolation level · v4 leader epochs · v7 max timestamp (KIP-734) · v8 local start (KIP-405) · v9
//! tiered end (KIP-1005) · v10 time-out · v11 pending upload (KIP-1023).

use std::rc::Rc;

use hashbrown::HashSet;

use super::context::Context;
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::shard::{OffsetQuery, Replica};
use crate::types::{LeaderEpoch, Timestamp, TopicId};

/// Timestamps that mean a place in the log, and the first version that knows each.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A consumer; any other replica id is a follower or a tool that sees up to the log's end.
const CONSUMER: i32 = -1;

/// What the partition's owner is asked.
struct Asked {
    query: OffsetQuery,
    isolation: Isolation,
    current_epoch: LeaderEpoch,
}

pub(super) async fn serve(
    context: Rc<Context>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let isolation = match (request.replica_id, request.isolation_level) {
        (CONSUMER, 1) => Isolation::ReadCommitted,
        (CONSUMER, _) => Isolation::ReadUncommitted,
        _ => Isolation::Replica,
    };
    let mut seen = HashSet::new();
    let mut doubled = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let place = (topic.name.clone(), partition.partition_index);
            if !seen.insert(place.clone()) {
                doubled.insert(place);
            }
        }
    }
    let mut items = Vec::new();
    let mut refusals = Vec::new();
    {
        let image = context.shard.image();
        for topic in &request.topics {
            let found = image.topic(&topic.name);
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let twice = doubled.contains(&(topic.name.clone(), index));
                let known =
                    found.filter(|topic| index >= 0 && (index as usize) < topic.partitions_count());
                match (twice, known, query(partition.timestamp, version)) {
                    (true, _, _) => refusals.push(Some(ErrorCode::InvalidRequest)),
                    (_, None, _) => refusals.push(Some(ErrorCode::UnknownTopicOrPartition)),
                    (_, _, None) => refusals.push(Some(ErrorCode::UnsupportedVersion)),
                    (false, Some(topic), Some(query)) => {
                        refusals.push(None);
                        items.push(item(topic.id, partition, query, isolation));
                    }
                }
            }
        }
    }
    let answers = context
        .shard
        .on_owners(items, |_, replica, asked| look_up(replica, asked))
        .await;
    respond(&request, refusals, answers)
}

fn item(
    topic_id: TopicId,
    partition: &ListOffsetsPartition,
    query: OffsetQuery,
    isolation: Isolation,
) -> (TopicId, i32, Asked) {
    let current_epoch = LeaderEpoch(partition.current_leader_epoch);
    (
        topic_id,
        partition.partition_index,
        Asked {
            query,
            isolation,
            current_epoch,
        },
    )
}

/// What a timestamp asks for; `None` if it is no time and `version` does not know it.
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    let (query, since) = match timestamp {
        LATEST => (OffsetQuery::Latest, 0),
        EARLIEST => (OffsetQuery::Earliest, 0),
        MAX_TIMESTAMP => (OffsetQuery::MaxTimestamp, 7),
        EARLIEST_LOCAL => (OffsetQuery::Earliest, 8),
        LATEST_TIERED => (OffsetQuery::Tiered, 9),
        EARLIEST_PENDING_UPLOAD => (OffsetQuery::Tiered, 11),
        time if time >= 0 => (OffsetQuery::AtTime(Timestamp(time)), 0),
        _ => return None,
    };
    (version >= since).then_some(query)
}

async fn look_up(replica: Rc<Replica>, asked: Asked) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: replica.partition,
        ..Default::default()
    };
    let found = match replica.check_epoch(asked.current_epoch) {
        Ok(()) => replica.find_offset(asked.query, asked.isolation).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => {
            response.timestamp = found.timestamp.0;
            response.offset = found.offset.0;
            response.leader_epoch = found.epoch.0;
        }
        Err(error) => response.error_code = error.code(),
    }
    response
}

fn respond(
    request: &ListOffsetsRequest,
    refusals: Vec<Option<ErrorCode>>,
    answers: Vec<Option<ListOffsetsPartitionResponse>>,
) -> ListOffsetsResponse {
    let mut refusals = refusals.into_iter();
    let mut answers = answers.into_iter();
    let mut answer = |partition: &ListOffsetsPartition| {
        let refused = |error: ErrorCode| ListOffsetsPartitionResponse {
            partition_index: partition.partition_index,
            error_code: error.code(),
            ..ListOffsetsPartitionResponse::default()
        };
        match refusals.next().expect("a row for each partition") {
            Some(error) => refused(error),
            None => {
                let answer = answers.next().expect("what was not refused was looked up");
                answer.unwrap_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))
            }
        }
    };
    let topics = request
        .topics
        .iter()
        .map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(&mut answer).collect(),
        })
        .collect();
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}
