//! Newtypes for every id that Kafka's wire carries as a bare integer.

use std::fmt;

use super::Str;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A shard of this process: one pinned executor and all it owns. Dense, from 0.
    ShardId(u16)
}
id! {
    /// A broker's or controller's `node.id`.
    NodeId(i32)
}
id! {
    /// A partition's number inside its topic, from 0.
    PartitionIndex(i32)
}
id! {
    /// Counts the leaders a partition has had; −1 where a request carries none (KIP-101).
    LeaderEpoch(i32)
}
id! {
    /// One registration of a broker with the controller (KIP-380).
    BrokerEpoch(i64)
}
id! {
    /// A producer's id (KIP-98); −1 where the batch is not idempotent.
    ProducerId(i64)
}
id! {
    /// Fences older incarnations of one producer id (KIP-98); −1 where there is none.
    ProducerEpoch(i16)
}

/// Names one request that waits inside a core for its answer. The shell chooses it and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Token(pub u64);

impl ShardId {
    /// The shard as a slot in a per-shard table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl LeaderEpoch {
    /// "No epoch": the check is skipped (KIP-320).
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl ProducerId {
    /// "Not idempotent".
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// "No epoch": the producer has none yet, or a request names none.
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

/// A partition by its topic's name, as people and directories call it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: Str,
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    /// `topic-partition`, which is also the name of its directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
