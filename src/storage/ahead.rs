//! Reading ahead: what a reader in sequence asks for next is on its way before it asks.
//!
//! A reader is recognised by where it reads: a lookup that begins inside the stretch that an earlier one ended, or right
//! behind it, goes on with that one (clients come back to the batch that `max_bytes` cut). The first lookup that had to wait
//! for the device is remembered; from the second on there is reading ahead, of as much as it asks for at a time at least, and
//! twice as far each time that it came too late. Who seeks is somebody else, and what was begun for the old place ends there.
//! Who has reached the end of a segment is forgotten: of those that are done, windows of others must not get smaller.
//!
//! All windows together are no more than a part of what the read cache may grow to, and the cache grows to hold them: else
//! one would drop what another waits for.

use std::ops::Range;
use std::rc::Rc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::cache::{CHUNK_BYTES, ChunkKey};
use super::join::join_bounded;
use super::log::{Log, LogId};
use super::shared::Shared;
use crate::rt::{Disk, Queue, spawn};
use crate::types::Offset;

/// How far ahead of a reader at least, and at most where it asks for less at a time, in bytes.
const WINDOW_BYTES_MIN: u32 = 2 * CHUNK_BYTES;
const WINDOW_BYTES_MAX: u32 = 16 * CHUNK_BYTES;
/// The part of the read cache that all windows together may take.
const CACHE_PART: usize = 4;
/// Readers of one segment that are remembered; the one that was not seen for longest goes.
const READERS_MAX: usize = 8;
/// Segments that are remembered.
const SEGMENTS_MAX: usize = 1024;
/// Chunks read at once for one reader.
const DEPTH: usize = 8;

/// A segment of a log, in the life that it has now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub log: LogId,
    pub generation: u32,
    pub base: Offset,
}

/// Who reads in sequence, and what is to be read for them.
#[derive(Default)]
pub(super) struct Ahead {
    readers: HashMap<Place, SmallVec<[Reader; 1]>>,
    due: Vec<(Place, Range<u32>)>,
}

/// Positions in the segment's file.
#[derive(Clone, Copy, Debug)]
struct Reader {
    /// Of the last lookup.
    began: u32,
    ended: u32,
    /// All below was asked for.
    asked: u32,
    window: u32,
}

impl Ahead {
    /// A lookup found `read`. Returns what the read cache is to hold at least, in bytes.
    ///
    /// - `waited`: for the device.
    /// - `is_over`: the segment's end was reached, or what memory holds of it.
    /// - `cache_bytes`: what the read cache may grow to.
    pub fn on_read(
        &mut self,
        place: Place,
        read: Range<u32>,
        waited: bool,
        is_over: bool,
        cache_bytes: usize,
    ) -> usize {
        if !waited && self.readers.is_empty() {
            return 0;
        }
        let places = self.readers.len().max(1);
        let all = cache_bytes / CACHE_PART / places;
        let length = read.end - read.start;
        let bound = u32::try_from(all).unwrap_or(u32::MAX);
        let bound = bound.min(length.max(WINDOW_BYTES_MAX));
        let known = self.readers.get_mut(&place).and_then(|readers| {
            let found = readers
                .iter()
                .position(|r| r.began < read.start && read.start <= r.ended)?;
            let reader = readers.remove(found);
            Some((readers, reader))
        });
        let Some((readers, mut reader)) = known else {
            if waited && !is_over {
                self.remember(place, read);
            }
            return 0;
        };
        if is_over {
            if readers.is_empty() {
                self.readers.remove(&place);
            }
            return 0;
        }
        reader.began = read.start;
        reader.ended = read.end;
        if waited {
            reader.window = reader.window.saturating_mul(2).max(length);
        }
        reader.window = reader.window.min(bound);
        reader.asked = reader.asked.max(read.end);
        let left = reader.asked - read.end;
        if reader.window >= CHUNK_BYTES && left <= reader.window / 2 {
            let to = read.end.saturating_add(reader.window);
            self.due.push((place, reader.asked..to));
            reader.asked = to;
        }
        // The newest is the last.
        readers.push(reader);
        reader.window as usize * places * 2
    }

    fn remember(&mut self, place: Place, read: Range<u32>) {
        if self.readers.len() >= SEGMENTS_MAX && !self.readers.contains_key(&place) {
            self.readers.clear();
        }
        let readers = self.readers.entry(place).or_default();
        if readers.len() >= READERS_MAX {
            readers.remove(0);
        }
        readers.push(Reader {
            began: read.start,
            ended: read.end,
            asked: read.end,
            window: WINDOW_BYTES_MIN / 2,
        });
    }

    /// Forgets the readers of a log.
    pub fn forget(&mut self, log: LogId) {
        self.readers.retain(|place, _| place.log != log);
    }
}

impl Shared {
    /// Begins to read what is due. By tasks of their own on the real disk; on a simulated one nothing is read ahead.
    ///
    /// A task for each window: how many reads are under way is bounded by the lanes, and a window never waits for the
    /// slowest chunk of another.
    pub(super) fn start_reading_ahead(self: &Rc<Shared>) {
        let due = std::mem::take(&mut self.ahead.borrow_mut().due);
        if let Disk::Sim(_) = self.disk {
            return;
        }
        for (place, range) in due {
            let Some(log) = self.log(place.log) else {
                continue;
            };
            spawn(Queue::Storage, "reading ahead", async move {
                log.load_ahead(place, range).await
            });
        }
    }
}

