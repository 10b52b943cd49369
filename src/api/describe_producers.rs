//! DescribeProducers (61): the producers that a partition remembers, and their transactions (KIP-664).

use std::rc::Rc;

use super::by_partition;
use super::context::Context;
use crate::metadata::validate_topic_name;
use crate::protocol::ErrorCode;
use crate::protocol::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use crate::shard::Replica;
use crate::types::Str;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            (
                topic.name,
                topic
                    .partition_indexes
                    .iter()
                    .map(|index| (*index, ()))
                    .collect(),
            )
        })
        .collect();
    let answers = by_partition::ask(&context.shard, topics, |_, replica, ()| async move {
        producers(&replica)
    })
    .await;
    let topics = answers
        .into_iter()
        .map(|(name, rows)| TopicResponse {
            partitions: rows
                .into_iter()
                .map(|(index, answer)| partition(index, answer, unknown(&name)))
                .collect(),
            name,
        })
        .collect();
    DescribeProducersResponse {
        topics,
        ..DescribeProducersResponse::default()
    }
}

fn producers(replica: &Replica) -> Vec<ProducerState> {
    let state =
        |(id, entry): (crate::types::ProducerId, &crate::partition::ProducerEntry)| ProducerState {
            producer_id: id.0,
            producer_epoch: entry.epoch.0.into(),
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp.0,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_start_offset: entry
                .transaction
                .map_or(-1, |transaction| transaction.first_offset.0),
        };
    let mut states: Vec<_> = replica.core().producers().iter().map(state).collect();
    states.sort_by_key(|state| state.producer_id);
    states
}

/// Why a partition of this topic is not there.
fn unknown(topic: &str) -> ErrorCode {
    match validate_topic_name(topic) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn partition(
    partition_index: i32,
    answer: Option<Vec<ProducerState>>,
    error: ErrorCode,
) -> PartitionResponse {
    match answer {
        Some(active_producers) => PartitionResponse {
            partition_index,
            active_producers,
            ..PartitionResponse::default()
        },
        None => PartitionResponse {
            partition_index,
            error_code: error.code(),
            error_message: Some(Str::from_static(
                "This server does not host this topic-partition.",
            )),
            ..PartitionResponse::default()
        },
    }
}
