//! Goal: deleting old segments never costs anything else. At whatever step the power fails, what is kept is a suffix of
//! what was appended, and nothing that was acknowledged above the log's start is lost; readers of what goes are told so,
//! and no fault is made of it; the files stay under another name for as long as they were asked to, and no longer.
//!
//! Method: small segments on the simulated disk, by seed; the deletion is cut off after some polls, by a fault at some
//! write, or by a crash after it, and what recovery finds is held against what was appended. The checker is first shown
//! to catch a segment that is missing.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;

use futures_lite::future::{block_on, poll_once, yield_now, zip};
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, Faulty, SimClock, SimDisk};
use ringlog::storage::{Deleted, Directories, Log, LogConfig, ReadError, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, ShardId, Str, Timestamp, TopicPartition,
    Uuid,
};

use crate::batches::{Expected, batch, expected};

const DELAY_MS: u64 = 60_000;
const TOPIC: Uuid = Uuid([9; 16]);

struct World {
    seed: u64,
    sim: SimDisk,
    clock: SimClock,
    prng: Prng,
    codecs: Codecs,
    journal_bytes: u64,
    cache_bytes: usize,
    batches: Vec<Expected>,
    end: i64,
}

/// What recovery found: the log's bounds, or what is wrong with it.
type Found = Result<(i64, i64), String>;

impl World {
    fn new(seed: u64) -> World {
        let mut prng = Prng::new(seed ^ 0x5EED);
        World {
            seed,
            sim: SimDisk::new(seed),
            clock: SimClock::starting_at(Timestamp(1_000_000)),
            journal_bytes: [0, 64 << 10][prng.below(2) as usize],
            cache_bytes: [64 << 10, 16 << 20][prng.below(2) as usize],
            prng,
            codecs: Codecs::new(),
            batches: Vec::new(),
            end: 0,
        }
    }

    fn disk(&self) -> Disk {
        Disk::Sim(self.sim.clone())
    }

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: Str::from("t"),
            partition: PartitionIndex(0),
        }
    }

    async fn open(&mut self) -> (Store, Rc<Log>) {
        let paths = [PathBuf::from("/d")];
        let directories = Directories::prepare(&self.disk(), &paths, NodeId(1), None)
            .await
            .expect("prepares");
        let config = StoreConfig {
            shard: ShardId(0),
            cache_bytes: self.cache_bytes,
            open_files_max: 2,
            commit_depth: 4,
            journal_bytes: self.journal_bytes,
            journal_sync: None,
        };
        let clock = Clock::Sim(self.clock.clone());
        let store = Store::open(self.disk(), &directories, config, clock);
        let config = LogConfig {
            segment_bytes: 4000,
            index_interval_bytes: 500,
            file_delete_delay_ms: DELAY_MS as i64,
            ..LogConfig::default()
        };
        let log = store
            .open_log(&World::partition(), TOPIC, config)
            .await
            .expect("opens");
        log.recover(|_| {}).await.expect("recovers");
        (store, log)
    }

    /// `false`: the directory is full or failed.
    fn append(&mut self, log: &Rc<Log>) -> bool {
        let size = 200 + self.prng.below(1500) as usize;
        let records = [(1000 + self.end, size), (1000 + self.end, 10)];
        let made = batch(&records, &mut self.prng, &mut self.codecs);
        let now = Clock::Sim(self.clock.clone()).wall();
        if log
            .append(&made, Offset(self.end), LeaderEpoch(3), now)
            .is_err()
        {
            return false;
        }
        let batch = expected(&made, self.end, 3, &records);
        self.end = batch.next;
        self.batches.push(batch);
        true
    }

    /// Appends and commits at random. Returns up to where it is acknowledged.
    async fn fill(&mut self, store: &Store, log: &Rc<Log>) -> i64 {
        for _ in 0..8 + self.prng.below(20) {
            assert!(self.append(log), "room and a good disk");
            match self.prng.below(8) {
                0..=2 => drop(store.commit().await),
                3 => store.checkpoint().await.expect("a good disk"),
                _ => {}
            }
        }
        if self.prng.below(3) > 0 {
            store.commit().await;
        }
        log.durable_end().0
    }

    /// Somewhere that retention may begin the log: a segment's base, or the end when the active segment was closed.
    fn place(&mut self, log: &Rc<Log>, acked: i64) -> Offset {
        if acked == self.end && self.prng.below(3) == 0 {
            log.roll(Timestamp(0));
        }
        let bases: Vec<Offset> = log
            .segments()
            .iter()
            .map(|s| s.base)
            .filter(|base| base.0 <= acked)
            .collect();
        bases[self.prng.below(bases.len() as u64) as usize]
    }

    /// Holds the log against what was appended: a whole suffix from its start to its end.
    async fn check(&self, log: &Rc<Log>) -> Found {
        let (start, end) = (log.start_offset(), log.end_offset());
        let wanted: Vec<u8> = self
            .batches
            .iter()
            .filter(|b| b.next > start.0 && b.base < end.0)
            .flat_map(|b| b.bytes.clone())
            .collect();
        let (mut held, mut next) = (Vec::new(), start);
        while next < end {
            let read = log.read(next, end, 100_000, true).await;
            let read =
                read.map_err(|error| format!("reading {next} of {start}..{end}: {error}"))?;
            if read.bytes == 0 {
                break;
            }
            read.slices.iter().for_each(|s| held.extend_from_slice(s));
            next = read.end_offset();
        }
        match held == wanted && next == end {
            true => Ok((start.0, end.0)),
            false => Err(format!(
                "{start}..{end} reads {} bytes to {next}, not {}",
                held.len(),
                wanted.len()
            )),
        }
    }

    async fn names(&self) -> Vec<String> {
        let entries = self.disk().list(Path::new("/d/t-0")).await.expect("lists");
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// No file is left of a segment that the log does not hold.
    async fn no_leftovers(&self, log: &Rc<Log>) {
        let bases: Vec<String> = log
            .segments()
            .iter()
            .map(|s| format!("{:020}", s.base.0))
            .collect();
        for name in self.names().await {
            let of_segment = name.len() > 20 && name.as_bytes()[0].is_ascii_digit();
            let snapshot = name.ends_with(".snapshot");
            let held = bases.iter().any(|base| name.starts_with(base));
            assert!(
                !of_segment || snapshot || (held && !name.ends_with(".deleted")),
                "seed {}: {name} is left beside {bases:?}",
                self.seed
            );
        }
    }
}