impl Log {
    /// Brings the chunks of `range` to the cache that are neither there nor in memory. Faults are left to who reads them.
    async fn load_ahead(&self, place: Place, range: Range<u32>) {
        let numbers = range.start.div_ceil(CHUNK_BYTES)..range.end.div_ceil(CHUNK_BYTES);
        let wanted = |number: &u32| self.is_worth_loading(place, *number);
        let loads = numbers
            .take_while(|number| self.is_in_file(place, *number))
            .filter(wanted)
            .map(|number| self.load_chunk(place.base, number));
        join_bounded(loads, DEPTH).await;
    }

    /// Whether the file holds all of a chunk, and memory not its beginning.
    fn is_in_file(&self, place: Place, number: u32) -> bool {
        let state = self.state();
        let Some(segment) = state.segment_at(place.base) else {
            return false;
        };
        let from = number.saturating_mul(CHUNK_BYTES);
        state.generation == place.generation
            && from.saturating_add(CHUNK_BYTES) <= segment.written
            && segment.extents.at(from).is_none()
    }

    fn is_worth_loading(&self, place: Place, number: u32) -> bool {
        let key = ChunkKey {
            log: self.id,
            generation: place.generation,
            base: place.base,
            number,
        };
        !self.shared.chunks.borrow().holds(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        log: LogId(0),
        generation: 0,
        base: Offset(0),
    };
    const MB: u32 = 1 << 20;
    const CACHE: usize = 64 << 20;

    fn due(ahead: &mut Ahead) -> Vec<(u32, u32)> {
        let due = std::mem::take(&mut ahead.due);
        due.into_iter()
            .map(|(_, range)| (range.start, range.end))
            .collect()
    }

    #[test]
    fn the_second_lookup_in_sequence_begins_it_and_waits_lengthen_it() {
        let mut ahead = Ahead::default();
        ahead.on_read(PLACE, 0..MB, true, false, CACHE);
        assert!(due(&mut ahead).is_empty(), "one lookup is no sequence");
        // The client comes back to the batch that was cut.
        ahead.on_read(PLACE, MB - 500..2 * MB, true, false, CACHE);
        assert_eq!(
            due(&mut ahead),
            [(2 * MB, 3 * MB + 500)],
            "as much as it asked for"
        );
        ahead.on_read(PLACE, 2 * MB..3 * MB, true, false, CACHE);
        let window = 2 * (MB + 500);
        assert_eq!(due(&mut ahead), [(3 * MB + 500, 3 * MB + window)]);
        let held = ahead.on_read(PLACE, 3 * MB..5 * MB, false, false, CACHE);
        assert_eq!(held, 2 * window as usize);
        assert_eq!(
            due(&mut ahead),
            [(3 * MB + window, 5 * MB + window)],
            "as far as before"
        );
    }

    #[test]
    fn who_seeks_or_reads_from_memory_gets_nothing() {
        let mut ahead = Ahead::default();
        ahead.on_read(PLACE, 0..MB, false, false, CACHE);
        assert!(ahead.readers.is_empty());
        ahead.on_read(PLACE, 0..MB, true, false, CACHE);
        ahead.on_read(PLACE, 50 * MB..51 * MB, true, false, CACHE);
        ahead.on_read(PLACE, 20 * MB..21 * MB, true, false, CACHE);
        ahead.on_read(PLACE, 20 * MB..21 * MB, true, false, CACHE);
        assert!(due(&mut ahead).is_empty());
        ahead.on_read(PLACE, 51 * MB..52 * MB, true, false, CACHE);
        assert_eq!(due(&mut ahead).len(), 1, "the others do not disturb it");
        ahead.forget(PLACE.log);
        assert!(ahead.readers.is_empty());
    }

    #[test]
    fn who_is_done_with_a_segment_takes_nothing_from_others() {
        let mut ahead = Ahead::default();
        for i in 0..100 {
            let place = Place {
                base: Offset(i),
                ..PLACE
            };
            ahead.on_read(place, 0..MB, true, false, CACHE);
            ahead.on_read(place, MB..2 * MB, true, false, CACHE);
            assert_eq!(due(&mut ahead), [(2 * MB, 3 * MB)], "segment {i}");
            ahead.on_read(place, 2 * MB..3 * MB, false, true, CACHE);
            assert!(ahead.readers.is_empty());
        }
    }

    #[test]
    fn many_readers_share_a_part_of_the_cache() {
        let mut ahead = Ahead::default();
        let place = |i: u32| Place {
            log: LogId(i),
            ..PLACE
        };
        for i in 0..32 {
            ahead.on_read(place(i), 0..MB, true, false, CACHE);
        }
        for step in 1..10 {
            for i in 0..32 {
                ahead.on_read(place(i), step * MB..(step + 1) * MB, true, false, CACHE);
            }
            let all: usize = due(&mut ahead)
                .iter()
                .map(|(from, to)| (to - from) as usize)
                .sum();
            assert!(all <= CACHE / CACHE_PART, "{all} bytes at step {step}");
        }
        for i in 0..5_000 {
            ahead.on_read(place(i), 0..MB, true, false, CACHE);
        }
        assert!(ahead.readers.len() <= SEGMENTS_MAX);
    }
}
