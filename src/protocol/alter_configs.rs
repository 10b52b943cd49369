//! AlterConfigs: replaces all of a resource's configuration (key 33).
//!
//! v2 flexible. What is not named goes back to its default.

use crate::types::Str;

use super::message::message;

message! {
    AlterConfigsRequest: request AlterConfigs -> AlterConfigsResponse {
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
        value: Option<Str>,
    }

    AlterConfigsResponse: response AlterConfigs {
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
