//! What one producer or consumer of a run has counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::series::{Grid, Series};

/// The measured part of a run, in nanoseconds since its clock began: warm-up before, drain after.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

/// Counts of one thread; merged when all have ended.
#[derive(Clone, Debug)]
pub struct Tally {
    window: Window,
    /// Records answered inside the window.
    pub records: u64,
    /// Bytes of those records: keys and values.
    pub bytes: u64,
    /// Records due inside the window that were never acknowledged, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Records acknowledged at any time, warm-up and drain included.
    pub records_ever: u64,
    /// The same by interval, the drain included.
    pub series: Series,
}

/// The counts of all workers of one thread: a histogram of each would be a lot of memory, and of work where an interval ends.
/// Never borrowed over an await.
pub type SharedTally = RefCell<Tally>;

impl Window {
    pub fn contains(self, ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&ns)
    }

    pub fn seconds(self) -> f64 {
        (self.end_ns - self.start_ns) as f64 / 1e9
    }
}

impl Tally {
    /// Counts without a time line: all of the window is one interval.
    pub fn new(window: Window) -> Tally {
        let whole = Duration::from_nanos(window.end_ns - window.start_ns);
        Tally::with_series(window, Series::new(Grid::new(window, whole), None))
    }

    pub fn with_series(window: Window, series: Series) -> Tally {
        Tally {
            window,
            series,
            records: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            records_ever: 0,
        }
    }

    /// Latencies in microseconds, of records due inside the window.
    pub fn latency_us(&mut self) -> &Histogram<u64> {
        self.series.total_us()
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// `count` records of `bytes` bytes in all, all due at `due_ns`, were answered at `now_ns`.
    pub fn answered(&mut self, due_ns: u64, now_ns: u64, count: u64, bytes: u64) {
        self.latency(due_ns, now_ns, count);
        self.received(now_ns, count, bytes);
    }

    /// The latency of `count` records due at `due_ns`, without counting them as received.
    pub fn latency(&mut self, due_ns: u64, now_ns: u64, count: u64) {
        if self.window.contains(due_ns) {
            let us = now_ns.saturating_sub(due_ns) / 1000;
            let us = us.clamp(1, LATENCY_US_MAX);
            self.series.latency(now_ns, us, count);
        }
    }

    /// `count` records arrived at `now_ns`.
    pub fn received(&mut self, now_ns: u64, count: u64, bytes: u64) {
        self.records_ever += count;
        self.series.received(now_ns, count, bytes);
        if self.window.contains(now_ns) {
            self.records += count;
            self.bytes += bytes;
        }
    }

    /// `count` records due at `due_ns` will never be acknowledged.
    pub fn failed(&mut self, due_ns: u64, count: u64, why: &str) {
        if !self.window.contains(due_ns) || count == 0 {
            return;
        }
        self.series.failed(due_ns, count);
        match self.errors.get_mut(why) {
            Some(failed) => *failed += count,
            None => {
                self.errors.insert(why.to_owned(), count);
            }
        }
    }

    /// Adds what another worker of the same run has counted.
    pub fn merge(&mut self, other: &Tally) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.records_ever += other.records_ever;
        self.series.merge(&other.series);
        for (why, count) in &other.errors {
            *self.errors.entry(why.clone()).or_default() += count;
        }
    }

    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Latencies above an hour are counted as an hour.
pub const LATENCY_US_MAX: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start_ns: 1_000_000,
        end_ns: 2_000_000,
    };

    #[test]
    fn warm_up_and_drain_do_not_count() {
        let mut tally = Tally::new(WINDOW);
        tally.answered(900_000, 950_000, 5, 50);
        assert_eq!((tally.records, tally.latency_us().len()), (0, 0));
        // Due in the warm-up, answered in the window: throughput counts it, latency does not.
        tally.answered(999_999, 1_000_000, 5, 50);
        assert_eq!((tally.records, tally.latency_us().len()), (5, 0));
        // Due in the window, answered in the drain: the other way round, so that a stall at the end shows.
        tally.answered(1_999_999, 9_000_000, 7, 70);
        assert_eq!((tally.records, tally.latency_us().len()), (5, 7));
        assert_eq!(tally.latency_us().max() / 100, 70);
        assert_eq!(tally.records_ever, 17);
    }

    #[test]
    fn merging_adds_everything() {
        let (mut a, mut b) = (Tally::new(WINDOW), Tally::new(WINDOW));
        a.answered(1_000_000, 1_500_000, 1, 10);
        b.answered(1_000_000, 1_600_000, 2, 20);
        a.failed(1_100_000, 3, "CLOSED");
        b.failed(1_100_000, 4, "CLOSED");
        b.failed(5, 4, "CLOSED");
        a.merge(&b);
        assert_eq!((a.records, a.bytes, a.latency_us().len()), (3, 30, 3));
        assert_eq!(a.errors_total(), 7);
    }

    #[test]
    fn the_intervals_together_hold_what_the_whole_holds() {
        let grid = Grid::new(WINDOW, Duration::from_nanos(300_000));
        let mut tally = Tally::with_series(WINDOW, Series::new(grid, None));
        for step in 0..2_000 {
            let due_ns = 900_000 + step * 1_000;
            tally.answered(due_ns, due_ns + step * 500, 1, 10);
            tally.failed(due_ns, step % 2, "CLOSED");
        }
        let measured = grid.measured_count();
        let mut sum = Histogram::<u64>::new(3).unwrap();
        let (mut records, mut errors) = (0, 0);
        for (index, counted) in tally.series.intervals().iter().enumerate() {
            sum.add(counted.latency_us()).unwrap();
            records += if index < measured { counted.records } else { 0 };
            errors += counted.errors;
        }
        assert_eq!(sum.len(), tally.latency_us().len());
        assert_eq!(
            sum.value_at_quantile(0.9),
            tally.latency_us().value_at_quantile(0.9)
        );
        assert_eq!((records, errors), (tally.records, tally.errors_total()));
    }

    #[test]
    fn a_latency_beyond_the_histogram_is_kept_at_its_bound() {
        let mut tally = Tally::new(Window {
            start_ns: 0,
            end_ns: 10,
        });
        tally.latency(0, u64::MAX, 1);
        assert_eq!(tally.latency_us().len(), 1);
    }
}
