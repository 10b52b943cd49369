//! The memory of a segment's newest bytes: write buffer and hot end of the cache at once.
//!
//! | position | what |
//! |---|---|
//! | `start` | file position of the first byte of the memory, a multiple of 4096 |
//! | `valid` | from here the memory holds what the file holds or will hold |
//! | `written` | below here the bytes are in the file |
//! | `end` | after the last byte of data |
//!
//! `start ≤ valid ≤ end` and `written ≤ end`. `valid > start` only in a log that was reopened or whose last block
//! was evicted: the front of the block is on disk, and the commit that writes the block fetches it first.

use std::collections::VecDeque;

use crate::rt::{AppendBuffer, BLOCK_BYTES, Buffer, Page, Slice};

/// One stretch of memory of a segment.
pub(super) struct Extent {
    pub start: u32,
    pub valid: u32,
    pub written: u32,
    pub end: u32,
    body: Body,
}

enum Body {
    Open(AppendBuffer),
    Sealed(Page, usize),
}

/// The extents of one segment, by position. An extent may begin with a copy of the block that the one before
/// ends in; the later one is right about it.
#[derive(Default)]
pub(super) struct Extents {
    list: VecDeque<Extent>,
}

/// The smallest and the largest extent.
pub(super) const EXTENT_BYTES_MIN: usize = 8 << 10;
/// See [`EXTENT_BYTES_MIN`].
pub(super) const EXTENT_BYTES_MAX: usize = 1 << 20;

const BLOCK: u32 = BLOCK_BYTES as u32;

pub(super) fn floor(position: u32) -> u32 {
    position - position % BLOCK
}

impl Extent {
    /// Memory for what follows `position`, of at least one block and at most [`EXTENT_BYTES_MAX`].
    fn open(position: u32, head: Option<&[u8]>, wanted: usize) -> Extent {
        let start = floor(position);
        let gap = (position - start) as usize;
        let capacity = (gap + wanted)
            .next_power_of_two()
            .clamp(EXTENT_BYTES_MIN, EXTENT_BYTES_MAX);
        let mut buffer = AppendBuffer::with_capacity(capacity);
        match head {
            Some(bytes) => _ = buffer.append(bytes),
            None => _ = buffer.reserve(gap),
        }
        Extent {
            start,
            valid: if head.is_some() { start } else { position },
            written: position,
            end: position,
            body: Body::Open(buffer),
        }
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        match &self.body {
            Body::Open(buffer) => buffer.capacity(),
            Body::Sealed(_, capacity) => *capacity,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.body, Body::Open(_))
    }

    pub fn slice(&self, from: u32, to: u32) -> Slice {
        debug_assert!(self.valid <= from && from <= to && to <= self.end);
        let (from, to) = ((from - self.start) as usize, (to - self.start) as usize);
        match &self.body {
            Body::Open(buffer) => buffer.slice(from, to),
            Body::Sealed(page, _) => page.slice(from..to),
        }
    }

    /// Pads with zeros to whole blocks; nothing is appended to this extent any more.
    pub fn seal(&mut self) -> Page {
        if let Body::Sealed(page, _) = &self.body {
            return page.clone();
        }
        let nothing = Body::Sealed(Buffer::zeroed(0).freeze(), 0);
        let Body::Open(buffer) = std::mem::replace(&mut self.body, nothing) else {
            unreachable!("looked at above")
        };
        let (capacity, used) = (buffer.capacity(), buffer.len());
        let page = buffer.seal(used.next_multiple_of(BLOCK_BYTES));
        self.body = Body::Sealed(page.clone(), capacity);
        page
    }

    /// Puts `head`, the file's bytes of `start..valid`, before the data; slices taken before keep the old memory.
    pub fn fill_head(&mut self, head: &[u8]) {
        let gap = (self.valid - self.start) as usize;
        assert!(
            head.len() >= gap,
            "a head of {} bytes for a gap of {gap}",
            head.len()
        );
        let used = (self.end - self.start) as usize;
        let mut buffer = AppendBuffer::with_capacity(self.capacity().max(used));
        buffer.append(&head[..gap]);
        buffer.append(&self.slice(self.valid, self.end));
        let open = self.is_open();
        let capacity = buffer.capacity();
        self.body = match open {
            true => Body::Open(buffer),
            false => Body::Sealed(buffer.seal(used.next_multiple_of(BLOCK_BYTES)), capacity),
        };
        self.valid = self.start;
    }
}

