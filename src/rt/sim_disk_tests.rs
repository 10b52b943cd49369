//! Goal: the simulated disk loses exactly what a real one may. Method: small scripts over many seeds, where every
//! outcome that is allowed must be seen and none that is not.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use futures_lite::future::block_on;

use super::*;
use crate::rt::{Disk, File};

fn page(byte: u8, blocks: usize) -> Page {
    let mut buffer = Buffer::zeroed(blocks * BLOCK_BYTES);
    buffer.fill(byte);
    buffer.freeze()
}

fn new_disk(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::new(seed);
    (sim.clone(), Disk::Sim(sim))
}

async fn create(disk: &Disk, path: &str) -> File {
    let path = Path::new(path);
    let directory = path.parent().unwrap();
    disk.create_dir(directory).await.unwrap();
    let file = disk.open(path, Open::CREATE).await.unwrap();
    for directory in directory.ancestors() {
        disk.sync_dir(directory).await.unwrap();
    }
    file
}

fn errno_of<T>(result: io::Result<T>) -> i32 {
    result
        .err()
        .expect("an error")
        .raw_os_error()
        .expect("an errno")
}

#[test]
fn a_crash_may_keep_lose_or_tear_what_was_not_synced_and_nothing_else() {
    let mut outcomes = HashSet::new();
    for seed in 0..100 {
        let (sim, disk) = new_disk(seed);
        let after = block_on(async {
            let file = create(&disk, "/logs/a").await;
            file.write(page(1, 2), 0).await.unwrap();
            file.datasync().await.unwrap();
            file.write(page(2, 1), BLOCK_BYTES as u64).await.unwrap();
            sim.crash();
            assert_eq!(
                errno_of(file.datasync().await),
                libc::EIO,
                "a dead process's file"
            );
            let file = disk.open(Path::new("/logs/a"), Open::READ).await.unwrap();
            file.read(0, 3 * BLOCK_BYTES).await.unwrap().to_vec()
        });
        assert_eq!(after.len(), 2 * BLOCK_BYTES, "seed {seed}");
        assert!(
            after[..BLOCK_BYTES].iter().all(|&b| b == 1),
            "a synced block changed, seed {seed}"
        );
        let kinds: HashSet<u8> = after[BLOCK_BYTES..].iter().copied().collect();
        let mut kinds: Vec<u8> = kinds.into_iter().collect();
        kinds.sort();
        outcomes.insert(kinds);
    }
    assert_eq!(
        outcomes,
        HashSet::from([vec![1], vec![2], vec![1, 2]]),
        "kept, lost and torn must all be seen"
    );
}

#[test]
fn dsync_writes_survive_every_crash() {
    for seed in 0..50 {
        let (sim, disk) = new_disk(seed);
        block_on(async {
            drop(create(&disk, "/logs/a").await);
            let file = disk
                .open(Path::new("/logs/a"), Open::WRITE.dsync())
                .await
                .unwrap();
            file.write(page(9, 1), 0).await.unwrap();
            sim.crash();
            assert_eq!(
                disk.read_file(Path::new("/logs/a")).await.unwrap(),
                vec![9; BLOCK_BYTES],
                "seed {seed}"
            );
        });
    }
}

#[test]
fn a_name_may_vanish_until_its_directory_is_synced() {
    let mut survivals = HashSet::new();
    for seed in 0..50 {
        let (sim, disk) = new_disk(seed);
        block_on(async {
            drop(create(&disk, "/logs/old").await);
            let new = disk
                .open(Path::new("/logs/new"), Open::CREATE_NEW)
                .await
                .unwrap();
            new.write(page(1, 1), 0).await.unwrap();
            new.datasync().await.unwrap();
            sim.crash();
            assert!(
                disk.exists(Path::new("/logs/old")).await.unwrap(),
                "seed {seed}"
            );
            survivals.insert(disk.exists(Path::new("/logs/new")).await.unwrap());
        });
    }
    assert_eq!(survivals.len(), 2);
}

#[test]
fn a_replaced_file_is_old_or_new_and_new_once_acknowledged() {
    for seed in 0..50 {
        let (sim, disk) = new_disk(seed);
        block_on(async {
            drop(create(&disk, "/logs/other").await);
            let path = Path::new("/logs/meta");
            disk.replace_file(path, b"one").await.unwrap();
            disk.replace_file(path, b"two").await.unwrap();
            sim.crash();
            assert_eq!(disk.read_file(path).await.unwrap(), b"two", "seed {seed}");
        });
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads() {
    let (sim, disk) = new_disk(1);
    block_on(async {
        let file = create(&disk, "/logs/a").await;
        sim.set_capacity(2 * BLOCK_BYTES as u64);
        file.write(page(1, 2), 0).await.unwrap();
        assert_eq!(
            errno_of(file.write(page(1, 1), 2 * BLOCK_BYTES as u64).await),
            libc::ENOSPC
        );
        assert_eq!(errno_of(file.preallocate(1 << 20).await), libc::ENOSPC);
        file.write(page(2, 1), 0).await.unwrap();
        assert_eq!(file.read(0, 10).await.unwrap()[..], [2; 10]);
        assert_eq!(
            disk.space(Path::new("/logs"))
                .await
                .unwrap()
                .available_bytes,
            0
        );
        sim.set_capacity(1 << 30);
        file.preallocate(1 << 20).await.unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
    });
}

#[test]
fn injected_faults_hit_the_operation_they_name() {
    let (sim, disk) = new_disk(1);
    block_on(async {
        let file = create(&disk, "/logs/a").await;
        let other = create(&disk, "/logs/b").await;
        sim.fail(Faulty::Write, "/a", libc::EIO, 1, 1);
        sim.fail(Faulty::Sync, "/a", libc::EIO, 0, 1);
        file.write(page(1, 1), 0).await.unwrap();
        other.write(page(1, 1), 0).await.unwrap();
        assert_eq!(errno_of(file.write(page(1, 1), 0).await), libc::EIO);
        assert_eq!(errno_of(file.datasync().await), libc::EIO);
        other.datasync().await.unwrap();
        file.datasync().await.unwrap();
    });
}

#[test]
fn rot_changes_one_bit() {
    let (sim, disk) = new_disk(1);
    block_on(async {
        let file = create(&disk, "/logs/a").await;
        file.write(page(0, 1), 0).await.unwrap();
        sim.rot(Path::new("/logs/a"), 100, 3);
        let read = file.read(99, 3).await.unwrap();
        assert_eq!(read[..], [0, 8, 0]);
    });
}

#[test]
fn directories_move_and_go_with_what_is_in_them() {
    let (_, disk) = new_disk(1);
    block_on(async {
        drop(create(&disk, "/logs/t-0/segment").await);
        disk.rename(Path::new("/logs/t-0"), Path::new("/logs/t-0.deleted"))
            .await
            .unwrap();
        let names = |entries: Vec<Entry>| {
            entries
                .into_iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(disk.list(Path::new("/logs")).await.unwrap()),
            ["t-0.deleted"]
        );
        assert_eq!(
            names(disk.list(Path::new("/logs/t-0.deleted")).await.unwrap()),
            ["segment"]
        );
        disk.remove(Path::new("/logs/t-0.deleted")).await.unwrap();
        assert!(disk.list(Path::new("/logs")).await.unwrap().is_empty());
        assert_eq!(
            errno_of(disk.list(Path::new("/logs/t-0")).await),
            libc::ENOENT
        );
    });
}
