//! Goal: `ringlog load` does what it is told, finds what is wrong with records, and refuses what cannot work.
//!
//! Method: the program itself against a real broker, its result as JSON. Faults are planted into the topic by another
//! client while a run goes on: the checker has to see them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::Records;
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, records, split};
use ringlog::types::Timestamp;
use serde_json::Value;

use crate::broker::{Broker, Ended, free_port, run_to_end};
use crate::wire::Client;

pub const PATIENCE: Duration = Duration::from_secs(90);

pub fn load(broker: &Broker, topic: &str, options: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--json", "--topic", topic]);
    command.args(["--bootstrap", &broker.address.to_string()]);
    command.args(["--warm-up", "0s", "--timeout", "20s"]);
    if !options.contains(&"--duration") {
        command.args(["--duration", "1s"]);
    }
    command.args(options);
    command
}

/// The result: what is told beside it comes before or after it.
pub fn report(ended: &Ended) -> Value {
    let start = ended.output.find("{\n").expect("a report");
    let end = ended.output.rfind("\n}").expect("a report") + 2;
    serde_json::from_str(&ended.output[start..end]).expect("JSON")
}

pub fn passes(broker: &Broker, topic: &str, options: &[&str]) -> Value {
    let ended = run_to_end(&mut load(broker, topic, options), PATIENCE);
    assert!(ended.status.success(), "{options:?}: {}", ended.output);
    let report = report(&ended);
    assert_eq!(report["errors"], 0, "{options:?}: {report}");
    report
}

pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// Everything that was acknowledged came, once for each of `audiences`.
pub fn assert_whole(report: &Value, audiences: u64) {
    let check = &report["check"];
    for fault in ["lost", "duplicated", "reordered", "corrupted"] {
        assert_eq!(check[fault], 0, "{report}");
    }
    assert_eq!(report["consumed"]["missing"], 0, "{report}");
    if report["loop_kind"] == "open" {
        let acknowledged = number(&report["latency_ms"]["count"]);
        assert_eq!(
            number(&check["checked"]),
            acknowledged * audiences,
            "{report}"
        );
    }
    assert!(number(&check["checked"]) > 0, "{report}");
}

#[test]
fn every_kind_of_load_is_acknowledged_and_read_back_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let lines = dir.path().join("lines");
    std::fs::write(&lines, "one\n\nthree\n").expect("a file");
    let payload = format!(
        "--rate 2k --payload lines:{} --headers a=1,b=2",
        lines.display()
    );
    let runs = [
        ("ramp", 1, "--rate 500..3k"),
        ("steps", 1, "--rate 500,2k,100"),
        ("poisson", 1, "--rate poisson:2k"),
        ("burst", 1, "--rate burst:0,4k,100ms/400ms"),
        (
            "topics",
            1,
            "--rate 2k --topics 3 --keys zipf:100:1.1 --remove-topics",
        ),
        (
            "sizes",
            1,
            "--rate 2k --size 70%:100,30%:1k..10k --keys sequential:50",
        ),
        ("lines", 1, &payload),
        (
            "packed",
            1,
            "--rate 2k --payload compressible:4 --codec zstd",
        ),
        (
            "spread",
            1,
            "--rate 2k --spread round-robin --partitions 50",
        ),
        ("idempotent", 1, "--rate 2k --idempotent --producers 3"),
        ("classic", 2, "--rate 2k --groups 2 --group-members 2"),
        (
            "kip-848",
            2,
            "--rate 2k --groups 2 --group-members 2 --group-protocol consumer",
        ),
        (
            "committed",
            1,
            "--rate 2k --transaction-records 300 --isolation committed",
        ),
        ("uncommitted", 1, "--transaction-records 300 --producers 2"),
        ("readers", 1, "--producers 2 --threads 2 --reader-threads 3"),
        (
            "members",
            3,
            "--rate 2k --groups 3 --group-members 2 --reader-threads 4",
        ),
    ];
    for (topic, audiences, options) in runs {
        let options: Vec<&str> = options.split(' ').chain(["--consume"]).collect();
        let report = passes(&broker, topic, &options);
        assert_whole(&report, audiences);
    }
    let mut client = broker.client();
    let removed = client.topic("topics-1").expect("an answer");
    assert_ne!(removed.error_code, 0, "it was removed: {removed:?}");
}

