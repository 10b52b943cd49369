//! `ringlog load` over the native wire: what it counts is what the log has.

use std::process::Command;
use std::time::Duration;

use super::Both;
use crate::broker::{free_port, run_to_end};
use crate::transactions;

fn load(both: &Both, topic: &str, options: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--json", "--wire", "native", "--topic", topic]);
    command.args(["--bootstrap", &both.broker.address.to_string()]);
    command.args(["--native-bootstrap", &both.native.to_string()]);
    command.args(["--warm-up", "0s", "--timeout", "10s"]);
    command.args(options);
    command
}

#[test]
fn what_a_load_run_counts_is_what_the_log_has() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let runs: [(&str, &[&str]); 6] = [
        ("open", &["--rate", "3k", "--record-bytes", "100"]),
        ("keyed", &["--rate", "3k", "--keys", "uniform"]),
        ("unacknowledged", &["--rate", "3k", "--acks", "0"]),
        ("closed", &["--window", "2", "--producers", "2"]),
        ("any", &["--rate", "3k", "--native-steering", "any"]),
        ("committed", &["--rate", "3k", "--isolation", "committed"]),
    ];
    for (topic, options) in runs {
        let mut command = load(&both, topic, options);
        command.args(["--duration", "1s", "--consume"]);
        let ended = run_to_end(&mut command, Duration::from_secs(60));
        assert!(ended.status.success(), "{topic}: {}", ended.output);
        let report: serde_json::Value = serde_json::from_str(&ended.output).expect("JSON");
        assert_eq!(report["wire"], "native");
        assert_eq!(report["errors"], 0, "{topic}: {report}");
        assert_eq!(report["consumed"]["missing"], 0, "{topic}: {report}");
        let mut kafka = both.broker.client();
        let end = |partition| {
            let data = kafka.fetch(topic, partition, 0, 1, 0).expect("served");
            data.high_watermark as u64
        };
        let written: u64 = (0..6).map(end).sum();
        let acked = report["latency_ms"]["count"].as_u64().expect("a number");
        match options.contains(&"--rate") {
            // Every record of the open loop is due in the measured part, or is not made.
            true => assert_eq!((written, acked), (3_000, 3_000), "{topic}: {report}"),
            // What was made in it and sent after its end is not in its figures.
            false => assert!(
                acked > 0 && written >= acked,
                "{written}, {topic}: {report}"
            ),
        }
    }
}

/// Three records that were committed, two that were aborted, and one of no transaction.
#[test]
fn a_load_run_reads_what_is_committed_only_where_it_is_told_to() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), transactions::UNVERIFIED);
    both.create(transactions::TOPIC, 1);
    let mut kafka = both.broker.client();
    for (id, count, is_transactional) in [(7, 2, true), (8, 3, true), (9, 1, false)] {
        transactions::write(&mut kafka, id, 0, count, is_transactional);
    }
    for (id, commit) in [(7, false), (8, true)] {
        transactions::end(&mut kafka, id, commit);
    }
    for (isolation, wanted) in [("committed", 4), ("uncommitted", 6)] {
        let mut command = load(&both, transactions::TOPIC, &["--producers", "0"]);
        command.args(["--consume=start", "--duration", "20s"]);
        command.args(["--isolation", isolation]);
        let ended = run_to_end(&mut command, Duration::from_secs(60));
        assert!(ended.status.success(), "{isolation}: {}", ended.output);
        let report: serde_json::Value = serde_json::from_str(&ended.output).expect("JSON");
        assert_eq!(report["errors"], 0, "{isolation}: {report}");
        let read = &report["drained"]["records"];
        assert_eq!(*read, wanted, "{isolation}: {report}");
    }
}

#[test]
fn a_load_run_that_is_not_served_fails_and_says_why() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut both = Both::start(dir.path(), &[]);
    both.native.set_port(free_port());
    let mut command = load(&both, "unserved", &["--duration", "1s"]);
    let ended = run_to_end(&mut command, Duration::from_secs(60));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    let wanted = format!("{}: connection refused", both.native);
    assert!(ended.output.contains(&wanted), "{}", ended.output);
}
