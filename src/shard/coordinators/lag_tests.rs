//! Goal: a snapshot of the metrics tells how far each group is behind, over all shards, and what the coordinators hold.
//!
//! Method: two real shards on a directory of their own; a log, two groups that have committed, and a look; then the same after a
//! restart, when nothing of the log is in memory.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::BrokerConfig;
use crate::group::{Caller, GroupReply, GroupRequest};
use crate::metadata::{Command, CreateTopics, NewTopic, Registration, Reply};
use crate::metrics::{GROUP_LAG_RECORDS, Sample, Snapshot, Value};
use crate::protocol::ErrorCode;
use crate::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::record::{BatchBuilder, BatchSeal, Codec, Producer};
use crate::rt::{self, Disk, Options, SignalHandling};
use crate::shard::{Detail, Internal, Message, Opened, Shard, open};
use crate::storage::Directories;
use crate::types::{NodeId, ProducerEpoch, ProducerId, ShardId, Str, Timestamp, Uuid};

const PATIENCE: Duration = Duration::from_secs(30);
/// How old the records are.
const AGE_MS: i64 = 5000;

#[test]
fn a_snapshot_tells_the_lag_of_groups_and_counts_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    check(&snapshot(dir.path(), false));
}

/// It was once left out where the batch was not in memory: for who is furthest behind, and the alert never came.
#[test]
fn the_age_of_what_a_group_has_not_read_is_told_of_a_cold_log_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(snapshot(dir.path(), false));
    // A process locks its directories for as long as it lives: what it left is looked at elsewhere.
    let left = tempfile::tempdir().expect("a temporary directory");
    copy_all(dir.path(), left.path());
    let cold = snapshot(left.path(), true);
    let rows = |name: &str| {
        let samples = cold.samples().filter(|sample| sample.metric.name == name);
        let value = |sample: &Sample| match sample.value {
            Value::Gauge(value) => (sample.labels.clone(), value),
            ref other => panic!("{name}: {other:?}"),
        };
        samples.map(value).collect::<Vec<_>>()
    };
    let (lags, ages) = (
        rows("ringlog_group_lag_records"),
        rows("ringlog_group_lag_seconds"),
    );
    assert_eq!((lags.len(), ages.len()), (3, 3));
    for ((labels, lag), (same, age_us)) in lags.iter().zip(&ages) {
        assert_eq!(labels, same);
        match lag {
            0 => assert_eq!(*age_us, 0),
            _ => assert!(*age_us >= AGE_MS * 1000, "{labels:?}: {age_us}"),
        }
    }
    assert_eq!(lags.iter().filter(|(_, lag)| *lag > 0).count(), 2);
    let reads = cold
        .rows()
        .find(|row| row.metric.labels == [("class", "tail")]);
    let reads = reads.map(|row| row.value.clone());
    assert_eq!(reads, Some(Value::Counter(0)), "nothing was in memory");
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("reads") {
        let entry = entry.expect("reads");
        let copy = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => {
                std::fs::create_dir(&copy).expect("makes");
                copy_all(&entry.path(), &copy);
            }
            false => drop(std::fs::copy(entry.path(), copy).expect("copies")),
        }
    }
}

/// Starts a broker's shards in a directory, and stops them.
///
/// - `is_left`: what there is to see is left from a run before.
fn snapshot(dir: &Path, is_left: bool) -> Snapshot {
    let settings = [
        format!("log.dirs={}", dir.display()),
        "offsets.topic.num.partitions=4".to_owned(),
        "memory.bytes=200000000".to_owned(),
    ];
    let (config, _) = BrokerConfig::parse(None, &settings).expect("good settings");
    let config = Arc::new(config);
    let path = dir.to_owned();
    let paths = [path.clone()];
    let prepared =
        rt::run_local(
            async move { Directories::prepare(&Disk::Ring, &paths, NodeId(1), None).await },
        );
    let directories = prepared.expect("a ring").expect("a directory");
    let seeds = rt::mesh::<Message>(2).into_iter().map(|seat| Opened {
        config: config.clone(),
        directories: directories.clone(),
        seat,
        shards_count: 2,
        cache_bytes: 32 << 20,
        groups_bytes: 1 << 20,
        open_files_max: 100,
    });
    let options = Options {
        log_dirs: vec![path],
        signals: SignalHandling::Leave,
        ..Options::default()
    };
    let (sender, receiver) = mpsc::channel();
    let main = move |own: rt::Shard, opened: Opened| run(own, opened, sender.clone(), is_left);
    let shards = rt::start(&options, seeds.collect(), main).expect("shards start");
    let snapshot = receiver.recv_timeout(PATIENCE).expect("a snapshot in time");
    shards.stop().request();
    shards.join();
    snapshot
}

