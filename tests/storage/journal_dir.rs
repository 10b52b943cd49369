//! Goal: a journal on a device of its own is as good as one in the log directory: it moves from place to place without
//! losing what it holds, whenever the power fails, and without it the log directory is not opened.
//!
//! Method: appends that are committed by the journal alone, on the simulated disk; then starts that want the journal
//! elsewhere, cut off after every number of changes, or that find it gone, exchanged or renamed.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures_lite::future::block_on;
use ringlog::record::Codecs;
use ringlog::rt::{Clock, Disk, SimClock, SimDisk};
use ringlog::storage::{Directories, JournalDir, Log, LogConfig, StorageError, Store, StoreConfig};
use ringlog::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, Prng, Str, Timestamp, TopicPartition, Uuid,
};

use crate::batches::batch;

const LOG_DIR: &str = "/d";

struct Bench {
    sim: SimDisk,
    prng: Prng,
    codecs: Codecs,
}

/// A started broker's storage.
struct Life {
    store: Store,
    log: Rc<Log>,
    place: PathBuf,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        Bench {
            sim: SimDisk::new(seed),
            prng: Prng::new(seed),
            codecs: Codecs::new(),
        }
    }

    fn disk(&self) -> Disk {
        Disk::Sim(self.sim.clone())
    }

    async fn prepare(&self, wanted: &JournalDir) -> Result<Directories, StorageError> {
        let paths = [PathBuf::from(LOG_DIR)];
        Directories::prepare_with(&self.disk(), &paths, NodeId(1), None, wanted).await
    }

    fn start(&self, wanted: &JournalDir) -> Result<Life, StorageError> {
        block_on(async {
            let directories = self.prepare(wanted).await?;
            let id = directories.ids().next().expect("one").1;
            let place = match wanted {
                JournalDir::Under(parent) => parent.join(id.to_string()),
                _ => PathBuf::from(LOG_DIR),
            };
            let config = StoreConfig {
                journal_bytes: 64 << 10,
                ..StoreConfig::default()
            };
            let clock = Clock::Sim(SimClock::starting_at(Timestamp(1_000_000)));
            let store = Store::open(self.disk(), &directories, config, clock);
            let partition = TopicPartition {
                topic: Str::from("t"),
                partition: PartitionIndex(0),
            };
            let opened = store.open_log(&partition, Uuid([3; 16]), LogConfig::default());
            let log = opened.await?;
            log.recover(|_| ()).await?;
            Ok(Life { store, log, place })
        })
    }

    /// Appends and commits small batches: the first makes the segment and the journal, the others are in the journal.
    fn write(&mut self, life: &Life, count: usize) {
        for _ in 0..count {
            let made = batch(&[(1000, 50)], &mut self.prng, &mut self.codecs);
            let (log, end) = (&life.log, life.log.end_offset());
            log.append(&made, end, LeaderEpoch(0), Timestamp(0))
                .expect("there is room");
            let failed = block_on(life.store.commit()).failed;
            assert!(failed.is_empty(), "{failed:?}");
        }
        assert!(life.store.stats().journal_writes > 0);
    }

    fn files(&self, place: &Path) -> Vec<String> {
        let listed = block_on(self.disk().list(place)).unwrap_or_default();
        let names = listed.into_iter().map(|entry| entry.name);
        names
            .filter(|name| name.starts_with("ringlog-journal-"))
            .collect()
    }
}

fn under(path: &str) -> JournalDir {
    JournalDir::Under(PathBuf::from(path))
}

