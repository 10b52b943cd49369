//! Goal: what `ringlog load` writes of a run is true, readable by others, and comparable; what it disturbs is measured.
//!
//! Method: a real broker, the real command, its files read back; for an outage the broker is killed and started again
//! by the command's own hook, and what it reports is held against when that was.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, Ended, command, free_port, run_to_end};

fn load(broker: &Broker, options: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--bootstrap", &broker.address.to_string()]);
    command.args([
        "--warm-up",
        "0s",
        "--timeout",
        "10s",
        "--record-bytes",
        "100",
    ]);
    command.args(options);
    command
}

fn ended(command: &mut Command) -> Ended {
    run_to_end(command, Duration::from_secs(60))
}

pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("the command has written it");
    serde_json::from_str(&text).expect("JSON")
}

pub fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

#[test]
fn a_load_run_writes_its_time_line_logs_and_page() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), &dir.path().join("data"));
    let (result, page) = (dir.path().join("a.json"), dir.path().join("a.html"));
    let (logs, pid) = (dir.path().join("logs"), broker.pid().to_string());
    let mut command = load(
        &broker,
        &["--rate", "2k", "--duration", "2500ms", "--consume"],
    );
    command.args([
        "--json",
        text(&result),
        "--html",
        text(&page),
        "--hdr-log",
        text(&logs),
    ]);
    command.args(["--pid", &pid, "--label", "<b>&"]);
    let ended = ended(&mut command);
    assert!(ended.status.success(), "{}", ended.output);
    assert!(
        ended.output.contains("records/s"),
        "the table: {}",
        ended.output
    );

    let report = json(&result);
    assert_eq!(report["format"], "ringlog-load");
    assert_eq!(report["settings"]["record_bytes"], 100);
    let intervals = report["intervals"].as_array().expect("a time line");
    assert!(intervals.len() >= 3, "{intervals:?}");
    let sum = |of: &dyn Fn(&Value) -> &Value| -> f64 {
        let measured = intervals.iter().filter(|i| i["part"] == "measured");
        measured.map(|interval| number(of(interval))).sum()
    };
    assert_eq!(
        sum(&|i| &i["produced"]["records"]),
        number(&report["records"])
    );
    assert_eq!(
        sum(&|i| &i["consumed"]["records"]),
        number(&report["consumed"]["records"])
    );
    let counted: f64 = intervals
        .iter()
        .filter_map(|interval| interval["produced"]["latency_ms"]["count"].as_f64())
        .sum();
    assert_eq!(
        (counted, number(&report["latency_ms"]["count"])),
        (5_000.0, 5_000.0)
    );
    assert_eq!(report["broker"]["pid"], broker.pid());
    assert!(number(&report["broker"]["resident_bytes_max"]) > 1e6);
    assert!(number(&intervals[0]["usage"]["broker_threads"]) >= 2.0);

    for name in ["produce.hlog", "end-to-end.hlog"] {
        let log = fs::read_to_string(logs.join(name)).expect("the command has written it");
        assert!(
            log.starts_with("#[Histogram log format version 1.3]"),
            "{log}"
        );
        assert!(
            log.lines().filter(|line| line.contains(",HISTFAA")).count() >= 3,
            "{log}"
        );
    }
    java_reads(&logs.join("produce.hlog"), 5_000);
    let page = fs::read_to_string(&page).expect("the command has written it");
    for wanted in [
        "<svg",
        "Throughput",
        "Processor time",
        "Memory of the broker",
        "&lt;b&gt;&amp;",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    assert!(!page.contains("<b>"), "a label is text");
}

/// The reader that comes with HdrHistogram itself, which Kafka's class path holds, counts the same, in milliseconds.
fn java_reads(log: &Path, records: u64) {
    let Ok(class_path) = std::env::var("KAFKA_CLASSPATH") else {
        println!("skipped: HdrHistogram's own reader, for KAFKA_CLASSPATH is not set");
        return;
    };
    let mut java = Command::new("java");
    java.args(["-cp", &class_path, "org.HdrHistogram.HistogramLogProcessor"]);
    let ended = ended(java.args(["-i", text(log)]));
    assert!(ended.status.success(), "{}", ended.output);
    let counts = ended
        .output
        .lines()
        .filter_map(|line| line.split_once("Total count    ="));
    let counted: u64 = counts
        .map(|(_, count)| {
            count
                .trim_end_matches(']')
                .trim()
                .parse::<u64>()
                .expect("a count")
        })
        .sum();
    assert_eq!(counted, records, "{}", ended.output);
    let longest = ended
        .output
        .lines()
        .filter_map(|line| line.split_once("[Max     ="));
    let longest = longest.map(|(_, rest)| rest.split(',').next().map(str::trim));
    let longest: Vec<f64> = longest.flatten().filter_map(|ms| ms.parse().ok()).collect();
    assert!(
        longest.iter().all(|ms| (0.05..30_000.0).contains(ms)),
        "{longest:?}"
    );
}

