//! Points of a latency distribution.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Points of a latency distribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

impl Percentiles {
    /// `None` where nothing was recorded.
    pub fn of(us: &Histogram<u64>) -> Option<Percentiles> {
        if us.is_empty() {
            return None;
        }
        let at = |quantile| us.value_at_quantile(quantile) as f64 / 1e3;
        Some(Percentiles {
            count: us.len(),
            mean: us.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: us.max() as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut us = Histogram::new(3).unwrap();
        assert_eq!(Percentiles::of(&us), None);
        for value in 1..=1000u64 {
            us.record(value * 1000).unwrap();
        }
        let points = Percentiles::of(&us).unwrap();
        for (found, wanted) in [
            (points.p50, 500.0),
            (points.p99, 990.0),
            (points.p99_9, 999.0),
            (points.max, 1000.0),
            (points.mean, 500.5),
        ] {
            assert!((found - wanted).abs() <= wanted * 0.002, "{found} {wanted}");
        }
        assert_eq!(points.count, 1000);
    }
}
