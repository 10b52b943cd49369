//! `ringlog check`: what it says of hosts, and that it leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::broker::{Broker, free_port};

fn ringlog(arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("no JSON ({error}); it said: {said}")
    })
}

/// Items by name.
fn items(report: &Value) -> BTreeMap<String, Value> {
    let items = report["items"].as_array().expect("a list of items");
    let name = |item: &Value| item["item"].as_str().expect("a name").to_owned();
    items
        .iter()
        .map(|item| (name(item), item.clone()))
        .collect()
}

/// Both programs on one host. Returns how many items they share; every shared one must be told in the same words.
fn agree(config: &Path, root: Option<&Path>) -> usize {
    let root = root.map(|root| root.display().to_string());
    let config = config.display().to_string();
    let mut arguments = vec!["--json", "--config", &config];
    if let Some(root) = &root {
        arguments.extend(["--root", root]);
    }
    let own = ringlog(&[&["check"], &arguments[..]].concat());
    let (own_status, own) = (own.status.code(), items(&json(&own)));
    let tuning = Command::new(repository().join("tuning/check"))
        .args(&arguments)
        .env(
            "RINGLOG_TUNING_TOOLS",
            repository().join("tests/tuning/tools"),
        )
        .output()
        .expect("tuning/check runs");
    let theirs = items(&json(&tuning));
    let wanting = |status: &Value| status == "want" || status == "advice";
    let expected = own.values().any(|item| wanting(&item["status"]));
    assert_eq!(own_status, Some(i32::from(expected)), "{config}");
    let knobs: std::collections::BTreeSet<&str> = theirs
        .values()
        .map(|item| item["knob"].as_str().expect("a knob"))
        .collect();
    let mut shared = 0;
    for (name, item) in &own {
        // An item of a knob that tuning has must be there too: a target that only one of them sees is a difference.
        if knobs.contains(item["knob"].as_str().expect("a knob")) {
            assert_eq!(Some(item), theirs.get(name), "{name} on {root:?}");
            shared += 1;
        }
    }
    for (name, item) in &theirs {
        let is_shared = own.values().any(|own| own["knob"] == item["knob"]);
        assert!(
            !is_shared || own.contains_key(name),
            "{name} on {root:?} is missing"
        );
    }
    shared
}

#[test]
fn check_says_what_tuning_says_of_six_hosts_and_of_this_one() {
    let work = tempfile::tempdir().unwrap();
    let hosts = repository().join("tests/tuning/hosts");
    let mut seen = 0;
    for host in fs::read_dir(hosts).unwrap() {
        let host = host.unwrap().path();
        if host.file_name().unwrap().to_string_lossy().starts_with('.') {
            continue;
        }
        let tree = work.path().join(host.file_name().unwrap());
        let made = Command::new(repository().join("tests/tuning/host"))
            .args([&host, &tree])
            .status()
            .expect("bash runs");
        assert!(made.success(), "{}", host.display());
        let shared = agree(&tree.join("etc/ringlog/server.properties"), Some(&tree));
        assert!(shared >= 16, "{}: {shared}", host.display());
        seen += 1;
    }
    assert_eq!(seen, 6);
    let config = work.path().join("server.properties");
    let (log, journal) = (work.path().join("log"), work.path().join("journal"));
    let text = format!(
        "log.dirs={}\njournal.dir={}\nlisteners=PLAINTEXT://127.0.0.1:{}\n",
        log.display(),
        journal.display(),
        free_port()
    );
    fs::write(&config, text).unwrap();
    assert!(agree(&config, None) >= 12);
    assert!(!log.exists() && !journal.exists(), "check makes nothing");
}

#[test]
fn check_tells_of_a_running_broker_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let broker = Broker::start(port, dir.path());
    let before = names(dir.path());
    let log_dirs = format!("log.dirs={}", dir.path().display());
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    let over = ["--override", &log_dirs, "--override", &listeners];
    let output = ringlog(&[&["check", "--json", "--override", "node.id=77"], &over[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let items = items(&json(&output));
    let at = dir.path().display();
    for (item, current) in [
        (format!("dir.lock:{at}"), "in use".to_owned()),
        (
            "listen.port:PLAINTEXT".to_owned(),
            format!("127.0.0.1:{port}"),
        ),
    ] {
        let found = items.get(&item).unwrap_or_else(|| panic!("no {item}"));
        assert_eq!(found["status"], "advice", "{found}");
        assert_eq!(found["current"], Value::from(current));
    }
    let identity = &items[&format!("dir.identity:{at}")];
    assert_eq!(
        (&identity["status"], &identity["wanted"]),
        (&"advice".into(), &"node 77".into())
    );
    assert_eq!(items[&format!("dir.direct:{at}")]["status"], "ok");
    let ours = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(".ringlog") && !before.contains(path)
    };
    assert_eq!(names(dir.path()).iter().find(ours), None, "nothing is left");
    let table = ringlog(&[&["check", "--all"], &over[..]].concat());
    let table = String::from_utf8(table.stdout).expect("UTF-8");
    for word in [
        "ITEM",
        "dir.lock",
        "in use",
        "yours to do",
        "dir.direct",
        " well, ",
    ] {
        assert!(table.contains(word), "no {word} in:\n{table}");
    }
    drop(broker);
}

#[test]
fn check_refuses_wrong_use_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().display().to_string();
    for (arguments, word) in [
        (
            &["check", "--override", "num.shards=many"][..],
            "num.shards",
        ),
        (&["check", "--config", "/none/such"], "/none/such"),
        (&["check", "--root", "/none/such"], "/none/such"),
        (&["check", "--root", &empty], "osrelease"),
        (&["check", "--wrong"], "--wrong"),
    ] {
        let output = ringlog(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

/// Everything below a directory.
fn names(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(names(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
