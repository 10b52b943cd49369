//! Which log directory a new log goes to.
//!
//! Each shard places its own logs, by what all shards have where: that is counted once for the process, beside what was
//! found at start. The counts are touched where a log comes, goes or moves, and once a minute; never by an append.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::directories::Directories;
use super::error::StorageError;
use super::store::Store;

/// What one directory bears, all shards together.
#[derive(Default)]
pub(super) struct Load {
    logs: AtomicUsize,
    /// Bytes that were written to segments, as of each shard's last checkpoint.
    written_bytes: AtomicU64,
}

/// A log's place in a directory, counted from before the log is made until it is gone.
pub(super) struct Seat {
    /// Not the directories: their locks go when the store does, whoever holds a log.
    loads: Arc<[Load]>,
    dir: Cell<usize>,
}

/// What this shard knows of the directories for its choice.
pub(super) struct Placement {
    /// Directories that take no new logs (KIP-1066).
    cordoned: RefCell<Vec<bool>>,
    /// The bytes that all shards had written to each directory by the last checkpoint but one, and by the last.
    samples: RefCell<[Vec<u64>; 2]>,
}

/// One directory that works, as a place for a new log.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    dir: usize,
    is_cordoned: bool,
    /// Full, or nearly.
    is_full: bool,
    logs: usize,
    /// Bytes written lately.
    written_bytes: u64,
    /// `None` where the file system does not say.
    free_bytes: Option<u64>,
}

/// A disk with less than this part free is nearly full.
const SHORT_PART: u64 = 20;
/// The least that little free space makes of a directory, beside the one with the most.
const ROOM_MIN: f64 = 0.25;

/// Chooses the directory for a new log: the one that will bear the least for the room that it has.
///
/// - One that is cordoned, or whose disk is nearly full, takes logs only if all are.
/// - What a directory bears is counted in logs: those in it, the new one, and its part of what was written in the last
///   minute or two, all of which is worth as much as all logs. Logs alone (Kafka's measure) are blind to the few that take
///   all writes, and are halves of one disk's time; writes alone are blind to what is idle now and will not be tomorrow.
/// - Its room is its free space beside that of the directory with the most, at least a quarter: unequal disks then
///   fill alike, and yet free space, which says where data may go and not where it will, never has one disk take
///   all. Of directories on one file system, or on equal disks, the one that bears the least is taken.
/// - Of equals the one with more free space, then the first.
fn choose(candidates: &[Candidate]) -> Option<usize> {
    let logs: usize = candidates.iter().map(|c| c.logs).sum();
    let written: u64 = candidates.iter().map(|c| c.written_bytes).sum();
    let free_max = candidates.iter().filter_map(|c| c.free_bytes).max();
    let free_max = free_max.unwrap_or(0).max(1);
    let cost = |c: &Candidate| {
        let busy = match written {
            0 => 0.0,
            all => logs as f64 * c.written_bytes as f64 / all as f64,
        };
        let room = c
            .free_bytes
            .map_or(1.0, |free| free as f64 / free_max as f64);
        (c.logs as f64 + 1.0 + busy) / room.max(ROOM_MIN)
    };
    let best = candidates.iter().min_by(|a, b| {
        let by_cost = || cost(a).total_cmp(&cost(b));
        (a.is_cordoned, a.is_full)
            .cmp(&(b.is_cordoned, b.is_full))
            .then_with(by_cost)
            .then_with(|| b.free_bytes.cmp(&a.free_bytes))
            .then_with(|| a.dir.cmp(&b.dir))
    });
    best.map(|best| best.dir)
}

impl Seat {
    pub fn take(directories: &Directories, dir: usize) -> Seat {
        directories.loads()[dir].logs.fetch_add(1, Relaxed);
        Seat {
            loads: directories.loads().clone(),
            dir: Cell::new(dir),
        }
    }

    pub fn dir(&self) -> usize {
        self.dir.get()
    }

    /// The log lies in another directory now. Returns where it lay.
    pub fn change(&self, dir: usize) -> usize {
        let old = self.dir.replace(dir);
        self.loads[dir].logs.fetch_add(1, Relaxed);
        self.loads[old].logs.fetch_sub(1, Relaxed);
        old
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.loads[self.dir.get()].logs.fetch_sub(1, Relaxed);
    }
}

