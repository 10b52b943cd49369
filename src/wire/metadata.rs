//! Where partitions are: broker, endpoint, shard.

use super::schema::frozen;

/// [`PartitionV1::endpoint`] of a partition that has no leader, or whose leader has no endpoint on this listener.
pub const UNKNOWN_ENDPOINT: u32 = u32::MAX;
/// [`PartitionV1::shard`] of a partition that another broker leads: only that broker knows.
pub const UNKNOWN_SHARD: u16 = u16::MAX;

frozen! {
    /// Asks for topics; none are created by asking.
    pub struct MetadataRequestV1 {
        /// `None`: all of them.
        pub topics: Option<Vec<String>>,
    }

    pub struct MetadataResponseV1 {
        /// Endpoints of the listener that the client came in by.
        pub endpoints: Vec<EndpointV1>,
        /// Each topic once, in no order that means anything.
        pub topics: Vec<TopicV1>,
    }

    /// Where one broker is reached.
    pub struct EndpointV1 {
        pub node_id: i32,
        pub host: String,
        pub port: u16,
        pub rack: Option<String>,
    }

    pub struct TopicV1 {
        /// Kafka's code; what else is told of the topic counts only at 0.
        pub error: i16,
        pub name: String,
        pub id: [u8; 16],
        pub is_internal: bool,
        /// By ascending index, from 0.
        pub partitions: Vec<PartitionV1>,
    }

    pub struct PartitionV1 {
        /// Kafka's code.
        pub error: i16,
        /// −1: none.
        pub leader: i32,
        pub leader_epoch: i32,
        /// The leader's place in `endpoints`.
        pub endpoint: u32,
        /// The leader's shard that owns the partition: ask for it in the handshake.
        pub shard: u16,
    }
}
