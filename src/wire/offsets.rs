//! Places in logs by time, and ids for idempotent producers.

use super::schema::frozen;

frozen! {
    pub struct OffsetsRequestV1 {
        /// 0 read uncommitted, 1 read committed.
        pub isolation: u8,
        pub partitions: Vec<OffsetQueryV1>,
    }

    pub struct OffsetQueryV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        /// As Kafka's ListOffsets: −1 the end, −2 the start, −3 the record of the latest time, else the first record not
        /// older than this time in milliseconds.
        pub timestamp: i64,
        /// The leader epoch the client believes in; −1 skips the check (KIP-320).
        pub leader_epoch: i32,
    }

    /// One row for each query, in order.
    pub struct OffsetsResponseV1 {
        pub partitions: Vec<FoundOffsetV1>,
    }

    pub struct FoundOffsetV1 {
        /// Kafka's code.
        pub error: i16,
        /// −1: there is no such record.
        pub offset: i64,
        pub timestamp: i64,
        pub leader_epoch: i32,
    }

    /// Asks for ids of idempotent producers (KIP-98); each begins at epoch 0.
    pub struct ProducerIdsRequestV1 {
        /// 1 to 1,000.
        pub count: u16,
    }

    pub struct ProducerIdsResponseV1 {
        /// Kafka's code.
        pub error: i16,
        pub ids: Vec<i64>,
    }
}
