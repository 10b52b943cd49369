//! Goal: what the device gives back damaged is never served, and everything else still is.
//! Method: bits flipped in the file of a sealed segment on the simulated disk, under a store that has it out of memory.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::block_on;
use ringlog::record::{Codecs, split};
use ringlog::rt::{Clock, Disk, SimClock, SimDisk};
use ringlog::storage::{Directories, Log, LogConfig, ReadError, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

use crate::batches::batch;

const SEGMENT: &str = "/d0/t-0/00000000000000000000.log";

async fn open(sim: &SimDisk) -> (Store, Rc<Log>) {
    let clock = SimClock::starting_at(Timestamp(1_000_000));
    let disk = Disk::Sim(sim.clone());
    let directories = Directories::prepare(&disk, &[PathBuf::from("/d0")], NodeId(1), None)
        .await
        .expect("prepares");
    let store = Store::open(
        disk,
        &directories,
        StoreConfig::default(),
        Clock::Sim(clock),
    );
    let place = TopicPartition {
        topic: Str::from("t"),
        partition: PartitionIndex(0),
    };
    let log = store
        .open_log(&place, Uuid([3; 16]), LogConfig::default())
        .await
        .expect("opens");
    log.recover(|_| ()).await.expect("recovers");
    (store, log)
}

/// Bases, positions and sizes of the batches in the sealed segment.
fn fill(sim: &SimDisk) -> Vec<(i64, u64, u64)> {
    block_on(async {
        let (store, log) = open(sim).await;
        let (mut prng, mut codecs) = (Prng::new(9), Codecs::new());
        let (mut places, mut position) = (Vec::new(), 0);
        for i in 0..12 {
            let made = batch(&[(1000, 5000), (1001, 40_000)], &mut prng, &mut codecs);
            let size = made.bytes().len() as u64;
            if i < 10 {
                places.push((log.end_offset().0, position, size));
                position += size;
            } else if i == 10 {
                log.roll(Timestamp(1_000_000));
            }
            let appended = log.append(&made, log.end_offset(), LeaderEpoch(0), Timestamp(0));
            appended.expect("there is room");
        }
        store.close().await.expect("closes");
        places
    })
}

/// The first offsets of the batches that one read gives.
async fn read(log: &Log, from: i64, max_bytes: usize) -> Result<Vec<i64>, ReadError> {
    let read = log
        .read(Offset(from), log.end_offset(), max_bytes, true)
        .await?;
    let mut bytes = Vec::new();
    read.slices
        .iter()
        .for_each(|slice| bytes.extend_from_slice(slice));
    assert_eq!(bytes.len(), read.bytes);
    let whole = split(&bytes).map_while(Result::ok);
    Ok(whole.map(|batch| batch.header.base_offset().0).collect())
}

#[test]
fn a_damaged_batch_is_never_served_and_all_others_are() {
    for damaged in 0..10 {
        let sim = SimDisk::new(7);
        let places = fill(&sim);
        let (base, position, size) = places[damaged];
        // In the records, at the front of the CRC's range, and at the batch's last byte.
        for at in [position + size / 2, position + 21, position + size - 1] {
            let sim = sim.clone();
            sim.rot(Path::new(SEGMENT), at, 3);
            block_on(async {
                let (_store, log) = open(&sim).await;
                for _again in 0..2 {
                    for (i, place) in places.iter().enumerate() {
                        let answer = read(&log, place.0, 4 << 20).await;
                        if i == damaged {
                            let corrupt = matches!(answer, Err(ReadError::Corrupt { .. }));
                            assert!(corrupt, "batch {damaged} at byte {at}: {answer:?}");
                            continue;
                        }
                        let served = answer.expect("others are served");
                        assert_eq!(served[0], place.0);
                        assert!(
                            !served.contains(&base),
                            "byte {at}: served from {}",
                            place.0
                        );
                        let end = if i < damaged { damaged } else { places.len() };
                        assert_eq!(served.len(), end - i, "all up to the damage");
                    }
                }
            });
            // The bit back: a new start finds nothing wrong.
            sim.rot(Path::new(SEGMENT), at, 3);
        }
        block_on(async {
            let (_store, log) = open(&sim).await;
            assert_eq!(read(&log, 0, 4 << 20).await.expect("sound").len(), 10);
        });
    }
}

/// Goal: the check is not spoilt by reads of other extents. Method: readers that ask for little find every batch whole
/// first, in any order, and the damaged one still fails.
#[test]
fn small_reads_in_any_order_never_meet_the_damage_unchecked() {
    let sim = SimDisk::new(8);
    let places = fill(&sim);
    sim.rot(Path::new(SEGMENT), places[4].1 + 100, 0);
    let mut prng = Prng::new(5);
    block_on(async {
        let (_store, log) = open(&sim).await;
        for _ in 0..300 {
            let i = prng.below(10) as usize;
            let max_bytes = prng.below(200_000) as usize;
            match read(&log, places[i].0, max_bytes).await {
                Ok(served) => assert!(i != 4 && !served.contains(&places[4].0)),
                Err(error) => assert!(i == 4, "batch {i}: {error}"),
            }
        }
    });
}
