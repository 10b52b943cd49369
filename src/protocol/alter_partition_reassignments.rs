//! AlterPartitionReassignments: puts replicas on other brokers, or gives that up (key 45, KIP-455).
//!
//! v1 whether the count of replicas may change (KIP-860). All versions are flexible.

use crate::types::Str;

use super::message::message;

message! {
    AlterPartitionReassignmentsRequest: request AlterPartitionReassignments -> AlterPartitionReassignmentsResponse {
        timeout_ms: i32 = 60000,
        allow_replication_factor_change: bool [1..] = true,
        topics: Vec<ReassignableTopic>,
    }

    ReassignableTopic {
        name: Str,
        partitions: Vec<ReassignablePartition>,
    }

    ReassignablePartition {
        partition_index: i32,
        /// Null: gives up what is under way.
        replicas: Option<Vec<i32>> = None,
    }

    AlterPartitionReassignmentsResponse: response AlterPartitionReassignments {
        throttle_time_ms: i32,
        allow_replication_factor_change: bool [1..] = true,
        error_code: i16,
        error_message: Option<Str>,
        responses: Vec<ReassignableTopicResponse>,
    }

    ReassignableTopicResponse {
        name: Str,
        partitions: Vec<ReassignablePartitionResponse>,
    }

    ReassignablePartitionResponse {
        partition_index: i32,
        error_code: i16,
        error_message: Option<Str>,
    }
}
