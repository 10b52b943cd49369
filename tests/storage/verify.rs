//! Goal: verification finds every kind of damage, and finds none where there is none.
//! Method: a real log directory with everything in it, then one thing spoilt at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ringlog::partition::ProducerTable;
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, run_local};
use ringlog::storage::{
    AbortedTransaction, Directories, DirectoryReport, JournalDir, Log, LogConfig, Store,
    StoreConfig, Verifier, VerifyError, VerifyOptions,
};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ProducerId, Str, Timestamp, TopicPartition,
    Uuid,
};

use crate::batches::{batch, marker, transactional};
use crate::compaction::replay;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
    /// With the first checkpoint still to come.
    KilledEarly,
}

/// A store and its log as a start has them, what is already in the directory included.
async fn open(path: PathBuf, journals: &JournalDir) -> (Store, Rc<Log>) {
    let disk = Disk::Ring;
    let directories = Directories::prepare_with(&disk, &[path], NodeId(1), None, journals)
        .await
        .expect("prepares");
    let config = StoreConfig {
        journal_bytes: 1 << 20,
        ..StoreConfig::default()
    };
    let store = Store::open(disk, &directories, config, Clock::Real);
    let place = TopicPartition {
        topic: Str::from("orders"),
        partition: PartitionIndex(0),
    };
    let config = LogConfig {
        segment_bytes: 120_000,
        ..LogConfig::default()
    };
    let log = store
        .open_log(&place, Uuid([9; 16]), config)
        .await
        .expect("opens");
    let (mut producers, mut codecs) = (ProducerTable::default(), Codecs::new());
    let mut found = Vec::new();
    log.recover(|batch| found.extend(replay(batch, &mut producers, &mut codecs)))
        .await
        .expect("recovers");
    log.restore_aborted(&found);
    (store, log)
}

/// A directory with a log of several segments, transactions, two epochs and a producer snapshot.
fn fill(dir: &Path, end: End) {
    fill_with(dir, end, JournalDir::Beside);
}

fn fill_with(dir: &Path, end: End, journals: JournalDir) {
    let path = dir.to_owned();
    run_local(async move {
        let (store, log) = open(path, &journals).await;
        let (mut prng, mut codecs) = (Prng::new(5), Codecs::new());
        let put = |made: &ringlog::record::CheckedBatch, epoch: i32| {
            let at = log.end_offset();
            log.append(made, at, LeaderEpoch(epoch), Timestamp(1000))
                .expect("there is room");
            at
        };
        for i in 0..60 {
            let epoch = i / 30;
            put(
                &batch(
                    &[(1000 + i64::from(i), 3000), (2000, 3000)],
                    &mut prng,
                    &mut codecs,
                ),
                epoch,
            );
            if i % 10 == 3 {
                let first = put(&transactional(&[(1500, 10)], 7, &mut codecs), epoch);
                let last = put(&marker(1500, 7, false, &mut codecs), epoch);
                log.note_aborted(AbortedTransaction {
                    producer_id: ProducerId(7),
                    first_offset: first,
                    last_offset: last,
                    stable_end: last.plus(1),
                });
            }
            let committed = store.commit().await;
            assert!(committed.failed.is_empty(), "{:?}", committed.failed);
        }
        if end != End::Closed {
            if end == End::Killed {
                store.checkpoint().await.expect("checkpoints");
            }
            // Small ones stay in the journal.
            for _ in 0..5 {
                put(&batch(&[(3000, 100)], &mut prng, &mut codecs), 1);
                store.commit().await;
            }
            return;
        }
        store.close().await.expect("closes");
    })
    .expect("an executor");
}

fn verify(path: &Path) -> DirectoryReport {
    verify_with(path, VerifyOptions::default())
}

fn verify_with(path: &Path, options: VerifyOptions) -> DirectoryReport {
    let mut read = 0;
    let mut progress = |bytes| read += bytes;
    let paths = [path.to_owned()];
    let report = Verifier::new(options, &paths, &mut progress)
        .verify(path)
        .expect("verifies");
    let segments: u64 = report.partitions.iter().map(|p| p.bytes).sum();
    assert!(read >= segments, "progress tells what was read");
    report
}

