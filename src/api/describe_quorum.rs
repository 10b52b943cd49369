//! DescribeQuorum (55): the metadata quorum (KIP-595). v1 fetch times · v2 directories and endpoints (KIP-853).

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionResult, ReplicaState,
    TopicResult,
};
use crate::shard::QuorumState;
use crate::types::{Str, Uuid};

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeQuorumRequest,
    _version: i16,
) -> DescribeQuorumResponse {
    let quorum = context.shard.quorum().await;
    let topics: Vec<TopicResult> =
        request
            .topics
            .into_iter()
            .map(|topic| {
                let is_metadata = topic.topic_name == METADATA_TOPIC;
                let rows = topic.partitions.iter().map(|row| {
                    match is_metadata && row.partition_index == 0 {
                        true => described(&quorum),
                        false => unknown(row.partition_index),
                    }
                });
                TopicResult {
                    partitions: rows.collect(),
                    topic_name: topic.topic_name,
                }
            })
            .collect();
    // Nodes are told only with a partition that they are the voters of.
    let any = topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|row| row.error_code == 0);
    DescribeQuorumResponse {
        topics,
        nodes: if any { nodes(&context) } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    }
}

fn unknown(partition_index: i32) -> PartitionResult {
    PartitionResult {
        partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: Some(Str::from_static(
            "This server does not host this topic-partition.",
        )),
        ..PartitionResult::default()
    }
}

/// One voter, who leads and is always caught up with itself.
fn described(quorum: &QuorumState) -> PartitionResult {
    let voter = ReplicaState {
        replica_id: quorum.leader.0,
        replica_directory_id: Uuid::ZERO,
        log_end_offset: quorum.log_end,
        last_fetch_timestamp: quorum.now.0,
        last_caught_up_timestamp: quorum.now.0,
    };
    PartitionResult {
        leader_id: quorum.leader.0,
        leader_epoch: quorum.epoch,
        high_watermark: quorum.log_end,
        current_voters: vec![voter],
        ..PartitionResult::default()
    }
}

fn nodes(context: &Context) -> Vec<Node> {
    let image = context.shard.image();
    let nodes = image.brokers().map(|broker| Node {
        node_id: broker.id.0,
        listeners: broker
            .endpoints
            .iter()
            .map(|endpoint| Listener {
                name: endpoint.listener.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
            .collect(),
    });
    nodes.collect()
}
