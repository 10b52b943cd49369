//! A snapshot as the text that Prometheus reads, in the older format or as OpenMetrics; made from the table of metrics.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use crate::metrics::{Counts, Kind, METRICS, Metric, Snapshot, Unit, Value, families};

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

/// Every metric of the snapshot, and those that Kafka has too under Kafka's names besides.
pub fn encode(snapshot: Snapshot, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut out = String::with_capacity(1 << 18);
    let encoded = match format {
        Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode(&mut out, &registry),
    };
    encoded.expect("writing to a string does not fail");
    out
}

#[derive(Debug)]
struct Scrape(Snapshot);

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut by_name: HashMap<&str, Vec<(Labels<'_>, &Value)>> = HashMap::new();
        for row in self.0.rows() {
            let rows = by_name.entry(row.metric.name).or_default();
            rows.push((row.metric.labels.to_vec(), row.value));
        }
        for sample in self.0.samples() {
            let labels = sample
                .labels
                .iter()
                .map(|(key, value)| (*key, value.as_str()));
            let rows = by_name.entry(sample.metric.name).or_default();
            rows.push((labels.collect(), &sample.value));
        }
        for family in families() {
            let Some(rows) = by_name.get(family.name) else {
                continue;
            };
            let metric = descriptor(&mut encoder, family.name, family.help, family.kind)?;
            encode_rows(metric, family.unit, rows)?;
        }
        for (metric, row) in METRICS.iter().zip(self.0.rows()) {
            if metric.kafka.is_empty() {
                continue;
            }
            let help = alias_help(metric);
            let encoder = descriptor(&mut encoder, metric.kafka, &help, metric.kind)?;
            encode_rows(encoder, metric.unit, &[(Vec::new(), row.value)])?;
        }
        Ok(())
    }
}

fn alias_help(metric: &Metric) -> String {
    format!("{} by Kafka's name.", metric.name)
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

fn encode_rows(
    mut encoder: MetricEncoder<'_>,
    unit: Unit,
    rows: &[(Labels<'_>, &Value)],
) -> fmt::Result {
    for (labels, value) in rows {
        match labels.is_empty() {
            true => encode_value(&mut encoder, unit, value)?,
            false => encode_value(&mut encoder.encode_family(labels)?, unit, value)?,
        }
    }
    Ok(())
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
    let no_exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
    encoder.encode_histogram(sum, counts.count(), &buckets, no_exemplars)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
