//! Goal: replicas end in the log directories that they were asked to, whatever happens to the broker meanwhile; what is
//! known of them goes along; and nobody else's room is taken for it.
//!
//! Method: two directories, moves held back by the throttle, a kill and a close in the midst of one, moves taken back; a
//! compacted topic; directories on small file systems.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringlog::protocol::ErrorCode;
use ringlog::protocol::describe_log_dirs::DescribeLogDirsPartition;
use ringlog::rt::space;
use ringlog::types::Prng;

use crate::broker::{Broker, free_port};
use crate::disks::{Mount, alter, eventually, keyed, partitions_in, put, record, rows};
use crate::throttle::throttle;
use crate::wire::Client;

const STORAGE: i16 = ErrorCode::KafkaStorageError as i16;

/// Which of the directories a partition lies in.
fn home(client: &mut Client, paths: &[PathBuf; 2], partition: i32) -> usize {
    let holds = |path: &PathBuf| {
        let rows = rows(client, path, "t");
        let is_it =
            |row: &DescribeLogDirsPartition| row.partition_index == partition && !row.is_future_key;
        rows.iter().any(is_it)
    };
    paths.iter().position(holds).expect("in one of both")
}

fn copies(paths: &[PathBuf; 2]) -> usize {
    let entries = paths
        .iter()
        .flat_map(|path| fs::read_dir(path).expect("readable"));
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let copies = names.filter(|name| name.to_string_lossy().ends_with("-future"));
    copies.count()
}

/// Goal: a restart forgets no move, as Kafka forgets none; those that were taken back do not come again.
#[test]
fn moves_go_on_after_a_restart() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
        let overrides = [dirs.as_str(), "num.shards=1", "log.segment.bytes=1048576"];
        let port = free_port();
        let mut broker = Broker::start_with(port, &paths[0], &overrides);
        let mut client = broker.client();
        throttle(&mut client, "1", Some(100_000));
        client.create_topic("t", 4).expect("made");
        // So large that they are in the segments at once, where what is copied is taken from.
        let batch = record(&mut Prng::new(1), 900_000);
        for partition in 0..4 {
            for _ in 0..3 {
                put(&mut client, "t", partition, &batch).expect("room");
            }
        }
        let before = [0, 1, 2, 3].map(|partition| home(&mut client, &paths, partition));
        let ask = |client: &mut Client, partition: i32, to: usize| {
            assert_eq!(alter(client, &paths[to], "t", partition), 0);
        };
        let other = before.map(|home| 1 - home);
        let begun = |client: &mut Client, partition: i32, to: usize| {
            let rows = rows(client, &paths[to], "t");
            let copied = |row: &DescribeLogDirsPartition| {
                row.partition_index == partition && row.is_future_key && row.partition_size > 0
            };
            rows.iter().any(copied)
        };
        // The first one is taken back when it has begun, the next one before.
        ask(&mut client, 3, other[3]);
        eventually("it begins", || begun(&mut client, 3, other[3]));
        ask(&mut client, 3, before[3]);
        ask(&mut client, 0, other[0]);
        ask(&mut client, 1, other[1]);
        ask(&mut client, 2, other[2]);
        ask(&mut client, 2, before[2]);
        eventually("it begins", || begun(&mut client, 0, other[0]));
        drop(client);
        broker.signal(signal);
        broker.wait(Duration::from_secs(60));
        assert!(copies(&paths) >= 2, "signal {signal}: they are noted");
        let broker = Broker::start_with(port, &paths[0], &overrides);
        let mut client = broker.client();
        throttle(&mut client, "1", None);
        client.led("t", 4).expect("led again");
        for partition in [0, 1] {
            let to = other[partition as usize];
            eventually("it arrives", || home(&mut client, &paths, partition) == to);
        }
        eventually("nothing is left of the copies", || copies(&paths) == 0);
        for partition in [2, 3] {
            let stays = home(&mut client, &paths, partition);
            assert_eq!(stays, before[partition as usize], "signal {signal}");
        }
        for partition in 0..4 {
            let read = client
                .fetch("t", partition, 0, 1 << 20, 0)
                .expect("answered");
            assert_eq!((read.error_code, read.high_watermark), (0, 3));
        }
    }
}

/// The offset up to which a directory's file says that partition 0 of the topic is clean.
fn noted(directory: &Path) -> Option<i64> {
    let text = fs::read_to_string(directory.join("cleaner-offset-checkpoint")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("t 0 "))?;
    Some(line.parse().expect("an offset"))
}

