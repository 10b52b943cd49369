//! What is checked on the histories: readers, crashes, planted bugs, time, journal, corruption, a full disk.

use super::*;
use ringlog::rt::{Faulty, Open, Space};
use ringlog::storage::StorageError;

const ENOSPC: i32 = 28;

#[test]
fn what_readers_see_is_what_was_written_last() {
    let (mut rounds, mut dropped) = (0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..12 {
            for _ in 0..world.prng.below(60) {
                world.step();
            }
            world.commit();
            world.tiny_maps = world.prng.below(4) == 0;
            let outcome = world.compact().expect("nothing fails");
            let held = world.check();
            if let Some(compacted) = outcome {
                rounds += 1;
                dropped += compacted.bytes_before.saturating_sub(compacted.bytes_after);
                world.check_compacted(&held, compacted.end.0);
            }
            match world.prng.below(6) {
                0 => world.restart(true),
                1 => world.restart(false),
                2 => block_on(world.store.checkpoint()).expect("checkpoints"),
                _ => continue,
            }
            world.check();
        }
    }
    assert!(
        rounds > 300 && dropped > 1_000_000,
        "{rounds} rounds dropped {dropped} bytes"
    );
}

/// Random histories with a bug planted; the checks panic.
fn plant(planted: Planted) {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.planted = planted;
        for _ in 0..12 {
            (0..40).for_each(|_| world.step());
            world.commit();
            world.compact().expect("nothing fails");
            world.check();
        }
    }
}

#[test]
#[should_panic(expected = "assertion `left == right` failed: seed")]
fn the_checks_see_a_producer_that_is_forgotten() {
    plant(Planted::ForgetsProducers);
}

#[test]
#[should_panic(expected = "seed")]
fn the_checks_see_a_round_that_believes_open_transactions() {
    plant(Planted::GoesPastStable);
}

/// A history whose next round has several groups, aborted data and tombstones to deal with.
fn prepared(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..150 {
        world.step();
    }
    for id in world.open.keys().copied().collect::<Vec<_>>() {
        world.end_transaction(id, id % 2 == 0);
    }
    // The first round's segments are rewritten by the second.
    world.log.roll(Timestamp(world.now()));
    world.write(None, false);
    world.commit();
    world.compact().expect("nothing fails");
    for _ in 0..120 {
        world.step();
    }
    for id in world.open.keys().copied().collect::<Vec<_>>() {
        world.end_transaction(id, id % 2 == 1);
    }
    world.log.roll(Timestamp(world.now()));
    world.write(None, false);
    world.commit();
    world.clock.advance_ms(2 * RETENTION_MS as u64);
    world
}

#[test]
fn a_power_cut_at_any_change_leaves_the_old_log_or_the_new() {
    for seed in 0..4 {
        let mut cuts = 0;
        loop {
            let mut world = prepared(seed);
            world.sim.cut_after(cuts);
            let outcome = world.compact();
            world.sim.crash();
            let (store, log, producers) = open(&world.sim, &world.clock, world.journal_bytes);
            (world.store, world.log, world.producers) = (store, log, producers);
            world.check();
            // Another life finds nothing half done, and the round goes on where it was.
            world.restart(true);
            world.check();
            let again = world.compact().expect("nothing fails any more");
            let held = world.check();
            if let Some(again) = again {
                world.check_compacted(&held, again.end.0);
            }
            let leftovers = block_on(Disk::Sim(world.sim.clone()).list(&PathBuf::from("/d0/t-0")));
            for entry in leftovers.expect("lists") {
                assert!(!entry.name.ends_with(".cleaned"), "{}", entry.name);
            }
            if outcome.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 20, "seed {seed}: a round makes {cuts} changes");
    }
}

#[test]
fn markers_and_tombstones_go_when_their_time_is_over() {
    let mut world = World::new(7);
    for i in 0..40 {
        world.write(Some(100 + i % 2), true);
        world.end_transaction(100 + i % 2, i % 3 > 0);
    }
    let mut markers = Vec::new();
    for _ in 0..4 {
        // Something new is needed for a round to be due, and a later segment for it to be rewritten.
        for _ in 0..2 {
            world.write(None, false);
            world.log.roll(Timestamp(world.now()));
        }
        world.write(None, false);
        world.commit();
        world
            .compact()
            .expect("nothing fails")
            .expect("a round is due");
        let held = world.check();
        let controls = held
            .iter()
            .filter(|b| b.header.is_control() && b.header.count() > 0);
        markers.push(controls.count());
        world.clock.advance_ms(RETENTION_MS as u64 + 1);
    }
    // The first round takes the aborted data, the second finds their markers void, the third may take them.
    assert!(markers[0] >= 40 - 2 && markers[3] < 20, "{markers:?}");
    let held = world.held();
    let tombstones = held
        .iter()
        .flat_map(|b| &b.records)
        .filter(|r| r.value.is_none());
    let below = world.log.first_dirty().expect("cleaned").0;
    assert_eq!(tombstones.filter(|r| r.offset < below - 10).count(), 0);
}