#[test]
fn a_broker_killed_by_a_hook_is_seen_to_be_away() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let data = dir.path().join("data");
    let broker = Broker::start(port, &data);
    let (result, again) = (dir.path().join("a.json"), dir.path().join("again"));
    let restart = format!("{:?}", command(port, &data, &[]));
    let hook = format!(
        "kill -9 {}; sleep 1; {restart} >/dev/null 2>&1 & echo $! >{}; sleep 1.2; exit 7",
        broker.pid(),
        text(&again)
    );
    // Whatever becomes of the run, the second broker ends with the test.
    let _second = KilledLater(again.clone());
    let mut command = load(&broker, &["--rate", "1k", "--duration", "6s", "--consume"]);
    command.args(["--json", text(&result), "--at", "1500ms", &hook]);
    let ended = ended(&mut command);
    let report = json(&result);
    let event = &report["events"][0];
    assert_eq!(event["exit_status"], 7, "{report}");
    let began = number(&event["began_seconds"]);
    assert!((1.5..1.8).contains(&began), "{event}");
    for away in ["unacknowledged", "unreceived"] {
        let outage = &event[away];
        let seconds = number(&outage["seconds"]);
        assert!((1.0..4.0).contains(&seconds), "{away}: {event}");
        assert_eq!(outage["is_over"], true, "{away}: {event}");
        assert!(
            (number(&outage["from_seconds"]) - began).abs() < 0.5,
            "{away}: {event}"
        );
    }
    assert!(
        ended.output.contains("no acknowledgement"),
        "{}",
        ended.output
    );
    let intervals = report["intervals"].as_array().expect("a time line");
    let rate = |index: usize| number(&intervals[index]["produced"]["records_per_second"]);
    // It falls in the middle of the second one; what was due meanwhile is sent when the broker is back.
    assert!(
        rate(0) > 500.0 && rate(1) < 800.0 && rate(5) > 500.0,
        "{intervals:?}"
    );
    // It is followed to its new process.
    assert_ne!(report["broker"]["pid"], broker.pid(), "{report}");
}

/// Kills the process whose id a file holds.
struct KilledLater(std::path::PathBuf);

impl Drop for KilledLater {
    fn drop(&mut self) {
        let Ok(pid) = fs::read_to_string(&self.0) else {
            return;
        };
        let pid = pid.trim();
        let _ = Command::new("kill").args(["-9", pid]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new("/proc").join(pid).exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn runs_are_compared_by_their_files() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), &dir.path().join("data"));
    let mut files = Vec::new();
    for (index, (label, rate)) in [
        ("slow", "1k"),
        ("slow", "1k"),
        ("fast", "3k"),
        ("fast", "3k"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{index}.json"));
        let options = [
            "--rate",
            rate,
            "--duration",
            "1s",
            "--label",
            label,
            "--json",
            text(&path),
        ];
        let ended = ended(&mut load(&broker, &options));
        assert!(ended.status.success(), "{}", ended.output);
        files.push(path);
    }
    let compare = |files: &[&Path], more: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
        command.args(["load", "compare"]).args(files).args(more);
        ended(&mut command)
    };
    let all: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
    let found = compare(&all, &["--json"]);
    assert!(found.status.success(), "{}", found.output);
    let found: Value = serde_json::from_str(&found.output).expect("JSON");
    assert_eq!(found["sides"][1]["label"], "fast");
    let rate = &found["measures"][0]["ratios"][0];
    // A busy machine delays the last answers of so short a run into its drain.
    assert!((2.0..4.0).contains(&number(&rate["ratio"])), "{rate}");
    assert!(
        number(&rate["low"]) <= number(&rate["ratio"])
            && number(&rate["ratio"]) <= number(&rate["high"]),
        "{rate}"
    );
    let table = compare(&all, &[]);
    assert!(
        table
            .output
            .contains("unlike in rate: fast 3000.0, slow 1000.0"),
        "{}",
        table.output
    );

    let cut = dir.path().join("cut.json");
    let whole = fs::read_to_string(&files[0]).expect("written above");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("a temporary file");
    let broken = compare(&[&files[0], &cut], &[]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        broken.output.contains("cut.json: no JSON"),
        "{}",
        broken.output
    );
    let twice = compare(&[&files[0], &files[0]], &[]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(twice.output.contains("named twice"), "{}", twice.output);
}

#[test]
fn what_cannot_be_looked_at_or_written_is_told_before_the_load() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), &dir.path().join("data"));
    let missing = dir.path().join("no/such/file");
    let metrics = format!("http://127.0.0.1:{}/metrics", free_port());
    let runs: [(&[&str], &str, i32); 5] = [
        (
            &["--pid", "4194999"],
            "process 4194999 cannot be looked at",
            1,
        ),
        (&["--metrics", &metrics], "Connection refused", 1),
        (&["--json", text(&missing)], "no/such/file: No such file", 1),
        (
            &["--at", "30s", "true"],
            "after the end of the measured part",
            2,
        ),
        (&["--at", "soon", "true"], "--at soon: expected a number", 2),
    ];
    for (options, wanted, status) in runs {
        let began = Instant::now();
        let ended = ended(&mut load(&broker, options));
        assert_eq!(ended.status.code(), Some(status), "{}", ended.output);
        assert!(ended.output.contains(wanted), "{wanted}: {}", ended.output);
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "the load had begun"
        );
    }
}
