//! Goal: what is printed is what was counted, in both formats, and hostile names stay inside their quotes.
//!
//! Method: a snapshot is printed and read back by a small reader of the text format.

use std::collections::HashMap;

use super::*;
use crate::metrics::{
    GROUP_LAG_RECORDS, METRICS, Metrics, PARTITION_BYTES, REQUEST_TIME, SAMPLED, Sample,
    TOPIC_RECORDS_IN,
};
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
        let text = encode(snapshot(), format, KafkaNames::Usual);
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
    let text = encode(snapshot(), Format::Prometheus, KafkaNames::Usual);
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
        let mut kafka = metric.kafka.iter();
        assert!(kafka.all(|alias| seen.contains(&alias.name)));
    }
    let absent = SAMPLED.iter().filter(|metric| !seen.contains(&metric.name));
    assert_eq!(
        absent.count(),
        SAMPLED.len() - 1,
        "what was not measured is not told"
    );
}

/// A snapshot with rows of topics, partitions and requests.
fn snapshot_of_many() -> Snapshot {
    let metrics = Metrics::new();
    metrics.records_in.add(9);
    metrics.groups_classic_stable.set(2);
    metrics.groups_classic_empty.set(3);
    metrics.groups_consumer_stable.set(50);
    for us in [1_000, 2_500] {
        metrics.commit_round_time.record(us);
    }
    let mut snapshot = metrics.snapshot();
    let times = snapshot
        .rows()
        .find(|row| row.metric.name == "ringlog_commit_round_seconds");
    let times = times.expect("it is a metric").value.clone();
    let labels = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Str::from(*text))
            .collect::<Vec<_>>()
    };
    snapshot.add_samples([
        Sample::new(&TOPIC_RECORDS_IN, labels(&["a"]), Value::Counter(4)),
        Sample::new(&TOPIC_RECORDS_IN, labels(&["b\""]), Value::Counter(5)),
        Sample::new(&PARTITION_BYTES, labels(&["a", "3"]), Value::Gauge(77)),
        Sample::new(&REQUEST_TIME, labels(&["Metadata"]), times.clone()),
        Sample::new(&REQUEST_TIME, labels(&["NativePush"]), times),
    ]);
    snapshot
}

#[test]
fn by_kafkas_names_it_is_told_as_kafka_tells_it() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = encode(snapshot_of_many(), format, KafkaNames::All);
        let values = read(&text);
        for (row, value) in [
            ("server_brokertopicmetrics_messagesin_total", 9.0),
            (
                r#"server_brokertopicmetrics_messagesin_total{topic="a"}"#,
                4.0,
            ),
            (
                r#"server_brokertopicmetrics_messagesin_total{topic="b\""}"#,
                5.0,
            ),
            (r#"log_log_size{topic="a",partition="3"}"#, 77.0),
            ("coordinator_group_groupmetadatamanager_numgroups", 5.0),
            (
                "coordinator_group_groupmetadatamanager_numgroupsstable",
                2.0,
            ),
            (
                r#"network_requestmetrics_requests_total{request="Metadata"}"#,
                2.0,
            ),
            (
                r#"network_requestmetrics_totaltimems_count{request="Metadata"}"#,
                2.0,
            ),
            (
                r#"network_requestmetrics_totaltimems_sum{request="Metadata"}"#,
                3.5,
            ),
        ] {
            let told = values.get(&format!("kafka_{row}"));
            assert_eq!(told, Some(&value), "{row} in {text}");
        }
        let mut types: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE ")).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), count, "a family begins once");
        assert!(!text.contains(r#"request="Native"#));
        let usual = encode(snapshot_of_many(), format, KafkaNames::Usual);
        let few = read(&usual);
        assert!(!usual.contains("kafka_log_log_size"), "{usual}");
        assert_eq!(few.len(), values.len() - 1, "nothing else is left out");
    }
}

#[test]
fn the_format_is_what_the_scraper_asks_for() {
    assert_eq!(Format::accepted(None), Format::Prometheus);
    assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
}