/// A segment that the journal wrote to and that was compacted since keeps its new content over a replay.
#[test]
fn a_replayed_journal_leaves_compacted_segments_alone() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.restart(true);
        world.journal_bytes = 256 << 10;
        world.restart(true);
        for _ in 0..30 {
            for _ in 0..3 {
                world.write(Some(1), false);
            }
            world.commit();
        }
        world.log.roll(Timestamp(world.now()));
        world.write(None, false);
        world.commit();
        // The run after a roll went to its segment, and what the journal held before with it.
        let compacted = world.compact().expect("nothing fails");
        assert!(compacted.is_some(), "seed {seed}");
        world.restart(false);
        world.check();
    }
}

/// However much of a log was compacted, with or without aborted transactions: what a clean start reads is what it can
/// know nothing of.
#[test]
fn a_start_does_not_read_what_was_compacted() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        for i in 0..60 {
            world.write(None, false);
            if i % 20 == 5 && seed % 2 == 1 {
                world.write(Some(100), true);
                world.end_transaction(100, false);
            }
        }
        world.log.roll(Timestamp(world.now()));
        world.write(None, false);
        world.commit();
        let compacted = world.compact().expect("nothing fails");
        assert!(
            compacted.is_some_and(|c| c.segments_before > 2),
            "seed {seed}"
        );
        let snapshot = world.producers.copied().encode_file();
        let end = world.log.end_offset();
        block_on(world.log.write_snapshot(end, &snapshot)).expect("writes");
        world.restart(true);
        let reads = world.store.stats().reads;
        assert!(reads <= 1, "seed {seed}: {reads} reads");
        world.check();
    }
}

/// A bad batch must not be read as a good one and written under a right checksum.
#[test]
fn a_corrupt_batch_ends_the_round_and_stays_as_it_is() {
    let mut world = World::new(3);
    for _ in 0..60 {
        world.write(None, false);
    }
    world.log.roll(Timestamp(world.now()));
    world.write(None, false);
    world.commit();
    let before = world.log.segments();
    world
        .sim
        .rot(&PathBuf::from("/d0/t-0/00000000000000000000.log"), 700, 3);
    let outcome = world.compact();
    assert!(
        matches!(outcome, Err(CompactError::Corrupt { .. })),
        "{outcome:?}"
    );
    assert_eq!(world.log.segments(), before);
}

/// Want of space ends a round, and appends go on.
#[test]
fn a_full_disk_ends_the_round_only() {
    let mut world = with_a_round_due(4);
    block_on(world.store.checkpoint()).expect("checkpoints");
    let used = space(&world);
    world
        .sim
        .set_capacity(used.total_bytes - used.available_bytes);
    let outcome = world.compact();
    assert!(is_full(&outcome), "{outcome:?}");
    world.sim.set_capacity(1 << 40);
    world.write(None, false);
    world.commit();
    world.check();
    world
        .compact()
        .expect("there is room")
        .expect("a round is due");
    world.check();
}

/// A log, without a journal, whose next round rewrites something.
fn with_a_round_due(seed: u64) -> World {
    let mut world = World::new(seed);
    world.journal_bytes = 0;
    world.restart(true);
    for _ in 0..80 {
        world.write(None, false);
    }
    world.log.roll(Timestamp(world.now()));
    world.write(None, false);
    world.commit();
    world
}

/// The same on a disk that holds much else.
fn on_a_large_disk(seed: u64) -> World {
    let world = with_a_round_due(seed);
    let filled = async {
        world.store.checkpoint().await.expect("checkpoints");
        let disk = Disk::Sim(world.sim.clone());
        let file = disk.open(&PathBuf::from("/other"), Open::CREATE).await?;
        file.preallocate(64 << 20).await
    };
    block_on(filled).expect("there is room");
    world
}

fn space(world: &World) -> Space {
    let disk = Disk::Sim(world.sim.clone());
    block_on(disk.space(&PathBuf::from("/d0"))).expect("tells")
}

fn is_full(outcome: &Result<Option<Compacted>, CompactError>) -> bool {
    matches!(outcome, Err(CompactError::Storage(error)) if StorageError::is_full(error))
}

