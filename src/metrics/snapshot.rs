//! Values taken out of a shard: they travel, add up, and are read row by row.

use hdrhistogram::Histogram as Counts;

use super::{Counter, Gauge, Histogram, METRICS, Peak, Sample};

/// What is known of a metric beside its value; one row of [`METRICS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// As Prometheus names it: base units, counters end in `_total`.
    pub name: &'static str,
    /// `key="value"` that tells rows of one name apart; empty where there is one row.
    pub label: &'static str,
    /// Of the value as it is kept here; a printer turns [`Unit::Micros`] into the name's seconds.
    pub unit: Unit,
    pub kind: Kind,
    pub help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Count,
    Bytes,
    Micros,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    /// A gauge of which several shards' highest value counts.
    Peak,
    Histogram,
}

/// One metric's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Counter(u64),
    Gauge(i64),
    Peak(i64),
    Histogram(Counts<u64>),
}

/// Every metric of one shard, or of several added up. `Send`: it goes to whoever was asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// One per row of [`METRICS`].
    values: Vec<Value>,
    /// Rows that were measured with it, in no order.
    samples: Vec<Sample>,
}

/// One metric with its value.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub metric: &'static Metric,
    pub value: &'a Value,
}

/// A histogram in six numbers, in its metric's unit; all 0 while nothing was recorded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Summary {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Snapshot {
    pub(super) fn new(values: Vec<Value>) -> Snapshot {
        assert_eq!(values.len(), METRICS.len(), "one value per row");
        Snapshot {
            values,
            samples: Vec::new(),
        }
    }

    /// Adds rows that were measured for this snapshot.
    pub fn add_samples(&mut self, samples: impl IntoIterator<Item = Sample>) {
        self.samples.extend(samples);
    }

    /// Adds another shard's values to these: counters and gauges are summed, of peaks the highest stays, histograms and
    /// samples are joined.
    pub fn merge(&mut self, other: &Snapshot) {
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            match (mine, theirs) {
                (Value::Counter(mine), Value::Counter(theirs)) => {
                    *mine = mine.wrapping_add(*theirs);
                }
                (Value::Gauge(mine), Value::Gauge(theirs)) => *mine += theirs,
                (Value::Peak(mine), Value::Peak(theirs)) => *mine = (*mine).max(*theirs),
                (Value::Histogram(mine), Value::Histogram(theirs)) => {
                    mine.add(theirs).expect("histograms of the same bounds");
                }
                (mine, theirs) => panic!("rows are in one order: {mine:?} and {theirs:?}"),
            }
        }
        self.samples.extend_from_slice(&other.samples);
    }

    /// The rows that were measured with it.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Every metric with its value, in the order of [`METRICS`].
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        METRICS
            .iter()
            .zip(&self.values)
            .map(|(metric, value)| Row { metric, value })
    }
}

impl Value {
    /// The six numbers of a histogram; `None` for the other kinds.
    pub fn summary(&self) -> Option<Summary> {
        match self {
            Value::Histogram(counts) => Some(Summary {
                count: counts.len(),
                mean: counts.mean(),
                p50: counts.value_at_quantile(0.5),
                p99: counts.value_at_quantile(0.99),
                p999: counts.value_at_quantile(0.999),
                max: counts.max(),
            }),
            Value::Counter(_) | Value::Gauge(_) | Value::Peak(_) => None,
        }
    }
}

impl From<&Counter> for Value {
    fn from(counter: &Counter) -> Value {
        Value::Counter(counter.value())
    }
}

impl From<&Gauge> for Value {
    fn from(gauge: &Gauge) -> Value {
        Value::Gauge(gauge.value())
    }
}

impl From<&Peak> for Value {
    fn from(peak: &Peak) -> Value {
        Value::Peak(peak.value())
    }
}