#[test]
fn a_backlog_is_built_and_then_read_by_everyone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    for options in [
        &["--backlog", "8m"][..],
        &["--backlog", "8m", "--groups", "2", "--rate", "500"],
    ] {
        let report = passes(&broker, "cold", options);
        let audiences = 1 + u64::from(options.len() > 2);
        assert_eq!(report["check"]["lost"], 0, "{report}");
        let least = (8 << 20) / 1024 * audiences;
        assert!(number(&report["drained"]["records"]) >= least, "{report}");
        assert_eq!(report["drained"]["is_complete"], true, "{report}");
    }
    // Without producers, from the start: what both runs have left, which is of no run that could be checked.
    for groups in ["0", "1"] {
        let options = ["--producers", "0", "--consume=start", "--duration", "20s"];
        let options = [&options[..], &["--groups", groups]].concat();
        let found = passes(&broker, "cold", &options);
        // What came before the count began is in this figure too.
        assert!(
            number(&found["drained"]["records"]) >= 2 * (8 << 20) / 1024,
            "{found}"
        );
        assert_eq!(found["drained"]["is_complete"], true, "{found}");
        assert_eq!(found["check"], Value::Null, "{found}");
    }
}

#[test]
fn a_slow_reader_is_slow_and_what_it_did_not_reach_is_not_lost() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let options = [
        "--rate",
        "20k",
        "--consume",
        "--consume-rate",
        "1k",
        "--size",
        "100",
    ];
    let report = passes(&broker, "slow", &options);
    let check = &report["check"];
    assert!(number(&check["checked"]) < 20_000, "{report}");
    assert_eq!(check["lost"], 0, "{report}");
}

/// The records of partition 0 as they are, from the first batch.
pub fn first_values(client: &mut Client, topic: &str) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Ok(data) = client.fetch(topic, 0, 0, 1 << 20, 100)
            && let Some(Records::Bytes(bytes)) = data.records
            && let Some(batch) = split(&bytes).next()
        {
            let mut codecs = Codecs::new();
            let batch = batch.expect("a batch");
            let read = records(batch.bytes, 1 << 24, &mut codecs).expect("records");
            return read
                .map(|record| record.expect("a record").value.expect("a value").to_vec())
                .collect();
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing was written");
}

fn batch(values: &[Vec<u8>], now: Timestamp) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    for value in values {
        builder.append(now, None, Some(value), &[]);
    }
    builder.build(&BatchSeal::default(), &mut Codecs::new())
}

#[test]
fn planted_duplicates_and_corruption_are_found_and_fail_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    broker.client().create_topic("planted", 1).expect("set-up");
    let options = [
        "--rate",
        "1k",
        "--duration",
        "3s",
        "--consume",
        "--size",
        "200",
    ];
    let mut command = load(&broker, "planted", &options);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    let mut client = broker.client();
    let values = first_values(&mut client, "planted");
    let count = values.len().min(3);
    let now = *crate::native::NOW;
    let twice = client.produce("planted", 0, batch(&values[..count], now));
    assert_eq!(twice.expect("an answer").error_code, 0);
    let mut broken = values[0].clone();
    broken[150] ^= 1;
    let broken = client.produce("planted", 0, batch(&[broken], now));
    assert_eq!(broken.expect("an answer").error_code, 0);
    let ended = running.join().expect("it ran");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    let check = report(&ended)["check"].clone();
    assert_eq!(number(&check["duplicated"]), count as u64, "{check}");
    assert_eq!(number(&check["corrupted"]), 1, "{check}");
    assert_eq!(
        (number(&check["lost"]), number(&check["reordered"])),
        (0, 0),
        "{check}"
    );
}

#[test]
fn idempotent_producers_bring_everything_once_through_a_killed_broker() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let mut broker = Broker::start(port, dir.path());
    let options = [
        "--rate",
        "2k",
        "--duration",
        "5s",
        "--idempotent",
        "--consume",
    ];
    let mut command = load(&broker, "killed", &options);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    first_values(&mut broker.client(), "killed");
    thread::sleep(Duration::from_secs(1));
    broker.kill();
    let _broker = Broker::start(port, dir.path());
    let ended = running.join().expect("it ran");
    assert!(ended.status.success(), "{}", ended.output);
    let report = report(&ended);
    assert_whole(&report, 1);
    assert_eq!(number(&report["check"]["checked"]), 10_000, "{report}");
}

