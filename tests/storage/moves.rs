//! Goal: a log that moves between directories loses nothing that was committed, whatever fails and whenever the plug is
//! pulled, and serves meanwhile.
//! Method: on the simulated disk, a move that runs beside appends and commits, with one fault at every operation in turn,
//! then a crash, and what the next start finds held against what was committed.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::{block_on, yield_now, zip};
use ringlog::record::{Codecs, split};
use ringlog::rt::{Clock, Disk, Faulty, Open, SimClock, SimDisk};
use ringlog::storage::{
    AbortedTransaction, Directories, Log, LogConfig, MoveProgress, Moved, Store, StoreConfig,
};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ProducerId, Str, Timestamp, TopicPartition,
    Uuid,
};

use crate::batches::{batch, marker, transactional};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

struct Bench {
    store: Store,
    log: Rc<Log>,
}

async fn open(sim: &SimDisk) -> Bench {
    open_topic(sim, Uuid([3; 16])).await
}

fn place() -> TopicPartition {
    TopicPartition {
        topic: Str::from("t"),
        partition: PartitionIndex(0),
    }
}

async fn open_topic(sim: &SimDisk, topic_id: Uuid) -> Bench {
    let clock = SimClock::starting_at(Timestamp(1_000_000));
    let disk = Disk::Sim(sim.clone());
    let paths = ["/d0", "/d1", "/d2"].map(PathBuf::from);
    let directories = Directories::prepare(&disk, &paths, NodeId(1), None)
        .await
        .expect("prepares");
    let sizes = StoreConfig {
        journal_bytes: 256 << 10,
        ..StoreConfig::default()
    };
    let store = Store::open(disk, &directories, sizes, Clock::Sim(clock));
    let log = open_log(&store, topic_id).await;
    Bench { store, log }
}

async fn open_log(store: &Store, topic_id: Uuid) -> Rc<Log> {
    let config = LogConfig {
        segment_bytes: 60_000,
        ..LogConfig::default()
    };
    let opened = store.open_log(&place(), topic_id, config).await;
    let log = opened.expect("opens");
    log.recover(|_| ()).await.expect("recovers");
    log
}

/// Names in a directory that end so.
async fn named(sim: &SimDisk, directory: &str, suffix: &str) -> Vec<String> {
    let listed = Disk::Sim(sim.clone()).list(Path::new(directory)).await;
    let names = listed.expect("lists").into_iter().map(|entry| entry.name);
    names.filter(|name| name.ends_with(suffix)).collect()
}

impl Bench {
    /// Appends some batches, of which one may be a transaction that is aborted.
    fn append(&self, count: u32, prng: &mut Prng, codecs: &mut Codecs) {
        let put = |made: &ringlog::record::CheckedBatch| {
            let at = self.log.end_offset();
            self.log
                .append(made, at, LeaderEpoch(0), Timestamp(0))
                .map(|()| at)
        };
        for _ in 0..count {
            let bytes = 500 + prng.below(8000) as usize;
            if put(&batch(&[(1000, bytes)], prng, codecs)).is_err() {
                return;
            }
        }
        if prng.below(3) == 0 {
            let begun = put(&transactional(&[(1000, 10)], 7, codecs));
            let ended = put(&marker(1000, 7, false, codecs));
            if let (Ok(first), Ok(last)) = (begun, ended) {
                self.log.note_aborted(AbortedTransaction {
                    producer_id: ProducerId(7),
                    first_offset: first,
                    last_offset: last,
                    stable_end: last.plus(1),
                });
            }
        }
    }

    /// Moves the log to a directory while others append and commit. What is committed after.
    async fn move_under_load(
        &self,
        to: &str,
        prng: &mut Prng,
        codecs: &mut Codecs,
    ) -> Result<Moved, String> {
        let directory = self
            .store
            .directory_at(&PathBuf::from(to))
            .expect("one of three");
        let progress = MoveProgress::default();
        let moving = self.store.move_log(&self.log, directory, &progress);
        let writing = async {
            for _ in 0..6 {
                self.append(1, prng, codecs);
                self.store.commit().await;
                yield_now().await;
            }
        };
        let (moved, ()) = zip(moving, writing).await;
        moved.map_err(|error| error.to_string())
    }

    async fn content(&self) -> Vec<(i64, Vec<u8>)> {
        let (mut held, mut next) = (Vec::new(), self.log.start_offset());
        while next < self.log.end_offset() {
            let read = self
                .log
                .read(next, self.log.end_offset(), 100_000, true)
                .await
                .expect("reads");
            let mut bytes = Vec::new();
            read.slices.iter().for_each(|s| bytes.extend_from_slice(s));
            for raw in split(&bytes).map_while(Result::ok) {
                held.push((raw.header.base_offset().0, raw.bytes.to_vec()));
                next = raw.header.next_offset();
            }
        }
        held
    }

