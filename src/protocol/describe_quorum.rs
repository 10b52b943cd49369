//! DescribeQuorum: leader, voters and observers of the metadata log (key 55, KIP-595).
//!
//! Flexible from v0 · v1 the times of fetches (KIP-836) · v2 directory ids, endpoints, error messages (KIP-853).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    DescribeQuorumRequest: request DescribeQuorum -> DescribeQuorumResponse {
        topics: Vec<TopicData>,
    }

    TopicData {
        topic_name: Str,
        partitions: Vec<PartitionData>,
    }

    PartitionData {
        partition_index: i32,
    }

    DescribeQuorumResponse: response DescribeQuorum {
        error_code: i16,
        error_message: Option<Str> [2..],
        topics: Vec<TopicResult>,
        nodes: Vec<Node> [2..],
    }

    TopicResult {
        topic_name: Str,
        partitions: Vec<PartitionResult>,
    }

    Node {
        node_id: i32,
        listeners: Vec<Listener>,
    }

    PartitionResult {
        partition_index: i32,
        error_code: i16,
        error_message: Option<Str> [2..],
        leader_id: i32,
        leader_epoch: i32,
        high_watermark: i64,
        current_voters: Vec<ReplicaState>,
        observers: Vec<ReplicaState>,
    }

    Listener {
        name: Str,
        host: Str,
        port: u16,
    }

    ReplicaState {
        replica_id: i32,
        replica_directory_id: Uuid [2..],
        log_end_offset: i64,
        last_fetch_timestamp: i64 [1..] = -1,
        last_caught_up_timestamp: i64 [1..] = -1,
    }
}
