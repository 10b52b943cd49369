//! The time line of a run: what one worker counted in each interval, and the latest latencies for the progress.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::report::Percentiles;
use super::tally::{LATENCY_US_MAX, Window};

/// How the measured part and the drain after it are cut into intervals.
///
/// Intervals are of one length, but for the last one of the measured part, which ends where that ends.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    window: Window,
    interval_ns: u64,
}

impl Grid {
    pub fn new(window: Window, interval: Duration) -> Grid {
        Grid {
            window,
            interval_ns: (interval.as_nanos() as u64).max(1),
        }
    }

    /// The interval that holds `ns`; `None` in the warm-up. What comes very late is in the last one there is.
    pub fn index(self, ns: u64) -> Option<usize> {
        let since_ns = ns.checked_sub(self.window.start_ns)?;
        let length_ns = self.window.end_ns - self.window.start_ns;
        if since_ns < length_ns {
            return Some((since_ns / self.interval_ns) as usize);
        }
        let drained = (since_ns - length_ns) / self.interval_ns;
        Some(self.measured_count() + drained.min(DRAIN_INTERVALS_MAX - 1) as usize)
    }

    /// How many intervals the measured part has.
    pub fn measured_count(self) -> usize {
        (self.window.end_ns - self.window.start_ns).div_ceil(self.interval_ns) as usize
    }

    /// Start and end of an interval, half-open, in nanoseconds of the run's clock.
    pub fn bounds(self, index: usize) -> (u64, u64) {
        let (start_ns, end_ns) = (self.window.start_ns, self.window.end_ns);
        match index.checked_sub(self.measured_count()) {
            None => {
                let from = start_ns + index as u64 * self.interval_ns;
                (from, (from + self.interval_ns).min(end_ns))
            }
            Some(drained) => {
                let from = end_ns + drained as u64 * self.interval_ns;
                (from, from + self.interval_ns)
            }
        }
    }

    /// Seconds since the measured part began; negative in the warm-up.
    pub fn seconds_at(self, ns: u64) -> f64 {
        (ns as f64 - self.window.start_ns as f64) / 1e9
    }
}

/// What was counted in one interval.
#[derive(Clone, Default, Debug)]
pub struct Counted {
    /// Records answered in it, and their keys and values in bytes.
    pub records: u64,
    pub bytes: u64,
    /// Records due in it that were never acknowledged.
    pub errors: u64,
    /// Latencies in microseconds and how often each, rising, of answers that came in this interval.
    latencies: Vec<(u32, u32)>,
}

/// The intervals of one worker, or of several merged.
///
/// A latency belongs to the interval in which its answer came, as in every HDR interval log. Only those of records due
/// in the measured part count, so that all intervals together hold what the run's own histogram holds.
#[derive(Clone, Debug)]
pub struct Series {
    grid: Grid,
    intervals: Vec<Counted>,
    /// The latencies of the interval being counted; it is kept small, as pairs, once that is over,
    open: Histogram<u64>,
    /// and is added here, so that a record is counted once.
    total: Histogram<u64>,
    open_index: usize,
    /// Of that interval: most of what comes is in it, and need not be divided.
    open_bounds: (u64, u64),
    live: Option<Arc<Live>>,
}

impl Series {
    /// - `live`: told the latencies of each interval when it is over.
    pub fn new(grid: Grid, live: Option<Arc<Live>>) -> Series {
        Series {
            grid,
            intervals: Vec::new(),
            open: Histogram::new(3).expect("three digits are allowed"),
            total: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
                .expect("1 µs to an hour with three digits is a valid histogram"),
            open_index: 0,
            open_bounds: grid.bounds(0),
            live,
        }
    }

    pub fn grid(&self) -> Grid {
        self.grid
    }

    pub fn received(&mut self, now_ns: u64, records: u64, bytes: u64) {
        if let Some(index) = self.index(now_ns) {
            let counted = self.at(index);
            counted.records += records;
            counted.bytes += bytes;
        }
    }

    /// All latencies that were counted, in microseconds, whichever interval they are of.
    pub fn total_us(&mut self) -> &Histogram<u64> {
        self.close();
        &self.total
    }

    /// `count` latencies of `us` microseconds, known at `now_ns`.
    pub fn latency(&mut self, now_ns: u64, us: u64, count: u64) {
        let Some(index) = self.index(now_ns) else {
            return;
        };
        if index != self.open_index {
            self.close();
            self.open_index = index;
            self.open_bounds = self.grid.bounds(index);
        }
        // It grows as needed, which only memory could refuse.
        let _ = self.open.record_n(us, count);
    }

    pub fn failed(&mut self, due_ns: u64, records: u64) {
        if let Some(index) = self.grid.index(due_ns) {
            self.at(index).errors += records;
        }
    }

    /// Adds what another worker of the same run has counted.
    pub fn merge(&mut self, other: &Series) {
        self.close();
        let mut other = other.clone();
        other.close();
        let added_up = self.total.add(&other.total);
        added_up.expect("every series has the same bounds");
        for (index, more) in other.intervals.iter().enumerate() {
            let own = self.at(index);
            own.records += more.records;
            own.bytes += more.bytes;
            own.errors += more.errors;
            own.latencies = added(&own.latencies, &more.latencies);
        }
    }

    /// Every interval from the first to the last in which anything was counted.
    pub fn intervals(&mut self) -> &[Counted] {
        self.close();
        &self.intervals
    }

