//! Log directories on file systems of their own, which fill up and fail: real ones, loop-mounted. Only as root, where the
//! kernel mounts loop devices.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ringlog::protocol::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use ringlog::protocol::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ringlog::protocol::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResult,
};
use ringlog::protocol::{ErrorCode, Records};
use ringlog::record::{BatchBuilder, BatchSeal, Codec, Codecs, split};
use ringlog::types::{Prng, Timestamp};

use crate::broker::{Broker, free_port};
use crate::wire::Client;

/// A small ext4 file system on a loop device.
pub struct Mount {
    image: PathBuf,
    pub path: PathBuf,
}

impl Mount {
    /// `None`, and a word about it, where it cannot be had.
    pub fn new(dir: &Path, name: &str, bytes: u64) -> Option<Mount> {
        let mount = Mount {
            image: dir.join(format!("{name}.img")),
            path: dir.join(name),
        };
        fs::create_dir(&mount.path).expect("a directory");
        let image = fs::File::create(&mount.image).expect("a file");
        image.set_len(bytes).expect("a sparse file");
        let made = run(
            "mkfs.ext4",
            &["-q", "-F", "-m", "0", &mount.image.to_string_lossy()],
        );
        match made.and_then(|()| mount.mount()) {
            Ok(()) => Some(mount),
            Err(why) => {
                println!("skipped: no loop-mounted file system to be had: {why}");
                None
            }
        }
    }

    fn mount(&self) -> Result<(), String> {
        let (image, path) = (self.image.to_string_lossy(), self.path.to_string_lossy());
        run("mount", &["-o", "loop,errors=remount-ro", &image, &path])
    }

    fn unmount(&self) -> Result<(), String> {
        run("umount", &[&self.path.to_string_lossy()])
    }

    /// Has the kernel find an error in the file system, for which it turns read-only at once, open files and all.
    pub fn break_now(&self) {
        let found = Command::new("findmnt")
            .args(["-n", "-o", "SOURCE"])
            .arg(&self.path)
            .output()
            .expect("findmnt runs");
        let device = String::from_utf8_lossy(&found.stdout);
        let name = device
            .trim()
            .rsplit('/')
            .next()
            .expect("a device")
            .to_owned();
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a test").expect("root may");
    }

