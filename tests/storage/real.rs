//! Goal: on a real disk the same holds as on the simulated one, files look as Kafka's do, and Kafka's own tool reads them.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::zip;
use ringlog::partition::{BatchFacts, EncodedProducers, MarkerFacts, ProducerTable};
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, run_local};
use ringlog::storage::{Directories, Log, LogConfig, Recovered, StorageError, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ProducerEpoch, ProducerId, Str, Timestamp,
    TopicPartition, Uuid,
};

use crate::batches::batch;

const TOPIC_ID: Uuid = Uuid([9; 16]);

async fn open(dir: &Path) -> (Store, Rc<Log>, Recovered) {
    let disk = Disk::Ring;
    let directories = Directories::prepare(&disk, &[dir.to_owned()], NodeId(1), None)
        .await
        .expect("prepares");
    let store = Store::open(disk, &directories, StoreConfig::default(), Clock::Real);
    let config = LogConfig {
        segment_bytes: 300_000,
        ..LogConfig::default()
    };
    let partition = TopicPartition {
        topic: Str::from("orders"),
        partition: PartitionIndex(3),
    };
    let log = store
        .open_log(&partition, TOPIC_ID, config)
        .await
        .expect("opens");
    let recovered = log.recover(|_| ()).await.expect("recovers");
    (store, log, recovered)
}

fn append(log: &Log, prng: &mut Prng, codecs: &mut Codecs, time: i64) {
    let records: Vec<_> = (0..3)
        .map(|i| (time + i, prng.below(2000) as usize))
        .collect();
    let made = batch(&records, prng, codecs);
    log.append(&made, log.end_offset(), LeaderEpoch(0), Timestamp(time))
        .expect("there is room");
}

async fn content(log: &Log) -> Vec<u8> {
    let (mut held, mut next) = (Vec::new(), log.start_offset());
    while next < log.end_offset() {
        let read = log
            .read(next, log.end_offset(), 100_000, true)
            .await
            .expect("reads");
        let mut bytes = Vec::new();
        read.slices.iter().for_each(|s| bytes.extend_from_slice(s));
        for raw in ringlog::record::split(&bytes) {
            let raw = raw.expect("batches");
            held.extend_from_slice(raw.bytes);
            next = raw.header.next_offset();
        }
    }
    held
}

#[test]
fn a_log_on_a_real_disk_survives_restarts_and_kafka_reads_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    let held = run_local(async move {
        let (mut prng, mut codecs) = (Prng::new(5), Codecs::new());
        let (store, log, _) = open(&path).await;
        for i in 0..200 {
            let (committed, ()) = zip(store.commit(), async {
                append(&log, &mut prng, &mut codecs, 1000 + i * 10);
            })
            .await;
            assert!(committed.failed.is_empty(), "{:?}", committed.failed);
        }
        store.commit().await;
        assert_eq!(
            (log.end_offset(), log.durable_end()),
            (Offset(600), Offset(600))
        );
        let held = content(&log).await;
        // Left without a close, as after kill -9: locks go with the store.
        drop((store, log));
        let (store, log, recovered) = open(&path).await;
        assert_eq!(log.end_offset(), Offset(600));
        assert!(recovered.scanned_bytes > 0);
        assert_eq!(content(&log).await, held);
        append(&log, &mut prng, &mut codecs, 9000);
        let producers = producers();
        log.write_snapshot(log.end_offset(), &producers)
            .await
            .expect("writes");
        store.close().await.expect("closes");
        let held = content(&log).await;
        drop((store, log));
        let (store, log, recovered) = open(&path).await;
        assert_eq!(
            recovered,
            Recovered::default(),
            "a clean close leaves nothing to scan"
        );
        assert_eq!(content(&log).await, held);
        assert_eq!(
            log.latest_snapshot().await.expect("reads"),
            Some((Offset(603), Bytes::from(producers.state.clone())))
        );
        let found = log
            .offset_for_timestamp(Timestamp(1501), Offset(603))
            .await
            .expect("reads")
            .expect("there");
        assert_eq!(
            (found.offset, found.timestamp),
            (Offset(151), Timestamp(1501))
        );
        let found = log
            .max_timestamp(Offset(603))
            .await
            .expect("reads")
            .expect("there");
        assert_eq!(
            (found.offset, found.timestamp),
            (Offset(602), Timestamp(9002))
        );
        store.close().await.expect("closes");
        held
    })
    .expect("io_uring works here");
    let log_dir = dir.path().join("orders-3");
    let text = std::fs::read_to_string(log_dir.join("partition.metadata")).expect("there");
    assert_eq!(text, format!("version: 0\ntopic_id: {TOPIC_ID}"));
    let epochs = std::fs::read_to_string(log_dir.join("leader-epoch-checkpoint")).expect("there");
    assert_eq!(epochs, "0\n1\n0 0\n");
    let mut files: Vec<_> = std::fs::read_dir(&log_dir)
        .expect("there")
        .map(|e| e.expect("entry").path())
        .collect();
    files.sort();
    let logs: Vec<_> = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "log"))
        .collect();
    assert!(logs.len() > 1, "it rolled");
    let bytes: Vec<u8> = logs
        .iter()
        .flat_map(|f| std::fs::read(f).expect("reads"))
        .collect();
    assert!(bytes == held, "the files end where their last batch does");
    kafka_dumps(&files, 603);
}

