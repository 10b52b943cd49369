//! ListPartitionReassignments: whose replicas are on their way to other brokers (key 46, KIP-455). Flexible.

use crate::types::Str;

use super::message::message;

message! {
    ListPartitionReassignmentsRequest: request ListPartitionReassignments -> ListPartitionReassignmentsResponse {
        timeout_ms: i32 = 60000,
        /// Null: all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>> = None,
    }

    ListPartitionReassignmentsTopics {
        name: Str,
        partition_indexes: Vec<i32>,
    }

    ListPartitionReassignmentsResponse: response ListPartitionReassignments {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<Str>,
        topics: Vec<OngoingTopicReassignment>,
    }

    OngoingTopicReassignment {
        name: Str,
        partitions: Vec<OngoingPartitionReassignment>,
    }

    OngoingPartitionReassignment {
        partition_index: i32,
        replicas: Vec<i32>,
        adding_replicas: Vec<i32>,
        removing_replicas: Vec<i32>,
    }
}
