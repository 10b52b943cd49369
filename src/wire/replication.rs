//! From a leader to its followers: a stream with credits, pushed as batches are appended, one for each pair of shards.

use super::schema::frozen;

frozen! {
    /// A follower's shard asks a leader's shard for the partitions they share.
    pub struct ReplicaSubscribeV1 {
        pub node_id: i32,
        /// Of the follower's registration (KIP-903): an older incarnation is refused.
        pub broker_epoch: i64,
        /// Bytes of bodies that may be on their way or not yet durable.
        pub credit_bytes: u64,
        pub partitions: Vec<ReplicaPartitionV1>,
    }

    pub struct ReplicaPartitionV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        /// The leader epoch that the follower has heard of; another one is refused.
        pub leader_epoch: i32,
        /// The follower's log end.
        pub offset: i64,
        /// The epoch of its last record, −1 for an empty log: where the leader's differs, the follower truncates (KIP-101).
        pub last_epoch: i32,
        pub log_start: i64,
    }

    pub struct ReplicaBatchesV1 {
        pub parts: Vec<ReplicaPartV1>,
    }

    /// Batches of one partition, or only news of its watermarks.
    pub struct ReplicaPartV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        pub leader_epoch: i32,
        /// Kafka's code; with one the partition leaves the stream.
        pub error: i16,
        pub base_offset: i64,
        /// Of the body; 0 where there is only news.
        pub bytes: u32,
        pub high_watermark: i64,
        pub log_start: i64,
        /// Where the follower's log diverges, else (−1, −1): the epoch to truncate to, and its end.
        pub diverging_epoch: i32,
        pub diverging_end: i64,
    }

    pub struct ReplicaAckV1 {
        /// More bytes may come.
        pub credit_bytes: u64,
        pub partitions: Vec<ReplicaDurableV1>,
    }

    /// How far a follower's log is on stable storage.
    pub struct ReplicaDurableV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        pub leader_epoch: i32,
        pub end_offset: i64,
        pub log_start: i64,
    }
}
