//! What the records hold: made before the clock starts, so that making it costs the measured run nothing.

use crate::types::Prng;

/// Random bytes handed out in slices of a record's size. A slice comes back only after the whole pool has been
/// used, so no codec finds repeats inside a batch.
#[derive(Debug)]
pub struct Payload {
    pool: Vec<u8>,
    record_bytes: usize,
    position: usize,
    prng: Prng,
}

/// How the keys of records are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// No key: batch by batch over the partitions.
    None,
    /// One of `count` keys of eight bytes, each as likely; the key decides the partition.
    Uniform { count: u64 },
}

/// Written over the beginning of a record: whose it is and when it was due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Random for each run, so that records of another run in the same topic are not counted.
    pub run: u64,
    /// Nanoseconds since the run's clock began.
    pub due_ns: u64,
}

impl Payload {
    /// For one of `producers` whose batches hold `batch_bytes` before compression.
    pub fn new(record_bytes: usize, batch_bytes: usize, producers: usize, seed: u64) -> Payload {
        let mut prng = Prng::new(seed);
        let share = (POOLS_BYTES / producers.max(1)).min(POOL_BYTES);
        let mut pool = vec![0; share.max(2 * record_bytes.max(batch_bytes))];
        prng.fill(&mut pool);
        Payload {
            pool,
            record_bytes,
            position: 0,
            prng,
        }
    }

    /// The next record's value.
    pub fn next_value(&mut self) -> &[u8] {
        let start = self.advance();
        &self.pool[start..start + self.record_bytes]
    }

    /// The next record's value with `stamp` over its first [`Stamp::BYTES`].
    pub fn next_stamped(&mut self, stamp: Stamp) -> &[u8] {
        let start = self.advance();
        let value = &mut self.pool[start..start + self.record_bytes];
        stamp.write(value);
        value
    }

    /// The next record's key.
    pub fn next_key(&mut self, count: u64) -> [u8; 8] {
        self.prng.below(count).to_be_bytes()
    }

    fn advance(&mut self) -> usize {
        let start = match self.position + self.record_bytes <= self.pool.len() {
            true => self.position,
            false => 0,
        };
        self.position = start + self.record_bytes;
        start
    }
}

impl Stamp {
    /// A record must be at least this long to carry one.
    pub const BYTES: usize = 16;

    fn write(self, value: &mut [u8]) {
        value[..8].copy_from_slice(&self.run.to_be_bytes());
        value[8..16].copy_from_slice(&self.due_ns.to_be_bytes());
    }

    /// The stamp of a record of `run`, or `None` if it is none of its.
    pub fn read(value: &[u8], run: u64) -> Option<Stamp> {
        let found = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
        let due_ns = u64::from_be_bytes(value.get(8..16)?.try_into().ok()?);
        (found == run).then_some(Stamp { run, due_ns })
    }
}

/// Of one producer: larger than most batches that a codec sees at once.
const POOL_BYTES: usize = 8 << 20;
/// Of all producers, as far as two batches each allow.
const POOLS_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (
            Payload::new(100, 1000, 1, 1),
            Payload::new(100, 1000, 1, 1),
            Payload::new(100, 1000, 1, 2),
        );
        for _ in 0..1000 {
            let value = a.next_value().to_vec();
            assert_eq!(value, b.next_value());
            assert_ne!(value, c.next_value());
        }
    }

    #[test]
    fn values_differ_until_the_pool_is_used_and_then_begin_again() {
        let mut payload = Payload::new(1 << 20, 0, 1, 1);
        let first = payload.next_value().to_vec();
        for _ in 1..POOL_BYTES >> 20 {
            assert_ne!(payload.next_value(), first);
        }
        assert_eq!(payload.next_value(), first);
    }

    #[test]
    fn thousands_of_producers_share_a_bounded_memory() {
        let size = |batch_bytes, producers| {
            let payload = Payload::new(100, batch_bytes, producers, 1);
            payload.pool.len()
        };
        assert_eq!(size(64 << 10, 1), POOL_BYTES);
        assert_eq!(size(64 << 10, 2000), POOLS_BYTES / 2000);
        assert_eq!(size(64 << 10, 4000), 128 << 10);
    }

    #[test]
    fn records_of_any_size_fit() {
        for record_bytes in [0, 1, 16, POOL_BYTES + 1] {
            let mut payload = Payload::new(record_bytes, 0, 1, 1);
            for _ in 0..3 {
                assert_eq!(payload.next_value().len(), record_bytes);
            }
        }
    }

    #[test]
    fn a_stamp_is_read_only_by_its_own_run() {
        let mut payload = Payload::new(16, 0, 1, 1);
        let stamp = Stamp {
            run: 7,
            due_ns: u64::MAX - 1,
        };
        let value = payload.next_stamped(stamp).to_vec();
        assert_eq!(Stamp::read(&value, 7), Some(stamp));
        assert_eq!(Stamp::read(&value, 8), None);
        assert_eq!(Stamp::read(&value[..15], 7), None);
    }
}
