//! ListGroups: the groups that a broker coordinates (key 16).
//!
//! v3 flexible · v4 by state (KIP-518) · v5 by type (KIP-848).

use crate::types::Str;

use super::message::message;

message! {
    ListGroupsRequest: request ListGroups -> ListGroupsResponse {
        states_filter: Vec<Str> [4..],
        types_filter: Vec<Str> [5..],
    }

    ListGroupsResponse: response ListGroups {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        groups: Vec<ListedGroup>,
    }

    ListedGroup {
        group_id: Str,
        protocol_type: Str,
        group_state: Str [4..],
        group_type: Str [5..],
    }
}
