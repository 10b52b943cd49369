//! ListOffsets: the offset of a time, or of one of the special times below 0 (key 2).
//!
//! v2 isolation level · v4 leader epoch (KIP-320) · v6 flexible · v7 −3, the largest timestamp (KIP-734) · v8
//! −4, the earliest local offset (KIP-405) · v9 −5, the latest tiered offset (KIP-1005) · v10 time-out
//! (KIP-1075) · v11 −6, the earliest offset not yet tiered (KIP-1023).

use crate::types::Str;

use super::message::message;

message! {
    ListOffsetsRequest: request ListOffsets -> ListOffsetsResponse {
        replica_id: i32,
        /// 0: read uncommitted · 1: read committed.
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic>,
        timeout_ms: i32 [10..],
    }

    ListOffsetsTopic {
        name: Str,
        partitions: Vec<ListOffsetsPartition>,
    }

    ListOffsetsPartition {
        partition_index: i32,
        current_leader_epoch: i32 [4..] = -1,
        /// Milliseconds; or −1 latest, −2 earliest, −3 of the largest timestamp, −4 earliest local, −5 latest
        /// tiered, −6 earliest not yet tiered.
        timestamp: i64,
    }

    ListOffsetsResponse: response ListOffsets {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse>,
    }

    ListOffsetsTopicResponse {
        name: Str,
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    ListOffsetsPartitionResponse {
        partition_index: i32,
        error_code: i16,
        /// −1 where a special offset was asked for, or none was found.
        timestamp: i64 = -1,
        /// −1: none found.
        offset: i64 = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
