//! OffsetForLeaderEpoch: where a leader epoch ends (key 23, KIP-101).
//!
//! v2 the current leader epoch, for fencing (KIP-320) · v3 the replica's id · v4 flexible.

use crate::types::Str;

use super::message::message;

message! {
    OffsetForLeaderEpochRequest: request OffsetForLeaderEpoch -> OffsetForLeaderEpochResponse {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic>,
    }

    OffsetForLeaderTopic {
        topic: Str,
        partitions: Vec<OffsetForLeaderPartition>,
    }

    OffsetForLeaderPartition {
        partition: i32,
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
        leader_epoch: i32 = -1,
        end_offset: i64 = -1,
    }
}
