//! DescribeConfigs: configuration of topics and brokers (key 32).
//!
//! v1 the source of each value and its synonyms · v3 types and documentation (KIP-569) · v4 flexible.

use crate::types::Str;

use super::message::message;

message! {
    DescribeConfigsRequest: request DescribeConfigs -> DescribeConfigsResponse {
        resources: Vec<DescribeConfigsResource>,
        include_synonyms: bool,
        include_documentation: bool [3..],
    }

    DescribeConfigsResource {
        resource_type: i8,
        resource_name: Str,
        configuration_keys: Option<Vec<Str>>,
    }

    DescribeConfigsResponse: response DescribeConfigs {
        throttle_time_ms: i32,
        results: Vec<DescribeConfigsResult>,
    }

    DescribeConfigsResult {
        error_code: i16,
        error_message: Option<Str>,
        resource_type: i8,
        resource_name: Str,
        configs: Vec<DescribeConfigsResourceResult>,
    }

    DescribeConfigsResourceResult {
        name: Str,
        value: Option<Str>,
        read_only: bool,
        config_source: i8 = -1,
        is_sensitive: bool,
        synonyms: Vec<DescribeConfigsSynonym>,
        config_type: i8 [3..],
        documentation: Option<Str> [3..],
    }

    DescribeConfigsSynonym {
        name: Str,
        value: Option<Str>,
        source: i8,
    }
}
