//! Goal: a hundred readers of the same history cost one read of the disk, and none of them waits for ever, whoever goes away;
//! what a reader in sequence asks for next is in memory before it asks.
//!
//! Method: a log that is in no memory, on the simulated disk, whose operations take turns at random; readers side by side;
//! the store's count of device reads. On a real disk: how often a lookup finds all in memory.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once, yield_now};
use ringlog::partition::EncodedProducers;
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, SimClock, SimDisk, run_local, sleep};
use ringlog::storage::{Directories, Log, LogConfig, Store, StoreConfig, join_bounded};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

use crate::batches::batch;

const READERS: usize = 100;
const CHUNK_BYTES: usize = 256 << 10;
const BATCHES: i64 = 64;
const BATCH_BYTES: usize = 20_000;

async fn open(disk: Disk, directory: &Path, clock: Clock) -> (Store, Rc<Log>) {
    open_with(disk, directory, clock, StoreConfig::default()).await
}

async fn open_with(
    disk: Disk,
    directory: &Path,
    clock: Clock,
    config: StoreConfig,
) -> (Store, Rc<Log>) {
    let paths = [directory.to_owned()];
    let prepared = Directories::prepare(&disk, &paths, NodeId(1), None).await;
    let directories = prepared.expect("prepares");
    let store = Store::open(disk, &directories, config, clock);
    let partition = TopicPartition {
        topic: Str::from("t"),
        partition: PartitionIndex(0),
    };
    let opened = store.open_log(&partition, Uuid([3; 16]), LogConfig::default());
    let log = opened.await.expect("opens");
    // Else all of it is replayed, for its producers.
    log.latest_snapshot().await.expect("reads");
    log.recover(|_| ()).await.expect("recovers");
    (store, log)
}

/// Appends a batch of one record of so many bytes.
fn append(log: &Log, bytes: usize, prng: &mut Prng, codecs: &mut Codecs) {
    let made = batch(&[(1000, bytes)], prng, codecs);
    let end = log.end_offset();
    log.append(&made, end, LeaderEpoch(0), Timestamp(0))
        .expect("there is room");
}

async fn fill_and_close(store: &Store, log: &Log, batches: i64, seed: u64) {
    let (mut prng, mut codecs) = (Prng::new(seed), Codecs::new());
    for _ in 0..batches {
        append(log, BATCH_BYTES, &mut prng, &mut codecs);
    }
    assert!(store.commit().await.failed.is_empty());
    let end = log.end_offset();
    log.write_snapshot(end, &EncodedProducers::default())
        .await
        .expect("writes");
    store.close().await.expect("closes");
}

/// A store that was closed cleanly and opened again, which read the last chunk of its log at most.
fn cold(seed: u64) -> (Store, Rc<Log>) {
    let sim = SimDisk::new(seed);
    let opened = || {
        let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
        block_on(open(Disk::Sim(sim.clone()), Path::new("/d"), clock))
    };
    let (store, log) = opened();
    block_on(fill_and_close(&store, &log, BATCHES, seed));
    drop((store, log));
    let (store, log) = opened();
    assert!(
        store.stats().reads <= 1,
        "a clean log is hardly looked at: {:?}",
        store.stats()
    );
    (store, log)
}

async fn read_all(log: &Log) -> Vec<u8> {
    let (mut held, mut next) = (Vec::new(), Offset(0));
    while next < Offset(BATCHES) {
        let read = log
            .read(next, Offset(BATCHES), 500_000, true)
            .await
            .expect("reads");
        let mut bytes = Vec::new();
        read.slices
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        for raw in ringlog::record::split(&bytes).map_while(Result::ok) {
            held.extend_from_slice(raw.bytes);
            next = raw.header.next_offset();
        }
    }
    held
}

#[test]
fn a_hundred_readers_of_the_same_history_cost_one_read_of_the_disk() {
    for seed in 0..3 {
        let (store, log) = cold(seed);
        let before = store.stats().reads as usize;
        let readers = (0..READERS).map(|_| read_all(&log));
        let read = block_on(join_bounded(readers, READERS));
        assert!(read.windows(2).all(|pair| pair[0] == pair[1]));
        let chunks = read[0].len().div_ceil(CHUNK_BYTES);
        assert!(chunks >= 5, "{chunks} chunks are too few");
        let reads = store.stats().reads as usize - before;
        assert!(
            (chunks - before..=chunks).contains(&reads),
            "seed {seed}: {reads} reads of {chunks} chunks"
        );
    }
}

