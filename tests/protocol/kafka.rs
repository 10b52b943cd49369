//! Goal: Kafka's classes and ours agree on frames that nobody chose. Method: `Frames.java` writes fresh frames for us to
//! read, and reads what we write: golden messages at other versions, and whatever mutated frames we accept.
//! Skipped unless `oracle` runs it, which finds the class path.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringlog::protocol::ApiKey;
use ringlog::types::Prng;

use super::frames::*;
use super::golden::{assert_same_again, golden};
use super::hostile::mutate;

/// The class path of Kafka's clients; `None`, and a word about it, if `oracle` does not run this.
fn class_path() -> Option<String> {
    let path = std::env::var("RINGLOG_KAFKA_CLASSPATH").ok();
    if path.is_none() {
        println!("skipped: RINGLOG_KAFKA_CLASSPATH is not set (run tests/protocol/oracle)");
    }
    path
}

fn frames_java(class_path: &str, arguments: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/java/Frames.java");
    let status = Command::new("java")
        .args(["-cp", class_path])
        .arg(source)
        .args(arguments)
        .status();
    assert!(
        status.expect("java runs").success(),
        "Frames.java {arguments:?} failed"
    );
}

fn write_frames(class_path: &str, seed: u64, variants: u32, size: u32, file: &Path) {
    let (seed, variants, size) = (seed.to_string(), variants.to_string(), size.to_string());
    let keys: Vec<String> = ApiKey::ALL
        .iter()
        .map(|key| key.code().to_string())
        .collect();
    let mut arguments = vec![
        "write",
        &seed,
        &variants,
        &size,
        file.to_str().expect("a plain path"),
    ];
    arguments.extend(keys.iter().map(String::as_str));
    frames_java(class_path, &arguments);
}

fn check_frames(class_path: &str, entries: &[Entry], file: &Path) {
    std::fs::write(file, print(entries)).unwrap();
    frames_java(class_path, &["check", file.to_str().expect("a plain path")]);
}

#[test]
fn fresh_frames_of_kafkas_classes_encode_as_they_were() {
    let Some(class_path) = class_path() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fresh.bin");
    let seed = std::env::var("RINGLOG_SEED").map_or(77, |text| text.parse().expect("a number"));
    println!("seed {seed}");
    write_frames(&class_path, seed, 60, 4, &file);
    let entries = parse(&std::fs::read(&file).unwrap());
    assert_same_again(&entries);
    println!("{} frames", entries.len());
}

#[test]
fn kafkas_classes_write_what_they_read_from_us() {
    let Some(class_path) = class_path() else {
        return;
    };
    let golden: Vec<Entry> = golden()
        .into_iter()
        .filter(|entry| entry.kind <= RESPONSE)
        .collect();
    let mut ours = Vec::new();
    for entry in &golden {
        ours.extend(
            entry
                .api()
                .versions()
                .map(|version| entry.at_version(version).unwrap()),
        );
    }
    let mut prng = Prng::new(1);
    while ours.len() < 100_000 {
        let entry = &golden[prng.below(golden.len() as u64) as usize];
        let mutated = entry.with_frame(mutate(&entry.frame, &mut prng));
        // The first eight bytes of a request say what it is: only the body is put to the test.
        let as_said = entry.kind == RESPONSE || mutated.frame.get(..4) == entry.frame.get(..4);
        if let (true, Ok(again)) = (as_said, mutated.again()) {
            ours.push(mutated.with_frame(again));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    check_frames(&class_path, &ours, &directory.path().join("ours.bin"));
}

/// Writes `golden.bin` anew where `RINGLOG_GOLDEN` says.
#[test]
fn golden_frames_are_remade_on_request() {
    let (Some(class_path), Ok(file)) = (class_path(), std::env::var("RINGLOG_GOLDEN")) else {
        return;
    };
    write_frames(&class_path, 1, 4, 2, &PathBuf::from(file));
}
