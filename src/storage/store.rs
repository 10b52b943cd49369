//! One shard's store: its logs, opened, committed, checkpointed and closed.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashSet;
use std::cell::{Cell, RefCell};

use super::checkpoint::Encoder;
use super::commit::Committed;
use super::compact::{CleanedOffsets, ToldLog};
use super::directories::{Directories, Found, checkpoint_path};
use super::error::StorageError;
use super::gate::Gate;
use super::join::try_join_bounded;
use super::log::{Log, LogConfig, LogId, Stage};
use super::names::{
    PARTITION_METADATA, decode_partition_metadata, deleted_directory, encode_partition_metadata,
};
use super::placement::{Placement, Seat};
use super::relocate::moves;
use super::removal::Removal;
use super::shared::{Directory, Shared};
use super::stats::{DeviceStats, StoreStats};
use super::sync_cost::{SyncCost, SyncMode};
use crate::rt::{Clock, Disk, Space, sleep, timeout, yield_if_needed};
use crate::types::{ShardId, TopicId, TopicPartition, Uuid};

/// How a store is sized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// Whose it is: names its checkpoint files.
    pub shard: ShardId,
    /// Memory for tails and read cache, half each. What is not yet written comes on top.
    pub cache_bytes: usize,
    /// Descriptors of segments held open.
    pub open_files_max: usize,
    /// Logs of one commit round in flight at once.
    pub commit_depth: usize,
    /// Bytes of each of a directory's two journal files; 0: every run goes to its segment.
    pub journal_bytes: u64,
    /// How its writes become durable; `None`: the way that was measured to be the cheaper.
    pub journal_sync: Option<SyncMode>,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            shard: ShardId(0),
            cache_bytes: 256 << 20,
            open_files_max: 4096,
            commit_depth: 64,
            journal_bytes: 32 << 20,
            journal_sync: None,
        }
    }
}

/// One shard's logs in all log directories.
pub struct Store {
    pub(super) shared: Rc<Shared>,
    pub(super) directories: Directories,
    /// Names whose start-up image has been used: a log created later under the name is another one.
    opened: RefCell<HashSet<String>>,
    /// Of each directory, as its file has it or will.
    pub(super) cleaned: RefCell<Vec<CleanedOffsets>>,
    pub(super) cleaned_gate: Gate,
    pub(super) placement: Placement,
}

/// Whether a partition is new, or had a log before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Birth {
    Now,
    Before,
}

/// Whether a log's directory says whose it is.
struct Labelled(bool);

/// One log directory, for DescribeLogDirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryInfo {
    pub path: PathBuf,
    pub id: Uuid,
    pub offline: bool,
    pub full: bool,
    /// `None` if the file system does not say.
    pub space: Option<Space>,
}

impl Store {
    /// A store over prepared directories. No I/O yet.
    pub fn open(disk: Disk, directories: &Directories, config: StoreConfig, clock: Clock) -> Store {
        let dirs = directories.images().iter().map(|image| {
            let mut dir = Directory::new(image.path.clone(), &clock);
            dir.journal_dir = image.journal_dir.clone();
            dir.generation.set(image.generation);
            if image.is_offline {
                dir.set_offline();
            }
            dir.set_sync_cost(image.sync_cost);
            dir.lanes.set_places(image.places);
            dir
        });
        let dirs = dirs.collect();
        let shared = Shared::new(disk, clock, config, dirs);
        if config.shard == ShardId(0) {
            let leftovers = directories.images().iter().flat_map(|i| i.leftovers.iter());
            let now = shared.clock.now();
            leftovers.for_each(|path| shared.removals.add(Removal::Directory(path.clone()), now));
        }
        Store {
            shared: Rc::new(shared),
            directories: directories.clone(),
            opened: RefCell::default(),
            cleaned: RefCell::new(
                directories
                    .images()
                    .iter()
                    .map(|i| i.cleaned.clone())
                    .collect(),
            ),
            cleaned_gate: Gate::default(),
            placement: Placement::new(directories.images().len()),
        }
    }

    /// Opens a partition's log, creating it where there is none. One call per partition at a time.
    ///
    /// - Before the first append or read, [`Log::recover`] must have run, for a new log too.
    /// - A directory left by a deleted topic of the same name is moved out of the way.
    pub async fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Rc<Log>, StorageError> {
        self.open_as(partition, topic_id, config, Birth::Now).await
    }