    /// Unmounted, checked and mounted again, as an operator would.
    fn repair(&self) {
        self.unmount().expect("nobody uses it");
        // 1: errors were corrected.
        let checked = Command::new("fsck.ext4")
            .args(["-y"])
            .arg(&self.image)
            .output();
        let code = checked.expect("fsck runs").status.code();
        assert!(matches!(code, Some(0 | 1)), "fsck: {code:?}");
        self.mount().expect("it mounts again");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// One record of so many bytes that no codec makes smaller, dated now: retention must not take it.
pub fn record(prng: &mut Prng, bytes: usize) -> Bytes {
    keyed(None, bytes, prng)
}

/// The same under a key.
pub fn keyed(key: Option<&str>, bytes: usize, prng: &mut Prng) -> Bytes {
    let mut value = vec![0; bytes];
    prng.fill(&mut value);
    let mut builder = BatchBuilder::new(Codec::None, bytes + 100);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis() as i64;
    builder.append(Timestamp(now), key.map(str::as_bytes), Some(&value), &[]);
    builder.build(&BatchSeal::default(), &mut Codecs::new())
}

/// Produces one record. The offset, or the error.
pub fn put(client: &mut Client, topic: &str, partition: i32, batch: &Bytes) -> Result<i64, i16> {
    let answer = client
        .produce(topic, partition, batch.clone())
        .expect("answered");
    match answer.error_code {
        0 => Ok(answer.base_offset),
        code => Err(code),
    }
}

pub fn directories(client: &mut Client) -> Vec<DescribeLogDirsResult> {
    let answer = client.call(5, &DescribeLogDirsRequest::default());
    answer.expect("answered").results
}

/// The rows of a topic's partitions in a directory.
pub fn rows(client: &mut Client, directory: &Path, topic: &str) -> Vec<DescribeLogDirsPartition> {
    let all = directories(client).into_iter();
    let mut ours = all.filter(|d| d.log_dir.as_str() == directory.to_string_lossy());
    let topics = ours.next().expect("a log directory").topics.into_iter();
    let of_topic = topics.filter(|t| t.name.as_str() == topic);
    of_topic.flat_map(|t| t.partitions).collect()
}

/// The topic's partitions in a directory.
pub fn partitions_in(client: &mut Client, directory: &Path, topic: &str) -> BTreeSet<i32> {
    let rows = rows(client, directory, topic);
    rows.iter().map(|row| row.partition_index).collect()
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const STORAGE: i16 = ErrorCode::KafkaStorageError as i16;

/// Goal: a directory that turns read-only takes only its partitions offline, and they come back whole.
/// Method: two directories, the second on a file system that the kernel finds broken; then it is repaired.
#[test]
fn a_failing_directory_takes_only_its_partitions_offline() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = Mount::new(dir.path(), "bad", 64 << 20) else {
        return;
    };
    let good = dir.path().join("good");
    let dirs = format!("log.dirs={},{}", good.display(), mount.path.display());
    let port = free_port();
    let mut broker = Broker::start_with(port, &good, &[&dirs]);
    let mut client = broker.client();
    client.create_topic("t", 8).expect("made");
    let (mut prng, mut acked) = (Prng::new(1), [0; 8]);
    let batch = record(&mut prng, 1000);
    for p in 0..8 {
        for _ in 0..5 {
            acked[p as usize] = put(&mut client, "t", p, &batch).expect("all work") + 1;
        }
    }
    let bad = partitions_in(&mut client, &mount.path, "t");
    assert!(
        !bad.is_empty() && bad.len() < 8,
        "placed over both: {bad:?}"
    );
    mount.break_now();
    // A write finds it out; what is refused was not acknowledged.
    for &p in &bad {
        let refused = put(&mut client, "t", p, &batch).expect_err("the directory is read-only");
        assert_eq!(refused, STORAGE);
    }
    eventually("nobody leads what is offline", || {
        let topic = client.topic("t").expect("answered");
        topic.partitions.iter().all(|p| {
            let is_bad = bad.contains(&p.partition_index);
            let offline = (p.leader_id, p.error_code) == (-1, 5) && p.offline_replicas.len() == 1;
            if is_bad {
                offline
            } else {
                p.leader_id >= 0 && p.error_code == 0
            }
        })
    });
    for p in 0..8 {
        let fetched = client
            .fetch("t", p, 0, 1 << 20, 0)
            .expect("answered")
            .error_code;
        match bad.contains(&p) {
            true => assert_eq!(fetched, STORAGE, "partition {p}"),
            false => {
                assert_eq!(fetched, 0, "partition {p}");
                acked[p as usize] = put(&mut client, "t", p, &batch).expect("others serve") + 1;
            }
        }
    }
    for described in directories(&mut client) {
        let is_bad = described.log_dir.as_str() == mount.path.to_string_lossy();
        assert_eq!(described.error_code, if is_bad { STORAGE } else { 0 });
        assert_eq!(described.topics.is_empty(), is_bad);
    }
    broker.assert_running();
    // New topics go where they can.
    client
        .create_topic("after", 3)
        .expect("the other directory takes it");
    drop((client, broker));
    starts_without_the_directory(&mount, port, &good, &dirs, &bad);
    mount.repair();
    let broker = Broker::start_with(port, &good, &[&dirs]);
    let mut client = broker.client();
    client
        .led("t", 8)
        .unwrap_or_else(|e| panic!("{e}; it said:\n{}", broker.output()));
    for p in 0..8 {
        let end = client
            .fetch("t", p, 0, 1 << 20, 0)
            .expect("answered")
            .high_watermark;
        assert!(
            end >= acked[p as usize],
            "partition {p}: {end} of {}",
            acked[p as usize]
        );
        put(&mut client, "t", p, &batch).expect("all work again");
    }
}

/// Starts with the directory broken, and with its mount missing: its partitions are offline, not empty; others serve.
fn starts_without_the_directory(
    mount: &Mount,
    port: u16,
    good: &Path,
    dirs: &str,
    bad: &BTreeSet<i32>,
) {
    for is_mounted in [true, false] {
        if !is_mounted {
            mount.unmount().expect("nobody uses it");
        }
        let mut broker = Broker::start_with(port, good, &[dirs]);
        let mut client = broker.client();
        for &p in bad {
            let code = client
                .fetch("t", p, 0, 1 << 20, 0)
                .expect("answered")
                .error_code;
            let said = broker.output();
            assert_eq!(
                code, STORAGE,
                "partition {p}, mounted {is_mounted}; it said:\n{said}"
            );
        }
        client.led("after", 3).expect("others serve");
        broker.assert_running();
    }
    mount.mount().expect("mounts");
}

/// Goal: a broker whose metadata's directory is lost says so and ends with status 1, as Kafka's halts; not by an abort.
/// Method: the only directory is removed beneath it, and a new segment wanted.
#[test]
fn a_broker_that_loses_its_metadata_directory_ends_with_a_word_about_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let mut broker = Broker::start(free_port(), &data);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    fs::remove_dir_all(&data).expect("it is there");
    // Whether it is answered before the end is not said.
    let _ = client.produce("t", 0, record(&mut Prng::new(1), 1000));
    let ended = broker.wait(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
    let why = "the first log directory, which holds the metadata, has failed";
    assert!(ended.output.contains(why), "{}", ended.output);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
}

/// Goal: a full disk refuses appends and loses nothing; fetches and deletions go on, and service resumes by itself.
/// Method: the broker's only directory on a small file system, filled by producers, emptied by deletions, twice; a kill.
#[test]
fn a_full_disk_refuses_appends_and_heals_by_deletion() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(mount) = Mount::new(dir.path(), "small", 160 << 20) else {
        return;
    };
    let port = free_port();
    let overrides = &["log.segment.bytes=1048576"];
    let mut broker = Broker::start_with(port, &mount.path, overrides);
    let mut client = broker.client();
    client.create_topic("keep", 1).expect("made");
    client.create_topic("drop", 1).expect("made");
    let mut prng = Prng::new(2);
    let small = record(&mut prng, 100);
    let large = record(&mut prng, 200_000);
    let mut kept = vec![put(&mut client, "keep", 0, &small).expect("room")];
    let fill = |client: &mut Client, topic: &str, kept: &mut Vec<i64>| {
        for _ in 0..2000 {
            match put(client, topic, 0, &large) {
                Ok(offset) if topic == "keep" => kept.push(offset),
                Ok(_) => {}
                Err(code) => return code,
            }
        }
        panic!("the disk never fills");
    };
    let code = fill(&mut client, "drop", &mut kept);
    assert!(code == STORAGE || code == 7, "refused with {code}");
    eventually("every append is refused at once", || {
        put(&mut client, "drop", 0, &large) == Err(STORAGE)
    });
    broker.assert_running();
    // Reads and the metadata go on.
    let read = client.fetch("drop", 0, 0, 1 << 20, 0).expect("answered");
    assert_eq!(read.error_code, 0);
    assert!(matches!(read.records, Some(Records::Bytes(bytes)) if !bytes.is_empty()));
    client
        .create_topic("made-while-full", 1)
        .expect("metadata has the reserve");
    // DeleteRecords gives space back, and service resumes.
    let end = client
        .fetch("drop", 0, 0, 1, 0)
        .expect("answered")
        .high_watermark;
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "drop".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: end - 5,
            }],
        }],
        timeout_ms: 10_000,
    };
    let answer = client.call(2, &request).expect("answered");
    assert_eq!(
        answer.topics[0].partitions[0].error_code, 0,
        "deletion has the reserve"
    );
    eventually("there is room again after DeleteRecords", || {
        match put(&mut client, "keep", 0, &small) {
            Ok(offset) => {
                kept.push(offset);
                true
            }
            Err(_) => false,
        }
    });
    let code = fill(&mut client, "keep", &mut kept);
    assert!(code == STORAGE || code == 7, "refused with {code}");
    client
        .create_topic("other", 1)
        .expect("metadata has the reserve");
    // So does the deletion of a topic: first one that holds much is needed.
    client.delete_topic("drop").expect("deleted");
    eventually(
        "there is room again after the deletion of a topic",
        || match put(&mut client, "keep", 0, &small) {
            Ok(offset) => {
                kept.push(offset);
                true
            }
            Err(_) => false,
        },
    );
    broker.assert_running();
    broker.kill();
    let broker = Broker::start_with(port, &mount.path, overrides);
    let mut client = broker.client();
    client
        .led("keep", 1)
        .unwrap_or_else(|e| panic!("{e}; it said:\n{}", broker.output()));
    let found = offsets(&mut client, "keep");
    for offset in kept {
        assert!(
            found.contains(&offset),
            "acknowledged record {offset} is gone"
        );
    }
}