fn whats(report: &DirectoryReport) -> Vec<String> {
    let partitions = report.partitions.iter().flat_map(|p| &p.faults.list);
    let faults = report.faults.list.iter().chain(partitions);
    faults
        .map(|f| format!("{}: {} (mends {})", f.file.display(), f.what, f.mends))
        .collect()
}

/// The partition's files with this ending, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("orders-0")).expect("a partition");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths
        .filter(|p| p.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    found
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(file, bytes).expect("writable");
}

#[test]
fn a_closed_directory_is_sound_and_every_spoilt_file_is_found() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path(), End::Closed);
    let sound = verify(dir.path());
    assert_eq!(whats(&sound), [""; 0], "nothing is wrong");
    let partition = &sound.partitions[0];
    assert!(partition.segments > 2, "{partition:?}");
    assert_eq!(
        (partition.start, partition.end),
        (Some(Offset(0)), Some(Offset(132)))
    );
    assert_eq!((partition.batches, partition.records), (72, 132));
    let logs = files(dir.path(), ".log");
    let last = fs::metadata(&logs[1]).expect("there").len() as usize - 1;
    let cases = [
        (&logs[1], 70, "stated"),
        (&logs[1], last, "stated"),
        (&logs[1], 9, ""),
        (&files(dir.path(), ".index")[1], 7, ""),
        (&files(dir.path(), ".timeindex")[1], 4, ""),
        (&files(dir.path(), ".txnindex")[0], 17, ""),
        (&files(dir.path(), ".txnindex")[0], 9, ""),
        (&dir.path().join("orders-0/leader-epoch-checkpoint"), 8, ""),
        (&dir.path().join("ringlog-checkpoint-0"), 40, "checkpoint"),
        (&dir.path().join("orders-0/partition.metadata"), 24, ""),
    ];
    for (file, at, _) in cases {
        flip(file, at);
        let report = verify(dir.path());
        assert!(
            report.damage() > 0,
            "{} byte {at} is not found",
            file.display()
        );
        flip(file, at);
        assert_eq!(
            whats(&verify(dir.path())),
            [""; 0],
            "the flip is taken back"
        );
    }
    // A batch that is gone leaves a gap; a segment that is gone too.
    let moved = dir.path().join("elsewhere");
    fs::rename(&logs[1], &moved).expect("renames");
    let told = whats(&verify(dir.path())).join("\n");
    assert!(
        told.contains("a gap") && told.contains("its segment is gone"),
        "{told}"
    );
    let options = VerifyOptions {
        compacted: true,
        ..VerifyOptions::default()
    };
    assert!(
        !whats(&verify_with(dir.path(), options))
            .join("\n")
            .contains("a gap")
    );
    fs::rename(&moved, &logs[1]).expect("renames");
    // One segment and one partition can be looked at by themselves.
    assert_eq!(whats(&verify(&logs[1])), [""; 0]);
    assert_eq!(whats(&verify(&dir.path().join("orders-0"))), [""; 0]);
}

#[test]
fn what_a_kill_leaves_mends_and_what_the_journal_holds_counts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path(), End::Killed);
    let report = verify(dir.path());
    assert_eq!(report.damage(), 0, "{:?}", whats(&report));
    assert_eq!(
        report.partitions[0].end,
        Some(Offset(137)),
        "the journal's records count"
    );
    // A torn last batch, as a crash leaves it, mends; the same in the middle of the log does not.
    let logs = files(dir.path(), ".log");
    let newest = logs.last().expect("segments");
    let mut torn = fs::read(newest).expect("readable");
    let end = torn.iter().rposition(|&byte| byte != 0).expect("data") + 1;
    torn.truncate(end);
    torn.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0]);
    fs::write(newest, torn).expect("writable");
    fs::remove_file(dir.path().join("ringlog-journal-0-0")).expect("the journal goes");
    let report = verify(dir.path());
    // A rolled segment's index may not have been written yet: nothing else may be told beside the torn batch.
    let told = whats(&report);
    let torn = told.iter().filter(|what| what.contains(".log: ")).count();
    let behind = told.iter().filter(|what| what.contains(".txnindex: "));
    let others = told.len() - torn - behind.count();
    assert_eq!((report.damage(), torn, others), (0, 1, 0), "{told:?}");
    flip(&logs[0], 300);
    assert_eq!(verify(dir.path()).damage(), 1);
}

