//! CreatePartitions: more partitions for a topic (key 37).
//!
//! v2 flexible · v3 throttled by quota (KIP-599).

use crate::types::Str;

use super::message::message;

message! {
    CreatePartitionsRequest: request CreatePartitions -> CreatePartitionsResponse {
        topics: Vec<CreatePartitionsTopic>,
        timeout_ms: i32,
        validate_only: bool,
    }

    CreatePartitionsTopic {
        name: Str,
        count: i32,
        assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    CreatePartitionsAssignment {
        broker_ids: Vec<i32>,
    }

    CreatePartitionsResponse: response CreatePartitions {
        throttle_time_ms: i32,
        results: Vec<CreatePartitionsTopicResult>,
    }

    CreatePartitionsTopicResult {
        name: Str,
        error_code: i16,
        error_message: Option<Str>,
    }
}
