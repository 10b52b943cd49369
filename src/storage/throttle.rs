//! How fast logs that move to another directory are copied (`replica.alter.log.dirs.io.max.bytes.per.second`, KIP-113).
//!
//! What was copied is owed, and the next step waits until that is worked off at the rate of the moment. Time that nothing
//! was copied in is kept in hand for one step and no more, which makes good what a sleep overshoots. A change of the rate
//! counts from when it comes; what was owed by then stays owed.

use std::cell::Cell;
use std::time::Duration;

use crate::rt::BLOCK_BYTES;
use crate::types::Micros;

/// One store's rate, and what is owed to it. One log of a store moves at a time.
#[derive(Default)]
pub(super) struct Throttle {
    /// `None`: as fast as it goes.
    bytes_per_second: Cell<Option<u64>>,
    /// Below 0: in hand.
    owed_bytes: Cell<f64>,
    /// When the debt was last reckoned.
    at: Cell<Micros>,
}

/// Bytes copied at once, at most.
const STEP_BYTES: u64 = 1 << 20;
/// With no more than this left, commits are stopped for the rest, which is not held back.
const REST_BYTES: u64 = 4 << 20;
/// A step is this part of a second's bytes, so that the rate holds over short times too.
const STEPS_PER_SECOND: u64 = 8;
/// The rest is this part of a second's bytes, so that what is not held back hardly shows.
const RESTS_PER_SECOND: u64 = 4;
/// Longer waits than this are none: whoever waits looks again.
const WAIT_MAX_SECONDS: f64 = 3600.0;

impl Throttle {
    pub fn set(&self, bytes_per_second: Option<u64>, now: Micros) {
        self.work_off(now);
        self.bytes_per_second.set(bytes_per_second);
    }

    pub fn is_on(&self) -> bool {
        self.bytes_per_second.get().is_some()
    }

    /// Bytes to copy at once, in whole blocks.
    pub fn step_bytes(&self) -> u32 {
        let block = BLOCK_BYTES as u64;
        let share = self.part_of_a_second(STEPS_PER_SECOND, STEP_BYTES);
        (share / block * block).max(block) as u32
    }

    /// Bytes left with which a move may end.
    pub fn rest_bytes(&self) -> u64 {
        let share = self.part_of_a_second(RESTS_PER_SECOND, REST_BYTES);
        share.max(BLOCK_BYTES as u64)
    }

    fn part_of_a_second(&self, parts: u64, bytes_max: u64) -> u64 {
        let rate = self.bytes_per_second.get();
        rate.map_or(bytes_max, |rate| (rate / parts).min(bytes_max))
    }

    /// Notes bytes that were copied.
    pub fn spend(&self, bytes: u64, now: Micros) {
        self.work_off(now);
        self.owed_bytes.set(self.owed_bytes.get() + bytes as f64);
    }

    /// How long no more may be copied, as things are; `None`: it may go on. At a rate of 0 it never may.
    pub fn wait(&self, now: Micros) -> Option<Duration> {
        self.work_off(now);
        let (rate, owed) = (self.bytes_per_second.get()?, self.owed_bytes.get());
        if rate > 0 && owed <= 0.0 {
            return None;
        }
        // Nothing owed at no rate is no number, and `min` then takes the other one.
        let seconds = (owed.max(0.0) / rate as f64).min(WAIT_MAX_SECONDS);
        Some(Duration::from_secs_f64(seconds).max(Duration::from_millis(1)))
    }

    fn work_off(&self, now: Micros) {
        let seconds = now.since(self.at.replace(now)) as f64 / 1e6;
        let owed = match self.bytes_per_second.get() {
            Some(rate) => {
                let owed = self.owed_bytes.get() - rate as f64 * seconds;
                owed.max(-f64::from(self.step_bytes()))
            }
            None => 0.0,
        };
        self.owed_bytes.set(owed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies for so long by a clock that only waiting moves. Bytes copied.
    fn copied(throttle: &Throttle, now: &mut Micros, seconds: u64) -> u64 {
        let (end, mut bytes) = (now.plus_ms(seconds * 1000), 0);
        while *now < end {
            match throttle.wait(*now) {
                Some(wait) => *now = Micros(now.0 + wait.as_micros() as u64).min(end),
                None => {
                    let step = u64::from(throttle.step_bytes());
                    throttle.spend(step, *now);
                    bytes += step;
                }
            }
        }
        bytes
    }

    #[test]
    fn a_rate_holds_over_any_time_and_from_when_it_is_set() {
        for rate in [10_000, 1 << 20, 100 << 20] {
            let (throttle, mut now) = (Throttle::default(), Micros(5_000_000));
            throttle.set(Some(rate), now);
            // Idle time is not kept in hand, but for a step.
            now = now.plus_ms(60_000);
            for seconds in [1, 10, 100] {
                let (bytes, wanted) = (copied(&throttle, &mut now, seconds), rate * seconds);
                let step = u64::from(throttle.step_bytes());
                assert!(
                    bytes.abs_diff(wanted) <= 2 * step + wanted / 50,
                    "{bytes} of {wanted}"
                );
            }
            throttle.set(Some(rate * 10), now);
            let bytes = copied(&throttle, &mut now, 10);
            assert!(bytes > rate * 95, "{bytes} after a rise from {rate}");
            throttle.set(Some(rate / 10), now);
            let bytes = copied(&throttle, &mut now, 100);
            assert!(bytes < rate * 11 + (1 << 20), "{bytes} after a fall");
        }
    }

    #[test]
    fn no_rate_holds_nothing_back_and_a_rate_of_nothing_holds_all() {
        let (throttle, now) = (Throttle::default(), Micros(1));
        throttle.spend(1 << 40, now);
        assert_eq!(throttle.wait(now), None);
        assert_eq!(u64::from(throttle.step_bytes()), STEP_BYTES);
        assert_eq!(throttle.rest_bytes(), REST_BYTES);
        throttle.set(Some(0), now);
        let mut later = now;
        assert_eq!(copied(&throttle, &mut later, 1_000_000), 0);
        throttle.set(Some(1 << 20), later);
        assert_eq!(
            throttle.wait(later),
            None,
            "nothing was copied: nothing is owed"
        );
        throttle.spend(3 << 20, later);
        assert_eq!(throttle.wait(later), Some(Duration::from_secs(3)));
        throttle.set(None, later);
        assert_eq!(throttle.wait(later), None, "the debt goes with the rate");
    }
}
