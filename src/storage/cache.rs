//! The read cache: aligned chunks of segment files, evicted by CLOCK under a byte budget. Public for its bench alone.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashSet;

use super::log::LogId;
use crate::rt::{Page, Slice};
use crate::types::Offset;

/// Bytes of a chunk of file.
pub const CHUNK_BYTES: u32 = 256 << 10;

/// The budget before any chunk was missed again.
const BUDGET_MIN: usize = 64 << 20;
/// Chunks that are let go in one turn: memory goes back to the kernel for each.
const EVICTED_AT_ONCE: usize = 64;
/// Evicted chunks that are remembered at least; else as many as it may hold.
const GHOSTS_MIN: usize = 512;

/// Which chunk: of which life of which log (its generation changes when bytes are taken back), segment, number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkKey {
    pub log: LogId,
    pub base: Offset,
    pub generation: u32,
    pub number: u32,
}

/// Chunks by key. What a reader holds stays alive after eviction, and is not counted here any more: whoever keeps an answer
/// counts it.
pub struct ChunkCache {
    /// What it may hold now; grows up to `budget_max` as chunks are missed that were here before, or room is made.
    budget: usize,
    budget_max: usize,
    /// Keys of the chunks that were evicted last, and the same for lookups, without those that came back.
    ghosts: VecDeque<ChunkKey>,
    known_ghosts: HashSet<ChunkKey>,
    size: usize,
    slots: Vec<Slot>,
    /// In order, so that a log's are found together.
    by_key: BTreeMap<ChunkKey, usize>,
    hand: usize,
}

struct Slot {
    key: ChunkKey,
    page: Page,
    used: bool,
    /// Bytes of the chunk whose batches were held against their checksums.
    checked: (u32, u32),
}

impl ChunkCache {
    /// An empty cache, which may grow to `budget` bytes and begins with less.
    pub fn new(budget: usize) -> ChunkCache {
        ChunkCache {
            budget: budget.min(BUDGET_MIN),
            budget_max: budget,
            ghosts: VecDeque::new(),
            known_ghosts: HashSet::new(),
            size: 0,
            slots: Vec::new(),
            by_key: BTreeMap::new(),
            hand: 0,
        }
    }

    /// The bytes of `position..end` of a chunk, counted from the chunk's first, if all were read.
    pub fn find(&mut self, key: ChunkKey, position: u32, end: u32) -> Option<Slice> {
        let slot = &mut self.slots[*self.by_key.get(&key)?];
        if (end as usize) > slot.page.len() {
            return None;
        }
        slot.used = true;
        Some(slot.page.slice(position as usize..end as usize))
    }

    /// Whether a chunk is there as a whole.
    pub fn holds(&self, key: ChunkKey) -> bool {
        let slot = self.by_key.get(&key).map(|&i| &self.slots[i]);
        slot.is_some_and(|slot| slot.page.len() >= CHUNK_BYTES as usize)
    }

    /// Bytes that it may grow to.
    pub fn budget_max(&self) -> usize {
        self.budget_max
    }

    /// Has it grow to `budget` bytes and no more. Lets a few chunks go where it holds more; returns whether it is done, or to be
    /// asked again.
    pub fn limit(&mut self, budget: usize) -> bool {
        self.budget_max = budget;
        for _ in 0..EVICTED_AT_ONCE {
            if !self.is_over(budget) {
                break;
            }
            self.evict_one();
        }
        // Whoever inserts meanwhile lets no more go than it brings.
        self.budget = self.budget.min(self.size.max(budget));
        !self.is_over(budget)
    }

    /// Whether chunks are to go: the last one stays, whatever it holds.
    fn is_over(&self, budget: usize) -> bool {
        self.size > budget && self.slots.len() > 1
    }

    /// Has it hold so many bytes at least, as far as it may grow.
    pub fn grow(&mut self, bytes: usize) {
        self.budget = self.budget.max(bytes.min(self.budget_max));
    }

    /// Has it hold `bytes` more than it does, as far as it may grow: no chunk goes for them before that.
    pub fn make_room(&mut self, bytes: usize) {
        self.grow(self.size + bytes);
    }

