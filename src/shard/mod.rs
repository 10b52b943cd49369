//! What one core owns: its partitions, its store, and, on shard 0, the controller.
//!
//! **Path.** `api` → here: a partition's owner is found ([`Shard::owner`]), what is owned elsewhere crosses the mailbox
//! once per shard → [`Replica`]: check, admit, append → the flusher commits → parked requests are answered. Reads take
//! pinned slices from `storage` and wait on the partitions' watchers. Now and then a round of retention asks the core of each
//! partition what has had its time, and has the log give it up; the cleaner compacts the dirtiest log. Uses every room above.
//!
//! **Invariants.** Nothing of a shard is touched by another thread; what crosses is a message. Messages between two
//! shards keep their order. Between admission and append of a batch there is no await. Metadata changes only through
//! [`Shard::propose`]: decided on shard 0, durable, then applied by every shard before the reply leaves. A coordinator's
//! state changes only by records of its partition, and no reply leaves before they are durable. A transactional batch is
//! appended only where its producer has a transaction open, or when the coordinator knows of the partition.
//!
//! **Faults survived.** A partition deleted while requests wait on it, a log directory that fails (its partitions answer
//! KAFKA_STORAGE_ERROR), watchers of connections that are gone, appends of a coordinator that are refused (its state is
//! loaded again), members whose connection is gone while they wait, transactional batches whose transaction has ended, a disk
//! that stalls (Produce requests are answered when their time is over).
//!
//! **Not obvious.** A watch fires once, maybe for nothing: whoever is woken reads again. Slices of another shard's
//! cache are pinned there by reference and go home to be released.

mod answers;
mod append;
mod calls;
mod checkpoint;
mod cleaner;
mod controller;
mod coordinators;
mod core;
mod directories;
mod fetch;
mod import;
mod markers;
mod measure;
mod memory;
mod message;
mod moves;
mod partitions;
mod produce;
mod producers;
mod reads;
mod replica;
mod report;
mod retention;
mod slow;
mod start;
mod verification;
mod waiters;

pub use controller::QuorumState;
pub use coordinators::Internal;
pub use core::Shard;
pub use fetch::{PartitionRead, ReadData, ReadItem, ReadRequest, WatchItem, WatchKey};
pub use import::{Import, ImportError, ImportedPartition, Keeping, import};
pub use measure::Detail;
pub use message::Message;
pub use partitions::{LogDirPartition, LogDirState, dynamic};
pub use produce::{Joined, ProduceFault, ProduceItem, ProduceJoin, ProduceOutcome, Wait};
pub use replica::{FoundOffset, OffsetQuery, Replica};
pub use report::{
    ClusterRow, ConnectionRow, GroupRow, Page, PageRequest, PartitionRow, ShardRow, TopicRow,
};
pub use slow::{Ended, SlowRequest, SlowRing};
pub use start::{Opened, open};
pub use verification::TxnTerms;
