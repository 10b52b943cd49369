//! A broker process: started, watched, killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::Client;

/// A running broker; killed when dropped.
pub struct Broker {
    child: Child,
    pub address: SocketAddr,
    output: Text,
}

/// How a broker that does not stay ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
}

/// A port that nothing listens on now, and that was not given out before: who got it may be about to listen.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        if GIVEN.lock().expect("no holder panicked").insert(port) {
            return port;
        }
    }
}

/// `ringlog broker` on this port with its data in `dir`, not yet started.
pub fn command(port: u16, dir: &Path, overrides: &[&str]) -> Command {
    if let Ok(program) = std::env::var("RINGLOG_TESTS_BROKER") {
        let mut command = Command::new(program);
        command.arg(port.to_string()).arg(dir);
        return command;
    }
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"));
    command.arg("broker");
    let fixed = [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.display()),
        // Also on two CPUs: what crosses between shards is to be tested.
        "num.shards=2".to_owned(),
    ];
    for pair in fixed
        .iter()
        .map(String::as_str)
        .chain(overrides.iter().copied())
    {
        command.args(["--override", pair]);
    }
    command
}

type Text = Arc<Mutex<String>>;

/// Starts `command` and gathers what it writes to standard output and standard error.
fn spawn(command: &mut Command, output: &Text, error: &Text) -> Child {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker's binary runs");
    gather(child.stdout.take().expect("piped"), output.clone());
    gather(child.stderr.take().expect("piped"), error.clone());
    child
}

fn gather(stream: impl Read + Send + 'static, output: Text) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().expect("no writer panicked");
            output.push_str(&line);
            output.push('\n');
        }
    });
}

/// Runs a command that must end by itself within `patience`; one that does not is killed and the test fails.
pub fn run_to_end(command: &mut Command, patience: Duration) -> Ended {
    let (output, error) = (Text::default(), Text::default());
    let mut child = spawn(command, &output, &error);
    // Standard output whole, for those who read it as one document.
    let said = || {
        let texts = [&output, &error].map(|text| text.lock().expect("no writer panicked").clone());
        texts.concat()
    };
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            thread::sleep(Duration::from_millis(50));
            let output = said();
            return Ended { status, output };
        }
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("still running after {patience:?}; it said:\n{}", said());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

impl Broker {
    pub fn start(port: u16, dir: &Path) -> Broker {
        Broker::start_with(port, dir, &[])
    }

    /// [`Broker::start`] with keys of its own, each `key=value`.
    pub fn start_with(port: u16, dir: &Path, overrides: &[&str]) -> Broker {
        Broker::start_command(port, &mut command(port, dir, overrides))
    }

    /// Starts it and waits until it answers a request.
    pub fn start_command(port: u16, command: &mut Command) -> Broker {
        let output = Text::default();
        let child = spawn(command, &output, &output);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut broker = Broker {
            child,
            address,
            output,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while Client::connect(address)
            .and_then(|mut c| c.api_versions())
            .is_err()
        {
            if let Some(status) = broker.child.try_wait().expect("it is our child") {
                panic!(
                    "the broker ended with {status}; it said:\n{}",
                    broker.output()
                );
            }
            assert!(
                Instant::now() < deadline,
                "does not answer after 30 s; it said:\n{}",
                broker.output()
            );
            thread::sleep(Duration::from_millis(10));
        }
        broker
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("a ready broker accepts")
    }

    pub fn output(&self) -> String {
        self.output.lock().expect("no writer panicked").clone()
    }

    /// The line of its log with these words, which may come after the answer that a test waited for.
    pub fn line_with(&self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let output = self.output();
            if let Some(line) = output.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "no '{words}' in:\n{output}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with what it said if it has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            panic!(
                "the broker ended with {status}; it said:\n{}",
                self.output()
            );
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        let status = self.child.wait().expect("it is our child");
        assert_eq!(
            status.signal(),
            Some(libc::SIGKILL),
            "it had ended before it was killed ({status}); it said:\n{}",
            self.output()
        );
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        // SAFETY: sends a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the child is there");
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                thread::sleep(Duration::from_millis(50));
                let output = self.output();
                return Ended { status, output };
            }
            assert!(
                Instant::now() < deadline,
                "still running after {patience:?}; it said:\n{}",
                self.output()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        self.status_field("VmRSS:") * 1024
    }

    /// How many descriptors it holds open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("a running process has descriptors")
            .count()
    }

    fn status_field(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("a running process has a status");
        let line = status.lines().find(|line| line.starts_with(field));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|n| n.parse().ok())
            .expect("the kernel writes a number")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
