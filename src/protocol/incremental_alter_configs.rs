//! IncrementalAlterConfigs: changes some of a resource's configuration (key 44, KIP-339).
//!
//! v1 flexible.

use crate::types::Str;

use super::message::message;

message! {
    IncrementalAlterConfigsRequest: request IncrementalAlterConfigs -> IncrementalAlterConfigsResponse {
        resources: Vec<AlterConfigsResource>,
        validate_only: bool,
    }

    AlterConfigsResource {
        /// As in DescribeConfigs.
        resource_type: i8,
        resource_name: Str,
        configs: Vec<AlterableConfig>,
    }

    AlterableConfig {
        name: Str,
        /// 0: set · 1: delete · 2: append to a list · 3: subtract from a list.
        config_operation: i8,
        value: Option<Str>,
    }

    IncrementalAlterConfigsResponse: response IncrementalAlterConfigs {
        throttle_time_ms: i32,
        responses: Vec<AlterConfigsResourceResponse>,
    }

    AlterConfigsResourceResponse {
        error_code: i16,
        error_message: Option<Str>,
        resource_type: i8,
        resource_name: Str,
    }
}
