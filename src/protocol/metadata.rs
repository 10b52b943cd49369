//! Metadata: brokers, topics, partitions and their leaders (key 3).
//!
//! v1 null asks for all topics, an empty list for none · v2 cluster id · v4 automatic creation is asked for ·
//! v5 offline replicas · v7 leader epoch (KIP-320) · v8 authorised operations (KIP-430), those of the cluster
//! until v10 · v9 flexible · v10 topic ids · v12 topics by id (KIP-516) · v13 top-level error (KIP-1102).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    MetadataRequest: request Metadata -> MetadataResponse {
        /// Null: all topics. Empty: none, but in v0 all.
        topics: Option<Vec<MetadataRequestTopic>> [.., null 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    MetadataRequestTopic {
        topic_id: Uuid [10..],
        name: Option<Str> [.., null 10..],
    }

    MetadataResponse: response Metadata {
        throttle_time_ms: i32 [3..],
        brokers: Vec<MetadataResponseBroker>,
        cluster_id: Option<Str> [2..],
        /// −1: unknown.
        controller_id: i32 [1..] = -1,
        topics: Vec<MetadataResponseTopic>,
        /// Bits by operation; `i32::MIN` unless asked for.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: i16 [13..],
    }

    MetadataResponseBroker {
        node_id: i32,
        host: Str,
        port: i32,
        rack: Option<Str> [1..],
    }

    MetadataResponseTopic {
        error_code: i16,
        /// Null where an unknown id was asked for.
        name: Option<Str> [.., null 12..],
        topic_id: Uuid [10..],
        is_internal: bool [1..],
        partitions: Vec<MetadataResponsePartition>,
        /// Bits by operation; `i32::MIN` unless asked for.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    MetadataResponsePartition {
        error_code: i16,
        partition_index: i32,
        /// −1: none.
        leader_id: i32,
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        offline_replicas: Vec<i32> [5..],
    }
}
