//! Time without service: stretches in which nothing was acknowledged, or nothing received, by anyone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::tally::Window;

/// Notes every long pause between arrivals, whichever worker they come to. Touched once a request.
#[derive(Debug)]
pub struct Pauses {
    /// 0 until the run has begun.
    last_ns: AtomicU64,
    least_ns: AtomicU64,
    noted: Mutex<Vec<Pause>>,
}

/// Nothing arrived after `start_ns` until `end_ns`, on the run's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pause {
    pub start_ns: u64,
    pub end_ns: u64,
    pub ends: Ends,
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
            least_ns: AtomicU64::new(PAUSE_NS_MIN),
            noted: Mutex::default(),
        }
    }

    /// The run begins at `start_ns`: a pause before the first arrival counts from then.
    pub fn begin(&self, start_ns: u64) {
        self.last_ns.store(start_ns, Ordering::Release);
    }

    pub fn arrived(&self, now_ns: u64) {
        let last_ns = self.last_ns.fetch_max(now_ns, Ordering::AcqRel);
        let least_ns = self.least_ns.load(Ordering::Relaxed);
        if last_ns != 0 && now_ns.saturating_sub(last_ns) >= least_ns {
            self.note(Pause {
                start_ns: last_ns,
                end_ns: now_ns,
                ends: Ends::WithAnArrival,
            });
        }
    }

    fn note(&self, pause: Pause) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(pause);
        // A slow run pauses all the time: only what stands out is kept.
        if noted.len() >= PAUSES_MAX {
            let least_ns = 2 * self.least_ns.load(Ordering::Relaxed);
            self.least_ns.store(least_ns, Ordering::Relaxed);
            noted.retain(|pause| pause.length_ns() >= least_ns);
        }
    }

    /// Every pause noted, in the order of their starts, the one that lasts until the end of `window` included.
    pub fn all(&self, window: Window) -> Vec<Pause> {
        let mut all = self
            .noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let last_ns = self.last_ns.load(Ordering::Acquire);
        if last_ns != 0 && last_ns + PAUSE_NS_MIN <= window.end_ns {
            all.push(Pause {
                start_ns: last_ns,
                end_ns: window.end_ns,
                ends: Ends::WithTheRun,
            });
        }
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
pub fn outages(events_ns: &[u64], pauses: &[Pause], window: Window) -> Vec<Option<Outage>> {
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
                    from_seconds: seconds(pause.start_ns),
                    to_seconds: seconds(pause.end_ns),
                    seconds: pause.length_ns() as f64 / 1e9,
                    is_over: pause.ends == Ends::WithAnArrival,
                    usual_seconds: usual_ns.unwrap_or(0) as f64 / 1e9,
                })
        })
        .collect()
}

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