/// Goal: what `cleaner-offset-checkpoint` says goes where the log goes, and away with it: the next topic of its name would
/// be taken for clean. Method: a topic is compacted, moved and deleted, and the files read.
#[test]
fn how_far_a_log_is_clean_moves_and_goes_with_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
    let overrides = [
        dirs.as_str(),
        "log.segment.bytes=1048576",
        "log.cleanup.policy=compact",
        "log.cleaner.backoff.ms=100",
        "log.cleaner.min.cleanable.ratio=0.01",
    ];
    let broker = Broker::start_with(free_port(), &paths[0], &overrides);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    let mut prng = Prng::new(2);
    for i in 0..40 {
        let batch = keyed(Some(&format!("key {}", i % 3)), 100_000, &mut prng);
        put(&mut client, "t", 0, &batch).expect("room");
    }
    let was_at = home(&mut client, &paths, 0);
    let to = 1 - was_at;
    eventually("it is compacted", || noted(&paths[was_at]) > Some(20));
    assert_eq!(alter(&mut client, &paths[to], "t", 0), 0);
    eventually("it moves", || home(&mut client, &paths, 0) == to);
    eventually("it is told there", || noted(&paths[to]) > Some(20));
    eventually("and only there", || noted(&paths[was_at]).is_none());
    client.delete_topic("t").expect("deleted");
    assert_eq!(paths.each_ref().map(|path| noted(path)), [None, None]);
}

/// Goal: a partition that has no room in the directory that it is asked to is not moved, and those that lie there serve on.
#[test]
fn a_move_that_has_no_room_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = Mount::new(dir.path(), "small", 64 << 20) else {
        return;
    };
    let good = dir.path().join("good");
    let dirs = format!("log.dirs={},{}", good.display(), mount.path.display());
    let broker = Broker::start_with(free_port(), &good, &[&dirs]);
    let mut client = broker.client();
    client.create_topic("t", 8).expect("made");
    let inside = partitions_in(&mut client, &mount.path, "t");
    let mut outside = (0..8).filter(|partition| !inside.contains(partition));
    let large = outside.next().expect("placed over both");
    let batch = record(&mut Prng::new(3), 900_000);
    for _ in 0..70 {
        put(&mut client, "t", large, &batch).expect("room");
    }
    assert_eq!(alter(&mut client, &mount.path, "t", large), STORAGE);
    eventually("it says why", || broker.output().contains("is not moved"));
    assert!(!inside.is_empty(), "placed over both");
    let small = record(&mut Prng::new(3), 1000);
    for &partition in &inside {
        put(&mut client, "t", partition, &small).expect("they serve on");
    }
    assert!(!partitions_in(&mut client, &mount.path, "t").contains(&large));
}

/// Goal: compaction never takes the last of a disk, which the metadata lives by: a broker whose next metadata record found
/// no room stopped. Method: a small file system filled with a compacted topic's records, while the cleaner works and
/// topics are made.
#[test]
fn compaction_leaves_the_last_room_to_the_metadata() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = Mount::new(dir.path(), "small", 200 << 20) else {
        return;
    };
    let overrides = [
        "log.segment.bytes=16777216",
        "log.cleanup.policy=compact",
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.01",
    ];
    let mut broker = Broker::start_with(free_port(), &mount.path, &overrides);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    let (mut prng, mut least, mut keys) = (Prng::new(4), u64::MAX, 0);
    let free_bytes = || {
        let space = space(&mount.path).expect("a file system");
        space.available_bytes
    };
    let mut refused = None;
    while refused.is_none() {
        keys += 1;
        assert!(keys < 2000, "the disk never fills");
        let batch = keyed(Some(&format!("key {keys}")), 400_000, &mut prng);
        refused = put(&mut client, "t", 0, &batch).err();
        least = least.min(free_bytes());
    }
    let until = Instant::now() + Duration::from_secs(4);
    let mut made = 0;
    while Instant::now() < until {
        made += 1;
        let name = format!("made-{made}");
        client
            .create_topic(&name, 1)
            .expect("the metadata has room");
        client.delete_topic(&name).expect("the metadata has room");
        least = least.min(free_bytes());
    }
    broker.assert_running();
    // A reserve is a fiftieth; checkpoints and metadata take a little of it.
    assert!(
        least > 2 << 20,
        "{least} bytes were left; it said:\n{}",
        broker.output()
    );
}
