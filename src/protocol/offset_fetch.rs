//! OffsetFetch: the offsets that groups have committed (key 9).
//!
//! v2 null asks for all topics; top-level error · v5 leader epoch (KIP-320) · v6 flexible · v7 only stable
//! offsets (KIP-447) · v8 several groups (KIP-709) · v9 member id and epoch (KIP-848) · v10 topics by id
//! (KIP-848).

use crate::types::{Str, Uuid};

use super::message::message;

message! {
    OffsetFetchRequest: request OffsetFetch -> OffsetFetchResponse {
        group_id: Str [..=7],
        /// Null: all. From v8 inside `groups`.
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7, null 2..],
        groups: Vec<OffsetFetchRequestGroup> [8..],
        /// UNSTABLE_OFFSET_COMMIT while a transaction has offsets pending.
        require_stable: bool [7..],
    }

    OffsetFetchRequestTopic {
        name: Str,
        partition_indexes: Vec<i32>,
    }

    OffsetFetchRequestGroup {
        group_id: Str,
        member_id: Option<Str> [9..],
        member_epoch: i32 [9..] = -1,
        topics: Option<Vec<OffsetFetchRequestTopics>>,
    }

    OffsetFetchRequestTopics {
        name: Str [..=9],
        topic_id: Uuid [10..],
        partition_indexes: Vec<i32>,
    }

    OffsetFetchResponse: response OffsetFetch {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        error_code: i16 [2..=7],
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    OffsetFetchResponseTopic {
        name: Str,
        partitions: Vec<OffsetFetchResponsePartition>,
    }

    OffsetFetchResponseGroup {
        group_id: Str,
        topics: Vec<OffsetFetchResponseTopics>,
        error_code: i16,
    }

    OffsetFetchResponsePartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [5..] = -1,
        metadata: Option<Str>,
        error_code: i16,
    }

    OffsetFetchResponseTopics {
        name: Str [..=9],
        topic_id: Uuid [10..],
        partitions: Vec<OffsetFetchResponsePartitions>,
    }

    OffsetFetchResponsePartitions {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 = -1,
        metadata: Option<Str>,
        error_code: i16,
    }
}
