//! What a store has done, for the metrics room to read.

use std::cell::Cell;

/// Counters, one writer: the shard.
#[derive(Default)]
pub(super) struct Stats {
    pub appends: Cell<u64>,
    pub append_bytes: Cell<u64>,
    pub commits: Cell<u64>,
    pub writes: Cell<u64>,
    pub write_bytes: Cell<u64>,
    pub journal_writes: Cell<u64>,
    pub journal_bytes: Cell<u64>,
    pub drains: Cell<u64>,
    pub reads: Cell<u64>,
    pub read_bytes: Cell<u64>,
    pub served_bytes: Cell<u64>,
    pub rolls: Cell<u64>,
    pub opens: Cell<u64>,
    pub faults: Cell<u64>,
}

/// What a store has done and holds. Counters since it was opened, gauges as of now.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct StoreStats {
    pub appends: u64,
    pub append_bytes: u64,
    /// Commit rounds.
    pub commits: u64,
    /// Device writes, their bytes with padding, and flushes.
    pub writes: u64,
    pub write_bytes: u64,
    /// Writes to journals, their bytes with padding, and journal files emptied into segments.
    pub journal_writes: u64,
    pub journal_bytes: u64,
    pub drains: u64,
    /// Device reads (cache misses) and their bytes.
    pub reads: u64,
    pub read_bytes: u64,
    /// Bytes that readers were given, from memory or disk.
    pub served_bytes: u64,
    pub rolls: u64,
    pub opens: u64,
    pub faults: u64,
    /// Gauges: logs, open descriptors, bytes of memory in tails and in the read cache.
    pub logs: u64,
    pub files_open: u64,
    pub tail_bytes: u64,
    pub chunk_bytes: u64,
}

impl Stats {
    pub fn add(counter: &Cell<u64>, more: u64) {
        counter.set(counter.get() + more);
    }
}
