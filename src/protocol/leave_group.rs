//! LeaveGroup: members leave a classic group (key 13).
//!
//! v3 several members, static ones too (KIP-345) · v4 flexible · v5 reason (KIP-800).

use crate::types::Str;

use super::message::message;

message! {
    LeaveGroupRequest: request LeaveGroup -> LeaveGroupResponse {
        group_id: Str,
        member_id: Str [..=2],
        members: Vec<MemberIdentity> [3..],
    }

    MemberIdentity {
        member_id: Str,
        group_instance_id: Option<Str>,
        reason: Option<Str> [5..],
    }

    LeaveGroupResponse: response LeaveGroup {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        members: Vec<MemberResponse> [3..],
    }

    MemberResponse {
        member_id: Str,
        group_instance_id: Option<Str>,
        error_code: i16,
    }
}