impl Extents {
    #[cfg(test)]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Extent> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Extent> {
        self.list.iter_mut()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of memory held.
    pub fn size(&self) -> usize {
        self.list.iter().map(Extent::capacity).sum()
    }

    /// The extent that is right about `position`, and the position from which the next one is.
    pub fn at(&self, position: u32) -> Option<(&Extent, u32)> {
        let after = self.list.partition_point(|e| e.valid <= position);
        let extent = self.list.get(after.checked_sub(1)?)?;
        let to = self
            .list
            .get(after)
            .map_or(extent.end, |next| extent.end.min(next.valid));
        (position < to).then_some((extent, to))
    }

    /// The lowest position above `position` that is in memory.
    pub fn next_after(&self, position: u32) -> Option<u32> {
        self.list
            .iter()
            .map(|e| e.valid)
            .find(|&valid| valid > position)
    }

    /// How far all bytes are in the file, where all below `position` are.
    pub fn written_from(&self, mut position: u32) -> u32 {
        let next = self.list.partition_point(|e| e.end <= position);
        for extent in self.list.range(next..) {
            position = position.max(extent.written);
            if extent.written < extent.end {
                break;
            }
        }
        position
    }

    /// Copies `bytes` to the end, `position`, into as many extents as it takes. `wanted` is how much more is
    /// expected soon. Returns the bytes of memory newly taken.
    ///
    /// `stamp` changes the copy in place where it can be had in one piece: answers whether it did.
    pub fn put(&mut self, position: u32, mut bytes: &[u8], wanted: usize) -> usize {
        let mut taken = 0;
        let mut position = position;
        while !bytes.is_empty() {
            taken += self.make_room(position, wanted.max(bytes.len()));
            let extent = self.list.back_mut().expect("made just above");
            let Body::Open(buffer) = &mut extent.body else {
                unreachable!("room is made in an open extent")
            };
            let count = bytes.len().min(buffer.room());
            buffer.append(&bytes[..count]);
            if buffer.room() == 0 {
                extent.seal();
            }
            extent.end += count as u32;
            position += count as u32;
            bytes = &bytes[count..];
        }
        taken
    }

    /// The open extent's memory after copying all of `bytes` there, if they fit; else nothing was done.
    pub fn put_whole(&mut self, bytes: &[u8]) -> Option<&mut [u8]> {
        let extent = self.list.back_mut()?;
        let Body::Open(buffer) = &mut extent.body else {
            return None;
        };
        // The last byte of room is left to `put`, which seals what is full.
        if buffer.room() <= bytes.len() {
            return None;
        }
        extent.end += bytes.len() as u32;
        Some(buffer.append(bytes))
    }

    /// Opens an extent at `position` unless one is open there. Returns the bytes of memory newly taken.
    pub fn make_room(&mut self, position: u32, wanted: usize) -> usize {
        if self.list.back().is_some_and(Extent::is_open) {
            return 0;
        }
        let block = floor(position);
        let head = self
            .list
            .back()
            .filter(|e| e.valid <= block && e.end == position)
            .map(|e| e.slice(block, position));
        let extent = match (position - block, head) {
            (0, _) => Extent::open(position, Some(&[]), wanted),
            (_, head) => Extent::open(position, head.as_deref(), wanted),
        };
        let taken = extent.capacity();
        self.list.push_back(extent);
        taken
    }

    /// Drops the oldest extents up to the one that starts at `start`, as far as they are sealed and wholly in the file.
    /// Returns their bytes.
    pub fn evict(&mut self, start: u32) -> usize {
        let mut freed = 0;
        while let Some(extent) = self.list.front() {
            let due = extent.start <= start && !extent.is_open() && extent.written >= extent.end;
            if !due {
                break;
            }
            freed += extent.capacity();
            self.list.pop_front();
        }
        freed
    }

    /// Forgets what lies at or past `position`, and the memory of the block that it cuts. Returns the bytes freed.
    pub fn truncate(&mut self, position: u32) -> usize {
        let before = self.size();
        self.list.retain(|e| e.end <= position);
        before - self.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize, first: u8) -> Vec<u8> {
        (0..count).map(|i| first.wrapping_add(i as u8)).collect()
    }

    fn gather(extents: &Extents, mut from: u32, to: u32) -> Vec<u8> {
        let mut out = Vec::new();
        while from < to {
            let (extent, until) = extents.at(from).expect("in memory");
            let until = until.min(to);
            out.extend_from_slice(&extent.slice(from, until));
            from = until;
        }
        out
    }

