//! Ids, offsets, times, shared strings and a seeded generator: the words every other room speaks.
//!
//! **Path.** Nothing before it; every room after it.
//!
//! **Invariants.** An id is not a number: arithmetic exists only where it means something
//! ([`Offset`] + count). [`Str`] is valid UTF-8 from the moment it exists. Ranges are half-open.
//!
//! **Faults survived.** None met here: nothing in this room does I/O or can fail, but for parsing.
//!
//! **Not obvious.** [`Str`] shares the bytes of the frame it was decoded from, so keeping a short one
//! keeps the whole frame; what outlives its request calls [`Str::detach`].

mod id;
mod log_level;
mod offset;
mod prng;
mod str;
mod time;
mod uuid;

pub use id::{
    BrokerEpoch, LeaderEpoch, NodeId, PartitionIndex, ProducerEpoch, ProducerId, ShardId, Token,
    TopicPartition,
};
pub use log_level::{LOGGERS, LogLevel, NoLevel, ROOT_LOGGER};
pub use offset::{Offset, OffsetRange};
pub use prng::Prng;
pub use str::Str;
pub use time::{Micros, Now, Timestamp};
pub use uuid::{TopicId, Uuid, UuidError};
