//! Goal: what `ringlog load` holds idle is there, is what it is called, and is held for as long as the run lasts.
//!
//! Method: the program itself against a real broker: connections of either wire, and partitions that nobody writes to, with
//! readers and without.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, free_port, run_to_end};
use crate::load::{PATIENCE, assert_whole, load, number, passes, report};
use crate::native::{Both, batch};

#[test]
fn idle_connections_stay_and_are_answered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let options = [
        "--producers",
        "0",
        "--idle-connections",
        "300",
        "--idle-interval",
        "500ms",
    ];
    let report = passes(&broker, "unused", &options);
    let idle = &report["idle"];
    assert_eq!(
        (number(&idle["connections"]), number(&idle["lost"])),
        (300, 0)
    );
    assert!(number(&idle["requests"]) >= 500, "{report}");
}

/// Connections that an address has accepted and that are open.
fn accepted(address: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel tells its connections");
    let port = format!(":{:04X}", address.port());
    let rows = table.lines().map(|line| line.split_ascii_whitespace());
    let open = rows.filter_map(|mut row| {
        let (local, state) = (row.nth(1)?, row.nth(1)?);
        (local.ends_with(&port) && state == "01").then_some(())
    });
    open.count()
}

#[test]
fn idle_connections_of_the_native_wire_go_to_its_listener() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let native = both.native.to_string();
    let mut command = load(
        &both.broker,
        "unused",
        &[
            "--wire",
            "native",
            "--native-bootstrap",
            &native,
            "--producers",
            "0",
            "--idle-connections",
            "200",
            "--idle-interval",
            "500ms",
            "--duration",
            "2s",
        ],
    );
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut kafka = 0;
    while accepted(both.native) < 200 {
        kafka = kafka.max(accepted(both.broker.address));
        assert!(Instant::now() < deadline, "they were not opened");
        thread::sleep(Duration::from_millis(20));
    }
    kafka = kafka.max(accepted(both.broker.address));
    assert!(kafka < 10, "{kafka} are of Kafka's wire");
    let ended = running.join().expect("it ran");
    assert!(ended.status.success(), "{}", ended.output);
    let idle = report(&ended)["idle"].clone();
    assert_eq!(
        (number(&idle["connections"]), number(&idle["lost"])),
        (200, 0)
    );
    assert!(number(&idle["requests"]) >= 400, "{idle}");
}

#[test]
fn a_thousand_idle_partitions_are_held_by_readers_of_every_kind_for_the_time_of_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let both = Both::start(dir.path(), &[]);
    let broker = &both.broker;
    let native = both.native.to_string();
    let native = [
        "--consume",
        "--wire",
        "native",
        "--native-bootstrap",
        &native,
    ];
    let runs: [&[&str]; 4] = [
        &[],
        &["--consume", "--reader-threads", "2"],
        &[
            "--groups",
            "2",
            "--group-members",
            "3",
            "--reader-threads",
            "2",
        ],
        &native,
    ];
    for (nth, more) in runs.into_iter().enumerate() {
        let options = ["--producers", "0", "--idle-partitions", "1000"];
        let options = [&options[..], &["--duration", "2s"], more].concat();
        let began = Instant::now();
        let report = passes(broker, "quiet", &options);
        assert!(began.elapsed() >= Duration::from_secs(2), "{report}");
        assert_eq!(number(&report["idle_partitions"]), 1000, "{report}");
        assert_eq!(report["check"], serde_json::Value::Null, "{report}");
        assert_eq!(report["drained"], serde_json::Value::Null, "{report}");
        if nth > 0 {
            assert_eq!(number(&report["consumed"]["records"]), 0, "{report}");
            assert_eq!(report["consumed"]["unfinished"], serde_json::json!([]));
        }
    }
    let topic = broker.client().topic("quiet-idle").expect("an answer");
    assert_eq!((topic.error_code, topic.partitions.len()), (0, 1000));
    let written = broker.client().topic("quiet").expect("an answer");
    assert_ne!(written.error_code, 0, "nobody writes: {written:?}");
    // One of another size is not what was asked for.
    let options = ["--producers", "0", "--idle-partitions", "10"];
    let ended = run_to_end(&mut load(broker, "quiet", &options), PATIENCE);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
    assert!(
        ended.output.contains("has 1000 partitions"),
        "{}",
        ended.output
    );
}

#[test]
fn idle_partitions_beside_a_load_are_not_written_to_and_go_with_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let options = [
        "--rate",
        "2k",
        "--consume",
        "--keys",
        "uniform:100",
        "--idle-partitions",
        "50",
        "--remove-topics",
    ];
    let report = passes(&broker, "busy", &options);
    assert_whole(&report, 1);
    assert_eq!(number(&report["check"]["checked"]), 2_000, "{report}");
    assert_eq!(number(&report["partitions"]), 6, "{report}");
    let removed = broker.client().topic("busy-idle").expect("an answer");
    assert_ne!(removed.error_code, 0, "it was removed: {removed:?}");
}

#[test]
fn the_tail_is_read_for_its_time_whoever_writes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), dir.path());
    let mut client = broker.client();
    client.create_topic("theirs", 1).expect("set-up");
    let options = ["--producers", "0", "--consume", "--duration", "3s"];
    let mut command: Command = load(&broker, "theirs", &options);
    let running = thread::spawn(move || run_to_end(&mut command, PATIENCE));
    let mut written = 0;
    while !running.is_finished() {
        let answer = client.produce("theirs", 0, batch(&[1, 2, 3], None, 8));
        assert_eq!(answer.expect("an answer").error_code, 0);
        written += 3;
        thread::sleep(Duration::from_millis(20));
    }
    let ended = running.join().expect("it ran");
    assert!(ended.status.success(), "{}", ended.output);
    let consumed = report(&ended)["consumed"].clone();
    let records = number(&consumed["records"]);
    assert!(
        records > 30 && records <= written,
        "{consumed} of {written}"
    );
    assert_eq!(consumed["unfinished"], serde_json::json!([]));
}