#[test]
fn more_connections_than_the_process_may_have_are_refused_before_anything_is_asked() {
    let program = assert_cmd::cargo::cargo_bin!("ringlog").display();
    let address = format!("127.0.0.1:{}", free_port());
    let load = format!("ulimit -n 256; exec {program} load --bootstrap {address}");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("{load} --producers 0 --idle-connections 300"),
    ]);
    let ended = run_to_end(&mut command, PATIENCE);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
    for wanted in ["300 connections", "may have 256", "ulimit -Hn"] {
        assert!(ended.output.contains(wanted), "{}", ended.output);
    }
}

#[test]
fn the_highest_rate_that_keeps_a_goal_is_looked_for_in_trials() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let options = [
        "--find-max",
        "p50=2s",
        "--find-precision",
        "60%",
        "--duration",
        "500ms",
        "--rate",
        "poisson",
    ];
    let ended = run_to_end(&mut load(&broker, "found", &options), PATIENCE);
    assert!(ended.status.success(), "{}", ended.output);
    assert!(
        ended.output.contains("trial in the closed loop"),
        "{}",
        ended.output
    );
    assert!(ended.output.contains(": kept"), "{}", ended.output);
    let found = report(&ended);
    assert!(found["rate_asked"].as_f64().expect("a rate") > 0.0);
    assert_eq!(found["settings"]["arrivals"], "poisson");
    assert_eq!(found["search"]["point"], "p50", "{found}");
    assert_eq!(found["search"]["at_most_ms"], 2_000.0, "{found}");
    let trials = found["search"]["trials"].as_array().expect("a list");
    assert!(
        trials.len() >= 2 && trials[0]["rate"].is_null(),
        "{trials:?}"
    );
    let is_best = |trial: &&Value| trial["rate"] == found["rate_asked"];
    let best = trials.iter().find(is_best).expect("it is among them");
    assert!(best["broken"].is_null(), "{best}");
    let options = [
        "--find-max",
        "p50=1us",
        "--find-precision",
        "60%",
        "--duration",
        "100ms",
    ];
    let ended = run_to_end(&mut load(&broker, "found", &options), PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    assert!(
        ended.output.contains("no rate keeps the goal"),
        "{}",
        ended.output
    );
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_asked_of_a_broker() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("scenario.toml");
    let refused = |options: &[&str], wanted: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
        command.args(["load", "--bootstrap", &format!("127.0.0.1:{}", free_port())]);
        let ended = run_to_end(command.args(options), PATIENCE);
        assert_eq!(
            ended.status.code(),
            Some(2),
            "{options:?}: {}",
            ended.output
        );
        assert!(
            ended.output.contains(wanted),
            "{options:?}: {}",
            ended.output
        );
    };
    refused(
        &["--wire", "native", "--transaction-records", "10"],
        "native wire has no transactions",
    );
    refused(&["--consume", "--size", "10"], "32-byte stamp");
    refused(&["--idempotent", "--acks", "1"], "need --acks all");
    refused(
        &["--isolation", "committed"],
        "--isolation does nothing without readers",
    );
    refused(
        &["--find-max", "p99=1ms", "--rate", "5"],
        "finds the rate itself",
    );
    let path = file.display().to_string();
    std::fs::write(&file, "rate = \"5k\"\nrecord-byte = 5\n").expect("a file");
    refused(&["--scenario", &path], "unknown key 'record-byte'");
    std::fs::write(&file, "rate = \"5k\"\nacks = 2\n").expect("a file");
    refused(&["--scenario", &path, "--dry-run"], "line 2");
}

#[test]
fn a_scenario_file_is_checked_shown_and_run_as_its_flags_would_be() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let file = dir.path().join("scenario.toml");
    let text = "rate = [\"1k\", \"3k\"]\nconsume = true\nkeys = \"uniform:10\"\n";
    std::fs::write(&file, text.replace("true", "\"tail\"")).expect("a file");
    let path = file.display().to_string();
    let options = ["--scenario", &path, "--dry-run"];
    let shown = run_to_end(&mut load(&broker, "scenario", &options), PATIENCE);
    assert!(shown.status.success(), "{}", shown.output);
    assert!(shown.output.contains("2,000 records"), "{}", shown.output);
    let absent = broker.client().topic("scenario").expect("an answer");
    assert_ne!(absent.error_code, 0, "nothing was created: {absent:?}");
    let report = passes(&broker, "scenario", &["--scenario", &path]);
    assert_eq!(number(&report["latency_ms"]["count"]), 2_000, "{report}");
    assert_whole(&report, 1);
}
