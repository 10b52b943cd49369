//! Goal: the exit status of `ringlog load`, and what it calls lost, is the truth where brokers fail and readers are kept away.
//!
//! Method: the program itself against a real broker that is killed, or has a damaged log; and against scripted ones where a
//! single partition has to be away.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, free_port, run_to_end};
use crate::load::{PATIENCE, first_values, load, number, passes, report};
use crate::scripted::Scripted;

#[test]
fn what_was_sent_with_acks_0_to_a_broker_that_is_killed_is_unconfirmed_and_not_lost() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let mut broker = Broker::start(port, dir.path());
    let options = [
        "--acks",
        "0",
        "--rate",
        "5k",
        "--size",
        "100",
        "--duration",
        "4s",
        "--consume",
    ];
    let mut command = load(&broker, "unanswered", &options);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    first_values(&mut broker.client(), "unanswered");
    thread::sleep(Duration::from_millis(500));
    // What is sent now stays in the socket, and dies with it.
    broker.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(300));
    broker.kill();
    let _broker = Broker::start(port, dir.path());
    let ended = running.join().expect("it ran");
    let report = report(&ended);
    let check = &report["check"];
    for fault in ["lost", "duplicated", "reordered", "corrupted"] {
        assert_eq!(check[fault], 0, "{report}");
    }
    assert!(number(&check["unconfirmed"]) > 500, "{report}");
    assert!(number(&check["checked"]) > 5_000, "{report}");
    assert_eq!(report["consumed"]["missing"], 0, "{report}");
    assert_eq!(report["consumed"]["unfinished"], serde_json::json!([]));
    // What could not even be sent has failed, as with every other acks.
    let failed = number(&report["errors"]);
    let wanted = i32::from(failed > 0);
    assert_eq!(ended.status.code(), Some(wanted), "{}", ended.output);
    assert!(failed < 1_000, "{report}");
}

/// A broker with 1,000 records in partition 0 of topic `rotten`, of which none can be read.
fn rotten(dir: &std::path::Path) -> Broker {
    let mut broker = Broker::start(free_port(), dir);
    passes(&broker, "rotten", &["--rate", "1k", "--partitions", "1"]);
    broker.signal(libc::SIGTERM);
    assert!(broker.wait(PATIENCE).status.success());
    let segment = dir.join("rotten-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[500] ^= 1;
    std::fs::write(&segment, bytes).expect("writes");
    Broker::start(free_port(), dir)
}

#[test]
fn what_keeps_a_reader_from_reading_is_told_and_fails_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = rotten(dir.path());
    for groups in ["0", "1"] {
        let options = ["--producers", "0", "--consume=start", "--duration", "2s"];
        let options = [&options[..], &["--groups", groups]].concat();
        let ended = run_to_end(&mut load(&broker, "rotten", &options), PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
        let report = report(&ended);
        let kept = report["consumed"]["kept"].as_object().expect("a list");
        let whys: Vec<&String> = kept.keys().collect();
        assert!(
            whys.len() == 1 && whys[0].contains("CORRUPT_MESSAGE") && whys[0].contains("rotten-0"),
            "{report}"
        );
        assert_eq!(report["drained"]["is_complete"], false, "{report}");
        let line = "ringlog: not everything was read: readers were kept from reading: ";
        let line = ended.output.lines().find(|said| said.starts_with(line));
        assert!(line.is_some_and(|line| line.contains("CORRUPT_MESSAGE")));
    }
    // The table tells it too.
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--topic", "rotten", "--producers", "0"]);
    command.args(["--consume=start", "--duration", "1s", "--warm-up", "0s"]);
    command.args(["--bootstrap", &broker.address.to_string()]);
    let ended = run_to_end(&mut command, PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    for wanted in ["NOT all", "not read to the end"] {
        assert!(ended.output.contains(wanted), "{}", ended.output);
    }
}

#[test]
fn a_cold_read_that_the_time_cuts_off_fails_and_one_that_is_slow_does_not() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let built = passes(&broker, "cold", &["--backlog", "64m"]);
    assert_eq!(built["drained"]["is_complete"], true, "{built}");
    let options = ["--producers", "0", "--consume=start", "--duration", "1ms"];
    let ended = run_to_end(&mut load(&broker, "cold", &options), PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    let report = report(&ended);
    assert_eq!(report["drained"]["is_complete"], false, "{report}");
    assert_eq!(report["consumed"]["kept"], serde_json::json!({}));
    let why = "the measured part was over before everything was read";
    assert!(ended.output.contains(why), "{}", ended.output);
    let options = ["--producers", "0", "--consume=start", "--duration", "1s"];
    let slow = [&options[..], &["--consume-rate", "1k"]].concat();
    let report = passes(&broker, "cold", &slow);
    assert_eq!(report["drained"]["is_complete"], false, "{report}");
    assert_eq!(report["consumed"]["unfinished"], serde_json::json!([]));
}

#[test]
fn one_partition_that_is_away_is_seen_although_the_others_are_served() {
    let brokers = Scripted::start("moved", 4);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--json", "--topic", "moved", "--bootstrap"]);
    command.arg(brokers.bootstrap());
    command.args(["--warm-up", "0s", "--timeout", "10s", "--duration", "4s"]);
    command.args(["--rate", "2k", "--keys", "uniform:1000", "--size", "100"]);
    command.args(["--idempotent", "--at", "500ms", "true"]);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    brokers.wait_for(1_500);
    brokers.world().lead(2, -1);
    thread::sleep(Duration::from_millis(1_500));
    brokers.world().lead(2, 2);
    let ended = running.join().expect("it ran");
    assert!(ended.status.success(), "{}", ended.output);
    let report = report(&ended);
    let event = &report["events"][0];
    let outage = &event["partition_unacknowledged"];
    assert_eq!(outage["partition"], "moved-2", "{event}");
    let seconds = outage["seconds"].as_f64().expect("a number");
    assert!((1.4..3.0).contains(&seconds), "{event}");
    assert_eq!(outage["is_over"], true, "{event}");
    // Of all together nothing is seen of it.
    let whole = event["unacknowledged"]["seconds"].as_f64();
    assert!(whole.unwrap_or(0.0) < 1.0, "{event}");
}
