//! Time without service: stretches in which nothing was acknowledged, or nothing received, by anyone; and those in which
//! one partition was not served while others were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::tally::Window;
use super::target::Layout;

/// Notes every long pause between arrivals, whichever worker they come to. Touched once a request.
#[derive(Debug)]
pub struct Pauses {
    /// 0 until the run has begun.
    last_ns: AtomicU64,
    noted: Noted,
}

/// Notes every long time in which some record of a partition waited, and none of it was acknowledged. Touched once a batch.
///
/// A partition that nothing waits for is not written to, and has no such time.
#[derive(Debug)]
pub struct Services {
    rows: Box<[Service]>,
    noted: Noted,
}

/// One partition.
#[derive(Debug)]
struct Service {
    /// When a batch of it was acknowledged last.
    acked_ns: AtomicU64,
    /// Since when records waited that have failed or must be sent again since then; [`NONE`] if there are none.
    waiting_ns: AtomicU64,
}

/// The longest pauses, so many of them that those which stand out are among them.
#[derive(Debug)]
struct Noted {
    least_ns: AtomicU64,
    pauses: Mutex<Vec<Pause>>,
}

/// Nothing arrived after `start_ns` until `end_ns`, on the run's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pause {
    pub start_ns: u64,
    pub end_ns: u64,
    pub ends: Ends,
    /// Of this one alone, by its number.
    pub partition: Option<u32>,
}

/// Whether service came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    WithAnArrival,
    /// With the measured part, after which nothing more was due.
    WithTheRun,
}

/// The longest time without service after an event and before the next one. Seconds since the measured part began.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// The one partition that was away.
    #[serde(default)]
    pub partition: Option<String>,
    pub from_seconds: f64,
    pub to_seconds: f64,
    pub seconds: f64,
    /// False where nothing arrived any more until the end of the measured part.
    pub is_over: bool,
    /// The longest pause before the first event, to hold it against; 0 where none was long enough to be noted.
    pub usual_seconds: f64,
}

impl Pauses {
    pub fn new() -> Pauses {
        Pauses {
            last_ns: AtomicU64::new(0),
            noted: Noted::new(),
        }
    }

    /// The run begins at `start_ns`: a pause before the first arrival counts from then.
    pub fn begin(&self, start_ns: u64) {
        self.last_ns.store(start_ns, Ordering::Release);
    }

    pub fn arrived(&self, now_ns: u64) {
        let last_ns = self.last_ns.fetch_max(now_ns, Ordering::AcqRel);
        if last_ns != 0 {
            self.noted.arrived(last_ns, now_ns, None);
        }
    }

    /// Every pause noted, in the order of their starts, the one that lasts until the end of `window` included.
    pub fn all(&self, window: Window) -> Vec<Pause> {
        let last_ns = self.last_ns.load(Ordering::Acquire);
        let lasting = Some((last_ns, None)).filter(|_| last_ns != 0);
        self.noted.all(lasting.into_iter(), window)
    }
}

impl Services {
    pub fn new(partitions: usize) -> Services {
        let row = || Service {
            acked_ns: AtomicU64::new(0),
            waiting_ns: AtomicU64::new(NONE),
        };
        Services {
            rows: (0..partitions).map(|_| row()).collect(),
            noted: Noted::new(),
        }
    }

    /// A batch was acknowledged at `now_ns` of which the first record waited since `waited_ns`.
    pub fn acked(&self, partition: usize, waited_ns: u64, now_ns: u64) {
        let row = &self.rows[partition];
        let acked_ns = row.acked_ns.fetch_max(now_ns, Ordering::Relaxed);
        let waiting_ns = match row.waiting_ns.load(Ordering::Relaxed) {
            NONE => waited_ns,
            _ => waited_ns.min(row.waiting_ns.swap(NONE, Ordering::Relaxed)),
        };
        let number = Some(partition as u32);
        self.noted.arrived(waiting_ns.max(acked_ns), now_ns, number);
    }

    /// A batch was not served: it has failed, or must be sent again.
    pub fn failed(&self, partition: usize, waited_ns: u64) {
        let row = &self.rows[partition];
        row.waiting_ns.fetch_min(waited_ns, Ordering::Relaxed);
    }

    /// As [`Pauses::all`].
    pub fn all(&self, window: Window) -> Vec<Pause> {
        let rows = self.rows.iter().enumerate();
        let lasting = rows.filter_map(|(number, row)| {
            let waiting_ns = row.waiting_ns.load(Ordering::Relaxed);
            let acked_ns = row.acked_ns.load(Ordering::Relaxed);
            (waiting_ns != NONE).then_some((waiting_ns.max(acked_ns), Some(number as u32)))
        });
        self.noted.all(lasting, window)
    }
}

