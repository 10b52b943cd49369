//! JoinGroup: enters a classic group's next generation (key 11).
//!
//! v1 rebalance time-out · v4 a member id is given first (KIP-394) · v5 static members (KIP-345) · v6 flexible
//! · v7 protocol type in the answer (KIP-559) · v8 reason (KIP-800) · v9 the leader may skip the assignment
//! (KIP-814).

use bytes::Bytes;

use crate::types::Str;

use super::message::message;

message! {
    JoinGroupRequest: request JoinGroup -> JoinGroupResponse {
        group_id: Str,
        session_timeout_ms: i32,
        /// −1: the session time-out.
        rebalance_timeout_ms: i32 [1..] = -1,
        /// Empty: the first time.
        member_id: Str,
        group_instance_id: Option<Str> [5..],
        protocol_type: Str,
        protocols: Vec<JoinGroupRequestProtocol>,
        reason: Option<Str> [8..],
    }

    JoinGroupRequestProtocol {
        name: Str,
        metadata: Bytes,
    }

    JoinGroupResponse: response JoinGroup {
        throttle_time_ms: i32 [2..],
        error_code: i16,
        generation_id: i32 = -1,
        protocol_type: Option<Str> [7..],
        protocol_name: Option<Str> [.., null 7..],
        leader: Str,
        /// The leader need not assign: it came back unchanged (KIP-814).
        skip_assignment: bool [9..],
        member_id: Str,
        /// Only the leader is told.
        members: Vec<JoinGroupResponseMember>,
    }

    JoinGroupResponseMember {
        member_id: Str,
        group_instance_id: Option<Str> [5..],
        metadata: Bytes,
    }
}
