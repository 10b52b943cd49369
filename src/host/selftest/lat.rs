//! Latencies, gathered and told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Nanoseconds that can be told apart up to; a longer one counts as this.
const LONGEST_NS: u64 = 60_000_000_000;

/// Latencies of one measurement.
pub struct Latencies(Histogram<u64>);

/// What they come to, in microseconds; 0 where there was none.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Latency {
    pub p10_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    #[serde(rename = "p99.9_us")]
    pub p999_us: f64,
    pub max_us: f64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let made = Histogram::new_with_bounds(100, LONGEST_NS, 3);
        Latencies(made.expect("the bounds are a constant"))
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS);
        self.0.saturating_record(ns.min(LONGEST_NS));
    }

    /// Takes in those of another part of the same measurement.
    pub fn add(&mut self, other: &Latencies) {
        let added = self.0.add(&other.0);
        added.expect("all have the same bounds");
    }

    /// Of all of them, how many lie below, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        match self.0.is_empty() {
            true => 0.0,
            false => self.0.value_at_quantile(quantile) as f64 / 1e3,
        }
    }

    pub fn told(&self) -> Latency {
        let max_us = match self.0.is_empty() {
            true => 0.0,
            false => self.0.max() as f64 / 1e3,
        };
        Latency {
            p10_us: self.quantile_us(0.1),
            p50_us: self.quantile_us(0.5),
            p99_us: self.quantile_us(0.99),
            p999_us: self.quantile_us(0.999),
            max_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds_and_nothing_is_zero() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.told(), Latency::default());
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        latencies.record(Duration::from_secs(1000));
        let told = latencies.told();
        assert!((told.p50_us - 500.0).abs() < 2.0, "{told:?}");
        assert!((told.p99_us - 991.0).abs() < 3.0, "{told:?}");
        assert!(told.max_us >= 59_000_000.0, "{told:?}");
    }
}
