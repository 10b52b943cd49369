//! Heartbeat: a member of a classic group is alive (key 12).
//!
//! v3 static members (KIP-345) · v4 flexible.

use crate::types::Str;

use super::message::message;

message! {
    HeartbeatRequest: request Heartbeat -> HeartbeatResponse {
        group_id: Str,
        generation_id: i32,
        member_id: Str,
        group_instance_id: Option<Str> [3..],
    }

    HeartbeatResponse: response Heartbeat {
        throttle_time_ms: i32 [1..],
        error_code: i16,
    }
}
