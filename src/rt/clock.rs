//! The two clocks a shell reads: monotonic and wall.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Micros, Timestamp};

/// Where the time comes from. Reading the real one costs about 25 ns: take one reading a request stage.
#[derive(Clone, Default)]
pub enum Clock {
    #[default]
    Real,
    /// Stands still until a test moves it.
    Sim(SimClock),
}

/// A clock that tests move by hand; clones share the time.
#[derive(Clone, Default)]
pub struct SimClock(Arc<SimTime>);

#[derive(Default)]
struct SimTime {
    now_us: AtomicU64,
    /// Wall-clock milliseconds at monotonic zero.
    epoch_ms: AtomicI64,
}

impl Clock {
    /// Monotonic time since the first reading in this process.
    pub fn now(&self) -> Micros {
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Clock::Real => Micros(START.get_or_init(Instant::now).elapsed().as_micros() as u64),
            Clock::Sim(clock) => Micros(clock.0.now_us.load(Ordering::Relaxed)),
        }
    }

    /// Wall-clock milliseconds; may jump either way on a real machine.
    pub fn wall(&self) -> Timestamp {
        match self {
            Clock::Real => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Timestamp(since.as_millis() as i64)
            }
            Clock::Sim(clock) => {
                let elapsed_ms = clock.0.now_us.load(Ordering::Relaxed) / 1000;
                Timestamp(clock.0.epoch_ms.load(Ordering::Relaxed) + elapsed_ms as i64)
            }
        }
    }
}

impl SimClock {
    /// A clock at monotonic zero, when the wall shows `wall`.
    pub fn starting_at(wall: Timestamp) -> SimClock {
        let clock = SimClock::default();
        clock.0.epoch_ms.store(wall.0, Ordering::Relaxed);
        clock
    }

    /// Moves both times `us` microseconds on.
    pub fn advance_us(&self, us: u64) {
        self.0.now_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Moves both times `ms` milliseconds on.
    pub fn advance_ms(&self, ms: u64) {
        self.advance_us(ms * 1000);
    }

    /// Moves the wall clock alone, as an operator or NTP may: negative is back.
    pub fn jump_wall_ms(&self, ms: i64) {
        self.0.epoch_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_moves_only_by_hand() {
        let sim = SimClock::starting_at(Timestamp(1_000));
        let clock = Clock::Sim(sim.clone());
        assert_eq!((clock.now(), clock.wall()), (Micros(0), Timestamp(1_000)));
        sim.advance_ms(5);
        assert_eq!(
            (clock.now(), clock.wall()),
            (Micros(5_000), Timestamp(1_005))
        );
        sim.jump_wall_ms(-500);
        assert_eq!((clock.now(), clock.wall()), (Micros(5_000), Timestamp(505)));
    }

    #[test]
    fn the_real_clock_goes_forward() {
        let first = Clock::Real.now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(Clock::Real.now().since(first) >= 2_000);
        assert!(Clock::Real.wall() > Timestamp(1_700_000_000_000));
    }
}
