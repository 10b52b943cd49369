//! Goal: moves between log directories keep to `replica.alter.log.dirs.io.max.bytes.per.second`, all of a broker's together,
//! from the moment it is set, while clients write.
//!
//! Method: moves of known size by the clock; the rate changed, set to nothing and taken away in the middle; then whatever may
//! happen to a move that stands still.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog::protocol::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ringlog::protocol::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ringlog::types::Prng;

use crate::broker::{Broker, free_port};
use crate::disks::{alter, directories, eventually, put, record};
use crate::wire::Client;

const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const MIB: u64 = 1 << 20;

/// A broker of two shards with two log directories.
struct Bench {
    _dir: tempfile::TempDir,
    paths: [PathBuf; 2],
    broker: Broker,
    client: Client,
    small: Bytes,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
        let overrides = [&dirs, "num.shards=2", "log.segment.bytes=4194304"];
        let broker = Broker::start_with(free_port(), &paths[0], &overrides);
        let client = broker.client();
        let small = record(&mut Prng::new(8), 1000);
        Bench {
            _dir: dir,
            paths,
            broker,
            client,
            small,
        }
    }

    /// A topic with so many MiB in each of its partitions.
    fn filled(&mut self, topic: &str, partitions: i32, mib: u64) {
        self.client.create_topic(topic, partitions).expect("made");
        let batch = record(&mut Prng::new(7), 1 << 18);
        for partition in 0..partitions {
            for _ in 0..mib * 4 {
                put(&mut self.client, topic, partition, &batch).expect("room");
            }
        }
    }

    /// Sets the rate for one broker, or for all by an empty name; `None` takes it away.
    fn throttle(&mut self, broker: &str, bytes_per_second: Option<u64>) {
        throttle(&mut self.client, broker, bytes_per_second);
    }

    /// What the broker says the rate is, and where from (2: set for it, 3: for all); `None`: nobody set it.
    fn described(&mut self) -> Option<(String, i8)> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 4,
                resource_name: "1".into(),
                configuration_keys: Some(vec![RATE.into()]),
            }],
            ..DescribeConfigsRequest::default()
        };
        let answer = self.client.call(4, &request).expect("answered");
        let row = answer.results[0].configs.first()?;
        let value = row.value.as_ref().expect("no secret");
        Some((value.to_string(), row.config_source))
    }

    /// The number of the directory that a partition lies in, and what has arrived in the other one if it is on its way.
    fn place(&mut self, topic: &str, partition: i32) -> (usize, Option<u64>) {
        let (mut home, mut coming) = (None, None);
        for dir in directories(&mut self.client) {
            let path = Path::new(dir.log_dir.as_str());
            let number = self.paths.iter().position(|known| known == path);
            let rows = dir.topics.iter().filter(|t| t.name.as_str() == topic);
            for row in rows.flat_map(|t| &t.partitions) {
                match (row.partition_index == partition, row.is_future_key) {
                    (false, _) => {}
                    (true, true) => coming = Some(row.partition_size as u64),
                    (true, false) => home = number,
                }
            }
        }
        (home.expect("it is somewhere"), coming)
    }

    fn move_to(&mut self, directory: usize, topic: &str, partition: i32) {
        let path = self.paths[directory].clone();
        assert_eq!(alter(&mut self.client, &path, topic, partition), 0);
    }

    /// Moves a topic's partitions to the directory where they are not, and writes to them until all are there. How long it took.
    fn moved(&mut self, topic: &str, partitions: i32) -> Duration {
        let homes: Vec<usize> = (0..partitions).map(|p| self.place(topic, p).0).collect();
        let began = Instant::now();
        for (partition, home) in (0..).zip(&homes) {
            self.move_to(1 - home, topic, partition);
        }
        let mut written = 0;
        while (0..)
            .zip(&homes)
            .any(|(p, home)| self.place(topic, p).0 == *home)
        {
            for partition in 0..partitions {
                let small = self.small.clone();
                put(&mut self.client, topic, partition, &small).expect("writes go on");
                written += 1;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "never there");
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = began.elapsed();
        println!("moved in {took:?}, {written} records written meanwhile");
        assert!(written > 20, "{written} writes while it moved");
        took
    }
}

/// Sets the rate for one broker, or with "" for all; `None` takes it back.
pub fn throttle(client: &mut Client, broker: &str, bytes_per_second: Option<u64>) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: broker.into(),
            configs: vec![AlterableConfig {
                name: RATE.into(),
                config_operation: i8::from(bytes_per_second.is_none()),
                value: bytes_per_second.map(|rate| rate.to_string().into()),
            }],
        }],
        validate_only: false,
    };
    let answer = client.call(1, &request).expect("answered");
    let row = &answer.responses[0];
    assert_eq!(row.error_code, 0, "{:?}", row.error_message);
}

