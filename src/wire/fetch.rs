//! Reading as a stream: subscribed once, pushed as records come, held back by credits.

use super::schema::frozen;

frozen! {
    /// Begins a stream over some partitions, which share its credits.
    pub struct SubscribeV1 {
        /// 0 read uncommitted, 1 read committed.
        pub isolation: u8,
        /// Bytes of bodies that may be sent before [`CreditsV1`] allow more. A batch is never cut: as long as any credit
        /// is left the next one comes whole, and the credits may become negative.
        pub credit_bytes: u64,
        /// Bytes of one body, at most, but for a single larger batch: that comes whole, unless it is longer than the
        /// body that the client's Hello allows.
        pub max_bytes: u32,
        pub partitions: Vec<SubscribedV1>,
    }

    pub struct SubscribedV1 {
        pub topic_id: [u8; 16],
        pub partition: i32,
        /// The first offset wanted.
        pub offset: i64,
        /// The leader epoch the client believes in; −1 skips the check (KIP-320).
        pub leader_epoch: i32,
    }

    /// Whole batches of one partition, or why there will be no more of it. Its correlation number names the stream.
    pub struct BatchesV1 {
        /// The partition's place in the [`SubscribeV1`].
        pub index: u32,
        /// Kafka's code. With an error the partition leaves the stream; the others go on. MESSAGE_TOO_LARGE: what comes
        /// next of it, or the list of its aborted transactions, is longer than the client takes.
        pub error: i16,
        pub high_watermark: i64,
        pub last_stable_offset: i64,
        pub log_start: i64,
        /// The aborted transactions that overlap the body; for readers of what is committed.
        pub aborted: Vec<AbortedV1>,
    }

    pub struct AbortedV1 {
        pub producer_id: i64,
        pub first_offset: i64,
    }

    pub struct CreditsV1 {
        /// Correlation number of the Subscribe.
        pub stream: u64,
        pub bytes: u64,
    }

    pub struct UnsubscribeV1 {
        /// Correlation number of the Subscribe.
        pub stream: u64,
    }
}
