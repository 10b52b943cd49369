//! DescribeTopicPartitions (75): topics by name, page by page (KIP-966).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::context::Context;
use super::metadata::{TOPIC_OPERATIONS, ids, offline};
use crate::metadata::{Image, Partition, Topic, validate_topic_name};
use crate::protocol::ErrorCode;
use crate::protocol::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, NextCursor,
    TopicRequest,
};
use crate::types::{PartitionIndex, Str};

/// Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let image = context.shard.image();
    let cursor = request.cursor.as_ref();
    let from = cursor
        .map(|cursor| cursor.topic_name.clone())
        .unwrap_or_default();
    let names: BTreeSet<Str> = match request.topics.is_empty() {
        true => image
            .topics_from(&from)
            .map(|topic| topic.name.clone())
            .collect(),
        false => request
            .topics
            .iter()
            .map(|topic| topic.name.clone())
            .filter(|name| *name >= from)
            .collect(),
    };
    if cursor.is_some_and(|cursor| is_bad(cursor, &request.topics, &names)) {
        return refused(request);
    }
    let mut left = request.response_partition_limit.clamp(1, PARTITIONS_MAX) as usize;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(NextCursor {
                topic_name: name,
                partition_index: 0,
            });
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let start = first_partition(cursor, topic);
        let described = described(&image, topic, start, left);
        let end = start + described.partitions.len();
        left -= described.partitions.len();
        response.topics.push(described);
        if end < topic.partitions_count() {
            response.next_cursor = Some(NextCursor {
                topic_name: name,
                partition_index: end as i32,
            });
            break;
        }
    }
    response
}

fn first_partition(cursor: Option<&Cursor>, topic: &Topic) -> usize {
    match cursor {
        Some(cursor) if cursor.topic_name == topic.name => cursor.partition_index.max(0) as usize,
        _ => 0,
    }
}

fn unknown(name: Str) -> DescribeTopicPartitionsResponseTopic {
    let error = match validate_topic_name(&name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// A cursor must stand on a topic that is asked for, at a partition that can be.
fn is_bad(cursor: &Cursor, topics: &[TopicRequest], names: &BTreeSet<Str>) -> bool {
    let on_first = topics.is_empty() || names.first() == Some(&cursor.topic_name);
    cursor.partition_index < 0 || !on_first
}

fn refused(request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(topic.name),
            ..DescribeTopicPartitionsResponseTopic::default()
        })
        .collect();
    DescribeTopicPartitionsResponse {
        topics,
        ..DescribeTopicPartitionsResponse::default()
    }
}

fn described(
    image: &Image,
    topic: &Topic,
    start: usize,
    limit: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions().skip(start).take(limit);
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions
            .map(|(index, partition)| row(image, index, partition))
            .collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn row(
    image: &Image,
    index: PartitionIndex,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: match partition.leader {
            Some(_) => ErrorCode::None.code(),
            None => ErrorCode::LeaderNotAvailable.code(),
        },
        partition_index: index.0,
        leader_id: partition.leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: offline(image, partition),
    }
}
