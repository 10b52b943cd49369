//! What the threads of one run share: the clock, the start, the end, and counts for the progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pause::Pauses;
use super::series::{Grid, Live, Series};
use super::tally::{Tally, Window};

/// The run's clock counts nanoseconds from when this was made. Touched once a request, never once a record.
#[derive(Debug)]
pub struct Control {
    epoch: Instant,
    warm_up: Duration,
    duration: Duration,
    /// 0 until the run has begun.
    start_ns: AtomicU64,
    ready: AtomicUsize,
    /// Threads with readers that are not ready.
    readers_awaited: AtomicUsize,
    producing: AtomicUsize,
    stopped: AtomicBool,
    acked: AtomicU64,
    consumed: AtomicU64,
    errors: AtomicU64,
    interval: Duration,
    live: [Arc<Live>; 2],
    pauses: [Pauses; 2],
}

/// The two ways of the records of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    Produced,
    Consumed,
}

impl Control {
    /// - `producers`: how many will call [`Control::producer_ended`].
    /// - `reader_threads`: how many will call [`Control::readers_ready`].
    /// - `interval`: of the time line.
    pub fn new(
        warm_up: Duration,
        duration: Duration,
        producers: usize,
        reader_threads: usize,
        interval: Duration,
    ) -> Control {
        Control {
            epoch: Instant::now(),
            warm_up,
            duration,
            start_ns: AtomicU64::new(0),
            ready: AtomicUsize::new(0),
            readers_awaited: AtomicUsize::new(reader_threads),
            producing: AtomicUsize::new(producers),
            stopped: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            interval,
            live: Default::default(),
            pauses: [Pauses::new(), Pauses::new()],
        }
    }

    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Length of what comes before the measured part.
    pub fn warm_up(&self) -> Duration {
        self.warm_up
    }

    /// Length of the measured part.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// A worker is connected and waits for the start.
    pub fn worker_ready(&self) {
        self.ready.fetch_add(1, Ordering::Release);
    }

    /// The readers of one thread know where they begin.
    pub fn readers_ready(&self) {
        self.readers_awaited.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn are_readers_ready(&self) -> bool {
        self.readers_awaited.load(Ordering::Acquire) == 0
    }

    pub fn workers_ready(&self) -> usize {
        self.ready.load(Ordering::Acquire)
    }

    /// Begins the run a moment from now; returns its measured part.
    pub fn begin(&self) -> Window {
        let start_ns = self.now_ns() + LEAD.as_nanos() as u64;
        self.pauses.iter().for_each(|pauses| pauses.begin(start_ns));
        self.start_ns.store(start_ns, Ordering::Release);
        self.window(start_ns)
    }

    /// When the run begins and its measured part, once that is known.
    pub fn begun(&self) -> Option<(u64, Window)> {
        match self.start_ns.load(Ordering::Acquire) {
            0 => None,
            start_ns => Some((start_ns, self.window(start_ns))),
        }
    }

    fn window(&self, start_ns: u64) -> Window {
        let measured_ns = start_ns + self.warm_up.as_nanos() as u64;
        Window {
            start_ns: measured_ns,
            end_ns: measured_ns + self.duration.as_nanos() as u64,
        }
    }

    /// An empty tally of one worker, with a time line and a part in the progress.
    pub fn tally(&self, window: Window, stream: Stream) -> Tally {
        let live = self.live[stream as usize].clone();
        Tally::with_series(window, Series::new(self.grid(window), Some(live)))
    }

    /// The intervals of the time line.
    pub fn grid(&self, window: Window) -> Grid {
        Grid::new(window, self.interval)
    }

    /// The newest latencies of all workers of one way.
    pub fn live(&self, stream: Stream) -> &Live {
        &self.live[stream as usize]
    }

    /// When nothing arrived.
    pub fn pauses(&self, stream: Stream) -> &Pauses {
        &self.pauses[stream as usize]
    }

    /// Ends the run early: a worker has failed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn producer_ended(&self) {
        self.producing.fetch_sub(1, Ordering::Release);
    }

    pub fn is_producing(&self) -> bool {
        self.producing.load(Ordering::Acquire) > 0
    }

    /// `records` were acknowledged at `now_ns`.
    pub fn count_acked(&self, records: u64, now_ns: u64) {
        self.pauses(Stream::Produced).arrived(now_ns);
        self.acked.fetch_add(records, Ordering::Relaxed);
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// `records` were read at `now_ns`.
    pub fn count_consumed(&self, records: u64, now_ns: u64) {
        if records > 0 {
            self.pauses(Stream::Consumed).arrived(now_ns);
        }
        self.consumed.fetch_add(records, Ordering::Relaxed);
    }

    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    pub fn count_errors(&self, records: u64) {
        self.errors.fetch_add(records, Ordering::Relaxed);
    }

    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// Time for every worker to see that the run begins.
const LEAD: Duration = Duration::from_millis(20);
