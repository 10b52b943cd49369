//! Goal: no panel and no alert names a metric that does not exist, and Prometheus' own tool takes what we ship.
//!
//! Method: the words of every expression in `tuning/monitoring` that look like our metrics are held against a scrape of a
//! broker under a little load; `promtool`, where it is installed, checks the rules and the scrape.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::http::get;
use super::{Watched, commit, find_coordinator, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/monitoring")
}

/// Words of a text that begin as our metrics and the process's do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("ringlog_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// The expressions of a dashboard, its variables' included.
fn expressions(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                if let (true, Some(text)) = (key == "expr" || key == "query", value.as_str()) {
                    out.push(text.to_owned());
                }
                expressions(value, out);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, out)),
        _ => {}
    }
}

/// What a scrape has, histograms by the names of their rows.
fn told(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split(['{', ' ']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_metric_of_panels_and_alerts_is_told_by_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), &[]);
    let mut client = watched.broker.client();
    load(&mut client, "watched");
    find_coordinator(&mut client, "watcher");
    commit(&mut client, "watcher", "watched", 0, 1);
    let scrape = get(watched.admin, "/metrics").body;
    let told = told(&scrape);
    let dashboard =
        fs::read_to_string(folder().join("ringlog-dashboard.json")).expect("a dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let mut texts = Vec::new();
    expressions(&dashboard, &mut texts);
    assert!(texts.len() > 30, "a dashboard has panels: {}", texts.len());
    let rules = fs::read_to_string(folder().join("ringlog-alerts.yml")).expect("rules");
    let rules = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let rules: Vec<String> = rules.map(str::to_owned).collect();
    assert!(rules.len() > 15, "there are rules: {}", rules.len());
    let used: BTreeSet<String> = texts
        .iter()
        .chain(&rules)
        .flat_map(|text| names(text))
        .collect();
    let missing: Vec<&String> = used.difference(&told).collect();
    assert!(missing.is_empty(), "named and not told: {missing:?}");
    promtool(
        &["check", "rules"],
        &[folder().join("ringlog-alerts.yml")],
        "",
    );
    promtool(
        &["check", "config", "--syntax-only"],
        &[folder().join("prometheus.yml")],
        "",
    );
    promtool(&["check", "metrics"], &[], &scrape);
}

/// Runs it where it is installed; `scripts/test` sees to that.
pub fn promtool(words: &[&str], files: &[PathBuf], input: &str) {
    let started = Command::new("promtool")
        .args(words)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = started else {
        println!("skipped: promtool {words:?}: it is not installed");
        return;
    };
    tool.stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    // Kafka's names are as they are, whether Prometheus likes them or not.
    let is_style = |line: &str| line.starts_with("kafka_") && line.contains(" should ");
    let mut faults = told.lines().filter(|line| !line.is_empty()).peekable();
    let is_style_only = faults.peek().is_some() && faults.all(is_style);
    let is_passed = output.status.success() || is_style_only;
    assert!(is_passed, "promtool {words:?}:\n{told}");
}
