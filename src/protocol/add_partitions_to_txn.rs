//! AddPartitionsToTxn: partitions join a transaction (key 24).
//!
//! v2 PRODUCER_FENCED · v3 flexible, the last version for clients · v4 several transactions, or only a check,
//! from brokers (KIP-890) · v5 TRANSACTION_ABORTABLE.

use crate::types::Str;

use super::message::message;

message! {
    AddPartitionsToTxnRequest: request AddPartitionsToTxn -> AddPartitionsToTxnResponse {
        transactions: Vec<AddPartitionsToTxnTransaction> [4..],
        v3_and_below_transactional_id: Str [..=3],
        v3_and_below_producer_id: i64 [..=3],
        v3_and_below_producer_epoch: i16 [..=3],
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [..=3],
    }

    AddPartitionsToTxnTransaction {
        transactional_id: Str,
        producer_id: i64,
        producer_epoch: i16,
        verify_only: bool,
        topics: Vec<AddPartitionsToTxnTopic>,
    }

    AddPartitionsToTxnTopic {
        name: Str,
        partitions: Vec<i32>,
    }

    AddPartitionsToTxnResponse: response AddPartitionsToTxn {
        throttle_time_ms: i32,
        error_code: i16 [4..],
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..],
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [..=3],
    }

    AddPartitionsToTxnResult {
        transactional_id: Str,
        topic_results: Vec<AddPartitionsToTxnTopicResult>,
    }

    AddPartitionsToTxnTopicResult {
        name: Str,
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    AddPartitionsToTxnPartitionResult {
        partition_index: i32,
        partition_error_code: i16,
    }
}