/// All offsets of a partition's records.
fn offsets(client: &mut Client, topic: &str) -> BTreeSet<i64> {
    let (mut found, mut at) = (BTreeSet::new(), 0);
    loop {
        let data = client.fetch(topic, 0, at, 4 << 20, 0).expect("answered");
        assert_eq!(data.error_code, 0, "at {at}");
        let Some(Records::Bytes(bytes)) = data.records.filter(|_| at < data.high_watermark) else {
            return found;
        };
        for batch in split(&bytes).map_while(Result::ok) {
            let header = batch.header;
            found.extend(header.base_offset().0..header.next_offset().0);
            at = header.next_offset().0;
        }
    }
}

/// Goal: a bit that rots under a running broker's segments is answered CORRUPT_MESSAGE, and what lies around it is served.
/// Method: one bit of a sealed segment flipped while the broker is down, so that nothing of it is in memory.
#[test]
fn a_rotten_batch_is_answered_as_corrupt() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let overrides = ["log.segment.bytes=1048576"];
    let mut broker = Broker::start_with(port, dir.path(), &overrides);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    let mut prng = Prng::new(3);
    let batch = record(&mut prng, 100_000);
    for _ in 0..30 {
        put(&mut client, "t", 0, &batch).expect("room");
    }
    drop(client);
    broker.signal(libc::SIGTERM);
    assert!(broker.wait(Duration::from_secs(60)).status.success());
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&segment).expect("readable");
    let size = batch.len();
    bytes[3 * size + 5000] ^= 1;
    fs::write(&segment, bytes).expect("writable");
    let mut broker = Broker::start_with(port, dir.path(), &overrides);
    let mut client = broker.client();
    client.led("t", 1).expect("led");
    let before = client.fetch("t", 0, 0, 4 << 20, 0).expect("answered");
    let Some(Records::Bytes(served)) = before.records else {
        panic!("nothing before the damage is served");
    };
    let (code, served) = (before.error_code, served.len());
    assert_eq!((code, served), (0, 3 * size), "all before the damage");
    let corrupt = client.fetch("t", 0, 3, 4 << 20, 0).expect("answered");
    let records = match corrupt.records {
        Some(Records::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    assert_eq!(
        (corrupt.error_code, records),
        (ErrorCode::CorruptMessage as i16, 0)
    );
    let after = client.fetch("t", 0, 4, 4 << 20, 0).expect("answered");
    assert_eq!(after.error_code, 0, "what lies behind it is served");
    broker.assert_running();
}

/// Goal: a batch that `max.message.bytes` lets pass and no segment can hold is refused as by Kafka (4.3.1 was asked).
#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let overrides = ["log.segment.bytes=1048576", "message.max.bytes=3000000"];
    let broker = Broker::start_with(free_port(), dir.path(), &overrides);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    let mut prng = Prng::new(7);
    let spare = record(&mut prng, 1_000_000).len() - 1_000_000;
    let fits = record(&mut prng, 1_048_576 - spare);
    assert_eq!(fits.len(), 1_048_576);
    assert_eq!(put(&mut client, "t", 0, &fits), Ok(0));
    let large = record(&mut prng, 1_048_577 - spare);
    let refused = put(&mut client, "t", 0, &large);
    assert_eq!(refused, Err(ErrorCode::RecordListTooLarge as i16));
    let larger = record(&mut prng, 3_100_000);
    let refused = put(&mut client, "t", 0, &larger);
    assert_eq!(refused, Err(ErrorCode::MessageTooLarge as i16));
    assert_eq!(put(&mut client, "t", 0, &fits), Ok(1));
}

