//! ApiVersions: what the broker speaks (key 18).
//!
//! v1 throttle time · v3 flexible, the client's name, features (KIP-511, KIP-584) · v4 features whose minimum
//! is 0 (KAFKA-17011). An unsupported version is answered in version 0 with UNSUPPORTED_VERSION and at least
//! this API's row.

use crate::types::Str;

use super::message::message;

message! {
    ApiVersionsRequest: request ApiVersions -> ApiVersionsResponse {
        client_software_name: Str [3..],
        client_software_version: Str [3..],
    }

    ApiVersionsResponse: response ApiVersions {
        error_code: i16,
        api_keys: Vec<ApiVersion>,
        throttle_time_ms: i32 [1..],
        supported_features: Vec<SupportedFeatureKey> [3.., tag 0],
        /// −1: clients ignore the finalized features.
        finalized_features_epoch: i64 [3.., tag 1] = -1,
        finalized_features: Vec<FinalizedFeatureKey> [3.., tag 2],
        zk_migration_ready: bool [3.., tag 3],
    }

    ApiVersion {
        api_key: i16,
        min_version: i16,
        max_version: i16,
    }

    SupportedFeatureKey {
        name: Str,
        min_version: i16,
        max_version: i16,
    }

    FinalizedFeatureKey {
        name: Str,
        max_version_level: i16,
        min_version_level: i16,
    }
}
