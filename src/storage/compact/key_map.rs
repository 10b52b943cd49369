//! The last offset of every key, by a hash of the key, in bounded memory.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::types::Offset;

/// Keys with their last offsets. Keys are told apart by 128 bits of hash under a secret of this map's own: that two of
/// a billion keys meet has a chance of 10⁻²¹, and nobody can choose keys that do.
pub(super) struct KeyMap {
    hashers: [RandomState; 2],
    slots: Vec<Slot>,
    count: usize,
    count_max: usize,
}

/// Both halves of the hash, and one more than the offset. Zeros are an empty slot: memory that the allocator gives zeroed
/// need not be written before a key comes to lie there.
type Slot = [u64; 3];

/// Bytes of one slot: as many as an entry of Kafka's map has.
const SLOT_BYTES: usize = size_of::<Slot>();
/// The kernel gives memory in pieces of so many bytes at most, each cleared when it is first touched.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// How full the table gets: Kafka's `log.cleaner.io.buffer.load.factor`.
const LOAD_MAX: f64 = 0.9;

impl KeyMap {
    /// A map for at most `keys_max` keys, or fewer where those would take more than `bytes_max` of memory; one at least.
    pub fn new(keys_max: u64, bytes_max: usize) -> KeyMap {
        let wanted = (keys_max as f64 / LOAD_MAX) as usize + 2;
        let slots = wanted.min(bytes_max / SLOT_BYTES).max(2);
        KeyMap {
            hashers: [RandomState::new(), RandomState::new()],
            slots: vec![[0; 3]; slots],
            count: 0,
            count_max: ((slots as f64 * LOAD_MAX) as usize).clamp(1, slots - 1),
        }
    }

    /// Places in the table, one in each piece of memory that the kernel gives at once.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.slots.len()).step_by(HUGE_PAGE_BYTES / SLOT_BYTES)
    }

    /// Before the first key: has the kernel give the memory around a place. The first keys would else wait for all of it at once.
    pub fn touch(&mut self, place: usize) {
        std::hint::black_box(&mut self.slots)[place][2] = 0;
    }

    /// Notes that `key` occurs at `offset`, later than all before. `false`: there is no room for one more key, and nothing
    /// was noted.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.count == self.count_max {
                return false;
            }
            self.count += 1;
            [slot[0], slot[1]] = hash;
        }
        slot[2] = offset.0 as u64 + 1;
        true
    }

    /// The last offset noted for `key`.
    pub fn last(&self, key: &[u8]) -> Option<Offset> {
        let slot = &self.slots[self.find(self.hash(key))];
        Some(Offset(slot[2].checked_sub(1)? as i64))
    }

    /// How many keys were noted.
    pub fn count(&self) -> usize {
        self.count
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [0, 1].map(|i| {
            let mut hasher = self.hashers[i].build_hasher();
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The slot of a hash, or the empty one where it belongs. There is always an empty one.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        // The upper half of a product spreads a hash over any count of slots.
        let mut at = ((hash[0] as u128 * count as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || slot[..2] == hash {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_offset_of_each_key() {
        let mut map = KeyMap::new(1000, 1 << 20);
        for round in 0..3 {
            for key in 0..1000_i64 {
                assert!(map.put(&key.to_be_bytes(), Offset(round * 1000 + key)));
            }
        }
        assert_eq!(map.count(), 1000);
        for key in 0..1000_i64 {
            assert_eq!(map.last(&key.to_be_bytes()), Some(Offset(2000 + key)));
        }
        assert_eq!(map.last(b"another"), None);
        assert_eq!(map.last(b""), None, "an empty key is a key like any other");
    }

    #[test]
    fn a_full_map_takes_no_new_key_and_keeps_the_old_ones() {
        let mut map = KeyMap::new(1_000_000, 100 * SLOT_BYTES);
        let mut taken = 0;
        while map.put(&i32::to_be_bytes(taken), Offset(taken as i64)) {
            taken += 1;
        }
        assert_eq!((taken, map.count()), (90, 90));
        assert!(map.put(&7_i32.to_be_bytes(), Offset(500)), "a known key");
        assert_eq!(map.last(&7_i32.to_be_bytes()), Some(Offset(500)));
        assert_eq!(map.last(&90_i32.to_be_bytes()), None);
        let mut least = KeyMap::new(10, 0);
        assert!(least.put(b"a", Offset(0)) && !least.put(b"b", Offset(1)));
        assert_eq!(least.last(b"b"), None);
    }
}