    /// Takes a chunk in, in place of an earlier and shorter reading of it.
    pub fn insert(&mut self, key: ChunkKey, page: Page) {
        if self.known_ghosts.remove(&key) {
            self.budget = (self.budget + 2 * page.len()).min(self.budget_max);
        }
        self.size += page.len();
        match self.by_key.get(&key) {
            Some(&i) => {
                let old = std::mem::replace(&mut self.slots[i].page, page);
                // Read anew: what the device said before says nothing of what it says now.
                self.slots[i].checked = (0, 0);
                self.size -= old.len();
            }
            None => {
                self.by_key.insert(key, self.slots.len());
                // Not yet used: a chunk that is read once goes before one that was hit.
                self.slots.push(Slot {
                    key,
                    page,
                    used: false,
                    checked: (0, 0),
                });
            }
        }
        while self.is_over(self.budget) {
            self.evict_one();
        }
    }

    /// Whether all batches in `from..to` of a chunk were held against their checksums since it was read.
    pub fn is_checked(&self, key: ChunkKey, from: u32, to: u32) -> bool {
        let slot = self.by_key.get(&key).map(|&i| &self.slots[i]);
        slot.is_some_and(|slot| slot.checked.0 <= from && to <= slot.checked.1)
    }

    /// Notes that they were. Of two stretches that do not touch, the newer one counts: readers go forward.
    pub fn note_checked(&mut self, key: ChunkKey, from: u32, to: u32) {
        let Some(&i) = self.by_key.get(&key) else {
            return;
        };
        let checked = &mut self.slots[i].checked;
        *checked = match from <= checked.1 && checked.0 <= to {
            true => (checked.0.min(from), checked.1.max(to)),
            false => (from, to),
        };
    }

    fn evict_one(&mut self) {
        // The last slot is the one that came last.
        let eligible = self.slots.len() - 1;
        loop {
            self.hand %= eligible;
            let slot = &mut self.slots[self.hand];
            if !std::mem::take(&mut slot.used) {
                break;
            }
            self.hand += 1;
        }
        let gone = self.slots[self.hand].key;
        // The newest takes its place: the hand goes by, or that would be the next to go.
        self.remove(self.hand);
        self.hand += 1;
        let ghosts_max = GHOSTS_MIN.max(self.budget_max / CHUNK_BYTES as usize);
        while self.ghosts.len() >= ghosts_max
            && let Some(forgotten) = self.ghosts.pop_front()
        {
            self.known_ghosts.remove(&forgotten);
        }
        self.ghosts.push_back(gone);
        self.known_ghosts.insert(gone);
    }

    fn remove(&mut self, i: usize) {
        let gone = self.slots.swap_remove(i);
        self.size -= gone.page.len();
        self.by_key.remove(&gone.key);
        if let Some(moved) = self.slots.get(i) {
            self.by_key.insert(moved.key, i);
        }
    }

    /// Forgets a log's chunks.
    pub fn forget(&mut self, log: LogId) {
        self.forget_below(log, Offset(i64::MAX));
    }

    /// Forgets the segments of a log that lie below `base`.
    pub fn forget_below(&mut self, log: LogId, base: Offset) {
        let at = |base| ChunkKey {
            log,
            base,
            generation: 0,
            number: 0,
        };
        let keys = self.by_key.range(at(Offset::ZERO)..at(base));
        let keys: Vec<ChunkKey> = keys.map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(self.by_key[&key]);
        }
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::Buffer;

    fn key(number: u32) -> ChunkKey {
        ChunkKey {
            log: LogId(0),
            generation: 0,
            base: Offset(0),
            number,
        }
    }

    fn page(fill: u8) -> Page {
        Buffer::copy_of(&[fill; 4096]).freeze()
    }

    #[test]
    fn what_was_hit_outlives_what_was_read_once() {
        let mut cache = ChunkCache::new(4 * 4096);
        for n in 0..4 {
            cache.insert(key(n), page(n as u8));
        }
        assert_eq!(cache.find(key(1), 5, 6).as_deref(), Some(&[1][..]));
        for n in 10..13 {
            cache.insert(key(n), page(0));
        }
        assert_eq!(cache.size(), 4 * 4096);
        assert!(cache.find(key(1), 0, 1).is_some());
        assert!(cache.find(key(0), 0, 1).is_none());
    }