fn about(took: Duration, bytes: u64, bytes_per_second: u64) {
    let wanted = bytes as f64 / bytes_per_second as f64;
    let took = took.as_secs_f64();
    // The first step and the rest are not held back; a busy machine is late.
    let is_near = took > wanted * 0.8 && took < wanted * 1.3 + 1.0;
    assert!(is_near, "{took:.2} s where the throttle says {wanted:.2} s");
}

#[test]
fn a_move_takes_as_long_as_its_throttle_says_while_writes_go_on() {
    let mut bench = Bench::new();
    bench.filled("t", 1, 24);
    bench.throttle("1", Some(4 * MIB));
    let took = bench.moved("t", 1);
    about(took, 24 * MIB, 4 * MIB);
    bench.broker.assert_running();
}

#[test]
fn moves_of_several_shards_share_one_throttle() {
    let mut bench = Bench::new();
    // So many that no hash leaves a shard without one.
    bench.filled("t", 8, 3);
    bench.throttle("", Some(4 * MIB));
    let took = bench.moved("t", 8);
    about(took, 24 * MIB, 4 * MIB);
    bench.broker.assert_running();
}

#[test]
fn a_throttle_takes_effect_at_once_when_it_changes_during_a_move() {
    let mut bench = Bench::new();
    bench.filled("t", 1, 60);
    assert_eq!(bench.described(), None);
    bench.throttle("", Some(MIB));
    assert_eq!(bench.described(), Some((MIB.to_string(), 3)));
    let (home, _) = bench.place("t", 0);
    bench.move_to(1 - home, "t", 0);
    let arrived = |bench: &mut Bench| bench.place("t", 0).1.expect("on its way");
    eventually("it begins", || arrived(&mut bench) > 0);
    let copied_in = |bench: &mut Bench, seconds| {
        let before = arrived(bench);
        std::thread::sleep(Duration::from_secs(seconds));
        arrived(bench) - before
    };
    let slow = copied_in(&mut bench, 2);
    assert!((MIB..4 * MIB).contains(&slow), "{slow} bytes in 2 s");
    // What is set for the broker counts before what is set for all.
    bench.throttle("1", Some(0));
    assert_eq!(bench.described(), Some(("0".to_owned(), 2)));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(copied_in(&mut bench, 2), 0, "it stands still");
    bench.throttle("1", Some(5 * MIB));
    let fast = copied_in(&mut bench, 2);
    assert!(fast > 6 * MIB && fast < 14 * MIB, "{fast} bytes in 2 s");
    bench.throttle("1", None);
    assert_eq!(bench.described(), Some((MIB.to_string(), 3)));
    std::thread::sleep(Duration::from_millis(300));
    let slow = copied_in(&mut bench, 2);
    assert!((MIB..4 * MIB).contains(&slow), "{slow} bytes in 2 s again");
    // More than 30 MiB are left: half a minute at the old rate.
    let (began, left) = (Instant::now(), 60 * MIB - arrived(&mut bench));
    bench.throttle("", None);
    assert_eq!(bench.described(), None);
    eventually("it is there", || bench.place("t", 0).0 != home);
    let took = began.elapsed();
    assert!(left > 25 * MIB, "{left} bytes were left");
    assert!(
        took < Duration::from_secs(15),
        "{took:?} without a throttle"
    );
    bench.broker.assert_running();
}

#[test]
fn a_move_that_stands_still_is_given_up_and_holds_nobody_up() {
    let mut bench = Bench::new();
    bench.filled("t", 1, 6);
    bench.filled("gone", 1, 6);
    bench.throttle("1", Some(0));
    let (home, _) = bench.place("t", 0);
    bench.move_to(1 - home, "t", 0);
    eventually("it is on its way", || bench.place("t", 0).1.is_some());
    let small = bench.small.clone();
    put(&mut bench.client, "t", 0, &small).expect("writes go on");
    bench.move_to(home, "t", 0);
    eventually("it was given up", || bench.place("t", 0) == (home, None));
    let (other, _) = bench.place("gone", 0);
    bench.move_to(1 - other, "gone", 0);
    eventually("it is on its way", || bench.place("gone", 0).1.is_some());
    bench.client.delete_topic("gone").expect("deleted");
    eventually("nothing of it is left", || {
        let all = directories(&mut bench.client);
        let mut topics = all.iter().flat_map(|dir| &dir.topics);
        topics.all(|topic| topic.name.as_str() != "gone")
    });
    bench.move_to(1 - home, "t", 0);
    eventually("it is on its way", || bench.place("t", 0).1.is_some());
    bench.broker.signal(libc::SIGTERM);
    let ended = bench.broker.wait(Duration::from_secs(20));
    assert!(ended.status.success(), "{:?}", ended.status);
}
