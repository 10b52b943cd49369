//! A snapshot as the text that Prometheus reads, in the older format or as OpenMetrics; made from the table of metrics.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::metrics::{Counts, Kind, Metric, Snapshot, Unit, Value, families};

/// The format of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics where it is named, as Prometheus does.
    pub fn accepted(header: Option<&str>) -> Format {
        match header {
            Some(accept) if accept.contains("application/openmetrics-text") => Format::OpenMetrics,
            _ => Format::Prometheus,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Which of Kafka's names are told besides ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KafkaNames {
    /// Those of which there are few rows.
    Usual,
    All,
}

/// Every metric of the snapshot, and what Kafka has too under Kafka's names besides.
pub fn encode(snapshot: Snapshot, format: Format, kafka: KafkaNames) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { snapshot, kafka }));
    let mut out = String::with_capacity(1 << 18);
    let encoded = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    encoded.expect("writing to a string does not fail");
    out
}

#[derive(Debug)]
struct Scrape {
    snapshot: Snapshot,
    kafka: KafkaNames,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;
type Row<'a> = (&'static Metric, Labels<'a>, &'a Value);

/// What is told by one of Kafka's names.
struct Aliased<'a> {
    kind: Kind,
    /// Our names of the same.
    names: Vec<&'static str>,
    rows: Vec<(Labels<'a>, Value)>,
}

impl Scrape {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let fixed = self.snapshot.rows();
        let fixed = fixed.map(|row| (row.metric, row.metric.labels.to_vec(), row.value));
        let sampled = self.snapshot.samples().map(|sample| {
            let labels = sample.labels.iter();
            let labels = labels.map(|(key, value)| (*key, value.as_str()));
            (sample.metric, labels.collect(), &sample.value)
        });
        fixed.chain(sampled)
    }

    fn aliased<'a>(&self, rows: &[Row<'a>]) -> BTreeMap<&'static str, Aliased<'a>> {
        let mut by_name = BTreeMap::new();
        for (metric, labels, value) in rows {
            for alias in metric.kafka {
                if alias.is_asked && self.kafka == KafkaNames::Usual {
                    continue;
                }
                let Some(labels) = alias.labels(labels) else {
                    continue;
                };
                let kind = alias.kind(metric);
                let value = match (kind, *value) {
                    (Kind::Counter, Value::Histogram(counts)) => Value::Counter(counts.count()),
                    (_, value) => value.clone(),
                };
                let family = by_name.entry(alias.name).or_insert_with(|| Aliased {
                    kind,
                    names: Vec::new(),
                    rows: Vec::new(),
                });
                family.add(metric.name, labels, value);
            }
        }
        by_name
    }
}

impl<'a> Aliased<'a> {
    fn add(&mut self, name: &'static str, labels: Labels<'a>, value: Value) {
        if self.names.last() != Some(&name) {
            self.names.push(name);
        }
        // Kafka counts as one what has rows here by its state.
        let first = self.rows.first_mut();
        match first.filter(|(known, _)| known.is_empty() && labels.is_empty()) {
            Some((_, sum)) => sum.merge(&value),
            None => self.rows.push((labels, value)),
        }
    }

    fn help(&self) -> String {
        format!("{} by Kafka's name.", self.names.join(" and "))
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let all: Vec<Row<'_>> = self.rows().collect();
        let mut by_name: HashMap<&str, Vec<(&Labels<'_>, &Value)>> = HashMap::new();
        for (metric, labels, value) in &all {
            let rows = by_name.entry(metric.name).or_default();
            rows.push((labels, value));
        }
        for family in families() {
            let Some(rows) = by_name.get(family.name) else {
                continue;
            };
            let mut metric = descriptor(&mut encoder, family.name, family.help, family.kind)?;
            encode_rows(&mut metric, rows.iter().copied(), |encoder, value| {
                encode_value(encoder, family.unit, value)
            })?;
        }
        for (name, family) in self.aliased(&all) {
            let mut metric = descriptor(&mut encoder, name, &family.help(), family.kind)?;
            let rows = family.rows.iter().map(|(labels, value)| (labels, value));
            encode_rows(&mut metric, rows, encode_aliased)?;
        }
        Ok(())
    }
}

fn descriptor<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: Kind,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let (name, kind) = match kind {
        // The encoder writes the end that every counter's name has.
        Kind::Counter => (name.trim_end_matches("_total"), MetricType::Counter),
        Kind::Gauge | Kind::Peak => (name, MetricType::Gauge),
        Kind::Histogram => (name, MetricType::Histogram),
    };
    encoder.encode_descriptor(name, help, None, kind)
}

fn encode_rows<'a>(
    encoder: &mut MetricEncoder<'_>,
    rows: impl Iterator<Item = (&'a Labels<'a>, &'a Value)>,
    encode: impl Fn(&mut MetricEncoder<'_>, &Value) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in rows {
        match labels.is_empty() {
            true => encode(encoder, value)?,
            false => encode(&mut encoder.encode_family(labels)?, value)?,
        }
    }
    Ok(())
}

/// See [`Alias`](crate::metrics::Alias) for what is told of a histogram.
fn encode_aliased(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Histogram(counts) => {
            let sum_ms = counts.sum() as f64 / 1e3;
            let all = [(f64::INFINITY, counts.count())];
            encoder.encode_histogram(sum_ms, counts.count(), &all, NO_EXEMPLARS)
        }
        value => encode_value(encoder, Unit::Count, value),
    }
}

fn encode_value(encoder: &mut MetricEncoder<'_>, unit: Unit, value: &Value) -> fmt::Result {
    match (value, unit) {
        (Value::Counter(count), Unit::Micros) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&(*count as f64 / 1e6), None)
        }
        (Value::Counter(count), _) => encoder.encode_counter::<NoLabelSet, _, f64>(count, None),
        (Value::Gauge(value) | Value::Peak(value), Unit::Micros) => {
            encoder.encode_gauge(&(*value as f64 / 1e6))
        }
        (Value::Gauge(value) | Value::Peak(value), _) => encoder.encode_gauge(value),
        (Value::Histogram(counts), unit) => encode_histogram(encoder, unit, counts),
    }
}

fn encode_histogram(encoder: &mut MetricEncoder<'_>, unit: Unit, counts: &Counts) -> fmt::Result {
    let scale = if unit == Unit::Micros { 1e6 } else { 1.0 };
    let mut buckets: Vec<(f64, u64)> = counts
        .octaves()
        .map(|(upper, count)| (upper as f64 / scale, count))
        .collect();
    // What is beyond the last is counted in it.
    if let Some((upper, _)) = buckets.last_mut() {
        *upper = f64::INFINITY;
    }
    let sum = counts.sum() as f64 / scale;
    encoder.encode_histogram(sum, counts.count(), &buckets, NO_EXEMPLARS)
}

const NO_EXEMPLARS: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
