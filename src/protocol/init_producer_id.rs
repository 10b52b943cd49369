//! InitProducerId: a producer's id and epoch (key 22).
//!
//! v2 flexible · v3 the id and epoch to go on with (KIP-360) · v4 PRODUCER_FENCED · v5 TRANSACTION_ABORTABLE
//! (KIP-890).

use crate::types::Str;

use super::message::message;

message! {
    InitProducerIdRequest: request InitProducerId -> InitProducerIdResponse {
        /// Null: idempotent only.
        transactional_id: Option<Str>,
        transaction_timeout_ms: i32,
        /// The id to go on with; −1: none.
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    InitProducerIdResponse: response InitProducerId {
        throttle_time_ms: i32,
        error_code: i16,
        producer_id: i64 = -1,
        producer_epoch: i16,
    }
}