    #[test]
    fn a_batch_may_lie_in_several_extents() {
        let mut extents = Extents::default();
        let data = bytes(EXTENT_BYTES_MAX * 2 + 777, 3);
        extents.put(0, &data, 0);
        assert_eq!(extents.iter().count(), 3);
        assert_eq!(gather(&extents, 0, data.len() as u32), data);
        assert_eq!(gather(&extents, 5000, 5010), data[5000..5010]);
    }

    #[test]
    fn the_next_extent_begins_with_a_copy_of_the_partial_block() {
        let mut extents = Extents::default();
        let data = bytes(5000, 1);
        extents.put(0, &data, 0);
        let page = extents.iter_mut().next_back().expect("one").seal();
        assert_eq!(page.len(), 8192);
        assert!(page[5000..].iter().all(|&b| b == 0));
        let more = bytes(100, 200);
        extents.put(5000, &more, 0);
        let last = extents.iter().next_back().expect("two");
        assert_eq!(
            (last.start, last.valid, last.written, last.end),
            (4096, 4096, 5000, 5100)
        );
        assert_eq!(gather(&extents, 0, 5000), data);
        assert_eq!(gather(&extents, 4990, 5100)[10..], more);
    }

    #[test]
    fn a_cold_log_takes_appends_before_its_last_block_is_back() {
        let mut extents = Extents::default();
        extents.put(5000, b"new", 0);
        assert!(extents.at(4999).is_none(), "the head is not in memory");
        assert_eq!(extents.next_after(4999), Some(5000));
        let pinned = extents.at(5000).expect("in memory").0.slice(5000, 5003);
        let extent = extents.iter_mut().next().expect("one");
        extent.seal();
        extent.fill_head(&[9; 4096]);
        assert_eq!(
            (&*extent.slice(4999, 5003), &*pinned),
            (&b"\x09new"[..], &b"new"[..])
        );
        assert_eq!(extent.seal().len(), 4096);
    }

    #[test]
    fn only_written_extents_are_evicted_the_oldest_first() {
        let mut extents = Extents::default();
        extents.put(0, &bytes(EXTENT_BYTES_MIN, 0), 0);
        assert_eq!(extents.evict(0), 0, "not written");
        extents.iter_mut().for_each(|e| e.written = e.end);
        assert_eq!(extents.evict(0), EXTENT_BYTES_MIN);
        assert!(extents.is_empty());
    }

    /// Writes of one log end in any order; what an early one could not evict, a later one must.
    #[test]
    fn an_extent_written_out_of_order_is_evicted_with_the_next() {
        let mut extents = Extents::default();
        for i in 0..2 {
            extents.put(i * EXTENT_BYTES_MIN as u32, &bytes(EXTENT_BYTES_MIN, 0), 0);
        }
        let second = EXTENT_BYTES_MIN as u32;
        extents.iter_mut().skip(1).for_each(|e| e.written = e.end);
        assert_eq!(extents.evict(second), 0, "the first is not written");
        extents.iter_mut().for_each(|e| e.written = e.end);
        assert_eq!(extents.evict(second), 2 * EXTENT_BYTES_MIN);
    }

    #[test]
    fn what_is_written_behind_something_in_flight_does_not_count_yet() {
        let mut extents = Extents::default();
        for i in 0..3 {
            extents.put(i * EXTENT_BYTES_MIN as u32, &bytes(EXTENT_BYTES_MIN, 0), 0);
        }
        let size = EXTENT_BYTES_MIN as u32;
        extents.iter_mut().skip(1).for_each(|e| e.written = e.end);
        assert_eq!(extents.written_from(0), 0);
        extents.iter_mut().for_each(|e| e.written = e.end);
        assert_eq!(extents.written_from(0), 3 * size);
        extents.evict(size);
        assert_eq!(extents.written_from(2 * size), 3 * size);
        extents.put(3 * size, b"new", 0);
        assert_eq!(extents.written_from(3 * size), 3 * size);
    }

    #[test]
    fn truncation_forgets_the_block_that_it_cuts() {
        let mut extents = Extents::default();
        extents.put(0, &bytes(3000, 0), 0);
        extents.iter_mut().next_back().expect("one").seal();
        extents.put(3000, &bytes(3000, 0), 0);
        assert_eq!(extents.truncate(3000), EXTENT_BYTES_MIN);
        assert_eq!(extents.iter().count(), 1);
        assert!(extents.truncate(2999) > 0 && extents.is_empty());
    }
}