#[test]
fn readers_that_go_away_while_they_read_leave_the_others_their_data() {
    for seed in 0..20 {
        let (_store, log) = cold(seed);
        let mut prng = Prng::new(seed);
        let gone = async {
            for _ in 0..20 {
                let mut reader = Box::pin(read_all(&log));
                for _ in 0..prng.below(30) {
                    if poll_once(&mut reader).await.is_some() {
                        break;
                    }
                    yield_now().await;
                }
            }
        };
        let readers = join_bounded((0..8).map(|_| read_all(&log)), 8);
        let (read, ()) = block_on(futures_lite::future::zip(readers, gone));
        assert!(
            read.windows(2).all(|pair| pair[0] == pair[1]),
            "seed {seed}"
        );
    }
}

#[test]
fn a_reader_in_sequence_finds_in_memory_what_it_asks_for() {
    const READ_BYTES: usize = 300_000;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_owned();
    let (at_once, lookups, reads, bytes) = run_local(async move {
        let (store, log) = open(Disk::Ring, &path, Clock::Real).await;
        fill_and_close(&store, &log, 10 * BATCHES, 3).await;
        drop((store, log));
        let (store, log) = open(Disk::Ring, &path, Clock::Real).await;
        let before = store.stats();
        let (mut at_once, mut lookups) = (0, 0);
        let (mut next, end) = (Offset(0), log.end_offset());
        while next < end {
            lookups += 1;
            let found = log.try_read(next, end, READ_BYTES, true).expect("readable");
            let read = match found {
                Ok(read) => {
                    at_once += 1;
                    read
                }
                Err(_) => log.read(next, end, READ_BYTES, true).await.expect("reads"),
            };
            next = read.end_offset();
            // What a client takes to come back.
            sleep(Duration::from_millis(10)).await;
        }
        let after = store.stats();
        let bytes = after.served_bytes - before.served_bytes;
        store.close().await.expect("closes");
        (at_once, lookups, after.reads - before.reads, bytes)
    })
    .expect("io_uring works here");
    assert!(
        lookups > 30 && at_once >= lookups * 3 / 4,
        "{at_once} of {lookups} lookups found all in memory"
    );
    let chunks = bytes.div_ceil(CHUNK_BYTES as u64);
    assert!(reads <= chunks + 2, "{reads} reads of {chunks} chunks");
}

#[test]
fn tails_grow_for_readers_just_behind_them_and_not_for_a_scan() {
    const AT_FIRST: u64 = 8 << 20;
    const BYTES: usize = 200_000;
    let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
    let (store, log) = block_on(open(Disk::Sim(SimDisk::new(5)), Path::new("/d"), clock));
    let (mut prng, mut codecs) = (Prng::new(5), Codecs::new());
    let mut append_many = |count: usize| {
        for _ in 0..count {
            append(&log, BYTES, &mut prng, &mut codecs);
            assert!(block_on(store.commit()).failed.is_empty());
        }
    };
    // Reads the batch that many bytes before the end.
    let read_behind = |bytes: usize| {
        let end = log.end_offset();
        let from = Offset(end.0 - (bytes / BYTES) as i64);
        block_on(log.read(from, end, 1, true)).expect("reads");
    };
    append_many(250);
    for behind in (24..48).rev() {
        read_behind(behind << 20);
    }
    append_many(1);
    let scanned = store.stats().tail_bytes;
    assert!(scanned <= AT_FIRST + (1 << 20), "a scan: {scanned} bytes");
    for _ in 0..600 {
        append_many(1);
        read_behind(10 << 20);
    }
    let followed = store.stats().tail_bytes;
    assert!(followed >= 10 << 20, "a reader 10 MiB behind: {followed}");
    let reads = store.stats().reads;
    append_many(1);
    read_behind(10 << 20);
    assert_eq!(store.stats().reads, reads, "it is in the tail now");
}

#[test]
fn what_is_read_grows_the_cache_where_memory_could_have_kept_it_and_not_after_a_start() {
    const AT_FIRST: u64 = 64 << 20;
    const BYTES: usize = 200_000;
    const COUNT: usize = 450;
    let sim = SimDisk::new(7);
    let opened = || {
        let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
        let config = StoreConfig {
            cache_bytes: 1 << 30,
            ..StoreConfig::default()
        };
        let disk = Disk::Sim(sim.clone());
        block_on(open_with(disk, Path::new("/d"), clock, config))
    };
    let read_all = |log: &Log| {
        let (mut next, end) = (Offset(0), log.end_offset());
        while next < end {
            let read = block_on(log.read(next, end, 500_000, true)).expect("reads");
            next = read.end_offset();
        }
    };
    let written = (BYTES * COUNT) as u64;
    let (store, log) = opened();
    let (mut prng, mut codecs) = (Prng::new(7), Codecs::new());
    for _ in 0..COUNT {
        append(&log, BYTES, &mut prng, &mut codecs);
        assert!(block_on(store.commit()).failed.is_empty());
    }
    read_all(&log);
    let stats = store.stats();
    let held = stats.tail_bytes + stats.chunk_bytes;
    assert!(held >= written, "{held} of {written} bytes just written");
    let end = log.end_offset();
    block_on(log.write_snapshot(end, &EncodedProducers::default())).expect("writes");
    block_on(store.close()).expect("closes");
    drop((store, log));

    let (store, log) = opened();
    read_all(&log);
    let held = store.stats().chunk_bytes;
    assert!(held <= AT_FIRST, "{held} bytes of a backlog");
    read_all(&log);
    let held = store.stats().chunk_bytes;
    assert!(held > AT_FIRST, "{held} bytes of what is read again");
}

