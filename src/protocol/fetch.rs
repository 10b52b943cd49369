//! Fetch: batches of records from partitions (key 1).
//!
//! v5 log start offset · v7 sessions (KIP-227) · v9 leader epoch (KIP-320) · v10 zstd (KIP-110) · v11 rack,
//! preferred replica (KIP-392) · v12 flexible, diverging epoch (KIP-595), current leader · v13 topics by id
//! (KIP-516) · v14 tiered storage's error · v15 replica state in place of its id (KIP-903) · v16 the current
//! leaders' endpoints (KIP-951) · v17 directory id (KIP-853) · v18 the follower's high watermark (KIP-1166).

use crate::types::{Str, Uuid};

use super::Records;
use super::message::message;

message! {
    FetchRequest: request Fetch -> FetchResponse {
        /// Only the metadata quorum's followers send it.
        cluster_id: Option<Str> [12.., tag 0],
        /// −1: a consumer.
        replica_id: i32 [..=14] = -1,
        /// Who asks, from v15; a consumer leaves it at −1.
        replica_state: ReplicaState [15.., tag 1],
        max_wait_ms: i32,
        min_bytes: i32,
        /// Of all partitions together; the first batch found is sent even if it is larger (KIP-74).
        max_bytes: i32 = i32::MAX,
        /// 0: read uncommitted · 1: read committed.
        isolation_level: i8,
        /// 0 where there is no session yet.
        session_id: i32 [7..],
        /// 0: asks for a new session · −1: for none, closing the one named · else counts its requests.
        session_epoch: i32 [7..] = -1,
        /// All partitions, or, within a session, those that changed.
        topics: Vec<FetchTopic>,
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        rack_id: Str [11..],
    }

    ReplicaState {
        replica_id: i32 = -1,
        replica_epoch: i64 = -1,
    }

    FetchTopic {
        topic: Str [..=12],
        topic_id: Uuid [13..],
        partitions: Vec<FetchPartition>,
    }

    ForgottenTopic {
        topic: Str [..=12],
        topic_id: Uuid [13..],
        partitions: Vec<i32>,
    }

    FetchPartition {
        partition: i32,
        /// −1: not checked.
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64,
        /// A follower's, of the batch before `fetch_offset`; −1 from consumers.
        last_fetched_epoch: i32 [12..] = -1,
        /// A follower's; −1 from consumers.
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32,
        replica_directory_id: Uuid [17.., tag 0],
        high_watermark: i64 [18.., tag 1] = i64::MAX,
    }

    FetchResponse: response Fetch {
        throttle_time_ms: i32,
        error_code: i16 [7..],
        session_id: i32 [7..],
        responses: Vec<FetchableTopicResponse>,
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0],
    }

    FetchableTopicResponse {
        topic: Str [..=12],
        topic_id: Uuid [13..],
        partitions: Vec<PartitionData>,
    }

    NodeEndpoint {
        node_id: i32,
        host: Str,
        port: i32,
        rack: Option<Str>,
    }

    PartitionData {
        partition_index: i32,
        error_code: i16,
        high_watermark: i64,
        /// −1: not told.
        last_stable_offset: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        /// Where the follower's log parts from the leader's.
        diverging_epoch: EpochEndOffset [12.., tag 0],
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        /// A snapshot to fetch instead: the metadata quorum's.
        snapshot_id: SnapshotId [12.., tag 2],
        /// Null unless read committed was asked for.
        aborted_transactions: Option<Vec<AbortedTransaction>>,
        /// −1: this broker itself.
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Records>,
    }

    EpochEndOffset {
        epoch: i32 = -1,
        end_offset: i64 = -1,
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1,
        leader_epoch: i32 = -1,
    }

    SnapshotId {
        end_offset: i64 = -1,
        epoch: i32 = -1,
    }

    AbortedTransaction {
        producer_id: i64,
        first_offset: i64,
    }
}
