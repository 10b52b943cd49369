//! What a run found, as JSON for programs and as rows for people.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::{Tally, Window};

/// The result of one run. Times in milliseconds, sizes in bytes, MB = 1,000,000 bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub topic: String,
    /// `kafka` or `native`.
    pub wire: &'static str,
    pub partitions: usize,
    pub loop_kind: &'static str,
    /// What was asked in the open loop.
    pub rate_asked: Option<f64>,
    pub record_bytes: usize,
    pub batch_bytes: usize,
    pub acks: String,
    pub codec: String,
    pub producers: usize,
    pub connections: usize,
    pub window: usize,
    /// Length of the measured part.
    pub seconds: f64,
    /// Acknowledged (acks 0: sent) inside the measured part.
    pub records: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// From when a record was due (closed loop: sent) until it was acknowledged.
    pub latency_ms: Option<Percentiles>,
    pub consumed: Option<Consumed>,
    pub errors: u64,
    pub errors_by_reason: BTreeMap<String, u64>,
    pub client_cpu_seconds: f64,
    /// Cores' worth of time the client used; near its thread count, it was the limit.
    pub client_cpu_cores: f64,
    pub broker_pid: Option<u32>,
    pub broker_cpu_seconds: Option<f64>,
    pub records_per_broker_cpu_second: Option<f64>,
    /// What made the figures smaller than the broker's own limit, if this program knows.
    pub limited_by: Option<String>,
}

/// What the consumers of a run saw.
#[derive(Clone, Debug, Serialize)]
pub struct Consumed {
    pub records: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// Records acknowledged but not read when the run gave up waiting.
    pub missing: u64,
    /// From when a record was due until a consumer had it.
    pub end_to_end_ms: Option<Percentiles>,
}

/// Points of a latency distribution, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
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

impl Consumed {
    /// - `produced_ever`: records acknowledged to the producers of the run, whenever.
    pub fn of(tally: &Tally, window: Window, produced_ever: u64) -> Consumed {
        Consumed {
            records: tally.records,
            records_per_second: tally.records as f64 / window.seconds(),
            mb_per_second: tally.bytes as f64 / 1e6 / window.seconds(),
            missing: produced_ever.saturating_sub(tally.records_ever),
            end_to_end_ms: Percentiles::of(&tally.latency_us),
        }
    }
}

impl Report {
    /// The rows of the table for people: what, and its figure.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, figure: String| rows.push((what.to_owned(), figure));
        row("workload", self.workload());
        row("records/s", grouped(self.records_per_second));
        row("MB/s", format!("{:.1}", self.mb_per_second));
        push_latency(&mut row, "latency", &self.latency_ms);
        if let Some(consumed) = &self.consumed {
            row("consumed records/s", grouped(consumed.records_per_second));
            push_latency(&mut row, "end to end", &consumed.end_to_end_ms);
            row("not read back", consumed.missing.to_string());
        }
        row("errors", self.errors.to_string());
        for (why, count) in &self.errors_by_reason {
            row(&format!("  {why}"), count.to_string());
        }
        row(
            "client CPU",
            format!(
                "{:.2} s ({:.2} cores)",
                self.client_cpu_seconds, self.client_cpu_cores
            ),
        );
        row("broker CPU", self.broker_cpu());
        if let Some(limit) = &self.limited_by {
            row("limited by", limit.clone());
        }
        rows
    }

    fn workload(&self) -> String {
        let pace = match self.rate_asked {
            Some(rate) => format!("open loop at {} records/s", grouped(rate)),
            None => "closed loop at the maximum".to_owned(),
        };
        format!(
            "{pace} for {:.1} s over the {} wire, {} B records, acks {}, codec {}, {} B batches, {} partitions, {} × {} connections × {} in flight",
            self.seconds,
            self.wire,
            self.record_bytes,
            self.acks,
            self.codec,
            self.batch_bytes,
            self.partitions,
            self.producers,
            self.connections,
            self.window,
        )
    }

    fn broker_cpu(&self) -> String {
        match (self.broker_cpu_seconds, self.records_per_broker_cpu_second) {
            (Some(seconds), Some(rate)) => format!(
                "{seconds:.2} s ({:.2} cores, {} records per CPU second)",
                seconds / self.seconds,
                grouped(rate)
            ),
            (Some(seconds), None) => format!("{seconds:.2} s"),
            (None, _) if self.broker_pid.is_some() => "unknown: its process has ended".to_owned(),
            (None, _) => "unknown: not a process of this machine (or give --broker-pid)".to_owned(),
        }
    }
}

fn push_latency(row: &mut impl FnMut(&str, String), what: &str, points: &Option<Percentiles>) {
    let Some(points) = points else {
        row(what, "nothing measured".to_owned());
        return;
    };
    for (name, ms) in [
        ("p50", points.p50),
        ("p99", points.p99),
        ("p99.9", points.p99_9),
        ("max", points.max),
    ] {
        row(&format!("{what} {name}"), format!("{ms:.3} ms"));
    }
}

/// A count with its thousands apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
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

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(grouped(0.4), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1234567.0), "1,234,567");
    }

    #[test]
    fn what_was_acknowledged_and_not_read_is_missing() {
        let window = Window {
            start_ns: 0,
            end_ns: 2_000_000_000,
        };
        let mut tally = Tally::new(window);
        tally.answered(0, 1_000_000, 10, 1_000);
        let consumed = Consumed::of(&tally, window, 12);
        assert_eq!((consumed.records, consumed.missing), (10, 2));
        assert_eq!(consumed.records_per_second, 5.0);
    }
}
