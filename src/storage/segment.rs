//! One segment of a log: its bounds, its indexes, and its newest bytes in memory.

use std::rc::Rc;

use super::aborted::{Aborted, AbortedSeal};
use super::cache::CHUNK_BYTES;
use super::checkpoint::SegmentEntry;
use super::extent::Extents;
use super::index::{Index, OffsetEntry, Seal, TimeEntry, relative};
use super::log::LogConfig;
use crate::record::BatchHeader;
use crate::rt::File;
use crate::types::{Offset, Timestamp};

/// One segment. Its file holds `[0, written)` and what the extents hold comes after or overlaps.
pub(super) struct Segment {
    pub base: Offset,
    /// Bytes of batches.
    pub size: u32,
    /// All below is in the file (not yet durable, perhaps).
    pub written: u32,
    /// Bytes of disk taken by preallocation; 0 while not known.
    pub allocated: u32,
    /// The file exists and its name is durable.
    pub exists: bool,
    /// The file has been cut to `size` and its indexes are written: nothing more is to be done for it.
    pub finished: bool,
    /// Wall-clock milliseconds of creation, and the first and largest timestamps; −1 is none.
    pub created: i64,
    /// Wall-clock milliseconds of the newest append, or of the start if that was later.
    pub appended: i64,
    pub first_timestamp: i64,
    pub max_timestamp: i64,
    /// Last offset of the batch with the largest timestamp.
    pub max_timestamp_offset: Offset,
    pub index: Index,
    /// Whether `index` covers the segment from its first byte; else the front is in its files.
    pub index_whole: bool,
    /// What of the index files may be believed; `None` is nothing.
    pub seal: Option<Seal>,
    /// The segment's size when they were written.
    pub indexed: u32,
    /// Transactions whose abort markers lie here.
    pub aborted: Aborted,
    /// Bytes appended since the last index entry.
    unindexed: u32,
    pub extents: Extents,
    /// Its file, while it is not to be found under the segment's name: between a compaction's swap and its renaming.
    pub pinned: Option<Rc<File>>,
}

/// Bytes of a segment that lie outside its extents and in one chunk; positions are the segment's.
pub(super) struct Stretch {
    /// The chunk's.
    pub number: u32,
    pub chunk_start: u32,
    pub until: u32,
    /// Where what lies outside the extents ends, this chunk or not.
    pub extent_start: u32,
}

impl Segment {
    /// Where `position..to`, which begins outside the extents, lies until the next extent or chunk begins.
    pub fn chunk_stretch(&self, position: u32, to: u32) -> Stretch {
        let number = position / CHUNK_BYTES;
        let chunk_start = number * CHUNK_BYTES;
        let memory = self.extents.next_after(position).unwrap_or(u32::MAX);
        let extent_start = to.min(memory);
        Stretch {
            number,
            chunk_start,
            until: extent_start.min(chunk_start.saturating_add(CHUNK_BYTES)),
            extent_start,
        }
    }

    /// An empty one, about to be appended to.
    pub fn new(base: Offset, now: Timestamp) -> Segment {
        Segment {
            base,
            size: 0,
            written: 0,
            allocated: 0,
            exists: false,
            finished: false,
            created: now.0,
            appended: now.0,
            first_timestamp: -1,
            max_timestamp: -1,
            max_timestamp_offset: Offset(-1),
            index: Index::default(),
            index_whole: true,
            seal: None,
            indexed: 0,
            aborted: Aborted::empty(base),
            unindexed: 0,
            extents: Extents::default(),
            pinned: None,
        }
    }

    /// One whose file is there and has not been looked at.
    pub fn found(base: Offset, now: Timestamp) -> Segment {
        let mut segment = Segment::new(base, now);
        segment.exists = true;
        segment
    }

    /// As a checkpoint remembers it; its index stays in its files until it is asked for.
    pub fn from_entry(entry: &SegmentEntry) -> Segment {
        Segment {
            size: entry.size,
            written: entry.size,
            exists: true,
            // The aborted transactions come last when a segment is finished.
            finished: entry.seal.is_some() && entry.aborted.covered == AbortedSeal::NONE.covered,
            created: entry.created,
            first_timestamp: entry.first_timestamp,
            max_timestamp: entry.max_timestamp,
            max_timestamp_offset: entry.max_timestamp_offset,
            index_whole: entry.size == 0,
            seal: entry.seal,
            indexed: entry.seal.map_or(0, |_| entry.size),
            aborted: Aborted::sealed(entry.aborted),
            ..Segment::new(entry.base, Timestamp(entry.created))
        }
    }

    /// Bytes of memory that it takes besides its newest batches.
    pub fn index_memory_bytes(&self) -> usize {
        let Index { offsets, times } = &self.index;
        let offsets = offsets.capacity() * size_of::<OffsetEntry>();
        size_of::<Segment>() + offsets + times.capacity() * size_of::<TimeEntry>()
    }

    pub fn to_entry(&self) -> SegmentEntry {
        SegmentEntry {
            base: self.base,
            size: self.size,
            first_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            max_timestamp_offset: self.max_timestamp_offset,
            created: self.created,
            seal: self.seal,
            aborted: self.aborted.seal(),
        }
    }

    /// Whether a batch must begin a new segment, by Kafka's rule (`LogSegment.shouldRoll`).
    pub fn must_roll(&self, batch: &Incoming, config: &LogConfig, now: Timestamp) -> bool {
        if self.size == 0 {
            return relative(self.base, batch.last_offset).is_none();
        }
        let waited = match (self.first_timestamp, batch.max_timestamp) {
            (first @ 0.., newest @ 0..) => newest.saturating_sub(first),
            _ => now.0.saturating_sub(self.created),
        };
        let too_long = self.size as u64 + batch.size as u64
            > config.segment_bytes.min(SEGMENT_BYTES_LIMIT) as u64;
        too_long
            || waited > config.segment_ms
            || self.index.offsets.len()
                >= config.index_bytes as usize / super::index::OFFSET_ENTRY_BYTES
            || self.index.times.len()
                >= config.index_bytes as usize / super::index::TIME_ENTRY_BYTES
            || relative(self.base, batch.last_offset).is_none()
    }

