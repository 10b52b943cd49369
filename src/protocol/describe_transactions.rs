//! DescribeTransactions: the state of transactions by their ids (key 65, KIP-664).
//!
//! Flexible from v0.

use crate::types::Str;

use super::message::message;

message! {
    DescribeTransactionsRequest: request DescribeTransactions -> DescribeTransactionsResponse {
        transactional_ids: Vec<Str>,
    }

    DescribeTransactionsResponse: response DescribeTransactions {
        throttle_time_ms: i32,
        transaction_states: Vec<TransactionState>,
    }

    TransactionState {
        error_code: i16,
        transactional_id: Str,
        transaction_state: Str,
        transaction_timeout_ms: i32,
        transaction_start_time_ms: i64,
        producer_id: i64,
        producer_epoch: i16,
        topics: Vec<TopicData>,
    }

    TopicData {
        topic: Str,
        partitions: Vec<i32>,
    }
}
