//! SyncGroup: hands out the assignment of a classic group (key 14).
//!
//! v3 static members (KIP-345) · v4 flexible · v5 protocol type and name (KIP-559).

use bytes::Bytes;

use crate::types::Str;

use super::message::message;

message! {
    SyncGroupRequest: request SyncGroup -> SyncGroupResponse {
        group_id: Str,
        generation_id: i32,
        member_id: Str,
        group_instance_id: Option<Str> [3..],
        protocol_type: Option<Str> [5..],
        protocol_name: Option<Str> [5..],
        assignments: Vec<SyncGroupRequestAssignment>,
    }

    SyncGroupRequestAssignment {
        member_id: Str,
        assignment: Bytes,
    }

    SyncGroupResponse: response SyncGroup {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        protocol_type: Option<Str> [5..],
        protocol_name: Option<Str> [5..],
        assignment: Bytes,
    }
}