fn check(snapshot: &Snapshot) {
    let value = |name: &str, (group, partition): (&str, &str)| {
        let labels = [group, "orders", partition];
        let mut samples = snapshot.samples();
        let found = samples.find(|sample| sample.metric.name == name && sample.is_of(&labels));
        match found?.value {
            Value::Gauge(value) => Some(value),
            ref other => panic!("{name}: {other:?}"),
        }
    };
    let (behind, even) = (("app", "0"), ("app", "1"));
    assert_eq!(value("ringlog_group_committed_offset", behind), Some(4));
    assert_eq!(value("ringlog_group_log_end_offset", behind), Some(10));
    assert_eq!(value("ringlog_group_lag_records", behind), Some(6));
    let age_us = value("ringlog_group_lag_seconds", behind).expect("the batch is in memory");
    assert!((AGE_MS * 1000..60_000_000).contains(&age_us), "{age_us}");
    assert_eq!(value("ringlog_group_lag_records", even), Some(0));
    assert_eq!(value("ringlog_group_lag_seconds", even), Some(0));
    // A name with quotes in it stays a name.
    assert_eq!(
        value("ringlog_group_lag_records", (r#"o"ther"#, "0")),
        Some(10)
    );
    let row = |name: &str, labels: &[(&str, &str)]| {
        let mut rows = snapshot.rows();
        let found = rows.find(|row| row.metric.name == name && row.metric.labels == labels);
        found.map(|row| row.value.clone())
    };
    let empty = &[("protocol", "classic"), ("state", "Empty")];
    assert_eq!(row("ringlog_groups", empty), Some(Value::Gauge(2)));
    assert_eq!(row("ringlog_group_offsets", &[]), Some(Value::Gauge(3)));
    assert_eq!(
        row("ringlog_metrics_group_partitions_untold", &[]),
        Some(Value::Gauge(0))
    );
    assert_eq!(row("ringlog_coordinators", &[]), Some(Value::Gauge(4)));
    check_memory(
        &|owner| match row("ringlog_memory_bytes", &[("owner", owner)]) {
            Some(Value::Gauge(bytes)) => bytes,
            other => panic!("{owner}: {other:?}"),
        },
    );
    let budget = row("ringlog_memory_budget_bytes", &[("owner", "cache")]);
    let (most, others) = (64 << 20, 1 << 20);
    let is_left = |bytes: &i64| (most - others..=most).contains(bytes);
    assert!(
        matches!(&budget, Some(Value::Gauge(bytes)) if is_left(bytes)),
        "of both shards, less what producers and indexes take: {budget:?}"
    );
    assert!(matches!(
        row("ringlog_group_memory_bytes", &[]),
        Some(Value::Gauge(1..))
    ));
}

/// A few batches are held in tails, of logs that have a segment each, one of them written by an idempotent producer.
fn check_memory(held: &dyn Fn(&str) -> i64) {
    assert!((1..64 << 20).contains(&held("tails")), "{}", held("tails"));
    assert_eq!(held("chunks"), 0, "nothing was read from disk");
    let indexes = held("indexes");
    assert!(
        (400..100_000).contains(&indexes),
        "two logs or more: {indexes}"
    );
    let producers = held("producers");
    assert!(
        (64..10_000).contains(&producers),
        "one producer: {producers}"
    );
    assert!((1..1 << 20).contains(&held("groups")), "{}", held("groups"));
    assert_eq!(held("requests"), 4711, "as its owner says");
}

async fn run(own: rt::Shard, opened: Opened, sender: mpsc::Sender<Snapshot>, is_left: bool) {
    let directories = opened.directories.clone();
    let shard = open(opened);
    if own.id == ShardId(0) {
        let registration = |cluster_id: Str| Registration {
            cluster_id,
            id: NodeId(1),
            incarnation: Uuid::random(),
            rack: None,
            endpoints: Vec::new(),
            features: Vec::new(),
            log_dirs: Vec::new(),
            fenced: false,
        };
        let started = shard.start_controller(&directories, registration).await;
        started.expect("a new cluster");
        // Who waited for it has given up where this fails.
        let _ = sender.send(match is_left {
            true => look(&shard).await,
            false => scenario(&shard).await,
        });
    }
    own.shutdown.requested().await;
    shard.close_coordinators();
    shard.close().await;
}

/// Waits for the coordinators to be loaded, and looks.
async fn look(shard: &Rc<Shard>) -> Snapshot {
    let began = Instant::now();
    loop {
        let snapshot = shard.metrics_snapshot(Detail::ALL).await;
        let lags = snapshot
            .samples()
            .filter(|s| s.metric == &GROUP_LAG_RECORDS);
        if lags.count() == 3 || began.elapsed() > PATIENCE {
            return snapshot;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
}

async fn scenario(shard: &Rc<Shard>) -> Snapshot {
    let topic = NewTopic {
        name: Str::from("orders"),
        partitions: 2,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic],
        validate_only: false,
    });
    let Reply::CreateTopics(rows) = shard.propose(command).await else {
        panic!("a reply of another kind");
    };
    assert!(rows.iter().all(|row| row.result.is_ok()), "{rows:?}");
    shard
        .ensure_internal(Internal::Offsets)
        .await
        .expect("it is created");
    let topic_id = shard.image().topic("orders").expect("just created").id;
    let places = vec![(topic_id, 0, 10), (topic_id, 1, 3)];
    let written = shard.on_owners(places, |shard, replica, count| async move {
        let time = Timestamp(shard.clock.wall().0 - AGE_MS);
        let mut builder = BatchBuilder::new(Codec::None, 1024);
        for _ in 0..count {
            builder.append(time, None, Some(b"value"), &[]);
        }
        let seal = BatchSeal {
            producer: Some(Producer {
                id: ProducerId(7),
                epoch: ProducerEpoch(0),
                base_sequence: 0,
            }),
            ..BatchSeal::default()
        };
        let batch = builder.build(&seal, &mut shard.codecs.borrow_mut());
        replica.append_own(&shard, batch).expect("it is appended");
        while replica.core().high_watermark().0 < count {
            rt::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(written.await, [Some(()), Some(())]);
    commit(shard, "app", &[(0, 4), (1, 3)]).await;
    commit(shard, "o\"ther", &[(0, 0)]).await;
    shard.on_measure(|metrics| metrics.memory_requests.set(4711));
    shard.metrics_snapshot(Detail::ALL).await
}

async fn commit(shard: &Rc<Shard>, group: &str, offsets: &[(i32, i64)]) {
    let partition = |(index, offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("orders"),
            partitions: offsets.iter().map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let caller = Caller {
        version: 8,
        ..Caller::default()
    };
    let began = Instant::now();
    loop {
        let request = GroupRequest::OffsetCommit(request.clone());
        let group = Str::from(group);
        match shard.group_request(&group, caller.clone(), request).await {
            Ok(GroupReply::OffsetCommit(answer)) => {
                let errors = answer.topics.iter().flat_map(|topic| &topic.partitions);
                assert!(errors.clone().all(|p| p.error_code == 0), "{answer:?}");
                return;
            }
            Err(ErrorCode::CoordinatorLoadInProgress) if began.elapsed() < PATIENCE => {
                rt::sleep(Duration::from_millis(5)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}