fn refused(outcome: Result<Life, StorageError>, why: &str) {
    let error = outcome.err().expect("it is refused");
    assert!(matches!(error, StorageError::Journal { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn a_journal_moves_and_takes_what_it_holds_along() {
    let mut bench = Bench::new(1);
    let mut end = Offset(0);
    let places = [
        under("/ssd"),
        JournalDir::Beside,
        under("/ssd"),
        under("/other"),
        under("/other"),
    ];
    for wanted in &places {
        let life = bench.start(wanted).expect("starts");
        assert_eq!(life.log.end_offset(), end, "{wanted:?}");
        bench.write(&life, 5);
        assert_eq!(bench.files(&life.place).len(), 2, "{wanted:?}");
        end = life.log.end_offset();
        bench.sim.crash();
    }
    let life = bench.start(&JournalDir::AsItIs).expect("starts");
    assert_eq!(life.log.end_offset(), end);
    assert!(
        bench.files(Path::new(LOG_DIR)).is_empty(),
        "only in one place"
    );
    block_on(life.store.close()).expect("closes");
}

#[test]
fn a_crash_at_any_change_of_a_move_loses_nothing() {
    let (mut cuts, mut seed) = (0, 10);
    for from in [JournalDir::Beside, under("/ssd")] {
        for to in [under("/new"), JournalDir::Beside]
            .iter()
            .filter(|to| **to != from)
        {
            let mut is_through = false;
            let mut changes = 0;
            while !is_through {
                seed += 1;
                let mut bench = Bench::new(seed);
                let life = bench.start(&from).expect("starts");
                bench.write(&life, 5);
                let end = life.log.end_offset();
                bench.sim.crash();
                bench.sim.cut_after(changes);
                is_through = block_on(bench.prepare(to)).is_ok();
                bench.sim.crash();
                // The operator may have thought better of it.
                let wanted = [to, &from, &JournalDir::AsItIs][(seed % 3) as usize];
                let life = bench
                    .start(wanted)
                    .unwrap_or_else(|e| panic!("{from:?} to {to:?}, {changes}: {e}"));
                assert_eq!(
                    life.log.end_offset(),
                    end,
                    "{from:?} to {to:?}, cut after {changes}"
                );
                bench.write(&life, 2);
                (changes, cuts) = (changes + 1, cuts + 1);
            }
        }
    }
    assert!(cuts > 30, "{cuts} places to cut are too few");
}

#[test]
fn a_missing_journal_is_refused_unless_it_held_nothing() {
    let mut bench = Bench::new(2);
    let life = bench.start(&under("/ssd")).expect("starts");
    bench.write(&life, 5);
    let end = life.log.end_offset();
    bench.sim.crash();
    let disk = bench.disk();
    let away = |from: &str, to: &str| block_on(disk.rename(Path::new(from), Path::new(to)));
    away("/ssd", "/unplugged").expect("renames");
    for wanted in [
        under("/ssd"),
        JournalDir::Beside,
        JournalDir::AsItIs,
        under("/new"),
    ] {
        refused(bench.start(&wanted), "is missing");
    }
    away("/unplugged", "/ssd").expect("renames");
    let life = bench.start(&under("/ssd")).expect("it is back");
    assert_eq!(life.log.end_offset(), end);
    block_on(life.store.close()).expect("closes");
    block_on(disk.remove(Path::new("/ssd"))).expect("removes");
    let life = bench.start(&under("/ssd")).expect("it held nothing");
    assert_eq!(life.log.end_offset(), end);
    bench.write(&life, 2);
}

#[test]
fn a_journal_under_another_path_is_the_same_and_an_older_copy_is_not() {
    let mut bench = Bench::new(3);
    let life = bench.start(&under("/ssd")).expect("starts");
    bench.write(&life, 5);
    let place = life.place.clone();
    let end = life.log.end_offset();
    bench.sim.crash();
    let disk = bench.disk();
    block_on(disk.rename(Path::new("/ssd"), Path::new("/mnt"))).expect("renames");
    let life = bench.start(&under("/mnt")).expect("mounted elsewhere");
    assert_eq!(life.log.end_offset(), end);
    bench.write(&life, 2);
    bench.sim.crash();
    // Put there again, as a device that was copied once is.
    let properties = Path::new("/mnt")
        .join(place.file_name().expect("named after the log directory"))
        .join("ringlog-journal.properties");
    let text =
        String::from_utf8(block_on(disk.read_file(&properties)).expect("reads")).expect("text");
    let other = Uuid::random().to_string();
    let changed = |key: &str| {
        let lines = text.lines().map(|line| match line.starts_with(key) {
            true => format!("{key}={other}\n"),
            false => format!("{line}\n"),
        });
        let text: String = lines.collect();
        block_on(disk.replace_file(&properties, text.as_bytes())).expect("writes");
    };
    changed("journal.id");
    refused(bench.start(&under("/mnt")), "older copy");
    changed("directory.id");
    refused(bench.start(&under("/mnt")), "belongs to log directory");
    block_on(disk.replace_file(&properties, text.as_bytes())).expect("writes");
    let life = bench.start(&under("/mnt")).expect("the right one again");
    assert_eq!(life.log.end_offset(), Offset(7));
}

#[test]
fn a_place_that_belongs_to_another_log_directory_is_left_alone() {
    let bench = Bench::new(4);
    let id = block_on(bench.prepare(&JournalDir::Beside))
        .expect("prepares")
        .ids()
        .next()
        .expect("one")
        .1;
    let place = Path::new("/ssd").join(id.to_string());
    let disk = bench.disk();
    let text = format!(
        "version=1\ndirectory.id={}\njournal.id={}\n",
        Uuid::random(),
        Uuid::random()
    );
    block_on(async {
        disk.create_dir(&place).await.expect("creates");
        let properties = place.join("ringlog-journal.properties");
        disk.replace_file(&properties, text.as_bytes())
            .await
            .expect("writes");
    });
    refused(bench.start(&under("/ssd")), "belongs to log directory");
    bench
        .start(&JournalDir::Beside)
        .expect("goes on where it was");
}
