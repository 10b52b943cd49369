//! DescribeProducers: the idempotent producers that a partition remembers (key 61, KIP-664).
//!
//! Flexible from v0.

use crate::types::Str;

use super::message::message;

message! {
    DescribeProducersRequest: request DescribeProducers -> DescribeProducersResponse {
        topics: Vec<TopicRequest>,
    }

    TopicRequest {
        name: Str,
        partition_indexes: Vec<i32>,
    }

    DescribeProducersResponse: response DescribeProducers {
        throttle_time_ms: i32,
        topics: Vec<TopicResponse>,
    }

    TopicResponse {
        name: Str,
        partitions: Vec<PartitionResponse>,
    }

    PartitionResponse {
        partition_index: i32,
        error_code: i16,
        error_message: Option<Str>,
        active_producers: Vec<ProducerState>,
    }

    ProducerState {
        producer_id: i64,
        producer_epoch: i32,
        last_sequence: i32 = -1,
        /// Of its last batch, milliseconds.
        last_timestamp: i64 = -1,
        coordinator_epoch: i32,
        /// −1: no transaction is open.
        current_txn_start_offset: i64 = -1,
    }
}
