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
        /// 2: topic · 4: broker · 8: broker logger · 16: client metrics · 32: group.
        resource_type: i8,
        resource_name: Str,
        /// Null: all.
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
        /// 1: topic · 2: broker, dynamic · 3: all brokers, dynamic · 4: broker, static · 5: default · 6: broker
        /// logger · 7: client metrics · 8: group.
        config_source: i8 = -1,
        is_sensitive: bool,
        /// Where the value would come from, the one in force first.
        synonyms: Vec<DescribeConfigsSynonym>,
        /// 1: boolean · 2: string · 3: int · 4: short · 5: long · 6: double · 7: list · 8: class · 9: password.
        config_type: i8 [3..],
        documentation: Option<Str> [3..],
    }

    DescribeConfigsSynonym {
        name: Str,
        value: Option<Str>,
        source: i8,
    }
}