impl Placement {
    pub fn new(dirs_count: usize) -> Placement {
        Placement {
            cordoned: RefCell::new(vec![false; dirs_count]),
            samples: RefCell::new([vec![0; dirs_count], vec![0; dirs_count]]),
        }
    }
}

impl Store {
    /// Chooses the directory of a new log.
    ///
    /// - `Err(Offline)`: none works.
    pub(super) async fn place(&self) -> Result<Seat, StorageError> {
        let dirs = &self.shared.dirs;
        if let [only] = &dirs[..] {
            only.check()?;
            return Ok(Seat::take(&self.directories, 0));
        }
        let mut spaces = Vec::with_capacity(dirs.len());
        for dir in dirs {
            spaces.push(self.shared.disk.space(&dir.path).await.ok());
        }
        // From here to the seat there is no await: logs of this shard that are placed side by side see each other.
        let samples = self.placement.samples.borrow();
        let working = dirs.iter().enumerate().filter(|(_, dir)| !dir.is_offline());
        let candidates = working.map(|(i, dir)| {
            let (space, load) = (spaces[i], &self.directories.loads()[i]);
            let is_short = space.is_some_and(|s| s.available_bytes < s.total_bytes / SHORT_PART);
            Candidate {
                dir: i,
                is_cordoned: self.is_cordoned(i),
                is_full: dir.is_full() || is_short,
                logs: load.logs.load(Relaxed),
                written_bytes: load.written_bytes.load(Relaxed) - samples[0][i],
                free_bytes: space.map(|s| s.available_bytes),
            }
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let dir = choose(&candidates).ok_or(StorageError::Offline)?;
        Ok(Seat::take(&self.directories, dir))
    }

    /// Tells the other shards what this one has written, and forgets what is minutes old. With each checkpoint.
    pub(super) fn share_written(&self) {
        let mut samples = self.placement.samples.borrow_mut();
        samples.swap(0, 1);
        for (i, load) in self.directories.loads().iter().enumerate() {
            let more = self.shared.dirs[i].written_bytes.take();
            samples[1][i] = load.written_bytes.fetch_add(more, Relaxed) + more;
        }
    }

    /// Says of each directory whether it takes new logs.
    pub fn set_cordoned(&self, cordoned: impl Iterator<Item = bool>) {
        self.placement.cordoned.replace(cordoned.collect());
    }

    /// Whether a directory takes no new logs.
    pub fn is_cordoned(&self, directory: usize) -> bool {
        self.placement.cordoned.borrow().get(directory) == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::rc::Rc;

    use futures_lite::future::block_on;

    use super::*;
    use crate::rt::{Clock, Disk, SimClock, SimDisk};
    use crate::storage::{Log, LogConfig, MoveProgress, Moved, StoreConfig};
    use crate::types::{NodeId, PartitionIndex, ShardId, Str, Timestamp, TopicPartition, Uuid};

    const GIB: u64 = 1 << 30;

    fn empty(dir: usize, free_gib: u64) -> Candidate {
        Candidate {
            dir,
            is_cordoned: false,
            is_full: false,
            logs: 0,
            written_bytes: 0,
            free_bytes: Some(free_gib * GIB),
        }
    }

    /// Places so many logs, one after the other. How many lie where.
    fn fill(mut candidates: Vec<Candidate>, count: usize) -> Vec<usize> {
        for _ in 0..count {
            let dir = choose(&candidates).expect("some work");
            candidates[dir].logs += 1;
        }
        candidates.iter().map(|c| c.logs).collect()
    }

    #[test]
    fn equal_directories_get_equal_numbers() {
        let three = [0, 1, 2].map(|dir| empty(dir, 100));
        assert_eq!(fill(three.to_vec(), 9), [3, 3, 3]);
        let mut uneven = three.to_vec();
        uneven[0].logs = 4;
        assert_eq!(fill(uneven, 5), [4, 3, 2]);
    }

    #[test]
    fn logs_go_where_there_is_room_and_nobody_gets_all() {
        let half = vec![empty(0, 1000), empty(1, 500)];
        assert_eq!(fill(half, 30), [20, 10]);
        let hardly = vec![empty(0, 1000), empty(1, 1)];
        assert_eq!(fill(hardly, 50), [40, 10], "a quarter is the least");
    }

    #[test]
    fn a_directory_that_takes_the_writes_gets_fewer_logs() {
        let mut busy = vec![empty(0, 100), empty(1, 100)];
        (busy[0].logs, busy[1].logs) = (10, 10);
        busy[0].written_bytes = 3 * GIB;
        busy[1].written_bytes = GIB;
        let placed = fill(busy, 8);
        assert_eq!(placed, [10, 18]);
    }

    #[test]
    fn cordoned_and_full_directories_come_last() {
        let mut dirs = vec![empty(0, 100), empty(1, 100), empty(2, 100)];
        dirs[0].is_cordoned = true;
        dirs[1].is_full = true;
        dirs[2].logs = 1000;
        assert_eq!(choose(&dirs), Some(2));
        assert_eq!(choose(&dirs[..2]), Some(1), "full before cordoned");
        assert_eq!(choose(&dirs[..1]), Some(0));
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn a_file_system_that_does_not_say_counts_as_roomy() {
        let mut dirs = vec![empty(0, 100), empty(1, 100)];
        dirs[1].free_bytes = None;
        assert_eq!(fill(dirs, 4), [2, 2]);
    }

    async fn open(store: &Store, partition: i32) -> Rc<Log> {
        let name = TopicPartition {
            topic: Str::from("t"),
            partition: PartitionIndex(partition),
        };
        let opened = store.open_log(&name, Uuid([3; 16]), LogConfig::default());
        let log = opened.await.expect("opens");
        log.recover(|_| ()).await.expect("recovers");
        log
    }

    /// Goal: a shard places by what all shards have, or each would begin with the first directory.
    /// Method: two stores over the same two directories, whose logs come, move and go.
    #[test]
    fn shards_see_each_others_logs() {
        let disk = Disk::Sim(SimDisk::new(1));
        let paths = ["/d0", "/d1"].map(PathBuf::from);
        block_on(async {
            let directories = Directories::prepare(&disk, &paths, NodeId(1), None).await;
            let directories = directories.expect("prepares");
            let [first, second] = [0, 1].map(|shard| {
                let config = StoreConfig {
                    shard: ShardId(shard),
                    ..StoreConfig::default()
                };
                let clock = Clock::Sim(SimClock::starting_at(Timestamp(1)));
                Store::open(disk.clone(), &directories, config, clock)
            });
            let counts = || [0, 1].map(|i| directories.loads()[i].logs.load(Relaxed));
            let moved = open(&first, 0).await;
            assert_eq!(moved.dir(), 0);
            assert_eq!(open(&second, 1).await.dir(), 1, "the other shard's counts");
            let progress = MoveProgress::default();
            let done = first.move_log(&moved, 1, &progress).await;
            assert_eq!(done.expect("moves"), Moved::Done);
            assert_eq!(counts(), [0, 2]);
            let deleted = open(&second, 2).await;
            assert_eq!(deleted.dir(), 0);
            assert_eq!(counts(), [1, 2]);
            second.delete(&deleted).await.expect("deleted");
            drop(deleted);
            assert_eq!(counts(), [0, 2]);
            second.set_cordoned([true, false].into_iter());
            assert_eq!(
                open(&second, 3).await.dir(),
                1,
                "the emptier one is cordoned"
            );
            assert_eq!(open(&first, 4).await.dir(), 0, "it was not told so");
        });
    }

    /// What was written counts until two checkpoints later.
    #[test]
    fn what_was_written_is_shared_and_forgotten() {
        let disk = Disk::Sim(SimDisk::new(1));
        let paths = ["/d0", "/d1"].map(PathBuf::from);
        block_on(async {
            let directories = Directories::prepare(&disk, &paths, NodeId(1), None).await;
            let directories = directories.expect("prepares");
            let clock = Clock::Sim(SimClock::starting_at(Timestamp(1)));
            let store = Store::open(disk, &directories, StoreConfig::default(), clock);
            let recent = || {
                let samples = store.placement.samples.borrow();
                directories.loads()[0].written_bytes.load(Relaxed) - samples[0][0]
            };
            store.shared.dirs[0].written_bytes.set(7);
            assert_eq!(recent(), 0, "nobody was told");
            for expected in [7, 0] {
                store.share_written();
                assert_eq!(recent(), expected);
            }
        });
    }
}