    async fn aborted(&self) -> Vec<AbortedTransaction> {
        let found = self
            .log
            .aborted_transactions(Offset(0), self.log.end_offset())
            .await;
        found.expect("reads")
    }
}

#[test]
fn a_log_moves_while_it_is_written_and_read() {
    for seed in 0..20 {
        let sim = SimDisk::new(seed);
        block_on(async {
            let (mut prng, mut codecs) = (Prng::new(seed), Codecs::new());
            let bench = open(&sim).await;
            bench.append(30, &mut prng, &mut codecs);
            bench.store.commit().await;
            for to in ["/d1", "/d2", "/d0", "/d1"] {
                let moved = bench.move_under_load(to, &mut prng, &mut codecs).await;
                assert_eq!(moved, Ok(Moved::Done), "seed {seed}");
                assert_eq!(bench.log.directory(), PathBuf::from(to));
                bench.append(5, &mut prng, &mut codecs);
                bench.store.commit().await;
            }
            let (held, aborted) = (bench.content().await, bench.aborted().await);
            let log = bench.log.clone();
            let is_closed = seed % 2 == 1;
            if is_closed {
                bench.store.close().await.expect("closes");
            }
            drop(bench);
            if !is_closed {
                sim.crash();
            }
            let again = open(&sim).await;
            assert_eq!(again.log.directory(), PathBuf::from("/d1"), "seed {seed}");
            assert_eq!(again.log.end_offset(), log.end_offset());
            assert!(again.content().await == held, "seed {seed}: other content");
            // After a crash whoever recovers finds them in the batches.
            if is_closed {
                assert_eq!(again.aborted().await, aborted, "seed {seed}");
            }
        });
    }
}

#[test]
fn no_fault_and_no_crash_in_a_move_loses_what_was_committed() {
    for what in [Faulty::Write, Faulty::Sync, Faulty::Open, Faulty::Read] {
        for (skip, part) in (0..40).flat_map(|skip| [(skip, "/d1"), (skip, "/d0")]) {
            let seed = u64::from(skip) * 31 + part.len() as u64;
            let sim = SimDisk::new(seed);
            block_on(async {
                let (mut prng, mut codecs) = (Prng::new(seed), Codecs::new());
                let bench = open(&sim).await;
                let from = bench.log.directory().to_owned();
                assert_eq!(from, PathBuf::from("/d0"), "the first of equals");
                bench.append(20, &mut prng, &mut codecs);
                bench.store.commit().await;
                bench.store.checkpoint().await.expect("checkpoints");
                sim.fail(what, part, EIO, skip, u32::MAX);
                let _ = bench.move_under_load("/d1", &mut prng, &mut codecs).await;
                bench.append(2, &mut prng, &mut codecs);
                bench.store.commit().await;
                let durable = bench.log.durable_end();
                sim.heal();
                let held = match bench.log.is_offline() {
                    true => None,
                    false => Some(bench.content().await),
                };
                drop(bench);
                sim.crash();
                let again = open(&sim).await;
                let when = format!("{what:?} on {part} after {skip}");
                assert!(
                    again.log.end_offset() >= durable,
                    "{when}: {} of {durable}",
                    again.log.end_offset()
                );
                let found = again.content().await;
                if let Some(held) = held {
                    let committed = held.iter().filter(|(base, _)| Offset(*base) < durable);
                    assert!(
                        committed.zip(&found).all(|(a, b)| a == b),
                        "{when}: other content"
                    );
                }
                // The log goes on where it is.
                again.append(3, &mut prng, &mut codecs);
                assert!(again.store.commit().await.failed.is_empty(), "{when}");
            });
        }
    }
}

