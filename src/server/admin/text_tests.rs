//! Goal: what is printed is what was counted, in both formats, and hostile names stay inside their quotes.
//!
//! Method: a snapshot is printed and read back by a small reader of the text format.

use std::collections::HashMap;

use super::*;
use crate::metrics::{GROUP_LAG_RECORDS, Metrics, SAMPLED, Sample};
use crate::types::Str;

/// Name and labels as printed, to the value.
fn read(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut values = HashMap::new();
    for line in lines {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let value = value.parse().expect("a number");
        let before = values.insert(name.to_owned(), value);
        assert_eq!(before, None, "{name} is there twice");
    }
    values
}

fn snapshot() -> Snapshot {
    let metrics = Metrics::new();
    metrics.requests.add(42);
    metrics.transaction_open.set(1_500_000);
    for us in [10, 17, 1_000_000, u64::MAX >> 8] {
        metrics.commit_round_time.record(us);
    }
    metrics.records_in.add(7);
    let mut snapshot = metrics.snapshot();
    let labels = ["a\"b\\c\nd", "t", "0"].map(Str::from);
    let hostile = Sample::new(&GROUP_LAG_RECORDS, labels, Value::Gauge(-3));
    snapshot.add_samples([hostile]);
    snapshot
}

#[test]
fn both_formats_say_what_was_counted() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = encode(snapshot(), format);
        let values = read(&text);
        assert_eq!(values["ringlog_requests_total"], 42.0);
        assert_eq!(values["ringlog_oldest_open_transaction_seconds"], 1.5);
        assert_eq!(
            values["kafka_server_brokertopicmetrics_messagesin_total"],
            7.0
        );
        let bucket = |le: &str| {
            let name = format!("ringlog_commit_round_seconds_bucket{{le=\"{le}\"}}");
            *values
                .get(&name)
                .unwrap_or_else(|| panic!("{name} is not in {text}"))
        };
        let (first, second) = match format {
            Format::Prometheus => ("1.6e-05", "3.2e-05"),
            Format::OpenMetrics => ("0.000016", "0.000032"),
        };
        assert_eq!((bucket(first), bucket(second)), (1.0, 2.0), "{text}");
        assert_eq!(bucket("1.048576"), 3.0);
        assert_eq!(bucket("+Inf"), 4.0);
        assert_eq!(values["ringlog_commit_round_seconds_count"], 4.0);
        let hostile = r#"ringlog_group_lag_records{group="a\"b\\c\nd",topic="t",partition="0"}"#;
        assert_eq!(values[hostile], -3.0);
        let is_open = format == Format::OpenMetrics;
        assert_eq!(text.ends_with("# EOF\n"), is_open);
        let kind = match is_open {
            true => "# TYPE ringlog_requests counter\n",
            false => "# TYPE ringlog_requests_total counter\n",
        };
        assert!(text.contains(kind), "{text}");
    }
}

#[test]
fn every_family_is_told_once_and_in_one_piece() {
    let text = encode(snapshot(), Format::Prometheus);
    let mut seen: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let name = rest.split(' ').next().expect("a name");
        assert!(!seen.contains(&name), "{name} begins twice");
        seen.push(name);
    }
    for metric in METRICS {
        assert!(seen.contains(&metric.name), "{}", metric.name);
        assert!(metric.kafka.is_empty() || seen.contains(&metric.kafka));
    }
    let absent = SAMPLED.iter().filter(|metric| !seen.contains(&metric.name));
    assert_eq!(
        absent.count(),
        SAMPLED.len() - 1,
        "what was not measured is not told"
    );
}

#[test]
fn the_format_is_what_the_scraper_asks_for() {
    assert_eq!(Format::accepted(None), Format::Prometheus);
    assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
}