    /// [`Store::open_log`] of a partition that an earlier run had.
    ///
    /// - `Err(Offline)`: it is not found, and may lie in a directory that cannot be seen now: making it anew would lose it.
    pub async fn reopen_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Result<Rc<Log>, StorageError> {
        self.open_as(partition, topic_id, config, Birth::Before)
            .await
    }

    /// Finds what the last run left under a name. What belongs to another topic goes out of the way.
    async fn find_left(
        &self,
        name: &str,
        topic_id: TopicId,
    ) -> Result<Option<(usize, Found, Labelled)>, StorageError> {
        let mut kept: Option<(usize, Found, Labelled)> = None;
        for (dir, found) in self.directories.find(name) {
            let path = self.shared.dirs[dir].path.join(name);
            let told = found.entry.as_ref().map(|entry| entry.topic_id);
            let labelled = match found.clean {
                true => told,
                false => self.read_topic_id(&path).await,
            };
            let known = labelled.or(told);
            if known.is_some_and(|id| id != topic_id) {
                self.shared.retire(dir, &path, name, AT_ONCE).await?;
                continue;
            }
            let found = match told == known {
                true => found.clone(),
                // The checkpoint tells of another topic, which was deleted since.
                false => Found::default(),
            };
            let left = (dir, found, Labelled(labelled.is_some()));
            let older = match kept.take() {
                None => {
                    kept = Some(left);
                    continue;
                }
                Some(other) => {
                    // A move between directories was cut off.
                    let disk = &self.shared.disk;
                    let others = self.shared.dirs[other.0].path.join(name);
                    let is_newer = moves(disk, &path).await > moves(disk, &others).await;
                    let (newer, older) = if is_newer {
                        (left, other)
                    } else {
                        (other, left)
                    };
                    kept = Some(newer);
                    older.0
                }
            };
            let path = self.shared.dirs[older].path.join(name);
            self.shared.retire(older, &path, name, AT_ONCE).await?;
        }
        Ok(kept)
    }

    async fn open_as(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        birth: Birth,
    ) -> Result<Rc<Log>, StorageError> {
        let name = partition.to_string();
        let first = self.opened.borrow_mut().insert(name.clone());
        let left = match first {
            true => self.find_left(&name, topic_id).await?,
            false => None,
        };
        let (seat, found, labelled) = match left {
            Some((dir, found, Labelled(labelled))) => {
                (Seat::take(&self.directories, dir), Some(found), labelled)
            }
            None if birth == Birth::Before && first && self.directories.may_hide_logs() => {
                return Err(StorageError::Offline);
            }
            None => (self.place().await?, None, false),
        };
        let dir = seat.dir();
        if !first {
            // The name comes back: what the journal holds of its earlier bearer must not be applied to this one.
            let _round = self.shared.round_gate.enter().await;
            self.shared.reset_journal(dir, None).await?;
        }
        let path = self.shared.dirs[dir].path.join(&name);
        let cleaned = &self.directories.images()[dir].cleaned;
        let first_dirty = found.is_some().then(|| cleaned.find(partition)).flatten();
        if found.is_none() {
            self.shared
                .disk
                .create_dir(&path)
                .await
                .map_err(|e| self.shared.failed(dir, &path, e))?;
        }
        if !labelled {
            let file = path.join(PARTITION_METADATA);
            let text = encode_partition_metadata(topic_id);
            // A new log's is made durable with its first segment.
            let written = match found {
                None => super::small::write(&self.shared.disk, &file, text.as_bytes()).await,
                Some(_) => {
                    super::small::write_synced(&self.shared.disk, &file, text.as_bytes()).await
                }
            };
            written.map_err(|e| self.shared.failed(dir, &file, e))?;
        }
        let mut logs = self.shared.logs.borrow_mut();
        let vacant = self.shared.vacant.borrow_mut().pop();
        let id = vacant.unwrap_or_else(|| {
            logs.push(None);
            LogId(logs.len() as u32 - 1)
        });
        let log = Rc::new(Log {
            id,
            shared: self.shared.clone(),
            seat,
            topic_id,
            name: name.clone(),
            partition: partition.clone(),
            state: RefCell::new(super::recover::initial_state(
                found,
                path,
                config,
                self.shared.next_generation(),
            )),
            gate: Gate::default(),
            is_moving: Cell::new(false),
        });
        log.state.borrow_mut().compaction.first_dirty = first_dirty;
        logs[id.0 as usize] = Some(log.clone());
        Ok(log)
    }

