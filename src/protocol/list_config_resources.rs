//! ListConfigResources: the resources that have a configuration (key 74).
//!
//! Flexible from v0, which knows client metrics only (KIP-714) · v1 all types (KIP-1142).

use crate::types::Str;

use super::message::message;

message! {
    ListConfigResourcesRequest: request ListConfigResources -> ListConfigResourcesResponse {
        /// As in DescribeConfigs; empty: all.
        resource_types: Vec<i8> [1..],
    }

    ListConfigResourcesResponse: response ListConfigResources {
        throttle_time_ms: i32,
        error_code: i16,
        config_resources: Vec<ConfigResource>,
    }

    ConfigResource {
        resource_name: Str,
        resource_type: i8 [1..] = 16,
    }
}