/// Two that wrote batches, one of them in a transaction that is open, and one of which only a marker is known.
fn producers() -> EncodedProducers {
    let mut table = ProducerTable::default();
    let facts = |id, is_transactional| BatchFacts {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 40,
        count: 3,
        max_timestamp: Timestamp(1501),
        is_transactional,
        bumps_epoch: false,
    };
    table.on_appended(&facts(70, false), Offset(500), Timestamp(9000));
    table.on_appended(&facts(71, true), Offset(503), Timestamp(9000));
    let marker = MarkerFacts {
        producer_id: ProducerId(72),
        producer_epoch: ProducerEpoch(5),
        coordinator_epoch: 3,
        committed: true,
        timestamp: Timestamp(1502),
    };
    table.on_marker(&marker, Offset(506), Timestamp(9000));
    table.copied().encode_file()
}

/// What Kafka's tool says of them.
const PRODUCERS: [&str; 3] = [
    "producerId: 70 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1501 \
     firstSequence: 40 lastSequence: 42 lastOffset: 502 offsetDelta: 2 timestamp: 1501",
    "producerId: 71 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[503] lastTimestamp: 1501 \
     firstSequence: 40 lastSequence: 42 lastOffset: 505 offsetDelta: 2 timestamp: 1501",
    "producerId: 72 producerEpoch: 5 coordinatorEpoch: 3 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1502",
];

/// Kafka's own dump tool over every segment and index; skipped, saying so, where Kafka is not at hand.
fn kafka_dumps(files: &[std::path::PathBuf], records: usize) {
    let Some(class_path) = std::env::var_os("KAFKA_CLASSPATH") else {
        eprintln!("skipped: Kafka's DumpLogSegments, for KAFKA_CLASSPATH is not set");
        return;
    };
    let wanted = |f: &&std::path::PathBuf| {
        f.extension()
            .is_some_and(|e| e == "log" || e == "index" || e == "timeindex" || e == "snapshot")
    };
    let names: Vec<_> = files
        .iter()
        .filter(wanted)
        .map(|f| f.display().to_string())
        .collect();
    let out = Command::new("java")
        .arg("-cp")
        .arg(&class_path)
        .args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "org.apache.kafka.tools.DumpLogSegments",
        ])
        .args([
            "--deep-iteration",
            "--print-data-log",
            "--files",
            &names.join(","),
        ])
        .output()
        .expect("java runs");
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}");
    for bad in ["isvalid: false", "ismatch", "Found timestamp", "Exception"] {
        assert!(!text.contains(bad), "{bad}: {text}");
    }
    let seen = text
        .lines()
        .filter(|l| l.trim_start().starts_with("| offset:"))
        .count();
    assert_eq!(seen, records, "records that Kafka's tool sees");
    let producers: Vec<_> = text
        .lines()
        .filter(|l| l.starts_with("producerId: "))
        .map(str::trim_end)
        .collect();
    assert_eq!(producers, PRODUCERS);
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    run_local(async move {
        let paths = [path];
        let first = Directories::prepare(&Disk::Ring, &paths, NodeId(1), None)
            .await
            .expect("prepares");
        let second = Directories::prepare(&Disk::Ring, &paths, NodeId(1), None).await;
        assert!(matches!(second, Err(StorageError::Locked { .. })));
        drop(first);
    })
    .expect("io_uring works here");
}

#[test]
fn a_segment_that_another_directory_has_too_is_taken_off_and_not_shortened() {
    const LEN: u64 = 100 << 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (own, theirs) = (dir.path().join("own"), dir.path().join("theirs.log"));
    let gone = own.join("orders-0.0badcafe.delete");
    std::fs::create_dir_all(&gone).expect("makes a directory");
    let (segment, other) = (gone.join("00000000000000000000.log"), gone.join("1.log"));
    for file in [&segment, &other] {
        let made = std::fs::File::create(file).expect("makes a file");
        made.set_len(LEN).expect("sets its length");
    }
    std::fs::hard_link(&segment, &theirs).expect("links");
    run_local(async move {
        let (store, log, _) = open(&own).await;
        while gone.exists() {
            store.commit().await;
            ringlog::rt::sleep(Duration::from_millis(5)).await;
        }
        drop(log);
        store.close().await.expect("closes");
    })
    .expect("an executor");
    let len = std::fs::metadata(&theirs).expect("is still there").len();
    assert_eq!(len, LEN);
}

#[test]
fn a_segment_takes_all_its_space_at_once_where_that_is_asked_for() {
    const SEGMENT_BYTES: u32 = 8 << 20;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    run_local(async move {
        let (mut prng, mut codecs) = (Prng::new(5), Codecs::new());
        let (store, log, _) = open(&path).await;
        let segment = path.join("orders-3/00000000000000000000.log");
        let mut append = |preallocate| {
            log.set_config(LogConfig {
                segment_bytes: SEGMENT_BYTES,
                preallocate,
                ..log.config()
            });
            // Large enough to be written to the segment itself.
            let made = batch(&[(1000, 1 << 20)], &mut prng, &mut codecs);
            log.append(&made, log.end_offset(), LeaderEpoch(0), Timestamp(1000))
                .expect("there is room");
        };
        append(false);
        store.commit().await;
        let len = || std::fs::metadata(&segment).expect("is there").len();
        assert!(len() < 4 << 20, "{}", len());
        append(true);
        store.commit().await;
        assert_eq!(len(), u64::from(SEGMENT_BYTES));
        store.close().await.expect("closes");
    })
    .expect("an executor");
}
