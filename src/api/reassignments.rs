//! AlterPartitionReassignments (45), ListPartitionReassignments (46): on which brokers partitions are (KIP-455).
//!
//! Kafka's tool asks both before it moves partitions between one broker's directories.

use std::rc::Rc;

use super::context::Context;
use super::metadata::ids;
use super::topics::message;
use crate::metadata::{AlterPartitionReassignments, Command, NewReplicas, Reply, Topic};
use crate::protocol::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::protocol::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use crate::types::{NodeId, PartitionIndex, Str};

pub(super) async fn alter(
    context: Rc<Context>,
    request: AlterPartitionReassignmentsRequest,
    _version: i16,
) -> AlterPartitionReassignmentsResponse {
    let allow_factor_change = request.allow_replication_factor_change;
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let name = topic.name.detach();
        for row in &topic.partitions {
            let nodes = |ids: &Vec<i32>| ids.iter().map(|id| NodeId(*id)).collect();
            partitions.push(NewReplicas {
                topic: name.clone(),
                partition: PartitionIndex(row.partition_index),
                replicas: row.replicas.as_ref().map(nodes),
            });
        }
    }
    let command = Command::AlterPartitionReassignments(AlterPartitionReassignments {
        partitions,
        allow_factor_change,
    });
    let Reply::AlterPartitionReassignments(rows) = context.shard.propose(command).await else {
        unreachable!("a reply is of its command's kind")
    };
    // Kafka's words about nothing are an empty text, about anything else null.
    let error_message = request.topics.is_empty().then_some(Str::EMPTY);
    let mut rows = rows.into_iter();
    let responses = request.topics.into_iter().map(|topic| {
        // The rows come as they were asked for.
        let rows = topic.partitions.iter().zip(&mut rows);
        let partitions = rows.map(|(asked, row)| {
            let error = row.result.err();
            ReassignablePartitionResponse {
                partition_index: asked.partition_index,
                error_code: error.as_ref().map_or(0, |error| error.code.code()),
                error_message: error.as_ref().and_then(message),
            }
        });
        ReassignableTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        }
    });
    AlterPartitionReassignmentsResponse {
        responses: responses.collect(),
        allow_replication_factor_change: allow_factor_change,
        error_message,
        ..AlterPartitionReassignmentsResponse::default()
    }
}

pub(super) async fn list(
    context: Rc<Context>,
    request: ListPartitionReassignmentsRequest,
    _version: i16,
) -> ListPartitionReassignmentsResponse {
    let image = context.shard.image();
    let topics = match request.topics {
        None => {
            let all = image.topics().map(|topic| {
                let indexes = topic.partitions().map(|(index, _)| index);
                ongoing(topic, indexes)
            });
            all.flatten().collect()
        }
        Some(wanted) => {
            let known = wanted.iter().filter_map(|asked| {
                let indexes = asked.partition_indexes.iter().copied().map(PartitionIndex);
                ongoing(image.topic(&asked.name)?, indexes)
            });
            known.collect()
        }
    };
    ListPartitionReassignmentsResponse {
        topics,
        ..ListPartitionReassignmentsResponse::default()
    }
}

/// `None`: none of the partitions is on its way.
fn ongoing(
    topic: &Topic,
    indexes: impl Iterator<Item = PartitionIndex>,
) -> Option<OngoingTopicReassignment> {
    let rows = indexes.filter_map(|index| {
        let partition = topic.partition(index)?;
        let running = partition.reassignment.as_deref()?;
        Some(OngoingPartitionReassignment {
            partition_index: index.0,
            replicas: ids(&partition.replicas),
            adding_replicas: ids(&running.adding),
            removing_replicas: ids(&running.removing),
        })
    });
    let partitions: Vec<OngoingPartitionReassignment> = rows.collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.clone(),
        partitions,
    })
}
