//! Logs on disk: Kafka's files, written directly, committed in rounds, read without copies.
//!
//! **Path.** The shard's partition gives a checked batch → [`Log::append`] copies it once into the aligned tail, which
//! is write buffer and hot cache at once → [`Store::commit`] makes all dirty logs durable in one round, small runs by one
//! write to the journal, which reach their segments later, large ones straight → readers get
//! pinned slices of the same memory ([`Log::try_read`]), or of chunks read from disk ([`Log::read`]) → the server sends
//! them. The shard's cleaner compacts logs behind it ([`Log::compact`]; `compact` tells how). At start: [`Directories::prepare`], then per shard [`Store::open`], [`Store::open_log`], [`Log::recover`].
//! Uses `types`, `record` and `rt`; to verify what rests in directories also `metadata` and `partition`.
//!
//! **Invariants.** What a commit returned is on stable storage, and what recovery finds is a prefix of what was
//! appended that holds all of it. Memory that was sealed is never written again. Two writes to one block are never in
//! flight. Files hold batches and nothing else below the log's end, and zeros above it (after a crash, from the first commit
//! on); after a roll or a clean close they end where the last batch does, and Kafka's dump tool reads them and their
//! indexes. What is deleted is the oldest: the start is durable before a file goes, and what is left after a crash is a
//! suffix.
//!
//! **Faults survived.** A crash at any write or sync; torn and stale sectors, by CRC, order and cutting; a full disk
//! (the last of it is left to deletions; appends are refused until there is room, nothing acknowledged is lost); a journal
//! on a device of its own that is missing or another's (the start is refused, unless it held nothing);
//! bytes that rot (what is read is held against its checksums, what is damaged is not served); a failed write or sync (that
//! directory goes offline, others serve); side files that are torn or gone (all can be rebuilt, the index of aborted
//! transactions too); a second process on the directory.
//!
//! **Not obvious.** File lengths decide nothing: blocks are reserved ahead and writes are padded. While a segment is
//! active, zeros follow its last batch up to what is reserved. A log that was reopened, or whose last block was evicted, takes
//! appends before the front of that block is back in memory; the commit fetches it. Positions in a segment are 32 bits,
//! as in Kafka's index.

mod aborted;
mod adopt;
mod ahead;
mod cache;
mod change;
mod checkpoint;
mod chores;
mod commit;
mod compact;
mod device_id;
mod directories;
mod epochs;
mod error;
mod extent;
mod fetch;
mod frame;
mod gate;
mod gather;
mod index;
mod join;
mod journal;
mod lanes;
mod loading;
mod log;
mod measured;
mod metalog;
mod names;
mod place;
mod placement;
mod producers_file;
mod read;
mod recover;
mod relocate;
mod removal;
mod replay;
mod room;
mod rot;
mod segment;
mod shared;
mod small;
mod start_offset;
mod stats;
mod store;
mod sync_cost;
mod throttle;
mod time;
mod txn_index;
mod verify;
mod wanted;
mod window;

pub use aborted::AbortedTransaction;
pub use adopt::{AdoptError, KafkaPartition, Transfer};
pub use cache::{CHUNK_BYTES, ChunkCache, ChunkKey};
pub use commit::Committed;
pub use compact::{CompactConfig, CompactError, CompactTerms, Compacted, Dirty};
pub use directories::Directories;
pub use error::{AppendError, ReadError, StorageError};
pub use gate::Gate;
pub use join::join_bounded;
pub use log::{Log, LogConfig, LogId, SegmentInfo, Stamps};
pub use measured::{Figures, MEASURED_FILE, Machine, Measured, PAST_MAX, PLACES_BOUNDS};
pub use metalog::{MetadataLog, MetadataRecovered};
pub use place::JournalDir;
pub use read::{Missing, Read};
pub use recover::Recovered;
pub use relocate::{MoveProgress, Moved, absolute_path};
pub use room::{reserve_bytes, spare_bytes};
pub use start_offset::Deleted;
pub use stats::{DeviceStats, OperationStats, StoreStats};
pub use store::{DirectoryInfo, Store, StoreConfig};
pub use sync_cost::{SyncCost, SyncMode};
pub use time::TimedOffset;
pub use verify::{
    DirectoryReport, Fault, Faults, Hole, PartitionReport, Piece, SegmentReader, Verifier,
    VerifyError, VerifyOptions, segment_bytes,
};
pub use wanted::WantedMove;
