//! `ringlog check` and `ringlog selftest`: what they say of hosts, and that they leave nothing behind.

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
fn check_says_what_tuning_says_of_made_up_hosts_and_of_this_one() {
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
    assert_eq!(seen, 8);
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

/// Goal: the tuning, and the generator that tells the unit where the broker may write, read the configuration as the broker does.
/// Method: one file with all that Java's properties allow, whose directories and shards both must tell alike.
#[test]
fn check_and_tuning_read_one_configuration_alike() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("host");
    let made = Command::new(repository().join("tests/tuning/host"))
        .args([&repository().join("tests/tuning/hosts/cloud-virtio"), &tree])
        .status()
        .expect("bash runs");
    assert!(made.success());
    let config = work.path().join("odd.properties");
    let odd = fs::read(repository().join("tests/tuning/odd.properties")).unwrap();
    let expected = [
        "/srv/log data/a",
        "/#not a comment",
        "/srv/é€x",
        "/b\\",
        "/tab=:",
        "/fast\\/journal",
    ];
    for text in [odd.clone(), [odd, b"log.dirs=/lost\\".to_vec()].concat()] {
        fs::write(&config, text).unwrap();
        assert!(agree(&config, Some(&tree)) >= 16);
        let arguments = [
            "check",
            "--json",
            "--config",
            &config.display().to_string(),
            "--root",
            &tree.display().to_string(),
        ];
        let items = items(&json(&ringlog(&arguments)));
        let told = items
            .values()
            .filter(|item| item["knob"] == "disk.path")
            .map(|item| item["target"].as_str().expect("a directory"));
        let (mut told, mut expected) = (told.collect::<Vec<_>>(), expected.to_vec());
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected);
        // tests/tuning/run holds the shell's reading of the same file to 3 shards, too.
        assert_eq!(items["cpu.shards"]["current"], "3 on 4 CPUs");
    }
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

/// A short one: `--seconds` and `--bytes` as small as they go.
fn selftest_disk(directory: &Path, more: &[&str]) -> Output {
    let dir = directory.display().to_string();
    let short = [
        "selftest",
        "disk",
        "--json",
        "--seconds",
        "2",
        "--bytes",
        "160m",
    ];
    ringlog(&[&short[..], &["--dir", &dir], more].concat())
}

#[test]
fn selftest_measures_within_its_bounds_leaves_only_its_result_and_the_broker_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("theirs"), "untouched").unwrap();
    let began = std::time::Instant::now();
    let output = selftest_disk(dir.path(), &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    let report = json(&output)["directories"][0].clone();
    let figures = report["figures"].as_array().expect("a list");
    let bytes: f64 = figures
        .iter()
        .map(|figure| {
            figure["operations"].as_f64().unwrap() * figure["block_bytes"].as_f64().unwrap()
        })
        .sum();
    // What is under way when the bound is reached is finished: at most a window of each measurement.
    assert!(bytes < 400.0 * f64::from(1 << 20), "{bytes}");
    for figure in figures {
        assert!(figure["operations"].as_u64().unwrap() > 0, "{figure}");
        assert!(
            figure["p50_us"].as_f64() <= figure["p99.9_us"].as_f64(),
            "{figure}"
        );
    }
    let result = dir.path().join("ringlog-selftest");
    assert_eq!(
        report["kept"]["in"],
        Value::from(result.display().to_string())
    );
    assert_eq!(
        names(dir.path()),
        [result.clone(), dir.path().join("theirs")]
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("theirs")).unwrap(),
        "untouched"
    );

    let mut broker = Broker::start(free_port(), dir.path());
    broker.client().create_topic("t", 1).unwrap();
    let log = broker.output();
    let dsync_us = report["result"]["dsync_us"].as_u64().unwrap();
    for word in ["by the self-test", &format!("{dsync_us} us")] {
        assert!(log.contains(word), "no '{word}' in:\n{log}");
    }
    // On a machine that does much else it cannot be told.
    let told = match report["result"]["background_places"].as_u64() {
        Some(places) => log.contains(&format!("{places} places for background I/O")),
        None => !log.contains("places for background I/O"),
    };
    assert!(told, "{log}");
    // Beside a running broker it is measured and not kept.
    let before = fs::read(&result).unwrap();
    let beside = selftest_disk(dir.path(), &[]);
    assert_eq!(beside.status.code(), Some(0));
    let kept = json(&beside)["directories"][0]["kept"]["not"].clone();
    assert!(
        kept.as_str()
            .is_some_and(|why| why.contains("a broker uses")),
        "{kept}"
    );
    assert_eq!(fs::read(&result).unwrap(), before);
    broker.assert_running();
    drop(broker);

    // One that is not to be believed costs one line, and never a start.
    let mut spoilt = before;
    spoilt[30] ^= 1;
    fs::write(&result, spoilt).unwrap();
    let broker = Broker::start(free_port(), dir.path());
    broker.client().create_topic("u", 1).unwrap();
    let log = broker.output();
    assert_eq!(
        log.matches("self-test's result is not used").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("by the self-test"), "{log}");
}

#[test]
fn a_selftest_that_is_killed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
        .args(["selftest", "disk", "--dir", &path, "--seconds", "60"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program runs");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(
        child.try_wait().unwrap().is_none(),
        "it goes on for a minute"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn selftest_refuses_wrong_use_and_measures_parts_and_peers() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let path = dir.path().display().to_string();
    for (output, status, word) in [
        (selftest_disk(&missing, &[]), 2, "is not a directory"),
        (
            selftest_disk(dir.path(), &["--only", "nothing"]),
            2,
            "mix:2",
        ),
        (
            ringlog(&["selftest", "disk", "--dir", &path, "--bytes", "1m"]),
            2,
            "128 MiB",
        ),
        (
            ringlog(&["selftest", "net", "--peer", "nowhere"]),
            2,
            "HOST:PORT",
        ),
        (
            ringlog(&["selftest", "net", "--seconds", "1", "--peer", "127.0.0.1:1"]),
            1,
            "127.0.0.1:1",
        ),
    ] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(word), "no {word} in: {said}");
    }
    assert!(!missing.exists());
    let part = json(&selftest_disk(
        dir.path(),
        &["--only", "durable-dsync:4k:1"],
    ));
    let figures = part["directories"][0]["figures"].as_array().unwrap();
    let found: Vec<&str> = figures
        .iter()
        .map(|figure| figure["name"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["durable-dsync:4k:1"], "and not 16");
    assert_eq!(
        names(dir.path()),
        Vec::<PathBuf>::new(),
        "a part is not kept"
    );

    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut server = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
        .args(["selftest", "net", "--serve", &address, "--seconds", "4"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let stdout = server.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert!(line.contains(&address), "{line}");
    let report = json(&ringlog(&[
        "selftest",
        "net",
        "--peer",
        &address,
        "--seconds",
        "1",
        "--json",
    ]));
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 4);
    assert!(
        figures
            .iter()
            .all(|figure| figure["messages"].as_u64() > Some(0)),
        "{report}"
    );
    assert!(
        server.wait().unwrap().success(),
        "it ends when its time is up"
    );
}
