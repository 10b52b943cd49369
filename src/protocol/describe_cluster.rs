//! DescribeCluster: the brokers and the cluster's id (key 60, KIP-700).
//!
//! Flexible from v0 · v1 brokers or controllers (KIP-919) · v2 fenced brokers too (KIP-1073).

use crate::types::Str;

use super::message::message;

message! {
    DescribeClusterRequest: request DescribeCluster -> DescribeClusterResponse {
        include_cluster_authorized_operations: bool,
        /// 1: brokers · 2: controllers.
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }

    DescribeClusterResponse: response DescribeCluster {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<Str>,
        endpoint_type: i8 [1..] = 1,
        cluster_id: Str,
        controller_id: i32 = -1,
        brokers: Vec<DescribeClusterBroker>,
        /// Bits by operation; `i32::MIN` unless asked for.
        cluster_authorized_operations: i32 = i32::MIN,
    }

    DescribeClusterBroker {
        broker_id: i32,
        host: Str,
        port: i32,
        rack: Option<Str>,
        is_fenced: bool [2..],
    }
}