impl Noted {
    fn new() -> Noted {
        Noted {
            least_ns: AtomicU64::new(PAUSE_NS_MIN),
            // What is noted allocates nothing while the run goes on.
            pauses: Mutex::new(Vec::with_capacity(PAUSES_MAX)),
        }
    }

    fn arrived(&self, start_ns: u64, now_ns: u64, partition: Option<u32>) {
        if now_ns.saturating_sub(start_ns) < self.least_ns.load(Ordering::Relaxed) {
            return;
        }
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.push(Pause {
            start_ns,
            end_ns: now_ns,
            ends: Ends::WithAnArrival,
            partition,
        });
        // A slow run pauses all the time: only what stands out is kept.
        if pauses.len() >= PAUSES_MAX {
            let least_ns = 2 * self.least_ns.load(Ordering::Relaxed);
            self.least_ns.store(least_ns, Ordering::Relaxed);
            pauses.retain(|pause| pause.length_ns() >= least_ns);
        }
    }

    /// - `lasting`: since when, and of which partition, nothing has arrived any more.
    fn all(&self, lasting: impl Iterator<Item = (u64, Option<u32>)>, window: Window) -> Vec<Pause> {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = pauses.clone();
        drop(pauses);
        let lasting = lasting.filter(|(start_ns, _)| start_ns + PAUSE_NS_MIN <= window.end_ns);
        all.extend(lasting.map(|(start_ns, partition)| Pause {
            start_ns,
            end_ns: window.end_ns,
            ends: Ends::WithTheRun,
            partition,
        }));
        all.sort_by_key(|pause| pause.start_ns);
        all
    }
}

impl Pause {
    pub fn length_ns(self) -> u64 {
        self.end_ns - self.start_ns
    }
}

/// For each event, the pause after it that kept service away longest, if there was one.
///
/// - `events_ns`: rising. A pause that an event falls into counts from its own start: the last arrival.
/// - `layout`: of the partitions.
pub fn outages(
    events_ns: &[u64],
    pauses: &[Pause],
    window: Window,
    layout: &Layout,
) -> Vec<Option<Outage>> {
    let seconds = |ns: u64| (ns as f64 - window.start_ns as f64) / 1e9;
    let before = |pause: &&Pause| {
        pause.start_ns >= window.start_ns && events_ns.first().is_some_and(|&ns| pause.end_ns <= ns)
    };
    let usual_ns = pauses.iter().filter(before).map(|p| p.length_ns()).max();
    let horizons = events_ns.iter().skip(1).copied().chain([window.end_ns]);
    events_ns
        .iter()
        .zip(horizons)
        .map(|(&event_ns, horizon_ns)| {
            pauses
                .iter()
                .filter(|pause| {
                    pause.end_ns > event_ns && pause.start_ns < horizon_ns.max(event_ns + 1)
                })
                .max_by_key(|pause| pause.end_ns - pause.start_ns.max(event_ns))
                .map(|pause| Outage {
                    partition: pause.partition.map(|number| layout.name(number)),
                    from_seconds: seconds(pause.start_ns),
                    to_seconds: seconds(pause.end_ns),
                    seconds: pause.length_ns() as f64 / 1e9,
                    is_over: pause.ends == Ends::WithAnArrival,
                    usual_seconds: usual_ns.unwrap_or(0) as f64 / 1e9,
                })
        })
        .collect()
}

