//! What a store has done, for the metrics room to read.

use std::cell::Cell;
use std::path::PathBuf;

use crate::metrics::{Counter, Counts, Histogram};

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
    /// Reads that found all their bytes in tails, or needed the cache of chunks.
    pub reads_tail: Cell<u64>,
    pub reads_chunks: Cell<u64>,
    /// Of the latter, those that waited for the device first.
    pub reads_missed: Cell<u64>,
    pub rolls: Cell<u64>,
    pub opens: Cell<u64>,
    pub faults: Cell<u64>,
}

/// What operations of one kind on one directory's device took, and their bytes.
#[derive(Default)]
pub(super) struct Operations {
    time: Histogram,
    bytes: Counter,
}

impl Operations {
    #[inline]
    pub fn record(&self, took_us: u64, bytes: usize) {
        self.time.record(took_us);
        self.bytes.add(bytes as u64);
    }

    pub fn stats(&self) -> OperationStats {
        OperationStats {
            time_us: self.time.counts(),
            bytes: self.bytes.value(),
        }
    }
}

/// See [`DeviceStats`].
#[derive(Clone, PartialEq, Debug)]
pub struct OperationStats {
    pub time_us: Counts,
    pub bytes: u64,
}

/// One log directory's device, as one shard uses it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceStats {
    pub path: PathBuf,
    /// Durable writes to the journal, which may lie elsewhere (`journal.dir`).
    pub journal: OperationStats,
    /// Durable writes to segments.
    pub write: OperationStats,
    /// Reads of segments.
    pub read: OperationStats,
    /// Bytes of the journal's file in use: its size, 0 until it is made, and how much of it is written.
    pub journal_size: u64,
    pub journal_used: u64,
    /// What a small durable write costs.
    pub sync_us: u64,
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
    /// Reads answered from tails, from cached chunks, and only after a read of the device.
    pub reads_tail: u64,
    pub reads_history: u64,
    pub reads_device: u64,
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
