//! Values taken out of a shard: they travel, add up, and are read row by row.

use std::collections::BTreeMap;

use super::sample::Label;
use super::{Alias, Counter, Counts, Gauge, Histogram, METRICS, Peak, Sample};

/// What is known of a metric beside its value; one row of [`METRICS`] or [`SAMPLED`](super::SAMPLED).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// As Prometheus names it: base units, counters end in `_total`.
    pub name: &'static str,
    /// Keys and values that tell rows of one name apart, where they are fixed.
    pub labels: &'static [(&'static str, &'static str)],
    /// The keys of its labels, fixed or not.
    pub keys: &'static [&'static str],
    /// Of the value as it is kept here; a printer turns [`Unit::Micros`] into the name's seconds.
    pub unit: Unit,
    pub kind: Kind,
    /// The names of the same values of Kafka's.
    pub kafka: &'static [Alias],
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
    Histogram(Counts),
}

/// Every metric of one shard, or of several added up. `Send`: it goes to whoever was asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// One per row of [`METRICS`].
    values: Vec<Value>,
    /// Rows that were measured with it and are of one shard only, in no order.
    samples: Vec<Sample>,
    /// Rows that were measured with it and of which every shard may have its part.
    shared: BTreeMap<(&'static str, Vec<Label>), Sample>,
}

/// One metric with its value.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub metric: &'static Metric,
    pub value: &'a Value,
}

impl Snapshot {
    pub(super) fn new(values: Vec<Value>) -> Snapshot {
        assert_eq!(values.len(), METRICS.len(), "one value per row");
        Snapshot {
            values,
            samples: Vec::new(),
            shared: BTreeMap::new(),
        }
    }

    /// Adds rows that were measured for this snapshot and that no other shard has.
    pub fn add_samples(&mut self, samples: impl IntoIterator<Item = Sample>) {
        self.samples.extend(samples);
    }

    /// Adds a row of which other shards may have parts: what has the same labels is one row.
    pub fn add_shared(&mut self, sample: Sample) {
        let key = (sample.metric.name, sample.labels.clone());
        match self.shared.get_mut(&key) {
            Some(known) => known.value.merge(&sample.value),
            None => drop(self.shared.insert(key, sample)),
        }
    }