const NONE: u64 = u64::MAX;
/// Shorter pauses are everyday.
const PAUSE_NS_MIN: u64 = 10_000_000;
const PAUSES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WINDOW: Window = Window {
        start_ns: 1_000 * MS,
        end_ns: 10_000 * MS,
    };

    fn layout() -> Layout {
        let topics = [("a", 2), ("b", 2)];
        Layout::new(
            topics
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count)),
        )
    }

    fn outages(events_ns: &[u64], pauses: &[Pause], window: Window) -> Vec<Option<Outage>> {
        super::outages(events_ns, pauses, window, &layout())
    }

    /// Arrivals every millisecond but for the gaps.
    fn run(gaps_ms: &[(u64, u64)], until_ms: u64) -> Vec<Pause> {
        let pauses = Pauses::new();
        pauses.arrived(5 * MS);
        pauses.begin(500 * MS);
        for ms in 500..until_ms {
            if !gaps_ms.iter().any(|&(from, to)| (from..to).contains(&ms)) {
                pauses.arrived(ms * MS);
            }
        }
        pauses.all(WINDOW)
    }

    #[test]
    fn the_outage_of_each_event_is_the_pause_after_it() {
        // Everyday pause of 20 ms, an outage of two seconds, one of half a second.
        let pauses = run(&[(2_000, 2_020), (4_003, 6_003), (8_500, 9_000)], 10_500);
        let found = outages(&[4_000 * MS, 8_000 * MS], &pauses, WINDOW);
        let first = found[0].as_ref().unwrap();
        assert!((first.seconds - 2.001).abs() < 1e-9, "{first:?}");
        assert!((first.from_seconds - 3.002).abs() < 1e-9, "{first:?}");
        assert!((first.usual_seconds - 0.021).abs() < 1e-9, "{first:?}");
        assert!(first.is_over);
        let second = found[1].as_ref().unwrap();
        assert!((second.seconds - 0.501).abs() < 1e-9, "{second:?}");
    }

    #[test]
    fn a_service_that_does_not_come_back_is_away_until_the_end() {
        let pauses = run(&[], 7_001);
        let found = outages(&[7_000 * MS], &pauses, WINDOW);
        let outage = found[0].as_ref().unwrap();
        assert_eq!((outage.seconds, outage.is_over), (3.0, false));
    }

    #[test]
    fn an_event_that_nobody_felt_has_no_outage() {
        let pauses = run(&[(2_000, 2_050)], 10_500);
        assert_eq!(outages(&[4_000 * MS], &pauses, WINDOW), [None]);
    }

    #[test]
    fn a_pause_over_two_events_is_told_at_both() {
        let pauses = run(&[(3_000, 6_000)], 10_500);
        let found = outages(&[2_990 * MS, 4_000 * MS], &pauses, WINDOW);
        assert_eq!(found[0], found[1]);
        assert!(found[0].is_some());
    }

    /// Batches of four partitions in turn, one a millisecond; those of partition 2 wait, or fail, from 4 s to 6 s.
    fn served(fails: bool, until_ms: u64) -> Vec<Pause> {
        let services = Services::new(4);
        let mut waits = 0;
        for ms in 1_000..until_ms {
            let (partition, now_ns) = ((ms % 4) as usize, ms * MS);
            let due_ns = now_ns - MS;
            match partition == 2 && (4_000..6_000).contains(&ms) {
                true if fails => services.failed(partition, due_ns),
                true => waits += u64::from(waits == 0) * due_ns,
                false if partition == 2 && waits > 0 => {
                    services.acked(partition, waits, now_ns);
                    waits = 0;
                }
                false => services.acked(partition, due_ns, now_ns),
            }
        }
        services.all(WINDOW)
    }

    #[test]
    fn a_partition_that_is_away_is_seen_although_the_others_are_served() {
        for fails in [false, true] {
            let found = outages(&[3_500 * MS, 8_000 * MS], &served(fails, 10_000), WINDOW);
            let outage = found[0].as_ref().unwrap();
            assert_eq!(outage.partition.as_deref(), Some("b-0"));
            // From when the first of its records was due, or the last acknowledgement, until the next one.
            assert!((outage.from_seconds - 3.001).abs() < 1e-9, "{outage:?}");
            assert!((outage.to_seconds - 5.002).abs() < 1e-9, "{outage:?}");
            assert!(outage.is_over && outage.usual_seconds == 0.0, "{outage:?}");
            assert_eq!(found[1], None);
        }
    }

    #[test]
    fn a_partition_that_fails_until_the_end_is_away_until_then_and_one_nobody_writes_to_is_not() {
        let pauses = served(true, 5_500);
        let found = outages(&[3_500 * MS], &pauses, WINDOW);
        let outage = found[0].as_ref().unwrap();
        assert_eq!(outage.partition.as_deref(), Some("b-0"));
        assert_eq!((outage.to_seconds, outage.is_over), (9.0, false));
        assert_eq!(
            pauses.len(),
            1,
            "the others only had nothing to do: {pauses:?}"
        );
    }

    #[test]
    fn the_number_of_pauses_kept_is_bounded() {
        let pauses = Pauses::new();
        pauses.begin(1);
        let mut now_ns = 1;
        for step in 0..3 * PAUSES_MAX as u64 {
            now_ns += if step % 1_000 == 0 {
                5_000 * MS
            } else {
                11 * MS
            };
            pauses.arrived(now_ns);
        }
        let kept = pauses.all(WINDOW);
        assert!(kept.len() < PAUSES_MAX);
        let long = kept.iter().filter(|p| p.length_ns() == 5_000 * MS).count();
        assert_eq!(long, 60);
    }
}
