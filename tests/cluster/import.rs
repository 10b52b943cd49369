//! Goal: what Apache Kafka wrote is served by us as Kafka served it, and its producers go on.
//! Method: Kafka's broker and clients write topics of every kind; Kafka is stopped, its directories are imported, and our
//! broker takes its address. The same program reads all records from both. Skipped without Kafka's class path.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs};
use ringlog::types::Timestamp;

use crate::broker::{Broker, free_port};
use crate::wire::Client;

/// A Kafka of one node, combined.
struct Kafka {
    child: Child,
    data: PathBuf,
}

impl Kafka {
    fn start(class_path: &str, dir: &Path, port: u16) -> Kafka {
        let (controller, data) = (free_port(), dir.join("kafka"));
        let properties = dir.join("kafka.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\noffsets.topic.num.partitions=2\ntransaction.state.log.num.partitions=2\n\
             log.cleaner.backoff.ms=300\n",
            data.display()
        );
        fs::write(&properties, text).expect("writable");
        let formatted = Command::new("java")
            .args(["-cp", class_path, "kafka.tools.StorageTool", "format"])
            .args(["-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
            .arg(&properties)
            .output()
            .expect("java runs");
        assert!(
            formatted.status.success(),
            "{}",
            String::from_utf8_lossy(&formatted.stderr)
        );
        let log = fs::File::create(dir.join("kafka.out")).expect("writable");
        let child = Command::new("java")
            .args([
                "-Xmx512m",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                class_path,
            ])
            .arg("kafka.Kafka")
            .arg(&properties)
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("java runs");
        let kafka = Kafka { child, data };
        let deadline = Instant::now() + Duration::from_secs(180);
        let address = ([127, 0, 0, 1], port).into();
        while Client::connect(address)
            .and_then(|mut c| c.api_versions())
            .is_err()
        {
            assert!(Instant::now() < deadline, "Kafka does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        kafka
    }

    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        // SAFETY: sends a signal to our own child, which has not been waited for.
        assert_eq!(
            unsafe { libc::kill(pid, libc::SIGTERM) },
            0,
            "the child is there"
        );
        self.child.wait().expect("it is our child");
    }

    /// The directories of a topic's partitions.
    fn partitions(&self, topic: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.data).expect("a log directory");
        let names = entries.map(|entry| entry.expect("an entry").path());
        let of_topic = |path: &PathBuf| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            name.rsplit_once('-')
                .is_some_and(|(t, index)| t == topic && index.parse::<i32>().is_ok())
        };
        let mut found: Vec<PathBuf> = names.filter(of_topic).collect();
        found.sort();
        found
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Goal: an import keeps off directories that are cordoned, and says what will become of what is old; topics went by the
/// broker's seven days within half a minute of its start. Method: another broker's partition with records of a year ago.
#[test]
fn an_import_keeps_off_cordoned_directories_and_says_how_long_it_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let theirs = dir.path().join("theirs");
    let keeps = ["log.retention.ms=-1"];
    let mut broker = Broker::start_with(free_port(), &theirs, &keeps);
    let mut client = broker.client();
    for topic in ["old", "kept"] {
        client.create_topic(topic, 1).expect("made");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let then = now.expect("after 1970").as_millis() as i64 - 365 * 86_400_000;
        let mut builder = BatchBuilder::new(Codec::None, 1000);
        builder.append(Timestamp(then), None, Some(b"a value"), &[]);
        let batch = builder.build(&BatchSeal::default(), &mut Codecs::new());
        client.produce(topic, 0, batch).expect("answered");
    }
    drop(client);
    broker.signal(libc::SIGTERM);
    broker.wait(Duration::from_secs(60));
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
    let port = free_port();
    let mut broker = Broker::start_with(port, &paths[0], &[&dirs]);
    broker.signal(libc::SIGTERM);
    broker.wait(Duration::from_secs(60));
    let import = [
        "log",
        "import",
        "--unclean",
        "--override",
        dirs.as_str(),
        "--override",
    ];
    let run = |cordoned: &str, more: &[&str], topic: &str| {
        let cordoned = format!("cordoned.log.dirs={cordoned}");
        let arguments = [&import[..], &[cordoned.as_str()][..], more].concat();
        ringlog(&arguments, &[theirs.join(format!("{topic}-0"))])
    };
    let (code, text) = run("*", &[], "old");
    assert_eq!(code, Some(2), "all are cordoned: {text}");
    let first = paths[0].to_string_lossy().into_owned();
    let (code, text) = run(&first, &[], "old");
    assert_eq!(code, Some(0), "{text}");
    assert!(paths[1].join("old-0").exists() && !paths[0].join("old-0").exists());
    assert!(
        text.contains("cleanup.policy=delete, retention.ms=604800000"),
        "{text}"
    );
    assert!(text.contains("have had their time"), "{text}");
    assert!(text.contains("--topic-config retention.ms=-1"), "{text}");
    let keep = ["--topic-config", "retention.ms=-1", "--json"];
    let (code, text) = run(&first, &keep, "kept");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"expired_bytes\": 0"), "{text}");
    assert!(text.contains("\"retention_ms\": -1"), "{text}");
    let soon = ["log.initial.task.delay.ms=500", "log.segment.bytes=1048576"];
    let broker = Broker::start_with(port, &paths[0], &[&dirs, soon[0], soon[1]]);
    let mut client = broker.client();
    let deadline = Instant::now() + Duration::from_secs(60);
    let read = |client: &mut Client, topic: &str| {
        let read = client.fetch(topic, 0, 0, 1 << 20, 0).expect("answered");
        read.error_code
    };
    while read(&mut client, "old") != 1 {
        assert!(Instant::now() < deadline, "what it said would go stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(read(&mut client, "kept"), 0);
}

fn java(class_path: &str) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/java/Import.java");
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            class_path,
        ])
        .arg(source);
    command
}