    fn index(&self, ns: u64) -> Option<usize> {
        let (start_ns, end_ns) = self.open_bounds;
        match (start_ns..end_ns).contains(&ns) {
            true => Some(self.open_index),
            false => self.grid.index(ns),
        }
    }

    fn at(&mut self, index: usize) -> &mut Counted {
        if self.intervals.len() <= index {
            self.intervals.resize_with(index + 1, Counted::default);
        }
        &mut self.intervals[index]
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        if let Some(live) = &self.live {
            live.publish(self.open_index, &self.open);
        }
        let pairs: Vec<(u32, u32)> = self
            .open
            .iter_recorded()
            .map(|value| {
                let us = value.value_iterated_to().min(LATENCY_US_MAX) as u32;
                (us, value.count_at_value().min(u32::MAX as u64) as u32)
            })
            .collect();
        let index = self.open_index;
        let counted = self.at(index);
        counted.latencies = added(&counted.latencies, &pairs);
        // Nothing is beyond the bounds: latencies are cut to them before they are counted.
        let _ = self.total.add(&self.open);
        self.open.reset();
    }
}

impl Counted {
    /// Latencies in microseconds.
    pub fn latency_us(&self) -> Histogram<u64> {
        let mut us = Histogram::new(3).expect("three digits are allowed");
        for &(value, count) in &self.latencies {
            let _ = us.record_n(value as u64, count as u64);
        }
        us
    }
}

/// The sum of two lists of values, rising, and their counts.
fn added(a: &[(u32, u32)], b: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut sum = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(&&(of_a, count_a)), Some(&&(of_b, count_b))) = (a.peek(), b.peek()) {
        if of_a <= of_b {
            a.next();
        }
        if of_b <= of_a {
            b.next();
        }
        sum.push(match of_a.cmp(&of_b) {
            std::cmp::Ordering::Less => (of_a, count_a),
            std::cmp::Ordering::Greater => (of_b, count_b),
            std::cmp::Ordering::Equal => (of_a, count_a.saturating_add(count_b)),
        });
    }
    sum.extend(a.chain(b));
    sum
}

/// The latencies of the newest interval that some worker has ended, shared between the workers and the progress.
#[derive(Default, Debug)]
pub struct Live {
    newest: Mutex<Option<(usize, Histogram<u64>)>>,
}

impl Live {
    fn publish(&self, index: usize, us: &Histogram<u64>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *newest {
            Some((of, _)) if *of > index => {}
            Some((of, sum)) if *of == index => {
                // Both resize themselves: only memory could make this fail.
                let _ = sum.add(us);
            }
            _ => *newest = Some((index, us.clone())),
        }
    }

    /// `None` until the first interval is over.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().and_then(|(_, us)| Percentiles::of(us))
    }
}

/// Answers that come later than so many intervals after the measured part are in the last of them.
const DRAIN_INTERVALS_MAX: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start_ns: 1_000,
        end_ns: 3_500,
    };

    fn grid() -> Grid {
        Grid::new(WINDOW, Duration::from_nanos(1_000))
    }

    #[test]
    fn the_drain_begins_an_interval_of_its_own() {
        let grid = grid();
        assert_eq!(grid.measured_count(), 3);
        for (ns, wanted) in [
            (999, None),
            (1_000, Some(0)),
            (3_000, Some(2)),
            (3_499, Some(2)),
            (3_500, Some(3)),
            (4_499, Some(3)),
            (4_500, Some(4)),
            (u64::MAX, Some(1_002)),
        ] {
            assert_eq!(grid.index(ns), wanted, "{ns}");
            if let Some(index) = wanted.filter(|_| ns < u64::MAX) {
                let (start, end) = grid.bounds(index);
                assert!((start..end).contains(&ns), "{ns}: {start}..{end}");
            }
        }
        assert_eq!(grid.bounds(2), (3_000, 3_500));
    }

    #[test]
    fn intervals_of_several_workers_add_up() {
        let live = Arc::new(Live::default());
        let (mut a, mut b) = (
            Series::new(grid(), Some(live.clone())),
            Series::new(grid(), Some(live.clone())),
        );
        a.received(1_500, 3, 30);
        a.latency(1_500, 7, 3);
        assert_eq!(live.percentiles(), None);
        a.latency(2_500, 9, 1);
        assert_eq!(live.percentiles().unwrap().count, 3);
        b.received(500, 9, 90);
        b.latency(1_600, 7, 2);
        b.latency(1_700, 5, 1);
        b.latency(4_000, 4_000_000, 1);
        b.failed(2_100, 4);
        a.merge(&b);
        let intervals = a.intervals();
        let counts: Vec<u64> = intervals.iter().map(|i| i.latency_us().len()).collect();
        assert_eq!(counts, [6, 1, 0, 1]);
        assert_eq!(intervals[0].latencies, [(5, 1), (7, 5)]);
        assert_eq!((intervals[0].records, intervals[0].bytes), (3, 30));
        assert_eq!(intervals[1].errors, 4);
        let late = intervals[3].latency_us().max();
        assert!((3_999_000..=4_004_000).contains(&late), "{late}");
    }

    #[test]
    fn the_progress_shows_the_newest_interval_only() {
        let live = Live::default();
        let mut us = Histogram::new(3).unwrap();
        us.record(1_000).unwrap();
        live.publish(4, &us);
        live.publish(4, &us);
        live.publish(3, &us);
        assert_eq!(live.percentiles().unwrap().count, 2);
        live.publish(5, &us);
        assert_eq!(live.percentiles().unwrap().count, 1);
    }
}