/// Goal: a partition moves between directories while it is written, and DescribeLogDirs tells how far it is.
/// Method: two directories, a producer that never stops, moves there and back, a kill; every acknowledged record is there.
#[test]
fn a_partition_moves_between_directories_while_it_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
    let overrides = [dirs.as_str(), "log.segment.bytes=1048576"];
    let port = free_port();
    let mut broker = Broker::start_with(port, &paths[0], &overrides);
    let mut client = broker.client();
    client.create_topic("t", 1).expect("made");
    let mut prng = Prng::new(4);
    let batch = record(&mut prng, 50_000);
    let mut acked = BTreeSet::new();
    for _ in 0..100 {
        acked.insert(put(&mut client, "t", 0, &batch).expect("room"));
    }
    let home = |client: &mut Client| {
        let holds = |path: &PathBuf| {
            let all = directories(client);
            let ours = all
                .iter()
                .find(|d| d.log_dir.as_str() == path.to_string_lossy());
            let topics = &ours.expect("a log directory").topics;
            topics
                .iter()
                .flat_map(|t| &t.partitions)
                .any(|p| !p.is_future_key)
        };
        paths.iter().position(holds).expect("in one of both")
    };
    let was_at = home(&mut client);
    assert_eq!(
        alter(&mut client, Path::new("/nowhere"), "t", 0),
        ErrorCode::LogDirNotFound as i16
    );
    assert_eq!(
        alter(&mut client, &paths[0], "t", 7),
        ErrorCode::UnknownTopicOrPartition as i16
    );
    assert_eq!(alter(&mut client, &paths[was_at], "t", 0), 0, "it is there");
    for round in 1..=3 {
        let to = (was_at + round) % 2;
        assert_eq!(alter(&mut client, &paths[to], "t", 0), 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while home(&mut client) != to {
            acked.insert(put(&mut client, "t", 0, &batch).expect("writes go on"));
            let code = client
                .fetch("t", 0, 0, 100_000, 0)
                .expect("answered")
                .error_code;
            assert_eq!(code, 0, "reads go on");
            assert!(
                Instant::now() < deadline,
                "it does not arrive; it said:\n{}",
                broker.output()
            );
        }
        acked.insert(put(&mut client, "t", 0, &batch).expect("writes go on"));
    }
    broker.kill();
    let broker = Broker::start_with(port, &paths[0], &overrides);
    let mut client = broker.client();
    client.led("t", 1).expect("led again");
    assert_eq!(home(&mut client), (was_at + 3) % 2, "where it was moved to");
    let found = offsets(&mut client, "t");
    assert!(acked.is_subset(&found), "acknowledged records are gone");
}

