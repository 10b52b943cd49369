//! ListTransactions: the transactions that a broker coordinates (key 66, KIP-664).
//!
//! Flexible from v0 · v1 by age (KIP-994) · v2 by pattern (KIP-1152).

use crate::types::Str;

use super::message::message;

message! {
    ListTransactionsRequest: request ListTransactions -> ListTransactionsResponse {
        state_filters: Vec<Str>,
        producer_id_filters: Vec<i64>,
        duration_filter: i64 [1..] = -1,
        transactional_id_pattern: Option<Str> [2..],
    }

    ListTransactionsResponse: response ListTransactions {
        throttle_time_ms: i32,
        error_code: i16,
        unknown_state_filters: Vec<Str>,
        transaction_states: Vec<TransactionState>,
    }

    TransactionState {
        transactional_id: Str,
        producer_id: i64,
        transaction_state: Str,
    }
}