/// Goal: the last of a disk, which the metadata and whatever makes room live by, is not taken by a round. It was: rounds
/// wrote until the file system refused. Method: one and a half reserves left, of which the round would need little.
#[test]
fn a_round_leaves_the_last_room_to_others() {
    let mut world = on_a_large_disk(4);
    let space = space(&world);
    let used = space.total_bytes - space.available_bytes;
    // A reserve is a fiftieth.
    world.sim.set_capacity(used * 100 / 97);
    let outcome = world.compact();
    assert!(is_full(&outcome), "{outcome:?}");
    assert_eq!(world.log.check_append(), Ok(()), "appends have their own");
    for _ in 0..20 {
        world.write(None, false);
    }
    world.commit();
    world.sim.set_capacity(1 << 40);
    let due = world.compact().expect("there is room");
    due.expect("a round is due");
    world.check();
}

/// Want of room in the midst of a round is no reason to refuse appends.
#[test]
fn a_round_that_runs_out_of_room_leaves_the_directory_open() {
    let mut world = on_a_large_disk(5);
    world.sim.fail(Faulty::Write, ".cleaned", ENOSPC, 1, 1);
    let outcome = world.compact();
    assert!(is_full(&outcome), "{outcome:?}");
    assert_eq!(world.log.check_append(), Ok(()));
    world.check();
}

/// Goal: a log that is deleted from as well is compacted all the same: rounds ended whenever retention took one of the
/// segments that they had looked at, and longer ones never came to their end. Method: the oldest segments are given up one
/// by one at random moments of a round.
#[test]
fn a_round_goes_on_without_what_retention_takes() {
    let mut all_gone = 0;
    for seed in 0..60 {
        let mut world = prepared(seed);
        block_on(world.store.checkpoint()).expect("checkpoints");
        let (terms, stable) = (world.terms(), world.stable_end());
        let dirty = world.log.dirty(stable, &terms.config, terms.now);
        let dirty = dirty.expect("it is open");
        assert!(dirty.is_due(&terms.config));
        let segments = world.log.segments();
        let count = 1 + world.prng.below(segments.len() as u64 - 1) as usize;
        let pauses: Vec<u64> = (0..count).map(|_| world.prng.below(120)).collect();
        let (log, producers) = (&world.log, &world.producers);
        let is_last = |header: &BatchHeader| producers.is_last_batch(header);
        let work = log.compact(&dirty, &terms, &is_last);
        let delete = async {
            for (next, pause) in segments[1..=count].iter().zip(pauses) {
                for _ in 0..pause {
                    yield_now().await;
                }
                log.delete_segments(next.base).await.expect("deletes");
            }
        };
        let (outcome, ()) = block_on(zip(work, delete));
        let compacted = outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(compacted.end, dirty.until, "seed {seed}");
        assert_eq!(world.log.first_dirty(), Some(dirty.until), "seed {seed}");
        let start = world.log.start_offset().0;
        assert_eq!(start, segments[count].base.0);
        all_gone += usize::from(start >= dirty.until.0);
        for (&offset, _) in world.was.range(..dirty.until.0) {
            world.seen_by_round.entry(offset).or_insert(terms.now.0);
        }
        world.was = world.was.split_off(&start);
        let held = world.held();
        world.check_offsets(&held);
        world.check_committed(&held);
        world.check_compacted(&held, compacted.end.0);
    }
    assert!(all_gone < 30, "{all_gone} rounds had nothing left to do");
}

/// Goal: `min.compaction.lag.ms` holds for records without a time too; Kafka goes by their file's. They counted as old.
#[test]
fn records_without_a_time_are_as_young_as_their_segment() {
    let mut world = World::new(8);
    world.journal_bytes = 0;
    world.restart(true);
    let config = CompactConfig {
        lag_ms_min: 1000,
        ..CompactConfig::default()
    };
    let until = |world: &World| {
        let (stable, now) = (world.stable_end(), Timestamp(world.now()));
        let dirty = world.log.dirty(stable, &config, now);
        dirty.expect("it is open").until.0
    };
    let put = |world: &mut World| {
        let mut builder = BatchBuilder::new(Codec::None, 512);
        builder.append(Timestamp(-1), Some(b"key"), Some(b"value"), &[]);
        let bytes = builder.build(&BatchSeal::default(), &mut world.codecs);
        let batch = check(bytes, &Limits::log(), &mut world.codecs).expect("a good batch");
        world.append(&batch);
    };
    put(&mut world);
    for old in 0..3 {
        world.log.roll(Timestamp(world.now()));
        put(&mut world);
        world.commit();
        block_on(world.store.checkpoint()).expect("checkpoints");
        assert_eq!(until(&world), old, "the one that was written last is young");
        world.clock.advance_ms(1000);
        assert_eq!(until(&world), old + 1, "its time is over");
    }
}
