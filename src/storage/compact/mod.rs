//! Compaction: a log keeps the last record of every key, under its old offset (COMPAT 39).
//!
//! **Path.** The shard's cleaner asks every log how dirty it is ([`Log::dirty`](super::Log::dirty)) → the dirtiest is
//! compacted ([`Log::compact`](super::Log::compact)): the keys of its dirty part go into a [`KeyMap`], groups of its
//! segments are read, sifted and written to one file each, and each file is swapped in → how far the log is clean now is
//! noted ([`Store::note_cleaned`](super::Store::note_cleaned)).
//!
//! **Invariants.** Offsets never change. Only whole segments are rewritten, all of whose batches are stable, durable in the
//! segment's own file, and below the recovery point of the directory's checkpoint, so that no journal is replayed into
//! them. A rewritten segment ends at the offset where it ended before, with an empty batch if need be: recovery still
//! sees that nothing is missing between two segments.
//!
//! **The swap.** The new segment is written to `<base>.log.cleaned`, synced, and its name too. Then `<base>.swap` is put
//! there whole, which says what it replaces: from here on the new segment is the log's, whatever happens. The segments
//! change places in memory, the old file is set aside, the new one renamed to `<base>.log`, and the old ones go as those
//! that retention gives up. The `.swap` goes when the directory's checkpoint says the same.
//!
//! | found after a crash | means |
//! |---|---|
//! | `.log.cleaned` without `.swap` | never swapped in: removed |
//! | `.log.cleaned` and `.swap` | swapped in: renamed, what it replaces is removed |
//! | `.swap` alone | done: tells what the checkpoint may not say yet |
//!
//! **Not obvious.** Positions change under readers: a swap gives the log a new generation, and whoever looked something
//! up before and waited begins again. Slices that a reader holds stay as they are, of the old file.

mod filter;
mod key_map;
mod offsets;
mod plan;
mod round;
mod swap;
mod transactions;

#[cfg(test)]
mod plan_tests;

pub(super) use offsets::CleanedOffsets;
pub use plan::{CompactConfig, Dirty};
pub use round::{CompactError, CompactTerms, Compacted};
pub(super) use swap::{FoundSwaps, ToldLog};

use crate::types::Offset;

/// What a log remembers of its compaction.
#[derive(Default)]
pub(super) struct Compaction {
    /// All below is clean; `None`: nothing is known to be.
    pub first_dirty: Option<Offset>,
    /// The recovery point that the directory's checkpoint tells, on disk.
    pub checkpointed: Offset,
    /// Bases whose `.swap` file is there, and which need no more than to be told in a checkpoint.
    pub swaps: Vec<Offset>,
}