/// One deletion that does not come to its end, or is forgotten by the disk; what was acknowledged and where the log may
/// start.
async fn delete_and_crash(world: &mut World) -> (i64, Vec<i64>) {
    let (store, log) = world.open().await;
    let acked = world.fill(&store, &log).await;
    if world.prng.below(4) == 0 {
        let first = world.prng.below(acked as u64 / 2 + 1) as i64;
        let start = log.set_start_offset(Offset(first)).await;
        start.expect("a good disk");
    }
    let old = log.start_offset().0;
    let to = world.place(&log, acked);
    let mut starts = vec![old, to.0.max(old)];
    match world.prng.below(3) {
        0 => {
            let deletion = pin!(log.delete_segments(to));
            let mut deletion = deletion;
            for _ in 0..world.prng.below(12) {
                if poll_once(&mut deletion).await.is_some() {
                    break;
                }
            }
        }
        1 => {
            let what = [Faulty::Write, Faulty::Sync, Faulty::Open][world.prng.below(3) as usize];
            let errno = [libc::EIO, libc::ENOSPC][world.prng.below(2) as usize];
            if errno == libc::ENOSPC {
                // Without a note of the start, the first file that is left tells it.
                let bases = log.segments().into_iter().map(|s| s.base.0);
                starts.extend(bases.filter(|base| (old..to.0).contains(base)));
            }
            let skip = world.prng.below(6) as u32;
            world.sim.fail(what, "", errno, skip, u32::MAX);
            drop(log.delete_segments(to).await);
        }
        _ => {
            let deleted = log.delete_segments(to).await.expect("a good disk");
            assert_eq!(deleted.start.0, to.0.max(old));
            let new = deleted.start.0;
            world.sim.crash();
            return (acked, vec![new]);
        }
    }
    world.sim.crash();
    world.sim.heal();
    (acked, starts)
}

