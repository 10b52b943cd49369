//! EndTxn: commits or aborts a transaction (key 26).
//!
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE · v5 the epoch rises with every transaction
//! (KIP-890).

use crate::types::Str;

use super::message::message;

message! {
    EndTxnRequest: request EndTxn -> EndTxnResponse {
        transactional_id: Str,
        producer_id: i64,
        producer_epoch: i16,
        /// False aborts.
        committed: bool,
    }

    EndTxnResponse: response EndTxn {
        throttle_time_ms: i32,
        error_code: i16,
        producer_id: i64 [5..] = -1,
        producer_epoch: i16 [5..] = -1,
    }
}
