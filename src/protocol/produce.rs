//! Produce: batches of records for partitions (key 0).
//!
//! v3 transactional id · v5 log start offset · v7 zstd (KIP-110) · v8 errors by record (KIP-467) · v9 flexible
//! · v10 the current leader with NOT_LEADER_OR_FOLLOWER (KIP-951) · v12 adds partitions to the transaction by
//! itself (KIP-890) · v13 topics by id (KIP-516).

use crate::types::{Str, Uuid};

use super::Records;
use super::message::message;

message! {
    ProduceRequest: request Produce -> ProduceResponse {
        /// Null: not in a transaction.
        transactional_id: Option<Str>,
        /// 0: no answer is sent · 1: when the leader has it · −1: when all replicas in sync have it.
        acks: i16,
        timeout_ms: i32,
        topic_data: Vec<TopicProduceData>,
    }

    TopicProduceData {
        name: Str [..=12],
        topic_id: Uuid [13..],
        partition_data: Vec<PartitionProduceData>,
    }

    PartitionProduceData {
        index: i32,
        /// Exactly one batch of magic 2.
        records: Option<Records>,
    }

    ProduceResponse: response Produce {
        responses: Vec<TopicProduceResponse>,
        throttle_time_ms: i32,
        /// Where the current leaders told above are reached.
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0],
    }

    TopicProduceResponse {
        name: Str [..=12],
        topic_id: Uuid [13..],
        partition_responses: Vec<PartitionProduceResponse>,
    }

    NodeEndpoint {
        node_id: i32,
        host: Str,
        port: i32,
        rack: Option<Str>,
    }

    PartitionProduceResponse {
        index: i32,
        error_code: i16,
        /// Offset of the first record; −1 with an error.
        base_offset: i64,
        /// −1 unless the topic's timestamps are the broker's.
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        /// The records for which the whole batch was refused (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        error_message: Option<Str> [8..],
        /// Told with NOT_LEADER_OR_FOLLOWER.
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    BatchIndexAndErrorMessage {
        /// Index of the record in its batch.
        batch_index: i32,
        batch_index_error_message: Option<Str>,
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
    }
}