    async fn read_topic_id(&self, path: &Path) -> Option<TopicId> {
        let bytes = self
            .shared
            .disk
            .read_file(&path.join(PARTITION_METADATA))
            .await
            .ok()?;
        decode_partition_metadata(std::str::from_utf8(&bytes).ok()?)
    }

    /// Removes a log: its directory is renamed at once, and unlinked in the background when its topic's
    /// `file.delete.delay.ms` is over.
    pub async fn delete(&self, log: &Rc<Log>) -> Result<(), StorageError> {
        let _inside = log.gate.enter().await;
        let (path, delay_ms) = {
            let mut state = log.state.borrow_mut();
            if std::mem::replace(&mut state.stage, Stage::Deleted) == Stage::Deleted {
                return Ok(());
            }
            let held: usize = state.segments.iter().map(|s| s.extents.size()).sum();
            self.shared.tail_shrank(held);
            state.segments.clear();
            (state.path.clone(), state.config.file_delete_delay_ms)
        };
        self.shared.close_files(log.id, None);
        self.shared.chunks.borrow_mut().forget(log.id);
        self.shared.ahead.borrow_mut().forget(log.id);
        self.shared.logs.borrow_mut()[log.id.0 as usize] = None;
        self.shared.vacant.borrow_mut().push(log.id);
        self.shared
            .retire(log.dir(), &path, &log.partition.to_string(), delay_ms)
            .await?;
        self.shared.start_removals().await;
        Ok(())
    }

    /// Removes partition directories of the last run that `keep` does not want: topics deleted meanwhile.
    /// Once, by one shard, after every shard has opened what it owns.
    pub async fn delete_strays(&self, keep: impl Fn(&str) -> bool) -> Result<usize, StorageError> {
        let mut count = 0;
        for (dir, image) in self.directories.images().iter().enumerate() {
            for name in image.logs.keys().filter(|name| !keep(name)) {
                self.shared
                    .retire(dir, &image.path.join(name), name, AT_ONCE)
                    .await?;
                count += 1;
            }
        }
        self.shared.start_removals().await;
        Ok(count)
    }

    /// The log in a slot.
    pub fn log(&self, id: LogId) -> Option<Rc<Log>> {
        self.shared.log(id)
    }