#[test]
fn indexes_past_the_checkpoint_mend_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path(), End::KilledEarly);
    for (ending, at) in [(".index", 7), (".timeindex", 4), (".txnindex", 17)] {
        flip(&files(dir.path(), ending)[0], at);
    }
    let report = verify(dir.path());
    let told = whats(&report).join("\n");
    assert_eq!(report.damage(), 0, "{told}");
    for ending in [".index: ", ".timeindex: ", ".txnindex: "] {
        assert!(told.contains(ending), "{told}");
    }
    let path = dir.path().to_owned();
    run_local(async move {
        let (store, _) = open(path, &JournalDir::Beside).await;
        store.close().await.expect("closes");
    })
    .expect("an executor");
    let report = verify(dir.path());
    assert_eq!(whats(&report), [""; 0]);
    assert_eq!(report.partitions[0].end, Some(Offset(137)));
}

#[test]
fn a_journal_on_a_device_of_its_own_counts_and_is_missed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let device = tempfile::tempdir().expect("a temporary directory");
    let journals = JournalDir::Under(device.path().to_owned());
    fill_with(dir.path(), End::Killed, journals);
    let report = verify(dir.path());
    assert_eq!(report.damage(), 0, "{:?}", whats(&report));
    assert_eq!(report.partitions[0].end, Some(Offset(137)));
    let gone = device.path().with_extension("gone");
    fs::rename(device.path(), &gone).expect("renames");
    let report = verify(dir.path());
    fs::rename(&gone, device.path()).expect("renames");
    let told = whats(&report).join("\n");
    assert!(
        report.damage() > 0 && told.contains("cannot be read"),
        "{told}"
    );
}

#[test]
fn what_is_no_log_and_what_a_broker_uses_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    let refused = |path: &Path| {
        let paths = [path.to_owned()];
        Verifier::new(VerifyOptions::default(), &paths, &mut |_| ()).verify(path)
    };
    assert!(matches!(refused(&path), Err(VerifyError::NotALog(_))));
    fill(&path, End::Closed);
    let held = run_local(async {
        let paths = [path.clone()];
        Directories::prepare(&Disk::Ring, &paths, NodeId(1), None).await
    });
    let held = held.expect("an executor").expect("prepares");
    assert!(matches!(refused(&path), Err(VerifyError::InUse(_))));
    let options = VerifyOptions {
        online: true,
        ..VerifyOptions::default()
    };
    assert_eq!(verify_with(&path, options).damage(), 0);
    drop(held);
    assert!(refused(&path).is_ok());
}

#[test]
fn beside_a_broker_damage_is_found_in_what_it_is_done_with_and_no_faster_than_asked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path(), End::Closed);
    let logs = files(dir.path(), ".log");
    let last = fs::metadata(&logs[1]).expect("there").len() as usize - 1;
    flip(&logs[1], last);
    let online = VerifyOptions {
        online: true,
        ..VerifyOptions::default()
    };
    let report = verify_with(dir.path(), online);
    assert_eq!(whats(&report), [""; 0], "all was written a moment ago");
    let earlier = SystemTime::now() - Duration::from_secs(60);
    for file in &logs {
        let file = fs::File::options().append(true).open(file).expect("opens");
        file.set_modified(earlier).expect("sets its time");
    }
    let report = verify_with(dir.path(), online);
    assert!(report.damage() > 0, "{:?}", whats(&report));
    let bytes: u64 = report.partitions.iter().map(|p| p.bytes).sum();
    let paced = VerifyOptions {
        bytes_per_second: bytes,
        ..online
    };
    let began = Instant::now();
    assert!(verify_with(dir.path(), paced).damage() > 0);
    // It waits after each quarter of a second's bytes; the last of them may be read without waiting.
    let least = Duration::from_millis(200);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}
