//! OffsetCommit: a group's offsets (key 8).
//!
//! v5 without retention time · v6 leader epoch (KIP-320) · v7 static members (KIP-345) · v8 flexible · v9
//! member epochs of the consumer protocol (KIP-848) · v10 topics by id (KIP-848).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    OffsetCommitRequest: request OffsetCommit -> OffsetCommitResponse {
        group_id: Str,
        /// −1: not a member.
        generation_id_or_member_epoch: i32 = -1,
        member_id: Str,
        group_instance_id: Option<Str> [7..],
        /// −1: the broker's.
        retention_time_ms: i64 [..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic>,
    }

    OffsetCommitRequestTopic {
        name: Str [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitRequestPartition>,
    }

    OffsetCommitRequestPartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<Str>,
    }

    OffsetCommitResponse: response OffsetCommit {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic>,
    }

    OffsetCommitResponseTopic {
        name: Str [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    OffsetCommitResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
