//! The kinds of metric as one shard holds them: plain cells, for one thread.

use std::cell::{Cell, OnceCell};

/// What happened so far; only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

/// How many there are now.
#[derive(Debug, Default)]
pub struct Gauge(Cell<i64>);

/// The most there is now of what does not add up: of several shards' values the highest counts.
#[derive(Debug, Default)]
pub struct Peak(Cell<i64>);

/// How often each size or time occurred: four buckets to each doubling, from 1 to 2²⁶, which is 1 µs to 67 s and 1 B to
/// 64 MiB.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Cell<u64>; BUCKETS],
    sum: Cell<u64>,
}

/// A histogram's counts, taken out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counts {
    buckets: Box<[u64; BUCKETS]>,
    sum: u64,
}

/// Histograms told apart by a number, such as the key of an API; each is made with its first value.
#[derive(Debug)]
pub struct ByKey([OnceCell<Box<Histogram>>; KEYS]);

/// One more than the highest key of [`ByKey`].
pub const KEYS: usize = 96;
/// Buckets to each doubling, as a power of two.
const SUB_BITS: u32 = 2;
/// Values from this power of two on are counted in the last bucket.
const HIGHEST_BIT: u32 = 26;
const BUCKETS: usize = ((HIGHEST_BIT - SUB_BITS + 1) << SUB_BITS) as usize;

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Takes over a count that is kept elsewhere and only grows there.
    pub fn set(&self, count: u64) {
        self.0.set(count);
    }

    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

impl Gauge {
    #[inline]
    pub fn increment(&self) {
        self.0.set(self.0.get() + 1);
    }

    #[inline]
    pub fn decrement(&self) {
        self.0.set(self.0.get() - 1);
    }

    #[inline]
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    pub fn value(&self) -> i64 {
        self.0.get()
    }
}

impl Peak {
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    pub fn value(&self) -> i64 {
        self.0.get()
    }
}

impl Histogram {
    /// Counts one occurrence; below 1 as 1, beyond the range as its end. Two additions, nothing else.
    #[inline]
    pub fn record(&self, value: u64) {
        let bucket = &self.buckets[bucket_of(value)];
        bucket.set(bucket.get() + 1);
        self.sum.set(self.sum.get().wrapping_add(value));
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (count, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.get();
        }
        counts.sum = self.sum.get();
        counts
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: [const { Cell::new(0) }; BUCKETS],
            sum: Cell::new(0),
        }
    }
}

/// The bucket whose upper end, which belongs to it, is the first that is not below `value`.
#[inline]
fn bucket_of(value: u64) -> usize {
    let below = value.saturating_sub(1).min((1 << HIGHEST_BIT) - 1);
    if below < 1 << SUB_BITS {
        return below as usize;
    }
    let octave = below.ilog2();
    let sub = (below >> (octave - SUB_BITS)) as usize & ((1 << SUB_BITS) - 1);
    ((octave - SUB_BITS + 1) << SUB_BITS) as usize + sub
}

/// The highest value that a bucket counts.
fn upper_of(bucket: usize) -> u64 {
    let (octave, sub) = (bucket >> SUB_BITS, (bucket & ((1 << SUB_BITS) - 1)) as u64);
    match octave {
        0 => sub + 1,
        _ => ((1 << SUB_BITS) + sub + 1) << (octave - 1),
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            buckets: Box::new([0; BUCKETS]),
            sum: 0,
        }
    }
}

impl Counts {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Of all values, in the unit they were recorded in.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn add(&mut self, other: &Counts) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&*other.buckets) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The value that `share` (0 to 1) of all are not above, at most a quarter too high; 0 while there is none.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_of(bucket);
            }
        }
        0
    }

    /// How many were above one power of two and not above the next, beginning with all up to the lowest that is told;
    /// each with its upper end.
    pub fn octaves(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut next = 0;
        (LOWEST_TOLD..=HIGHEST_BIT).map(move |bit| {
            let end = ((bit - SUB_BITS + 1) << SUB_BITS) as usize;
            let count = self.buckets[next..end.min(BUCKETS)].iter().sum();
            next = end;
            (1 << bit, count)
        })
    }
}

/// Printers tell powers of two from this one on: a scrape has few lines a histogram, and nobody asks below 16 µs.
const LOWEST_TOLD: u32 = 4;

impl Default for ByKey {
    fn default() -> ByKey {
        ByKey([const { OnceCell::new() }; KEYS])
    }
}

impl ByKey {
    /// Counts one occurrence of `key`; a key out of the range is counted as 0.
    #[inline]
    pub fn record(&self, key: i16, value: u64) {
        let index = usize::try_from(key).ok().filter(|index| *index < KEYS);
        let histogram = self.0[index.unwrap_or(0)].get_or_init(Box::default);
        histogram.record(value);
    }

    /// Whether a key occurred.
    pub fn has(&self, key: i16) -> bool {
        let cell = usize::try_from(key)
            .ok()
            .and_then(|index| self.0.get(index));
        cell.is_some_and(|cell| cell.get().is_some())
    }

    /// The counts of the keys that occurred.
    pub fn counts(&self) -> impl Iterator<Item = (i16, Counts)> + '_ {
        let made = self.0.iter().enumerate();
        made.filter_map(|(key, cell)| Some((key as i16, cell.get()?.counts())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_that_ends_at_it_or_after() {
        let mut before = 0;
        for bucket in 0..BUCKETS {
            let upper = upper_of(bucket);
            assert!(upper > before, "{bucket}");
            assert_eq!(bucket_of(upper), bucket, "its end belongs to it");
            assert_eq!(bucket_of(before + 1), bucket, "and what follows the last");
            assert!(
                upper <= 4 || (upper - before) * 4 <= upper,
                "a quarter wide at most"
            );
            before = upper;
        }
        assert_eq!(before, 1 << HIGHEST_BIT);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket_of(0), 0);
    }

    #[test]
    fn octaves_hold_every_value_once() {
        let histogram = Histogram::default();
        let values = [0, 1, 15, 16, 17, 32, 1 << 25, 1 << 26, u64::MAX >> 8];
        values.iter().for_each(|value| histogram.record(*value));
        let octaves: Vec<_> = histogram.counts().octaves().collect();
        assert_eq!(octaves[0], (16, 4));
        assert_eq!(octaves[1], (32, 2));
        assert_eq!(octaves.last(), Some(&(1 << 26, 2)));
        let told: u64 = octaves.iter().map(|(_, count)| count).sum();
        assert_eq!(told, values.len() as u64);
    }
}
