//! OffsetDelete: drops committed offsets of topics that a group no longer reads (key 47, KIP-496).
//!
//! Never flexible.

use crate::types::Str;

use super::message::message;

message! {
    OffsetDeleteRequest: request OffsetDelete -> OffsetDeleteResponse {
        group_id: Str,
        topics: Vec<OffsetDeleteRequestTopic>,
    }

    OffsetDeleteRequestTopic {
        name: Str,
        partitions: Vec<OffsetDeleteRequestPartition>,
    }

    OffsetDeleteRequestPartition {
        partition_index: i32,
    }

    OffsetDeleteResponse: response OffsetDelete {
        error_code: i16,
        throttle_time_ms: i32,
        topics: Vec<OffsetDeleteResponseTopic>,
    }

    OffsetDeleteResponseTopic {
        name: Str,
        partitions: Vec<OffsetDeleteResponsePartition>,
    }

    OffsetDeleteResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
