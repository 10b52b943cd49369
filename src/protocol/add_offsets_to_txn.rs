//! AddOffsetsToTxn: a group's offsets join a transaction (key 25).
//!
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE (KIP-890).

use crate::types::Str;

use super::message::message;

message! {
    AddOffsetsToTxnRequest: request AddOffsetsToTxn -> AddOffsetsToTxnResponse {
        transactional_id: Str,
        producer_id: i64,
        producer_epoch: i16,
        group_id: Str,
    }

    AddOffsetsToTxnResponse: response AddOffsetsToTxn {
        throttle_time_ms: i32,
        error_code: i16,
    }
}
