//! DescribeGroups: classic groups and their members (key 15).
//!
//! v3 authorised operations (KIP-430) · v4 static members (KIP-345) · v5 flexible · v6 GROUP_ID_NOT_FOUND and
//! error messages (KIP-1043).

use bytes::Bytes;

use crate::types::Str;

use super::message::message;

message! {
    DescribeGroupsRequest: request DescribeGroups -> DescribeGroupsResponse {
        groups: Vec<Str>,
        include_authorized_operations: bool [3..],
    }

    DescribeGroupsResponse: response DescribeGroups {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup>,
    }

    DescribedGroup {
        error_code: i16,
        error_message: Option<Str> [6..],
        group_id: Str,
        group_state: Str,
        protocol_type: Str,
        protocol_data: Str,
        members: Vec<DescribedGroupMember>,
        authorized_operations: i32 [3..] = i32::MIN,
    }

    DescribedGroupMember {
        member_id: Str,
        group_instance_id: Option<Str> [4..],
        client_id: Str,
        client_host: Str,
        member_metadata: Bytes,
        member_assignment: Bytes,
    }
}