#[test]
fn what_is_kept_after_a_crash_in_a_deletion_is_a_suffix_with_all_that_was_acknowledged() {
    let (mut moved, mut emptied) = (0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed);
        block_on(async {
            let (acked, starts) = delete_and_crash(&mut world).await;
            let (store, log) = world.open().await;
            let (start, end) = world
                .check(&log)
                .await
                .unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            assert!(
                starts.contains(&start),
                "seed {seed}: {start} of {starts:?}"
            );
            assert!(end >= acked, "seed {seed}: ends at {end}, not {acked}");
            moved += usize::from(start > 0);
            emptied += usize::from(start == end);
            // It goes on from there, and a clean end is found again.
            world.batches.retain(|b| b.next <= end);
            world.end = end;
            for _ in 0..4 {
                assert!(world.append(&log), "seed {seed}");
            }
            let committed = store.commit().await;
            assert!(committed.failed.is_empty(), "seed {seed}: {committed:?}");
            world.no_leftovers(&log).await;
            let last = log.segments().last().expect("just appended to").base;
            log.delete_segments(last).await.expect("a good disk");
            store.close().await.expect("closes");
            world.no_leftovers(&log).await;
            let (_store, log) = world.open().await;
            let found = world.check(&log).await;
            assert_eq!(found, Ok((last.0.max(start), world.end)), "seed {seed}");
        });
    }
    assert!(
        moved > 100 && emptied > 20,
        "{moved} moved, {emptied} empty"
    );
}

#[test]
fn the_checker_catches_a_segment_that_is_missing() {
    let mut world = World::new(1);
    block_on(async {
        let (store, log) = world.open().await;
        for _ in 0..20 {
            assert!(world.append(&log));
        }
        store.commit().await;
        let base = log.segments()[2].base;
        world.sim.crash();
        let file = format!("/d/t-0/{:020}.log", base.0);
        world.disk().remove(Path::new(&file)).await.expect("there");
        let (_store, log) = world.open().await;
        let (_, end) = world.check(&log).await.expect("what is left is whole");
        assert!(end < world.end, "the loss shows at the end");
    });
}

#[test]
fn a_log_of_which_all_was_deleted_goes_on_at_its_end() {
    for clean in [true, false] {
        let mut world = World::new(2);
        block_on(async {
            let (store, log) = world.open().await;
            for _ in 0..12 {
                assert!(world.append(&log));
            }
            store.commit().await;
            log.roll(Timestamp(0));
            let end = Offset(world.end);
            let count = log.segments().len() - 1;
            let deleted = log.delete_segments(end).await.expect("a good disk");
            assert_eq!((deleted.start, deleted.segments), (end, count));
            assert_eq!((log.size(), log.end_offset()), (0, end));
            let read = log
                .read(end, end, 100, true)
                .await
                .expect("the end is in range");
            assert_eq!(read.bytes, 0);
            match clean {
                true => store.close().await.expect("closes"),
                false => world.sim.crash(),
            }
            let (store, log) = world.open().await;
            assert_eq!(world.check(&log).await, Ok((end.0, end.0)), "{clean}");
            assert!(world.append(&log));
            assert!(store.commit().await.failed.is_empty());
            world.sim.crash();
            let (_store, log) = world.open().await;
            assert_eq!(world.check(&log).await, Ok((end.0, world.end)), "{clean}");
        });
    }
}

#[test]
fn files_wait_under_another_name_until_their_time_is_over() {
    let mut world = World::new(3);
    block_on(async {
        let (store, log) = world.open().await;
        for _ in 0..20 {
            assert!(world.append(&log));
        }
        store.commit().await;
        let second = log.segments()[1].base;
        let deleted = log.delete_segments(second).await.expect("a good disk");
        assert_eq!(deleted.segments, 1);
        let is_waiting = |names: &[String]| names.iter().any(|n| n.ends_with(".log.deleted"));
        assert!(is_waiting(&world.names().await));
        world.clock.advance_ms(DELAY_MS - 1);
        store.commit().await;
        assert!(is_waiting(&world.names().await), "not yet");
        world.clock.advance_ms(1);
        store.commit().await;
        assert!(
            !is_waiting(&world.names().await),
            "{:?}",
            world.names().await
        );
        // Left by a crash, they go at the next start.
        let third = log.segments()[1].base;
        log.delete_segments(third).await.expect("a good disk");
        assert!(is_waiting(&world.names().await));
        world
            .disk()
            .sync_dir(Path::new("/d/t-0"))
            .await
            .expect("syncs");
        world.sim.crash();
        let (store, _log) = world.open().await;
        store.commit().await;
        assert!(
            !is_waiting(&world.names().await),
            "{:?}",
            world.names().await
        );
    });
}