/// Goal: the longest name that a topic may have does not make its directory's name too long when it moves or goes.
/// Method: such a topic is moved and deleted. A rename that the file system refused had taken the log directory offline.
#[test]
fn a_topic_of_the_longest_name_moves_and_is_deleted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let dirs = format!("log.dirs={},{}", paths[0].display(), paths[1].display());
    let mut broker = Broker::start_with(free_port(), &paths[0], &[&dirs]);
    let mut client = broker.client();
    let longest = "n".repeat(249);
    client.create_topic(&longest, 1).expect("made");
    let batch = record(&mut Prng::new(5), 1000);
    put(&mut client, &longest, 0, &batch).expect("room");
    let lies_in = |client: &mut Client, path: &Path| {
        let all = directories(client);
        let ours = all
            .iter()
            .find(|d| d.log_dir.as_str() == path.to_string_lossy());
        let rows = ours
            .expect("a log directory")
            .topics
            .iter()
            .flat_map(|t| &t.partitions);
        rows.filter(|row| !row.is_future_key).count() == 1
    };
    for path in [&paths[0], &paths[1], &paths[0]] {
        assert_eq!(alter(&mut client, path, &longest, 0), 0);
        eventually("it has moved", || lies_in(&mut client, path));
    }
    assert_eq!(put(&mut client, &longest, 0, &batch), Ok(1));
    client.delete_topic(&longest).expect("deleted");
    eventually("it is gone", || !lies_in(&mut client, &paths[0]));
    client.create_topic("next", 2).expect("both work");
    for partition in 0..2 {
        put(&mut client, "next", partition, &batch).expect("both work");
    }
    let codes = directories(&mut client);
    assert!(codes.iter().all(|d| d.error_code == 0), "{codes:?}");
    broker.assert_running();
}

/// Asks for a move. The partition's error code.
pub fn alter(client: &mut Client, to: &Path, topic: &str, partition: i32) -> i16 {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: to.to_string_lossy().as_ref().into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: vec![partition],
            }],
        }],
    };
    let answer = client.call(2, &request).expect("answered");
    answer.results[0].partitions[0].error_code
}
