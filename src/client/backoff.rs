//! How long to wait before asking again.

use std::time::Duration;

use crate::types::Prng;

/// Exponential waits with jitter: each drawn from the upper half of a ceiling that doubles up to a bound,
/// so that clients that failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    ceiling_us: u64,
    ceiling_us_max: u64,
    prng: Prng,
}

impl Backoff {
    /// Waits of about `first`, doubling up to `max`; `seed` decides the jitter.
    pub fn new(first: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff {
            ceiling_us: first.as_micros() as u64,
            ceiling_us_max: max.as_micros() as u64,
            prng: Prng::new(seed),
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.ceiling_us.max(2);
        self.ceiling_us = (ceiling * 2).min(self.ceiling_us_max);
        Duration::from_micros(ceiling / 2 + self.prng.below(ceiling / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_bound_and_stay_in_the_upper_half() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(400), 7);
        for ceiling_ms in [50, 100, 200, 400, 400, 400] {
            let wait = backoff.next_wait();
            assert!(
                wait >= Duration::from_millis(ceiling_ms / 2)
                    && wait <= Duration::from_millis(ceiling_ms),
                "{wait:?} under a ceiling of {ceiling_ms} ms"
            );
        }
    }

    #[test]
    fn two_seeds_do_not_wait_alike() {
        let mut a = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), 1);
        let mut b = Backoff::new(Duration::from_millis(50), Duration::from_secs(1), 2);
        assert_ne!(a.next_wait(), b.next_wait());
    }
}