    /// Notes a batch at `position`, which need not be in memory: indexes, timestamps and size.
    pub fn note(&mut self, batch: &Incoming, position: u32, interval: u32) {
        let last = relative(self.base, batch.last_offset).expect("a batch outside the index rolls");
        if self.size == 0 {
            self.first_timestamp = batch.max_timestamp;
        }
        if batch.max_timestamp > self.max_timestamp {
            self.max_timestamp = batch.max_timestamp;
            self.max_timestamp_offset = batch.last_offset;
        }
        if self.unindexed > interval {
            self.index.push(last, position);
            self.note_time();
            self.unindexed = 0;
        }
        self.unindexed = self.unindexed.saturating_add(batch.size);
        self.size = position + batch.size;
    }

    /// The index is in its files now, and comes back when someone reads there.
    pub fn shelve_index(&mut self) {
        self.index = Index::default();
        self.index_whole = self.size == 0;
    }

    /// Takes in what the index files hold for the part that is not in memory.
    pub fn unshelve_index(&mut self, front: Index) {
        self.index.put_before(front);
        self.index_whole = true;
    }

    /// Forgets what lies at or past `position`, which `end` is the offset of; `max_timestamp` is the largest of what
    /// stays. Returns the bytes of memory freed.
    pub fn truncate(&mut self, position: u32, end: Offset, max_timestamp: i64) -> usize {
        self.size = position;
        self.written = self.written.min(position);
        self.allocated = 0;
        self.finished = false;
        self.unindexed = 0;
        self.index
            .truncate(position, relative(self.base, end).unwrap_or(u32::MAX));
        self.seal = None;
        self.indexed = 0;
        self.aborted.truncate(self.base, end);
        if self.max_timestamp_offset >= end {
            // No record that stays is later than this one: that is all a lookup needs of it.
            (self.max_timestamp, self.max_timestamp_offset) = (max_timestamp, end.plus(-1));
        }
        self.extents.truncate(position)
    }

    /// The last entry of the time index, at the segment's end as in Kafka.
    pub fn note_time(&mut self) {
        if let Some(last) = relative(self.base, self.max_timestamp_offset) {
            self.index.push_time(self.max_timestamp, last);
        }
    }
}

/// What a segment needs to know of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub last_offset: Offset,
    pub max_timestamp: i64,
    pub size: u32,
}

impl Incoming {
    /// Of a batch that lies in the log, `size` bytes long.
    pub fn of(header: &BatchHeader, size: u32) -> Incoming {
        Incoming {
            last_offset: header.last_offset(),
            // What compaction emptied has no record that could be found by its time.
            max_timestamp: match header.count() {
                0 => -1,
                _ => header.max_timestamp().0,
            },
            size,
        }
    }
}

/// Positions are i32 in Kafka's index.
const SEGMENT_BYTES_LIMIT: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last_offset: i64, max_timestamp: i64, size: u32) -> Incoming {
        Incoming {
            last_offset: Offset(last_offset),
            max_timestamp,
            size,
        }
    }

    fn config() -> LogConfig {
        LogConfig {
            segment_bytes: 10_000,
            segment_ms: 1000,
            index_interval_bytes: 4096,
            index_bytes: 80,
            ..LogConfig::default()
        }
    }

    #[test]
    fn rolls_by_size_and_by_the_time_between_records() {
        let (config, now) = (config(), Timestamp(50));
        let mut segment = Segment::new(Offset(0), now);
        assert!(
            !segment.must_roll(&batch(9, 5, 20_000), &config, now),
            "an empty segment takes any batch"
        );
        segment.note(&batch(9, 5, 6000), 0, 4096);
        assert!(!segment.must_roll(&batch(10, 5, 4000), &config, now));
        assert!(segment.must_roll(&batch(10, 5, 4001), &config, now), "size");
        assert!(
            segment.must_roll(&batch(10, 1006, 1), &config, now),
            "record time"
        );
        assert!(!segment.must_roll(&batch(10, -1, 1), &config, Timestamp(1050)));
        assert!(
            segment.must_roll(&batch(10, -1, 1), &config, Timestamp(1051)),
            "age, without timestamps"
        );
    }

    #[test]
    fn rolls_before_an_offset_leaves_the_index() {
        let mut segment = Segment::new(Offset(0), Timestamp(0));
        segment.note(&batch(1, 0, 100), 0, 4096);
        let far = i32::MAX as i64;
        assert!(!segment.must_roll(&batch(far, 0, 1), &config(), Timestamp(0)));
        assert!(segment.must_roll(&batch(far + 1, 0, 1), &config(), Timestamp(0)));
    }

    #[test]
    fn indexes_a_batch_every_interval() {
        let mut segment = Segment::new(Offset(100), Timestamp(0));
        for i in 0..10 {
            segment.note(&batch(100 + i, i, 1000), segment.size, 4096);
        }
        let entries: Vec<_> = segment
            .index
            .offsets
            .iter()
            .map(|e| (e.relative, e.position))
            .collect();
        assert_eq!(entries, [(5, 5000)]);
        assert_eq!(segment.index.times.len(), 1);
        assert_eq!((segment.first_timestamp, segment.max_timestamp), (0, 9));
    }
}