/// The writes of a round end in any order. A chunk that is read meanwhile, for what is durable in front of them, must not
/// hold what is in flight.
#[test]
fn a_chunk_is_read_no_further_than_all_before_is_written() {
    const BYTES: usize = 200_000;
    const TAIL_BYTES: usize = 512 << 10;
    const ROUNDS: i64 = 20;
    // More than tails are kept to: what is durable leaves memory when its round is over.
    const BATCHES: i64 = (3 * TAIL_BYTES / BYTES) as i64;
    let mut from_device = 0;
    for seed in 0..50 {
        let disk = Disk::Sim(SimDisk::new(seed));
        let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
        let config = StoreConfig {
            cache_bytes: 2 * TAIL_BYTES,
            journal_bytes: 1 << 20,
            ..StoreConfig::default()
        };
        let (store, log) = block_on(open_with(disk, Path::new("/d"), clock, config));
        let (mut prng, mut codecs) = (Prng::new(seed), Codecs::new());
        let mut append_round = |prng: &mut Prng| {
            for _ in 0..BATCHES {
                append(&log, BYTES, prng, &mut codecs);
            }
        };
        append_round(&mut prng);
        for round in 0..ROUNDS {
            let (durable, end) = (Offset(round * BATCHES), log.end_offset());
            let before = store.stats().reads;
            let reader = async {
                append_round(&mut prng);
                for _ in 0..prng.below(4) {
                    yield_now().await;
                }
                if round > 0 {
                    let read = log.read(Offset(durable.0 - 1), durable, 1, true).await;
                    assert_eq!(read.expect("sound").end_offset(), durable);
                }
            };
            let (committed, ()) = block_on(futures_lite::future::zip(store.commit(), reader));
            assert_eq!(committed.logs, [(log.id(), end)]);
            from_device += store.stats().reads - before;
            let read = block_on(log.read(durable, end, 1, true));
            let read =
                read.unwrap_or_else(|error| panic!("seed {seed}, offset {durable}: {error}"));
            assert_eq!(read.end_offset(), Offset(durable.0 + 1));
        }
    }
    assert!(from_device > 500, "{from_device} reads of what is durable");
}

/// The age of what a group has not read is told from it: too late is honest, too early would be a false alarm.
#[test]
fn how_old_a_batch_is_at_least_is_known_without_the_disk() {
    let sim = SimDisk::new(7);
    let opened = || {
        let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
        block_on(open(Disk::Sim(sim.clone()), Path::new("/d"), clock))
    };
    let time = |offset: i64| 1000 + 10 * offset;
    let last_of_segment = |offset: i64| if offset < 32 { 31 } else { 63 };
    let (store, log) = opened();
    let (mut prng, mut codecs) = (Prng::new(7), Codecs::new());
    for offset in 0..64 {
        let made = batch(&[(time(offset), 3000)], &mut prng, &mut codecs);
        log.append(&made, Offset(offset), LeaderEpoch(0), Timestamp(0))
            .expect("there is room");
        if offset == 31 {
            log.roll(Timestamp(0));
        }
    }
    let told = |log: &Log, offset| log.not_after(Offset(offset)).map(|time| time.0);
    for offset in 0..64 {
        let told = told(&log, offset).expect("it is there");
        // An entry every 4 KiB: that of the batch itself, or of one of the next three.
        let next = (offset + 3).min(last_of_segment(offset));
        assert!(
            (time(offset)..=time(next)).contains(&told),
            "{offset}: {told}"
        );
    }
    assert_eq!(told(&log, 64), None, "nothing is there yet");
    assert!(block_on(store.commit()).failed.is_empty());
    block_on(log.write_snapshot(Offset(64), &EncodedProducers::default())).expect("writes");
    block_on(store.close()).expect("closes");
    drop((store, log));
    let (store, log) = opened();
    let reads = store.stats().reads;
    for offset in 0..64 {
        assert_eq!(told(&log, offset), Some(time(last_of_segment(offset))));
    }
    assert_eq!(store.stats().reads, reads);
    let bare = batch(&[(-1, 100)], &mut prng, &mut codecs);
    log.roll(Timestamp(0));
    log.append(&bare, Offset(64), LeaderEpoch(0), Timestamp(4321))
        .expect("there is room");
    assert_eq!(
        told(&log, 64),
        Some(4321),
        "without a timestamp: when it came"
    );
}
