//! Goal: files on the real disk behave as [`File`] says. Method: one executor for all of it (each executor that ends
//! leaks an eventfd), a temporary directory under the build's own, and checks against the standard library's view.

use std::path::Path;
use std::time::Duration;

use crate::rt::{
    AppendBuffer, BLOCK_BYTES, Buffer, Disk, Elapsed, Open, Queue, blocking, run_local, sleep,
    spawn, task_stats, timeout, yield_if_needed,
};

/// A directory on the build's file system, which takes direct I/O where /tmp may not.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap()
}

#[test]
fn files_tasks_and_timers_on_a_real_ring() {
    let directory = scratch();
    run_local(async {
        reads_real_blocks_after_an_empty_file_was_opened_first(directory.path()).await;
        writes_reads_and_lengths(directory.path()).await;
        names(directory.path()).await;
        contains_panics().await;
        one_that_blocks_does_not_keep_others_from_being_done().await;
        completed_and_pending_tasks_do_not_disturb_each_other().await;
    })
    .unwrap();
}

/// Trap A: an empty file opened first must not make later reads fail with EOPNOTSUPP.
async fn reads_real_blocks_after_an_empty_file_was_opened_first(directory: &Path) {
    let disk = Disk::Ring;
    let empty = disk
        .open(&directory.join("empty"), Open::CREATE_NEW)
        .await
        .unwrap();
    assert_eq!(empty.read(0, BLOCK_BYTES).await.unwrap().len(), 0);
    let path = directory.join("full");
    std::fs::write(&path, [5; 3 * BLOCK_BYTES]).unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    let full = disk.open(&path, Open::READ).await.unwrap();
    assert_eq!(
        full.read(0, 3 * BLOCK_BYTES).await.unwrap()[..],
        [5; 3 * BLOCK_BYTES]
    );
    let leftovers = std::fs::read_dir(directory).unwrap();
    assert_eq!(leftovers.count(), 2, "the probe's file must be gone");
}

async fn writes_reads_and_lengths(directory: &Path) {
    let disk = Disk::Ring;
    let path = directory.join("log");
    let file = disk.open(&path, Open::CREATE_NEW).await.unwrap();
    file.preallocate(1 << 20).await.unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
    let mut tail = AppendBuffer::with_capacity(64 << 10);
    tail.append(&[b'x'; 5000]);
    let slice = tail.slice(4990, 5000);
    let page = tail.seal(8192);
    file.write(page.clone(), 4096).await.unwrap();
    file.datasync().await.unwrap();
    assert_eq!(&*slice, &[b'x'; 10]);

    let unaligned = file.read(4095, 5002).await.unwrap();
    assert_eq!(
        (unaligned[0], unaligned[1], unaligned[5000], unaligned[5001]),
        (0, b'x', b'x', 0)
    );
    assert_eq!(unaligned.len(), 5002);

    // Trap F: the length is asked of the descriptor, so a rename does not matter.
    disk.rename(&path, &directory.join("renamed"))
        .await
        .unwrap();
    file.truncate(9096).await.unwrap();
    assert_eq!(file.len().unwrap(), 9096);
    assert_eq!(
        file.read(9000, 500).await.unwrap().len(),
        96,
        "short at the end, not what lies after it"
    );
    assert_eq!(file.read(20_000, 500).await.unwrap().len(), 0);
    file.punch(4096..8192).await.unwrap();
    assert!(file.read(4096, 4096).await.unwrap().iter().all(|&b| b == 0));
    file.close().await.unwrap();
    assert_eq!(
        std::fs::metadata(directory.join("renamed")).unwrap().len(),
        9096
    );

    let synced = disk
        .open(&directory.join("renamed"), Open::WRITE.dsync())
        .await
        .unwrap();
    synced
        .write(Buffer::copy_of(b"hello").freeze(), 0)
        .await
        .unwrap();
    assert_eq!(
        &std::fs::read(directory.join("renamed")).unwrap()[..6],
        b"hello\0"
    );
}

async fn names(directory: &Path) {
    let disk = Disk::Ring;
    let nested = directory.join("a/b");
    disk.create_dir(&nested).await.unwrap();
    disk.replace_file(&nested.join("meta"), b"one")
        .await
        .unwrap();
    disk.replace_file(&nested.join("meta"), b"two")
        .await
        .unwrap();
    assert_eq!(disk.read_file(&nested.join("meta")).await.unwrap(), b"two");
    let entries = disk.list(&nested).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].name.as_str(), entries[0].len), ("meta", 3));
    disk.sync_dir(&nested).await.unwrap();
    assert!(disk.space(&nested).await.unwrap().total_bytes > 0);
    disk.remove(&directory.join("a")).await.unwrap();
    assert!(!disk.exists(&nested).await.unwrap());
    let absent = disk
        .open(&nested.join("meta"), Open::READ)
        .await
        .err()
        .unwrap();
    assert_eq!(absent.raw_os_error(), Some(libc::ENOENT));
    let bad = disk
        .open(Path::new("zero\0byte"), Open::READ)
        .await
        .err()
        .unwrap();
    assert_eq!(bad.kind(), std::io::ErrorKind::InvalidInput);
}

/// Traps C and D: a panic ends its task or its blocking work, and nothing else.
async fn contains_panics() {
    let before = task_stats();
    spawn(Queue::Net, "doomed", async { panic!("contained") });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(task_stats().panicked, before.panicked + 1);
    let outcome = blocking(|| -> u32 { panic!("also contained") }).await;
    assert_eq!(outcome.unwrap_err().0, "also contained");
    assert_eq!(blocking(|| 7).await.unwrap(), 7);
}

async fn one_that_blocks_does_not_keep_others_from_being_done() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let waits = blocking(move || receiver.recv_timeout(Duration::from_secs(10)));
    let sends = blocking(move || sender.send(7).is_ok());
    let (waited, sent) = futures_lite::future::zip(waits, sends).await;
    assert_eq!((waited.unwrap(), sent.unwrap()), (Ok(7), true));
}

async fn completed_and_pending_tasks_do_not_disturb_each_other() {
    assert_eq!(
        timeout(Duration::from_millis(1), std::future::pending::<()>()).await,
        Err(Elapsed)
    );
    assert_eq!(timeout(Duration::from_secs(10), async { 3 }).await, Ok(3));
    let before = task_stats();
    for _ in 0..1000 {
        spawn(Queue::Background, "short", yield_if_needed());
    }
    while task_stats().finished < before.finished + 1000 {
        sleep(Duration::from_millis(1)).await;
    }
}