fn read_all(class_path: &str, bootstrap: &str, isolation: &str, topics: &[&str]) -> String {
    let output = java(class_path)
        .args(["read", bootstrap, isolation])
        .args(topics)
        .output()
        .expect("java runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Lines until one of `wanted`; all of them.
fn lines_until(reader: &mut impl BufRead, wanted: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in reader.lines() {
        let line = line.expect("text");
        let found = line == wanted;
        lines.push(line);
        if found {
            return lines;
        }
    }
    panic!("the writer ended before it said {wanted}: {lines:?}");
}

fn ringlog(arguments: &[&str], paths: &[PathBuf]) -> (Option<i32>, String) {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("ringlog"))
        .args(arguments)
        .args(paths)
        .output()
        .expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Compaction has come to a place where it waits for more: the first segments are cleaned.
fn wait_for_compaction(kafka: &Kafka) {
    let checkpoint = kafka.data.join("cleaner-offset-checkpoint");
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let text = fs::read_to_string(&checkpoint).unwrap_or_default();
        let cleaned = text
            .lines()
            .find_map(|line| line.strip_prefix("compacted 0 "));
        if cleaned
            .and_then(|at| at.parse::<i64>().ok())
            .is_some_and(|at| at > 5000)
        {
            return;
        }
        assert!(Instant::now() < deadline, "Kafka does not compact: {text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_kafka_wrote_is_served_as_kafka_served_it() {
    let Ok(class_path) = std::env::var("KAFKA_CLASSPATH") else {
        println!("skipped: KAFKA_CLASSPATH is not set");
        return;
    };
    const TOPICS: [&str; 3] = ["plain", "txn", "compacted"];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let own = dir.path().join("own");
    let port = free_port();
    let bootstrap = format!("127.0.0.1:{port}");
    // The directory belongs to a cluster once a broker has run on it.
    let mut broker = Broker::start(port, &own);
    broker.signal(libc::SIGTERM);
    broker.wait(Duration::from_secs(20));
    drop(broker);
    let kafka = Kafka::start(&class_path, dir.path(), port);
    let mut writer = java(&class_path)
        .args(["write", &bootstrap])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("java runs");
    let mut told = BufReader::new(writer.stdout.take().expect("piped"));
    lines_until(&mut told, "written");
    wait_for_compaction(&kafka);
    let before: Vec<String> = ["read_uncommitted", "read_committed"]
        .map(|isolation| read_all(&class_path, &bootstrap, isolation, &TOPICS))
        .into();
    assert_ne!(before[0], before[1], "some transactions were aborted");
    let log_dirs = format!("log.dirs={}", own.display());
    let import = ["log", "import", "--override", &log_dirs];
    let plain = kafka.partitions("plain");
    let (code, text) = ringlog(&import, &plain);
    assert_eq!(code, Some(2), "Kafka is still running: {text}");
    let (partitions, data): (Vec<Vec<PathBuf>>, PathBuf) = (
        TOPICS.map(|topic| kafka.partitions(topic)).into(),
        kafka.data.clone(),
    );
    kafka.stop();
    let (code, text) = ringlog(&["log", "verify", "--json"], &[data]);
    assert_eq!(code, Some(0), "Kafka's own directory is sound: {text}");
    let (code, text) = ringlog(&import, &plain[1..]);
    assert_eq!(code, Some(2), "a partition is missing: {text}");
    let (code, text) = ringlog(&import, &plain[..2]);
    assert_eq!(code, Some(2), "the last partition is missing: {text}");
    for (paths, more) in partitions.iter().zip([
        &[][..],
        &["--link"],
        &["--topic-config", "cleanup.policy=compact"],
    ]) {
        let arguments = [&import[..], more].concat();
        let (code, text) = ringlog(&arguments, paths);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = ringlog(&arguments, paths);
        assert_eq!(code, Some(2), "twice: {text}");
    }
    let (code, text) = ringlog(&["log", "verify"], std::slice::from_ref(&own));
    assert_eq!(code, Some(0), "what was imported is sound: {text}");
    let broker = Broker::start(port, &own);
    for (isolation, before) in ["read_uncommitted", "read_committed"].iter().zip(&before) {
        let after = read_all(&class_path, &bootstrap, isolation, &TOPICS);
        let differ = before.lines().zip(after.lines()).find(|(a, b)| a != b);
        assert!(
            *before == after,
            "{isolation}: {differ:?}; the broker said:\n{}",
            broker.output()
        );
    }
    writer
        .stdin
        .take()
        .expect("piped")
        .write_all(b"go on\n")
        .expect("it reads");
    let went_on = lines_until(&mut told, "done");
    let offsets: Vec<&String> = went_on
        .iter()
        .filter(|line| line.starts_with("went on"))
        .collect();
    assert_eq!(offsets.len(), 30, "{went_on:?}");
    assert!(writer.wait().expect("it is our child").success());
    let after = read_all(&class_path, &bootstrap, "read_uncommitted", &["plain"]);
    for i in 0..60 {
        let name = format!(" last{i} ");
        assert_eq!(
            after.matches(&name).count(),
            1,
            "record {i} of the producer that went on"
        );
    }
    let id = broker.client().producer_id().expect("an id").0.0;
    assert!(id > 0, "ids of Kafka's producers are not given out again");
}