#[test]
fn a_deleted_topics_directory_waits_as_long() {
    let mut world = World::new(4);
    block_on(async {
        let (store, log) = world.open().await;
        for _ in 0..5 {
            assert!(world.append(&log));
        }
        store.commit().await;
        store.delete(&log).await.expect("a good disk");
        let directories = async |world: &World| {
            let entries = world.disk().list(Path::new("/d")).await.expect("lists");
            let names = entries.into_iter().filter(|e| e.is_dir).map(|e| e.name);
            names.collect::<Vec<_>>()
        };
        let names = directories(&world).await;
        assert!(
            names.len() == 1 && names[0].ends_with(".delete"),
            "{names:?}"
        );
        world.clock.advance_ms(DELAY_MS);
        store.commit().await;
        assert_eq!(directories(&world).await, [""; 0]);
    });
}

/// A reader that looks for bytes of a segment while it goes is told that they are gone; the directory has not failed.
#[test]
fn readers_of_what_is_being_deleted_are_told_so() {
    let mut told = 0;
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.cache_bytes = 64 << 10;
        block_on(async {
            let (store, log) = world.open().await;
            for _ in 0..30 {
                assert!(world.append(&log));
            }
            store.close().await.expect("closes");
            let (store, log) = world.open().await;
            log.set_config(LogConfig {
                file_delete_delay_ms: 0,
                ..log.config()
            });
            let to = log.segments()[3].base;
            let pause = world.prng.below(4);
            let reads = async {
                let mut next = Offset(0);
                while next < to {
                    match log.read(next, log.end_offset(), 2000, true).await {
                        Ok(read) => {
                            next = read.end_offset().max(next.plus(1));
                            yield_now().await;
                        }
                        Err(ReadError::OutOfRange { start, .. }) => {
                            assert_eq!(start, to, "seed {seed}");
                            return true;
                        }
                        Err(error) => panic!("seed {seed}: reading {next}: {error}"),
                    }
                }
                false
            };
            let deletes = async {
                for _ in 0..pause {
                    yield_now().await;
                }
                log.delete_segments(to).await
            };
            let (refused, deleted) = zip(reads, deletes).await;
            assert_eq!(deleted.expect("a good disk").segments, 3, "seed {seed}");
            told += usize::from(refused);
            assert!(!log.is_offline(), "seed {seed}: no fault");
            assert_eq!(store.stats().faults, 0, "seed {seed}");
            let found = world.check(&log).await;
            assert_eq!(found, Ok((to.0, world.end)), "seed {seed}");
        });
    }
    assert!(told > 20, "{told} readers met the deletion");
}

/// Where no file can be written any more, deleting still makes room.
#[test]
fn a_full_disk_loses_its_oldest_segments_all_the_same() {
    let mut world = World::new(5);
    block_on(async {
        let (store, log) = world.open().await;
        for _ in 0..20 {
            assert!(world.append(&log));
        }
        store.commit().await;
        store.checkpoint().await.expect("a good disk");
        world.sim.set_capacity(0);
        let to = log.segments()[3].base;
        let deleted = log.delete_segments(to).await.expect("no room is needed");
        let wanted = Deleted {
            start: to,
            segments: 3,
            bytes: deleted.bytes,
        };
        assert_eq!(deleted, wanted);
        // Not even the end of a log of which all is to go can be noted: its last file stays.
        log.roll(Timestamp(0));
        let last = log.segments()[log.segments().len() - 2].base;
        let deleted = log.delete_segments(Offset(world.end)).await;
        assert_eq!(deleted.expect("no room is needed").start, last);
        assert!(!log.is_offline());
        world
            .disk()
            .sync_dir(Path::new("/d/t-0"))
            .await
            .expect("syncs");
        world.sim.crash();
        world.sim.set_capacity(1 << 40);
        let (_store, log) = world.open().await;
        assert_eq!(world.check(&log).await, Ok((last.0, world.end)));
    });
}
