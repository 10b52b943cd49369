//! Goal: a full disk loses nothing and heals by itself; a failed sync takes its directory out, and only that one.
//! Method: one fault at a time on the simulated disk.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::block_on;
use ringlog::record::Codecs;
use ringlog::rt::{BLOCK_BYTES, Buffer, Clock, Disk, Faulty, Open, SimClock, SimDisk};
use ringlog::storage::{AppendError, Directories, Log, LogConfig, ReadError, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

use crate::batches::batch;

/// As the kernel numbers it.
const EIO: i32 = 5;

struct Bench {
    sim: SimDisk,
    clock: SimClock,
    store: Store,
    logs: Vec<Rc<Log>>,
    prng: Prng,
    codecs: Codecs,
}

impl Bench {
    /// A store over two directories with `count` logs, or what a crash left of them.
    fn open(sim: SimDisk, count: i32, journal_bytes: u64) -> Bench {
        let clock = SimClock::starting_at(Timestamp(1_000_000));
        let disk = Disk::Sim(sim.clone());
        let paths = [PathBuf::from("/d0"), PathBuf::from("/d1")];
        let config = StoreConfig {
            journal_bytes,
            ..StoreConfig::default()
        };
        let (store, logs) = block_on(async {
            let directories = Directories::prepare(&disk, &paths, NodeId(1), None)
                .await
                .expect("prepares");
            let store = Store::open(disk, &directories, config, Clock::Sim(clock.clone()));
            let mut logs = Vec::new();
            for i in 0..count {
                let partition = TopicPartition {
                    topic: Str::from("t"),
                    partition: PartitionIndex(i),
                };
                let log = store
                    .open_log(&partition, Uuid([3; 16]), LogConfig::default())
                    .await
                    .expect("opens");
                log.recover(|_| ()).await.expect("recovers");
                logs.push(log);
            }
            (store, logs)
        });
        Bench {
            sim,
            clock,
            store,
            logs,
            prng: Prng::new(9),
            codecs: Codecs::new(),
        }
    }

    fn append(&mut self, i: usize, bytes: usize) -> Result<(), AppendError> {
        let made = batch(&[(1000, bytes)], &mut self.prng, &mut self.codecs);
        let log = &self.logs[i];
        log.append(&made, log.end_offset(), LeaderEpoch(0), Timestamp(0))
    }
}

/// Goal: the checkpoint's word on a topic that was deleted is not taken for one on the next topic of that name. Method: a
/// checkpoint, the log deleted, another of its name written to, and a crash before the next checkpoint.
#[test]
fn a_topic_made_again_under_its_name_survives_a_crash() {
    let mut bench = Bench::open(SimDisk::new(4), 1, 64 << 10);
    bench.append(0, 5000).expect("room");
    let directory = bench.logs[0].directory().to_owned();
    block_on(async {
        bench.store.commit().await;
        bench.store.checkpoint().await.expect("writes");
        bench.store.delete(&bench.logs[0]).await.expect("renames");
    });
    let paths = [Path::new("/d0"), Path::new("/d1")];
    let others = paths.into_iter().map(|path| path != directory);
    bench.store.set_cordoned(others);
    bench.logs[0] = open_again(&bench.store, Uuid([4; 16]));
    assert_eq!(bench.logs[0].directory(), directory);
    bench.append(0, 300).expect("room");
    bench.append(0, 300).expect("room");
    block_on(bench.store.commit());
    let sim = bench.sim.clone();
    drop(bench);
    sim.crash();
    let bench = Bench::open(sim, 0, 64 << 10);
    let log = open_again(&bench.store, Uuid([4; 16]));
    assert_eq!(log.end_offset(), Offset(2));
}

/// Goal: what a crash left behind the end that recovery found never becomes part of the log. Method: three batches, of which
/// the second is spoilt; after the crash another as long as it in its place, and a second crash.
#[test]
fn what_lies_behind_a_torn_batch_is_gone_when_the_log_goes_on() {
    let mut bench = Bench::open(SimDisk::new(4), 1, 0);
    // What a commit pads to the end of a block must not be what clears the rest away.
    let size = 5 * BLOCK_BYTES;
    let other = batch(&[(1000, 20_000)], &mut bench.prng, &mut bench.codecs);
    let value = 20_000 + size - other.bytes().len();
    let made = batch(&[(1000, value)], &mut bench.prng, &mut bench.codecs);
    assert_eq!(made.bytes().len(), size);
    let append = |bench: &Bench| {
        let log = &bench.logs[0];
        let appended = log.append(&made, log.end_offset(), LeaderEpoch(0), Timestamp(0));
        appended.expect("room");
        let committed = block_on(bench.store.commit());
        assert!(committed.failed.is_empty());
    };
    (0..3).for_each(|_| append(&bench));
    let segment = bench.logs[0]
        .directory()
        .join("t-0/00000000000000000000.log");
    let spoil = async {
        let disk = Disk::Sim(bench.sim.clone());
        let file = disk.open(&segment, Open::WRITE).await.expect("opens");
        let within = (size + BLOCK_BYTES) as u64;
        let zeros = Buffer::zeroed(BLOCK_BYTES).freeze();
        file.write(zeros, within).await.expect("writes");
        file.datasync().await.expect("syncs");
    };
    block_on(spoil);
    for end in [1, 2] {
        let sim = bench.sim.clone();
        drop(bench);
        sim.crash();
        bench = Bench::open(sim, 1, 0);
        assert_eq!(bench.logs[0].end_offset(), Offset(end));
        append(&bench);
    }
}

/// The log of partition 0 under another topic's id.
fn open_again(store: &Store, topic_id: Uuid) -> Rc<Log> {
    let partition = TopicPartition {
        topic: Str::from("t"),
        partition: PartitionIndex(0),
    };
    block_on(async {
        let opened = store.open_log(&partition, topic_id, LogConfig::default());
        let log = opened.await.expect("opens");
        log.recover(|_| ()).await.expect("recovers");
        log
    })
}

#[test]
fn a_full_disk_refuses_appends_loses_nothing_and_heals_by_itself() {
    for journal_bytes in [0, 64 << 10] {
        let mut bench = Bench::open(SimDisk::new(4), 2, journal_bytes);
        bench.sim.set_capacity(600 << 10);
        let mut refused = None;
        for round in 0..200 {
            for i in 0..2 {
                if let Err(error) = bench.append(i, 8000) {
                    refused = Some(error);
                }
            }
            block_on(bench.store.commit());
            if refused.is_some() {
                assert!(round > 5, "refused at round {round}");
                break;
            }
        }
        assert_eq!(refused, Some(AppendError::Full));
        let ends: Vec<_> = bench.logs.iter().map(|log| log.end_offset()).collect();
        let failed = block_on(bench.store.commit()).failed;
        assert!(
            failed.iter().all(|(_, error)| error.is_full()),
            "{failed:?}"
        );
        bench.sim.set_capacity(64 << 20);
        bench.clock.advance_ms(1000);
        for _ in 0..3 {
            block_on(bench.store.commit());
        }
        for (log, end) in bench.logs.iter().zip(&ends) {
            assert_eq!(
                log.durable_end(),
                *end,
                "what was taken is durable once there is room"
            );
        }
        assert_eq!(
            bench.append(0, 100),
            Ok(()),
            "appends are taken again by themselves"
        );
        block_on(bench.store.commit());
        let (sim, end) = (bench.sim.clone(), bench.logs[0].durable_end());
        sim.crash();
        let bench = Bench::open(sim, 2, journal_bytes);
        assert_eq!(bench.logs[0].end_offset(), end);
    }
}

/// Goal: what was deleted while there was room, and waits for its delay, goes as soon as its disk is full.
#[test]
fn what_waits_to_be_removed_goes_when_its_disk_is_full() {
    const ENOSPC: i32 = 28;
    let mut bench = Bench::open(SimDisk::new(6), 4, 0);
    let homes: Vec<_> = bench.logs.iter().map(|log| log.directory()).collect();
    assert!(homes[0] == homes[2] && homes[1] == homes[3], "{homes:?}");
    assert_ne!(homes[0], homes[1]);
    let waiting = |bench: &Bench, path: &str| {
        let listed = block_on(Disk::Sim(bench.sim.clone()).list(path.as_ref()));
        let entries = listed.expect("lists").into_iter();
        entries.filter(|e| e.name.ends_with(".delete")).count()
    };
    for i in 0..4 {
        bench.append(i, 1000).expect("room");
    }
    block_on(bench.store.commit());
    block_on(bench.store.delete(&bench.logs[0])).expect("deletes");
    assert_eq!(waiting(&bench, "/d0"), 1, "its delay is not over");
    bench.sim.fail(Faulty::Write, "/d0", ENOSPC, 0, 1);
    bench.append(2, 1000).expect("not known to be full");
    let failed = block_on(bench.store.commit()).failed;
    assert!(failed.iter().all(|(_, error)| error.is_full()) && failed.len() == 1);
    block_on(bench.store.delete(&bench.logs[1])).expect("deletes");
    assert_eq!(waiting(&bench, "/d0"), 0, "its room is needed");
    assert_eq!(waiting(&bench, "/d1"), 1, "nobody needs it");
}

#[test]
fn a_failed_sync_takes_one_directory_offline_and_no_other() {
    let mut bench = Bench::open(SimDisk::new(5), 2, 0);
    assert_ne!(bench.logs[0].directory(), bench.logs[1].directory());
    for i in 0..2 {
        bench.append(i, 300_000).expect("there is room");
    }
    assert!(block_on(bench.store.commit()).failed.is_empty());
    let part = bench.logs[0].directory().join("t-0").display().to_string();
    bench.sim.fail(Faulty::Sync, &part, EIO, 0, 1);
    for i in 0..2 {
        bench.append(i, 300_000).expect("there is room");
    }
    let committed = block_on(bench.store.commit());
    assert_eq!(committed.logs, [(bench.logs[1].id(), Offset(2))]);
    assert_eq!(committed.failed.len(), 1);
    assert!(bench.logs[0].is_offline() && !bench.logs[1].is_offline());
    assert_eq!(
        bench.logs[0].durable_end(),
        Offset(1),
        "a lost write is not acknowledged"
    );
    assert_eq!(bench.append(0, 10), Err(AppendError::Offline));
    assert_eq!(bench.append(1, 10), Ok(()));
    let read = block_on(bench.logs[0].read(Offset(0), Offset(1), 100, true));
    assert_eq!(read.expect_err("offline"), ReadError::Offline);
    assert!(
        block_on(bench.store.commit()).failed.is_empty(),
        "the other goes on"
    );
}

#[test]
fn a_reader_is_given_what_is_pinned_though_it_is_evicted_meanwhile() {
    let mut bench = Bench::open(SimDisk::new(6), 1, 0);
    bench.append(0, 50_000).expect("there is room");
    block_on(bench.store.commit());
    let log = bench.logs[0].clone();
    let read = block_on(log.read(Offset(0), Offset(1), 1 << 20, true)).expect("reads");
    let before: Vec<u8> = read.slices.iter().flat_map(|s| s.to_vec()).collect();
    block_on(bench.store.delete(&log)).expect("deletes");
    let after: Vec<u8> = read.slices.iter().flat_map(|s| s.to_vec()).collect();
    assert_eq!(before, after);
    assert_eq!(
        block_on(log.read(Offset(0), Offset(1), 1, true)).expect_err("deleted"),
        ReadError::Offline
    );
}
