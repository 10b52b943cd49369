//! Goal: what `ringlog load` is told is checked before anything runs, and what it says of a topic and a broker is theirs.
//!
//! Method: the program itself, its exit status and what it leaves behind; a real broker, whose metrics endpoint and topics
//! are held against what the result says of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::broker::{Broker, Ended, free_port, run_to_end};
use crate::load_result::{json as read, number, text};
use crate::watching::Watched;

fn load(address: &str, options: &[&str]) -> Ended {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.args(["load", "--bootstrap", address, "--warm-up", "0s"]);
    run_to_end(command.args(options), Duration::from_secs(60))
}

fn nobody() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn a_metrics_endpoint_tells_what_the_broker_writes_to_its_devices() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let watched = Watched::start(&dir.path().join("data"), &[]);
    let (address, metrics) = (
        watched.broker.address.to_string(),
        format!("http://{}/metrics", watched.admin),
    );
    let (json, html) = (dir.path().join("a.json"), dir.path().join("a.html"));
    let options = [
        "--rate",
        "2k",
        "--record-bytes",
        "1000",
        "--duration",
        "3s",
        "--metrics",
        &metrics,
        "--json",
        text(&json),
        "--html",
        text(&html),
    ];
    let ended = load(&address, &options);
    assert!(ended.status.success(), "{}", ended.output);
    let report = read(&json);
    // Acknowledged is what is on the device, and it is sampled a little before the last of it.
    let written = number(&report["broker"]["written_bytes"]);
    assert!((4e6..100e6).contains(&written), "{written}");
    let intervals = report["intervals"].as_array().expect("a time line");
    let rates = intervals
        .iter()
        .filter_map(|interval| interval["usage"]["broker_written_bytes_per_second"].as_f64());
    assert!(rates.fold(0.0, f64::max) > 1e6, "{intervals:?}");
    let page = fs::read_to_string(&html).expect("a file");
    assert!(page.contains("broker writes"), "it is plotted");
    assert!(ended.output.contains("broker storage"), "{}", ended.output);
}

#[test]
fn a_run_that_fails_leaves_the_results_of_an_earlier_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a.json", "a.html"].map(|name| dir.path().join(name));
    let [json, html] = paths.each_ref().map(|path| text(path));
    for path in &paths {
        fs::write(path, "earlier").expect("a file");
    }
    let options = ["--timeout", "1s", "--json", json, "--html", html];
    let ended = load(&nobody(), &options);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    for path in &paths {
        assert_eq!(fs::read_to_string(path).expect("a file"), "earlier");
    }
    let left = fs::read_dir(dir.path()).expect("a directory").count();
    assert_eq!(left, 2, "nothing else is left");
}

#[test]
fn a_dry_run_checks_what_a_run_would_and_tells_it_in_words() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (file, logs) = (dir.path().join("scenario.toml"), dir.path().join("logs"));
    let keys = format!(
        "rate = \"2k\"\ngroups = 2\nlabel = \"nightly\"\nhdr-log = \"{}\"\n\
        [[at]]\nat = \"3s\"\nrun = \"kill -STOP 7\"\n",
        logs.display()
    );
    fs::write(&file, keys).expect("a file");
    let scenario = text(&file);
    let dry = |options: &[&str]| load(&nobody(), &[&["--dry-run"][..], options].concat());
    let shown = dry(&["--scenario", scenario]);
    assert!(shown.status.success(), "{}", shown.output);
    for wanted in [
        "2 groups of 1 member for each of 1 topic (classic protocol), from the tail",
        "kill -STOP 7, killed if it takes longer than 60s",
        "nightly",
    ] {
        assert!(shown.output.contains(wanted), "{wanted}: {}", shown.output);
    }
    assert!(!logs.exists(), "nothing was made");
    let search = dry(&["--find-max", "p99=10ms", "--rate", "poisson"]);
    assert!(search.status.success(), "{}", search.output);
    let goal = "the highest rate with p99 of at most 10 ms, to within 5 %";
    assert!(search.output.contains(goal), "{}", search.output);

    let missing = dir.path().join("no/such/file");
    let unwritable = dry(&["--json", text(&missing)]);
    assert_eq!(unwritable.status.code(), Some(1), "{}", unwritable.output);
    assert!(unwritable.output.contains("no/such/file"));
    for (options, wanted) in [
        (
            &["--group-members", "2"][..],
            "--group-members does nothing without --groups",
        ),
        (&["--idle-connections", "90000000"], "from 0 to 100000"),
        (
            &["--find-max", "p99=1ms", "--rate", "5"],
            "does not go with --rate 5, only",
        ),
        (
            &[
                "--scenario",
                scenario,
                "--find-max",
                "p99=1ms",
                "--rate",
                "poisson",
            ],
            "in every trial",
        ),
    ] {
        let refused = dry(options);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{options:?}: {}",
            refused.output
        );
        assert!(
            refused.output.contains(wanted),
            "{options:?}: {}",
            refused.output
        );
    }
    let program = assert_cmd::cargo::cargo_bin!("ringlog").display();
    let mut few = Command::new("sh");
    few.args([
        "-c",
        &format!("ulimit -n 256; exec {program} load --dry-run --idle-connections 300"),
    ]);
    let refused = run_to_end(&mut few, Duration::from_secs(60));
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output);
    assert!(refused.output.contains("ulimit -Hn"), "{}", refused.output);
}

#[test]
fn runs_to_topics_that_are_kept_in_different_ways_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(free_port(), &dir.path().join("data"));
    let address = broker.address.to_string();
    let mut files = Vec::new();
    for (name, more) in [
        ("default", &[][..]),
        ("flushed", &["--topic-configs", "flush.messages=1"]),
        // The topic is there, and is as it is whatever is asked now.
        ("flushed", &[]),
    ] {
        let file = dir.path().join(format!("{}.json", files.len()));
        let path = text(&file).to_owned();
        let options = [
            "--topic",
            name,
            "--rate",
            "500",
            "--duration",
            "500ms",
            "--json",
            &path,
        ];
        let ended = load(&address, &[&options[..], more].concat());
        assert!(ended.status.success(), "{}", ended.output);
        let report = read(&file);
        assert_eq!(report["settings"]["replication_factor"], 1, "{report}");
        let flush = &report["settings"]["topic_configs"]["flush.messages"];
        match name {
            "flushed" => assert_eq!(flush, "1", "{report}"),
            _ => assert!(flush.is_null(), "{report}"),
        }
        files.push(path);
    }
    let mut compare = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    compare.args(["load", "compare"]).args(&files);
    let compared = run_to_end(&mut compare, Duration::from_secs(60));
    let unlike = "unlike in topic_configs: flush.messages: ";
    assert!(compared.output.contains(unlike), "{}", compared.output);
}
