//! DeleteGroups: drops empty groups and their offsets (key 42).
//!
//! v2 flexible.

use crate::types::Str;

use super::message::message;

message! {
    DeleteGroupsRequest: request DeleteGroups -> DeleteGroupsResponse {
        groups_names: Vec<Str>,
    }

    DeleteGroupsResponse: response DeleteGroups {
        throttle_time_ms: i32,
        results: Vec<DeletableGroupResult>,
    }

    DeletableGroupResult {
        group_id: Str,
        error_code: i16,
    }
}
