//! TxnOffsetCommit: a group's offsets as part of a transaction (key 28).
//!
//! v2 leader epoch (KIP-320) · v3 flexible, the member's id and generation (KIP-447) · v4 TRANSACTION_ABORTABLE
//! · v5 adds the offsets to the transaction by itself (KIP-890).

use crate::types::Str;

use super::message::message;

message! {
    TxnOffsetCommitRequest: request TxnOffsetCommit -> TxnOffsetCommitResponse {
        transactional_id: Str,
        group_id: Str,
        producer_id: i64,
        producer_epoch: i16,
        generation_id: i32 [3..] = -1,
        member_id: Str [3..],
        group_instance_id: Option<Str> [3..],
        topics: Vec<TxnOffsetCommitRequestTopic>,
    }

    TxnOffsetCommitRequestTopic {
        name: Str,
        partitions: Vec<TxnOffsetCommitRequestPartition>,
    }

    TxnOffsetCommitRequestPartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [2..] = -1,
        committed_metadata: Option<Str>,
    }

    TxnOffsetCommitResponse: response TxnOffsetCommit {
        throttle_time_ms: i32,
        topics: Vec<TxnOffsetCommitResponseTopic>,
    }

    TxnOffsetCommitResponseTopic {
        name: Str,
        partitions: Vec<TxnOffsetCommitResponsePartition>,
    }

    TxnOffsetCommitResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