#[test]
fn a_cancelled_move_leaves_the_log_where_it_is() {
    let sim = SimDisk::new(4);
    block_on(async {
        let (mut prng, mut codecs) = (Prng::new(4), Codecs::new());
        let bench = open(&sim).await;
        bench.append(20, &mut prng, &mut codecs);
        bench.store.commit().await;
        let progress = MoveProgress::default();
        progress.cancel();
        let moved = bench
            .store
            .move_log(&bench.log, 1, &progress)
            .await
            .expect("nothing fails");
        assert_eq!(
            (moved, bench.log.directory()),
            (Moved::GivenUp, PathBuf::from("/d0").as_path())
        );
        bench.store.delete(&bench.log).await.expect("deletes");
        let moved = bench
            .store
            .move_log(&bench.log, 1, &MoveProgress::default())
            .await;
        assert_eq!(
            moved.expect("nothing fails"),
            Moved::GivenUp,
            "a deleted log moves nowhere"
        );
        drop(bench);
        let left = named(&sim, "/d1", "-future").await;
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Goal: a move takes neither the last room of its directory nor the appends of those that lie there. Method: too little
/// room from the start, then a disk that is full in the midst of it.
#[test]
fn a_move_leaves_the_last_room_to_others() {
    let sim = SimDisk::new(5);
    block_on(async {
        let (mut prng, mut codecs) = (Prng::new(5), Codecs::new());
        let bench = open(&sim).await;
        bench.append(20, &mut prng, &mut codecs);
        bench.store.commit().await;
        let disk = Disk::Sim(sim.clone());
        let other = disk.open(Path::new("/other"), Open::CREATE).await;
        let filled = other.expect("opens").preallocate(64 << 20).await;
        filled.expect("there is room");
        let space = disk.space(Path::new("/d1")).await.expect("tells");
        let used = space.total_bytes - space.available_bytes;
        // A reserve is a fiftieth: one and a half are left, many times what the log has.
        sim.set_capacity(used * 100 / 97);
        let refused = bench.store.check_move(&bench.log, 1).await;
        assert!(refused.expect_err("no room").is_full());
        for is_short in [true, false] {
            if !is_short {
                sim.set_capacity(1 << 40);
                sim.fail(Faulty::Write, "-future", ENOSPC, 2, 1);
            }
            let progress = MoveProgress::default();
            let moved = bench.store.move_log(&bench.log, 1, &progress).await;
            assert!(moved.expect_err("no room").is_full(), "short: {is_short}");
            let directories = bench.store.directories().await;
            assert!(directories.iter().all(|d| !d.full && !d.offline));
            assert_eq!(bench.log.directory(), Path::new("/d0"));
            assert!(named(&sim, "/d1", "-future").await.is_empty());
        }
        sim.heal();
        let moved = bench.move_under_load("/d1", &mut prng, &mut codecs).await;
        assert_eq!(moved, Ok(Moved::Done));
    });
}

/// Goal: a move that was asked for is known to the next start until it has ended or was taken back, and nothing of an
/// earlier copy gets into the log. Starts forgot all moves. Method: a process killed in the midst of one, and one closed.
#[test]
fn the_next_start_knows_the_moves_that_did_not_end() {
    for is_closed in [false, true] {
        let sim = SimDisk::new(6);
        block_on(async {
            let (mut prng, mut codecs) = (Prng::new(6), Codecs::new());
            let bench = open(&sim).await;
            bench.append(60, &mut prng, &mut codecs);
            bench.store.commit().await;
            let progress = MoveProgress::default();
            let wanted = bench.store.want_move(&bench.log, 1, &progress).await;
            wanted.expect("noted");
            let taken_back = MoveProgress::default();
            let wanted = bench.store.want_move(&bench.log, 2, &taken_back).await;
            wanted.expect("noted");
            let unwanted = bench.store.unwant_move(2, &taken_back).await;
            unwanted.expect("taken back");
            bench.store.throttle_moves(Some(40_000));
            let moving = bench.store.move_log(&bench.log, 1, &progress);
            let ending = async {
                while progress.bytes() < 100_000 {
                    yield_now().await;
                }
                if is_closed {
                    bench.store.close().await.expect("closes");
                }
            };
            match is_closed {
                true => {
                    let (moved, ()) = zip(moving, ending).await;
                    assert_eq!(moved.expect("nothing fails"), Moved::GivenUp);
                }
                false => {
                    let killed = async {
                        ending.await;
                        true
                    };
                    let moved = async {
                        moving.await.expect("nothing fails");
                        false
                    };
                    assert!(futures_lite::future::or(killed, moved).await);
                }
            }
            let held = bench.log.end_offset();
            drop(bench);
            let again = open(&sim).await;
            let wanted: Vec<_> = again.store.wanted_moves().collect();
            let known: Vec<_> = wanted.iter().map(|(dir, w)| (w.topic_id, *dir)).collect();
            assert_eq!(known, [(Uuid([3; 16]), 1)], "closed: {is_closed}");
            assert_eq!(again.log.directory(), Path::new("/d0"));
            let before = again.content().await;
            let progress = wanted[0].1.progress();
            let moved = again.store.move_log(&again.log, 1, &progress).await;
            assert_eq!(moved.expect("nothing fails"), Moved::Done);
            assert_eq!(again.log.end_offset(), held);
            assert!(again.content().await == before);
            drop(again);
            sim.crash();
            let last = open(&sim).await;
            assert_eq!(last.log.directory(), Path::new("/d1"));
            assert!(last.content().await == before);
            assert!(last.store.wanted_moves().next().is_none());
            last.store.delete(&last.log).await.expect("starts removals");
            for directory in ["/d1", "/d2"] {
                let left = named(&sim, directory, "-future").await;
                assert!(left.is_empty(), "{left:?}");
            }
        });
    }
}

/// Goal: how far a move is is told in records, not in whole segments, and begins anew where copying does.
#[test]
fn a_move_tells_how_far_it_is() {
    let sim = SimDisk::new(7);
    block_on(async {
        let (mut prng, mut codecs) = (Prng::new(7), Codecs::new());
        let bench = open(&sim).await;
        bench.append(60, &mut prng, &mut codecs);
        bench.store.commit().await;
        bench.store.throttle_moves(Some(40_000));
        let progress = MoveProgress::default();
        let moving = bench.store.move_log(&bench.log, 1, &progress);
        let mut seen = vec![Offset(0)];
        let watching = async {
            for _ in 0..1_000_000 {
                if progress.offset() == bench.log.end_offset() {
                    break;
                }
                if seen.last() != Some(&progress.offset()) {
                    seen.push(progress.offset());
                }
                yield_now().await;
            }
        };
        let (moved, ()) = zip(moving, watching).await;
        assert_eq!(moved.expect("nothing fails"), Moved::Done);
        let segments = bench.log.segments().len();
        assert!(seen.is_sorted(), "{seen:?}");
        assert!(seen.len() > 2 * segments, "{segments} segments, {seen:?}");
        assert_eq!(progress.bytes(), bench.log.size());
    });
}

/// Goal: what is noted of how far a log is clean goes where the log goes, and is never believed of another topic's. A word
/// that stayed behind kept the next topic of that name from being compacted. Method: a log noted, moved and deleted, the
/// next one of its name in the first directory, and starts between.
#[test]
fn how_far_a_log_is_clean_is_believed_of_that_log_only() {
    const FILE: &str = "/d0/cleaner-offset-checkpoint";
    let sim = SimDisk::new(8);
    let disk = Disk::Sim(sim.clone());
    let text = async || {
        let bytes = disk.read_file(Path::new(FILE)).await.unwrap_or_default();
        String::from_utf8(bytes).expect("a text")
    };
    block_on(async {
        let (mut prng, mut codecs) = (Prng::new(8), Codecs::new());
        let bench = open(&sim).await;
        bench.append(20, &mut prng, &mut codecs);
        bench.store.commit().await;
        let clean = Some(Offset(5));
        let note = async |store: &Store, directory: &str| {
            let (directory, place) = (Path::new(directory), place());
            let noted = store.note_cleaned(directory, &place, clean).await;
            noted.expect("noted");
        };
        note(&bench.store, "/d0").await;
        assert_eq!(text().await, "0\n1\nt 0 5\n");
        let moved = bench.move_under_load("/d1", &mut prng, &mut codecs).await;
        assert_eq!(moved, Ok(Moved::Done));
        note(&bench.store, "/d1").await;
        assert_eq!(text().await, "0\n0\n", "it lies there no more");
        // As earlier versions left it.
        let stale = disk.replace_file(Path::new(FILE), b"0\n1\nt 0 5\n");
        stale.await.expect("written");
        drop(bench);
        let bench = open(&sim).await;
        assert_eq!(bench.log.first_dirty(), clean, "told of its own directory");
        let other = TopicPartition {
            topic: Str::from("other"),
            partition: PartitionIndex(0),
        };
        let noted = bench.store.note_cleaned(Path::new("/d0"), &other, clean);
        noted.await.expect("noted");
        assert_eq!(text().await, "0\n1\nother 0 5\n", "t-0 lies elsewhere");
        note(&bench.store, "/d0").await;
        let forgotten = bench.store.forget_cleaned(&[place()]).await;
        forgotten.expect("noted");
        bench.store.delete(&bench.log).await.expect("deletes");
        bench.store.set_cordoned([false, true, true].into_iter());
        let log = open_log(&bench.store, Uuid([4; 16])).await;
        assert_eq!(log.directory(), Path::new("/d0"));
        let next = Bench { log, ..bench };
        next.append(20, &mut prng, &mut codecs);
        next.store.commit().await;
        drop(next);
        sim.crash();
        let again = open_topic(&sim, Uuid([4; 16])).await;
        assert!(again.log.end_offset() > Offset(5));
        assert_eq!(again.log.first_dirty(), None);
    });
}