impl From<&Histogram> for Value {
    fn from(histogram: &Histogram) -> Value {
        Value::Histogram(histogram.counts())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::metrics::{GROUP_LAG_RECORDS, Metrics};

    fn value<'a>(snapshot: &'a Snapshot, name: &str, label: &str) -> &'a Value {
        let found = snapshot
            .rows()
            .find(|row| row.metric.name == name && row.metric.label == label);
        found.expect("a metric of that name").value
    }

    #[test]
    fn shards_add_up() {
        let shards = [Metrics::new(), Metrics::new()];
        for (i, shard) in (1..).zip(&shards) {
            shard.bytes_in.add(100 * i);
            shard.requests.increment();
            shard.connections_open.increment();
            shard.produce_latency.record(1000 * i);
        }
        shards[1].connections_open.decrement();
        shards[1].fetch_latency.record(5);
        let mut sum = shards[0].snapshot();
        sum.merge(&shards[1].snapshot());
        let bytes = value(&sum, "ringlog_received_bytes_total", "");
        assert_eq!(*bytes, Value::Counter(300));
        let requests = value(&sum, "ringlog_requests_total", "");
        assert_eq!(*requests, Value::Counter(2));
        let open = value(&sum, "ringlog_connections", "");
        assert_eq!(*open, Value::Gauge(1));
        let produce = value(&sum, "ringlog_request_seconds", "api=\"produce\"").summary();
        let produce = produce.expect("a histogram");
        assert_eq!(produce.count, 2);
        assert!((990..=1010).contains(&produce.p50), "{produce:?}");
        assert!((1980..=2020).contains(&produce.max), "{produce:?}");
        let fetch = value(&sum, "ringlog_request_seconds", "api=\"fetch\"").summary();
        assert_eq!(fetch.map(|fetch| fetch.count), Some(1));
    }

    #[test]
    fn of_peaks_the_highest_counts_and_samples_are_joined() {
        let shards = [Metrics::new(), Metrics::new()];
        let mut snapshots = Vec::new();
        for (shard, open) in shards.iter().zip([7, 5]) {
            shard.transaction_open.set(open);
            let mut snapshot = shard.snapshot();
            snapshot.add_samples([Sample::new(&GROUP_LAG_RECORDS, &[("group", "g")], open)]);
            snapshots.push(snapshot);
        }
        let name = "ringlog_oldest_open_transaction_seconds";
        for (mine, theirs) in [(0, 1), (1, 0)] {
            let mut sum = snapshots[mine].clone();
            sum.merge(&snapshots[theirs]);
            assert_eq!(*value(&sum, name, ""), Value::Peak(7));
            assert_eq!(sum.samples().len(), 2);
        }
    }

    #[test]
    fn a_snapshot_stays_as_it_was_taken() {
        let shard = Metrics::new();
        let before = shard.snapshot();
        shard.errors.increment();
        shard.commit_round_time.record(7);
        assert_eq!(before, Metrics::new().snapshot());
        assert_ne!(before, shard.snapshot());
    }

    #[test]
    fn values_out_of_range_count_at_its_ends() {
        let shard = Metrics::new();
        shard.other_latency.record(0);
        shard.other_latency.record(u64::MAX);
        let snapshot = shard.snapshot();
        let other = value(&snapshot, "ringlog_request_seconds", "api=\"other\"").summary();
        let other = other.expect("a histogram");
        assert_eq!((other.count, other.p50), (2, 1));
        assert!((60_000_000..61_000_000).contains(&other.max), "{other:?}");
    }

    #[test]
    fn rows_are_told_apart_and_named_as_prometheus_wants() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            assert!(seen.insert((metric.name, metric.label)), "{}", metric.name);
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(
                metric.name.ends_with("_total"),
                is_counter,
                "{}",
                metric.name
            );
            let in_unit = match metric.unit {
                Unit::Count => true,
                Unit::Bytes => metric.name.contains("bytes"),
                Unit::Micros => metric.name.ends_with("_seconds"),
            };
            assert!(in_unit && !metric.help.is_empty(), "{}", metric.name);
        }
        for row in Metrics::new().snapshot().rows() {
            let kind = match row.value {
                Value::Counter(_) => Kind::Counter,
                Value::Gauge(_) => Kind::Gauge,
                Value::Peak(_) => Kind::Peak,
                Value::Histogram(_) => Kind::Histogram,
            };
            assert_eq!(kind, row.metric.kind);
        }
    }

    #[test]
    fn a_snapshot_may_cross_threads() {
        fn sendable<T: Send>(_: &T) {}
        sendable(&Metrics::new().snapshot());
    }
}