    /// All logs that are open.
    pub fn logs(&self) -> Vec<Rc<Log>> {
        self.shared
            .logs
            .borrow()
            .iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Returns once some log has appends that are not durable; while the disk is full, only from time to time.
    pub async fn dirty(&self) {
        loop {
            self.shared.dirty().await;
            if let Disk::Sim(_) = self.shared.disk {
                return;
            }
            if !self.shared.all_dirty_back_off() {
                return self.shared.gather().await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a small durable write costs in each log directory's journal, by what is known now.
    pub fn sync_costs(&self) -> Vec<SyncCost> {
        let dirs = self.shared.dirs.iter();
        dirs.map(|dir| dir.sync_cost.get()).collect()
    }

    /// One round: makes durable all that is appended now. Appends go on meanwhile. One round at a time.
    pub async fn commit(&self) -> Committed {
        self.shared.commit().await
    }

    /// Notes on disk how far the logs are durable, so that recovery need not look further back, and what was given to
    /// [`Log::note_producers`] before.
    pub async fn checkpoint(&self) -> Result<(), StorageError> {
        self.share_written();
        let logs = self.logs();
        let changed = logs
            .iter()
            .filter(|log| std::mem::take(&mut log.state.borrow_mut().changed));
        let writes = changed.map(|log| log.store_active_aborted());
        try_join_bounded(writes, SIDE_FILES_DEPTH).await?;
        let mut due: Vec<_> = logs.iter().map(|log| (log.side_files_due(), log)).collect();
        due.retain(|(due, _)| *due > 0);
        due.sort_by_key(|(due, _)| Reverse(*due));
        due.truncate(SIDE_FILES_MAX);
        let writes = due.into_iter().map(|(_, log)| log.write_side_files());
        try_join_bounded(writes, SIDE_FILES_DEPTH).await?;
        for dir in 0..self.shared.dirs.len() {
            self.shared.write_checkpoint(dir, false).await?;
        }
        Ok(())
    }

    /// Commits everything, cuts files to their logs' ends, writes indexes, and marks the directories clean.
    /// Nothing may be appended after, and nothing is deleted any more.
    pub async fn close(&self) -> Result<(), StorageError> {
        self.shared.closing.set(true);
        let _alone = self.shared.compact_gate.enter().await;
        let committed = self.commit().await;
        if let Some((_, error)) = committed.failed.into_iter().next() {
            return Err(error);
        }
        self.shared.run_chores().await;
        self.shared.finish_removals().await;
        {
            let _round = self.shared.round_gate.enter().await;
            for dir in 0..self.shared.dirs.len() {
                if !self.shared.dirs[dir].is_offline() {
                    self.shared.reset_journal(dir, None).await?;
                }
            }
        }
        // Rolled segments may have come from the journal to their ends just now.
        self.shared.run_chores().await;
        self.finish_logs().await?;
        for dir in 0..self.shared.dirs.len() {
            if !self.shared.dirs[dir].is_offline() {
                if self.shared.has_swaps(dir) {
                    // After a clean close nobody looks for what a swap says: it must be told before.
                    self.shared.write_checkpoint(dir, false).await?;
                }
                self.shared.write_checkpoint(dir, true).await?;
            }
        }
        Ok(())
    }

    /// Has every log's files end where it does, and tell all of it.
    ///
    /// First all are cut, then all are synced: the file system makes many changes durable at once.
    async fn finish_logs(&self) -> Result<(), StorageError> {
        let logs = self.logs();
        let trims = logs.iter().map(|log| log.trim_active());
        let trimmed = try_join_bounded(trims, CLOSE_DEPTH).await?;
        let changed = logs.iter().zip(trimmed).filter(|(_, trimmed)| *trimmed);
        let syncs = changed.map(|(log, _)| log.sync_active());
        try_join_bounded(syncs, CLOSE_DEPTH).await?;
        let finishes = logs.iter().map(|log| log.finish_active());
        try_join_bounded(finishes, CLOSE_DEPTH).await?;
        Ok(())
    }

    /// Writes the indexes of the rolled segments of a log that was recovered now, not as a chore, and tells of faults.
    pub async fn finish_segments(&self, log: &Rc<Log>) -> Result<(), StorageError> {
        for base in log.unfinished() {
            log.finish_segment(base).await?;
        }
        Ok(())
    }

    /// The log directories, for DescribeLogDirs.
    pub async fn directories(&self) -> Vec<DirectoryInfo> {
        let mut infos = Vec::new();
        for (dir, (_, id)) in self.shared.dirs.iter().zip(self.directories.ids()) {
            infos.push(DirectoryInfo {
                path: dir.path.clone(),
                id,
                offline: dir.is_offline(),
                full: dir.is_full(),
                space: self.shared.disk.space(&dir.path).await.ok(),
            });
        }
        infos
    }

    /// Bytes written to devices since it was opened, padding included.
    pub fn written_bytes(&self) -> u64 {
        let stats = &self.shared.stats;
        stats.write_bytes.get() + stats.journal_bytes.get()
    }

    /// Has tails and read cache keep to `bytes`, half each, from now on.
    pub async fn limit_cache(&self, bytes: usize) {
        self.shared.limit_cache(bytes / 2).await;
    }

    /// What it has done on each log directory's device.
    pub fn device_stats(&self) -> Vec<DeviceStats> {
        let dirs = self.shared.dirs.iter().zip(&self.shared.journals);
        dirs.map(|(dir, journal)| DeviceStats {
            path: dir.path.clone(),
            journal: dir.journal_writes.stats(),
            write: dir.segment_writes.stats(),
            read: dir.segment_reads.stats(),
            journal_size: journal.fill().1,
            journal_used: journal.fill().0,
            sync_us: dir.sync_cost.get().us(),
        })
        .collect()
    }

    /// What it has done and holds.
    pub fn stats(&self) -> StoreStats {
        let (stats, shared) = (&self.shared.stats, &self.shared);
        StoreStats {
            appends: stats.appends.get(),
            append_bytes: stats.append_bytes.get(),
            commits: stats.commits.get(),
            writes: stats.writes.get(),
            write_bytes: stats.write_bytes.get(),
            journal_writes: stats.journal_writes.get(),
            journal_bytes: stats.journal_bytes.get(),
            drains: stats.drains.get(),
            reads: stats.reads.get(),
            read_bytes: stats.read_bytes.get(),
            served_bytes: stats.served_bytes.get(),
            reads_tail: stats.reads_tail.get(),
            reads_history: stats
                .reads_chunks
                .get()
                .saturating_sub(stats.reads_missed.get()),
            reads_device: stats.reads_missed.get(),
            rolls: stats.rolls.get(),
            opens: stats.opens.get(),
            faults: stats.faults.get(),
            logs: shared.logs.borrow().iter().flatten().count() as u64,
            files_open: shared.files_open() as u64,
            tail_bytes: shared.tail_bytes.get() as u64,
            chunk_bytes: shared.chunks.borrow().size() as u64,
        }
    }
}

impl Shared {
    /// Renames a partition's directory out of the way and has it unlinked `delay_ms` milliseconds later.
    pub(super) async fn retire(
        &self,
        dir: usize,
        path: &Path,
        name: &str,
        delay_ms: i64,
    ) -> Result<(), StorageError> {
        let parent = &self.dirs[dir].path;
        let gone = parent.join(deleted_directory(name));
        self.disk
            .rename(path, &gone)
            .await
            .map_err(|e| self.failed(dir, path, e))?;
        self.disk
            .sync_dir(parent)
            .await
            .map_err(|e| self.failed(dir, parent, e))?;
        let due = self.due_in(delay_ms);
        self.removals.add(Removal::Directory(gone), due);
        Ok(())
    }

    /// Lets a round wait for what comes a moment later, where that pays.
    async fn gather(&self) {
        let patience_us = self.gathering.flow_patience_us(self.clock.now());
        if patience_us > 0 {
            let had = self.gathering.flow_bytes();
            let patience = Duration::from_micros(patience_us);
            let _ = timeout(patience, self.gathering.flow_enough()).await;
            self.gathering.on_flow_waited(had);
        }
        loop {
            let patience_us = self.gathering.patience_us(self.clock.now());
            if patience_us == 0 {
                return;
            }
            let patience = Duration::from_micros(patience_us);
            // Looked at anew in both cases.
            let _ = timeout(patience, self.gathering.next_append()).await;
        }
    }

    fn all_dirty_back_off(&self) -> bool {
        let now = self.clock.now();
        let dirty = self.dirty.borrow();
        dirty
            .iter()
            .filter_map(|id| self.log(*id))
            .all(|log| self.dirs[log.dir()].is_backing_off(now))
    }

    /// Writes this shard's checkpoint of one directory.
    pub(super) async fn write_checkpoint(
        &self,
        dir: usize,
        clean: bool,
    ) -> Result<(), StorageError> {
        let _inside = self.checkpoint_gate.enter().await;
        let directory = &self.dirs[dir];
        directory.check()?;
        directory.generation.set(directory.generation.get() + 1);
        let logs: Vec<Rc<Log>> = self.logs.borrow().iter().flatten().cloned().collect();
        let (mut encoder, mut told) = (Encoder::default(), Vec::new());
        for log in logs.iter().filter(|log| log.dir() == dir) {
            if let Some(entry) = log.checkpoint_entry() {
                encoder.add(&entry);
                told.push(ToldLog::of(log));
            }
            yield_if_needed().await;
        }
        let bytes = encoder.finish(clean, directory.generation.get());
        let path = checkpoint_path(&directory.path, &self.config.shard.to_string());
        let written = self.disk.replace_file(&path, &bytes).await;
        written.map_err(|error| self.failed(dir, &path, error))?;
        self.on_told(dir, told).await
    }
}

/// The delay of what nobody may still be reading: the last run's.
pub(super) const AT_ONCE: i64 = 0;

/// Logs whose side files a checkpoint writes; those of others may be behind.
const SIDE_FILES_MAX: usize = 64;

/// Logs whose side files are written at once.
const SIDE_FILES_DEPTH: usize = 8;

/// Logs that are closed at once: nobody is served meanwhile.
const CLOSE_DEPTH: usize = 64;
