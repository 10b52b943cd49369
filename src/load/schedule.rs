//! When each record is due, for the open loop.

/// A constant rate: record `n` is due at `start + (n + phase) × interval`, whatever became of the records before
/// it. Latency counts from that moment, so that a stall of the broker shows in every record it delayed and not
/// only in the one that met it (coordinated omission).
#[derive(Clone, Debug)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    phase: f64,
}

impl Schedule {
    /// - `per_second`: records a second of this schedule alone; more than 0.
    /// - `phase`: 0 to 1, the part of an interval by which it lags `start_ns`, so that several schedules interleave.
    pub fn new(start_ns: u64, per_second: f64, phase: f64) -> Schedule {
        assert!(per_second > 0.0, "a schedule of no records");
        Schedule {
            start_ns,
            interval_ns: 1e9 / per_second,
            phase,
        }
    }

    /// When record `n`, counted from 0, is due.
    pub fn due_ns(&self, n: u64) -> u64 {
        self.start_ns + ((n as f64 + self.phase) * self.interval_ns) as u64
    }

    /// How many records are due at `now_ns` since the start.
    pub fn due_count(&self, now_ns: u64) -> u64 {
        let Some(elapsed) = now_ns.checked_sub(self.start_ns) else {
            return 0;
        };
        let guess = (elapsed as f64 / self.interval_ns - self.phase).max(-1.0);
        let mut count = (guess + 1.0) as u64;
        // The division and the multiplication round apart by at most one record.
        while count > 0 && self.due_ns(count - 1) > now_ns {
            count -= 1;
        }
        while self.due_ns(count) <= now_ns {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_due_and_nothing_else() {
        for (per_second, phase) in [(1.0, 0.0), (3.0, 0.5), (1e6 / 7.0, 0.25), (2.5e6, 0.9)] {
            let schedule = Schedule::new(1_000, per_second, phase);
            assert_eq!(schedule.due_count(999), 0);
            for n in [0, 1, 2, 99, 12_345_678] {
                let due = schedule.due_ns(n);
                assert_eq!(schedule.due_count(due), n + 1, "{per_second} {phase} {n}");
                assert_eq!(schedule.due_count(due - 1), n, "{per_second} {phase} {n}");
            }
        }
    }

    #[test]
    fn does_not_drift_in_a_day() {
        let schedule = Schedule::new(0, 30_000.0, 0.0);
        assert_eq!(schedule.due_ns(30_000 * 86_400), 86_400 * 1_000_000_000);
    }
}
