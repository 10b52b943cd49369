//! A process of its own for each test: executors leave descriptors behind, and some of these tests kill their process.

use std::process::{Command, Output, Stdio};

const CHILD: &str = "RINGLOG_TEST_ALONE";

/// Whether this process was started to be `name`'s own.
pub fn is_child(name: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == name)
}

/// This test binary, to run the one test `name` as its own process.
pub fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `body` in a process of its own, and fails with its output if it fails.
pub fn alone(name: &str, body: impl FnOnce()) {
    if is_child(name) {
        return body();
    }
    let mut limited = Command::new("timeout");
    let itself = child(name);
    limited
        .arg("120")
        .arg(itself.get_program())
        .args(itself.get_args())
        .env(CHILD, name);
    let output = limited.output().unwrap();
    println!("{}", text(&output));
    assert!(
        output.status.success(),
        "{name} failed: {}\n{}",
        output.status,
        text(&output)
    );
}

/// All that a process printed.
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Resident memory of this process, in bytes.
pub fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