    /// Adds another shard's values to these: counters and gauges are summed, of peaks the highest stays, histograms and
    /// samples are joined.
    pub fn merge(&mut self, other: Snapshot) {
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            mine.merge(theirs);
        }
        self.samples.extend(other.samples);
        other
            .shared
            .into_values()
            .for_each(|sample| self.add_shared(sample));
    }

    /// The rows that were measured with it.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().chain(self.shared.values())
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
    /// Adds a value of the same kind; of peaks the higher stays.
    pub fn merge(&mut self, other: &Value) {
        match (self, other) {
            (Value::Counter(mine), Value::Counter(theirs)) => *mine = mine.wrapping_add(*theirs),
            (Value::Gauge(mine), Value::Gauge(theirs)) => *mine += theirs,
            (Value::Peak(mine), Value::Peak(theirs)) => *mine = (*mine).max(*theirs),
            (Value::Histogram(mine), Value::Histogram(theirs)) => mine.add(theirs),
            (mine, theirs) => panic!("rows are of one kind: {mine:?} and {theirs:?}"),
        }
    }

    /// A histogram's counts; `None` for the other kinds.
    pub fn counts(&self) -> Option<&Counts> {
        match self {
            Value::Histogram(counts) => Some(counts),
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
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::metrics::{DEVICE_BYTES, GROUP_LAG_RECORDS, Metrics, SAMPLED, families};
    use crate::types::Str;

    fn value<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Value {
        let found = snapshot.rows().find(|row| row.metric.name == name);
        found.expect("a metric of that name").value
    }

    fn labels(texts: &[&str]) -> Vec<Str> {
        texts.iter().map(|text| Str::from(*text)).collect()
    }

    #[test]
    fn shards_add_up() {
        let shards = [Metrics::new(), Metrics::new()];
        for (i, shard) in (1..).zip(&shards) {
            shard.bytes_in.add(100 * i);
            shard.requests.increment();
            shard.connections_open.increment();
            shard.commit_round_time.record(1000 * i);
        }
        shards[1].connections_open.decrement();
        let mut sum = shards[0].snapshot();
        sum.merge(shards[1].snapshot());
        assert_eq!(
            *value(&sum, "ringlog_received_bytes_total"),
            Value::Counter(300)
        );
        assert_eq!(*value(&sum, "ringlog_requests_total"), Value::Counter(2));
        assert_eq!(*value(&sum, "ringlog_connections"), Value::Gauge(1));
        let rounds = value(&sum, "ringlog_commit_round_seconds").counts();
        let rounds = rounds.expect("a histogram");
        assert_eq!((rounds.count(), rounds.sum()), (2, 3000));
        assert!((1000..=1250).contains(&rounds.quantile(0.5)), "{rounds:?}");
        assert!((2000..=2500).contains(&rounds.quantile(1.0)), "{rounds:?}");
    }

    #[test]
    fn of_peaks_the_highest_counts_and_samples_are_joined() {
        let shards = [Metrics::new(), Metrics::new()];
        let mut snapshots = Vec::new();
        for (shard, open) in shards.iter().zip([7, 5]) {
            shard.transaction_open.set(open);
            let mut snapshot = shard.snapshot();
            let own = Sample::new(
                &GROUP_LAG_RECORDS,
                labels(&["g", "t", "0"]),
                Value::Gauge(open),
            );
            snapshot.add_samples([own]);
            let part = labels(&["/data", "read"]);
            snapshot.add_shared(Sample::new(
                &DEVICE_BYTES,
                part,
                Value::Counter(open as u64),
            ));
            snapshots.push(snapshot);
        }
        let name = "ringlog_oldest_open_transaction_seconds";
        for (mine, theirs) in [(0, 1), (1, 0)] {
            let mut sum = snapshots[mine].clone();
            sum.merge(snapshots[theirs].clone());
            assert_eq!(*value(&sum, name), Value::Peak(7));
            let lags = sum.samples().filter(|s| s.metric == &GROUP_LAG_RECORDS);
            assert_eq!(lags.count(), 2, "each of its own shard");
            let bytes: Vec<_> = sum
                .samples()
                .filter(|s| s.metric == &DEVICE_BYTES)
                .collect();
            assert_eq!(bytes.len(), 1, "one row of both");
            assert_eq!(bytes[0].value, Value::Counter(12));
        }
    }

    #[test]
    fn a_snapshot_stays_as_it_was_taken() {
        let shard = Metrics::new();
        let before = shard.snapshot();
        shard.requests.increment();
        shard.commit_round_time.record(7);
        assert_eq!(before, Metrics::new().snapshot());
        assert_ne!(before, shard.snapshot());
    }

    #[test]
    fn rows_are_told_apart_and_named_as_prometheus_wants() {
        let mut seen = HashSet::new();
        for metric in METRICS.iter().chain(SAMPLED.iter().copied()) {
            assert!(seen.insert((metric.name, metric.labels)), "{}", metric.name);
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
                Unit::Micros => metric.name.trim_end_matches("_total").ends_with("_seconds"),
            };
            assert!(in_unit && !metric.help.is_empty(), "{}", metric.name);
            let reserved = ["le", "quantile", "instance", "job"];
            assert!(
                !metric.keys.iter().any(|key| reserved.contains(key)),
                "{}",
                metric.name
            );
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
    fn kafkas_names_are_of_one_kind_each_and_none_is_ours() {
        let mut kinds = HashMap::new();
        let rows = METRICS.iter().chain(SAMPLED.iter().copied());
        for (metric, alias) in rows.flat_map(|m| m.kafka.iter().map(move |alias| (m, alias))) {
            let name = alias.name;
            assert!(name.starts_with("kafka_"), "{name}");
            let kind = alias.kind(metric);
            assert_eq!(*kinds.entry(name).or_insert(kind), kind, "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let is_time = metric.unit == Unit::Micros && kind == Kind::Histogram;
            assert_eq!(name.ends_with("ms"), is_time, "{name}");
            let mut needed = alias.keys.iter().chain(alias.only);
            assert!(needed.all(|(key, _)| metric.keys.contains(key)), "{name}");
        }
        assert!(kinds.len() > 30, "{}", kinds.len());
    }

    #[test]
    fn rows_of_one_name_are_of_one_family() {
        for family in families() {
            let rows = METRICS.iter().chain(SAMPLED.iter().copied());
            for row in rows.filter(|row| row.name == family.name) {
                let same = (row.kind, row.unit, row.keys, row.help);
                assert_eq!(same, (family.kind, family.unit, family.keys, family.help));
            }
        }
    }

    #[test]
    fn a_snapshot_may_cross_threads() {
        fn sendable<T: Send>(_: &T) {}
        sendable(&Metrics::new().snapshot());
    }
}
