//! ListOffsets (2). v2 isolation level · v4 leader epochs · v7 max timestamp (KIP-734) · v8 local start (KIP-405) · v9
//! tiered end (KIP-1005) · v10 time-out · v11 pending upload (KIP-1023).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::by_partition;
use super::context::Context;
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::shard::{OffsetQuery, Replica};
use crate::types::{LeaderEpoch, Timestamp};

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
        (CONSUMER, 0) => Isolation::ReadUncommitted,
        (CONSUMER, 1) => Isolation::ReadCommitted,
        (_, 0 | 1) => Isolation::Replica,
        _ => return refused(request, ErrorCode::UnknownServerError),
    };
    // Kafka's answer leaves out topics without partitions.
    let topics = request
        .topics
        .into_iter()
        .filter(|topic| !topic.partitions.is_empty());
    let topics = topics
        .map(|topic| (topic.name, rows(&topic.partitions, isolation, version)))
        .collect();
    let work = |_, replica, asked| look_up(replica, asked);
    let answers = by_partition::ask(&context.shard, topics, work).await;
    let unknown = |index| failed(index, ErrorCode::UnknownTopicOrPartition);
    let topics = answers
        .into_iter()
        .map(|(name, rows)| ListOffsetsTopicResponse {
            name,
            partitions: rows
                .into_iter()
                .map(|(index, answer)| answer.unwrap_or_else(|| unknown(index)))
                .collect(),
        })
        .collect();
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}

/// What is asked of each partition; one that is named twice gets one row, INVALID_REQUEST, as in Kafka.
fn rows(
    partitions: &[ListOffsetsPartition],
    isolation: Isolation,
    version: i16,
) -> Vec<(i32, Result<Asked, ErrorCode>)> {
    let mut rows: BTreeMap<i32, Result<Asked, ErrorCode>> = BTreeMap::new();
    let mut order = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let index = partition.partition_index;
        let asked = query(partition.timestamp, version).map(|query| Asked {
            query,
            isolation,
            current_epoch: LeaderEpoch(partition.current_leader_epoch),
        });
        let row = asked.ok_or(ErrorCode::UnsupportedVersion);
        match rows.insert(index, row) {
            None => order.push(index),
            Some(_) => _ = rows.insert(index, Err(ErrorCode::InvalidRequest)),
        }
    }
    let mut take = |index| {
        rows.remove(&index)
            .expect("each index is in the order once")
    };
    order
        .into_iter()
        .map(|index| (index, take(index)))
        .collect()
}

fn failed(partition_index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: error.code(),
        ..ListOffsetsPartitionResponse::default()
    }
}

/// Every partition asked for, with an error.
fn refused(request: ListOffsetsRequest, error: ErrorCode) -> ListOffsetsResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| ListOffsetsTopicResponse {
            name: topic.name,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| failed(partition.partition_index, error))
                .collect(),
        })
        .collect();
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
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

async fn look_up(
    replica: Rc<Replica>,
    asked: Result<Asked, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let found = async {
        let asked = asked?;
        replica.check_epoch(asked.current_epoch)?;
        replica.find_offset(asked.query, asked.isolation).await
    };
    match found.await {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index: replica.partition,
            timestamp: found.timestamp.0,
            offset: found.offset.0,
            leader_epoch: found.epoch.0,
            ..ListOffsetsPartitionResponse::default()
        },
        Err(error) => failed(replica.partition, error),
    }
}
