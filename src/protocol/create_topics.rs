//! CreateTopics (key 19).
//!
//! v4 −1 for the broker's default partitions and replicas (KIP-464) · v5 flexible, the topic's configuration in the
//! answer (KIP-525) · v6 throttled by quota (KIP-599) · v7 topic ids (KIP-516).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    CreateTopicsRequest: request CreateTopics -> CreateTopicsResponse {
        topics: Vec<CreatableTopic>,
        timeout_ms: i32 = 60000,
        validate_only: bool,
    }

    CreatableTopic {
        name: Str,
        /// −1: the broker's default, or as assigned below.
        num_partitions: i32,
        /// −1: the broker's default, or as assigned below.
        replication_factor: i16,
        /// Empty: the broker chooses.
        assignments: Vec<CreatableReplicaAssignment>,
        configs: Vec<CreatableTopicConfig>,
    }

    CreatableReplicaAssignment {
        partition_index: i32,
        broker_ids: Vec<i32>,
    }

    CreatableTopicConfig {
        name: Str,
        value: Option<Str>,
    }

    CreateTopicsResponse: response CreateTopics {
        throttle_time_ms: i32,
        topics: Vec<CreatableTopicResult>,
    }

    CreatableTopicResult {
        name: Str,
        topic_id: Uuid [7..],
        error_code: i16,
        error_message: Option<Str>,
        /// Why `configs` is null, if it is.
        topic_config_error_code: i16 [5.., tag 0],
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<Vec<CreatableTopicConfigs>> [5..],
    }

    CreatableTopicConfigs {
        name: Str,
        value: Option<Str>,
        read_only: bool,
        /// As in DescribeConfigs.
        config_source: i8 = -1,
        is_sensitive: bool,
    }
}
