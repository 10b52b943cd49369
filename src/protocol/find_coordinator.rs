//! FindCoordinator: the broker that coordinates a group, a transaction or a share (key 10).
//!
//! v1 transactions too · v3 flexible · v4 several keys (KIP-699) · v5 TRANSACTION_ABORTABLE (KIP-890) · v6
//! shares (KIP-932).

use crate::types::Str;

use super::message::message;

message! {
    FindCoordinatorRequest: request FindCoordinator -> FindCoordinatorResponse {
        /// Until v3; then `coordinator_keys`.
        key: Str [..=3],
        /// 0: group · 1: transaction · 2: share.
        key_type: i8 [1..],
        coordinator_keys: Vec<Str> [4..],
    }

    FindCoordinatorResponse: response FindCoordinator {
        throttle_time_ms: i32 [1..],
        error_code: i16 [..=3],
        error_message: Option<Str> [1..=3],
        node_id: i32 [..=3],
        host: Str [..=3],
        port: i32 [..=3],
        coordinators: Vec<Coordinator> [4..],
    }

    Coordinator {
        key: Str,
        node_id: i32,
        host: Str,
        port: i32,
        error_code: i16,
        error_message: Option<Str>,
    }
}
