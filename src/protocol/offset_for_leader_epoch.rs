//! OffsetForLeaderEpoch: where a leader epoch ends (key 23, KIP-101).
//!
//! v2 the current leader epoch, for fencing (KIP-320) · v3 the replica's id · v4 flexible.

use crate::types::Str;

use super::message::message;

message! {
    OffsetForLeaderEpochRequest: request OffsetForLeaderEpoch -> OffsetForLeaderEpochResponse {
        /// −1: a consumer · −2: a consumer that may see past the high watermark.
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic>,
    }

    OffsetForLeaderTopic {
        topic: Str,
        partitions: Vec<OffsetForLeaderPartition>,
    }

    OffsetForLeaderPartition {
        partition: i32,
        /// −1: not checked.
        current_leader_epoch: i32 = -1,
        leader_epoch: i32,
    }

    OffsetForLeaderEpochResponse: response OffsetForLeaderEpoch {
        throttle_time_ms: i32,
        topics: Vec<OffsetForLeaderTopicResult>,
    }

    OffsetForLeaderTopicResult {
        topic: Str,
        partitions: Vec<EpochEndOffset>,
    }

    EpochEndOffset {
        error_code: i16,
        partition: i32,
        /// The largest epoch at most the one asked for; −1: unknown.
        leader_epoch: i32 = -1,
        /// Where that epoch ends; −1: unknown.
        end_offset: i64 = -1,
    }
}
