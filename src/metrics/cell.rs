//! The kinds of metric as one shard holds them: plain cells, for one thread.

use std::cell::{Cell, RefCell};

/// What happened so far; only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

/// How many there are now.
#[derive(Debug, Default)]
pub struct Gauge(Cell<i64>);

/// The most there is now of what does not add up: of several shards' values the highest counts.
#[derive(Debug, Default)]
pub struct Peak(Cell<i64>);

/// How often each size or time occurred.
#[derive(Debug)]
pub struct Histogram(RefCell<hdrhistogram::Histogram<u64>>);

/// A minute in microseconds, and more bytes than any batch has.
const HIGHEST: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    #[inline]
    pub fn increment(&self) {
        self.add(1);
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
    /// Counts one occurrence; below 1 as 1, beyond the range as its end.
    #[inline]
    pub fn record(&self, value: u64) {
        let value = value.clamp(1, HIGHEST);
        self.0.borrow_mut().saturating_record(value);
    }

    /// A copy of the counts so far.
    pub(super) fn counts(&self) -> hdrhistogram::Histogram<u64> {
        self.0.borrow().clone()
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        let empty = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST, SIGNIFICANT_DIGITS);
        Histogram(RefCell::new(empty.expect("bounds that are constants")))
    }
}