    /// Each lookup begins in the chunk that the one before ended in, and may find it though chunks came in since.
    #[test]
    fn readers_in_sequence_find_what_they_ended_in_and_take_no_more_memory() {
        let mut cache = ChunkCache::new(64 * 4096);
        cache.budget = 16 * 4096;
        let (streams, chunks) = (3, 4);
        for step in 0..100 {
            for stream in 0..streams {
                let first = stream * 1_000 + step * chunks;
                let is_there = cache.find(key(first), 0, 1).is_some();
                assert!(is_there || step == 0, "step {step} of stream {stream}");
                for number in first..=first + chunks {
                    if cache.find(key(number), 0, 1).is_none() {
                        cache.insert(key(number), page(0));
                    }
                }
            }
        }
        assert_eq!(cache.budget, 16 * 4096);
    }

    #[test]
    fn what_is_read_again_grows_the_cache_until_it_stays_in_it() {
        let mut cache = ChunkCache::new(4_000 * 4096);
        cache.budget = 16 * 4096;
        let mut missed = [0; 3];
        for missed in &mut missed {
            for n in 0..400 {
                if cache.find(key(n), 0, 1).is_none() {
                    *missed += 1;
                    cache.insert(key(n), page(0));
                }
            }
        }
        assert_eq!(missed, [400, 400 - 16, 0]);
    }

    #[test]
    fn room_is_made_up_to_what_it_may_hold() {
        let mut cache = ChunkCache::new(100 * 4096);
        cache.budget = 4 * 4096;
        for n in 0..200 {
            cache.make_room(4096);
            cache.insert(key(n), page(0));
            assert_eq!(cache.size(), (n as usize + 1).min(100) * 4096);
        }
    }

    #[test]
    fn a_lower_limit_is_reached_in_steps_and_kept_to() {
        let mut cache = ChunkCache::new(300 * 4096);
        for n in 0..300 {
            cache.insert(key(n), page(0));
        }
        let limit = 100 * 4096;
        assert!(!cache.limit(limit));
        assert_eq!(cache.size(), (300 - EVICTED_AT_ONCE) * 4096);
        cache.insert(key(1_000), page(0));
        assert_eq!(cache.size(), (300 - EVICTED_AT_ONCE) * 4096, "no more go");
        while !cache.limit(limit) {}
        assert_eq!(cache.size(), limit);
        for n in 2_000..2_100 {
            cache.insert(key(n), page(0));
            cache.insert(key(n - 1_900), page(0));
        }
        assert!(cache.size() <= limit, "{}", cache.size());
        assert!(cache.limit(300 * 4096));
        cache.grow(300 * 4096);
        (0..300).for_each(|n| cache.insert(key(n), page(0)));
        assert_eq!(cache.size(), 300 * 4096, "and grows again");
    }

    #[test]
    fn a_short_reading_is_replaced() {
        let mut cache = ChunkCache::new(1 << 20);
        cache.insert(key(0), page(1));
        assert!(
            cache.find(key(0), 4000, 4097).is_none(),
            "past what was read"
        );
        cache.insert(key(0), Buffer::copy_of(&[2; 8192]).freeze());
        assert_eq!(cache.find(key(0), 4096, 4097).as_deref(), Some(&[2][..]));
        assert_eq!(cache.size(), 8192);
        cache.forget(LogId(0));
        assert_eq!(cache.size(), 0);
    }

    #[test]
    fn a_chunk_read_anew_is_checked_anew() {
        let mut cache = ChunkCache::new(1 << 20);
        cache.insert(key(0), page(1));
        assert!(!cache.is_checked(key(0), 0, 100));
        cache.note_checked(key(0), 0, 100);
        cache.note_checked(key(0), 100, 200);
        assert!(cache.is_checked(key(0), 50, 200));
        assert!(!cache.is_checked(key(0), 50, 201));
        cache.note_checked(key(0), 1000, 2000);
        assert!(
            !cache.is_checked(key(0), 0, 100),
            "two stretches do not become one"
        );
        cache.insert(key(0), page(1));
        assert!(!cache.is_checked(key(0), 1000, 1001));
    }
}
