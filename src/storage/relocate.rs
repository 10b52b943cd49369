//! Moving a log to another directory while it is written and read (AlterReplicaLogDirs, KIP-113).
//!
//! Segments are copied byte for byte while the log serves, again and again until little is left. Then commits stop for as
//! long as the rest takes: everything is written to the old files, copied, made durable, and the copy takes the log's name.
//! What is in memory stays as it is, for every byte lies where it lay. Only then does the old directory lose its name.
//!
//! | crash | what the next start finds |
//! |---|---|
//! | before the copy has the name | the old directory; the copy is cleared away |
//! | both have it | the new directory, by its count of moves; the old one is cleared away |
//! | after | the new directory |
//!
//! Both keep the name as well where the old directory fails just then.
//!
//! Copying keeps to the store's [`Throttle`](super::throttle::Throttle), but for the rest, for which commits are stopped. A
//! log that is written faster than that arrives when the throttle is raised, as with Kafka. While a log moves it is not
//! compacted, as with Kafka too: other segments in the place of those that were copied would have all of it begin again.
//!
//! A move never takes the last of the new directory's room: it does not begin, or ends, where no more may be taken.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::error::StorageError;
use super::log::{Log, Stage};
use super::names::{
    EPOCH_CHECKPOINT, FileKind, MOVES, PARTITION_METADATA, START_OFFSET, WANTED_MOVE,
    encode_partition_metadata,
};
use super::shared::Shared;
use super::small;
use super::store::{AT_ONCE, Store};
use super::wanted::future_path;
use crate::rt::{self, BLOCK_BYTES, Buffer, Disk, File, Open, block_ceil, yield_if_needed};
use crate::types::Offset;

/// How far a move is; whoever watches it may cancel it.
#[derive(Default)]
pub struct MoveProgress {
    /// Bytes of segments in the new directory.
    bytes: Cell<u64>,
    /// All below lies there.
    offset: Cell<Offset>,
    is_cancelled: Cell<bool>,
    /// Where the copy is made.
    pub(super) place: OnceCell<PathBuf>,
}

/// How a move ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    Done,
    /// It was cancelled, the log was deleted, or the store closes.
    GivenUp,
}

/// Rounds of copying that nothing held back after which commits are stopped, however fast the log grows.
const ROUNDS_MAX: u32 = 50;
/// The longest sleep between two looks at whether the move still is wanted.
const NAP: Duration = Duration::from_millis(100);

impl MoveProgress {
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub fn offset(&self) -> Offset {
        self.offset.get()
    }

    /// Where the copy of the log of this name is made, in a log directory.
    pub(super) fn place_in(&self, directory: &Path, name: &str) -> &PathBuf {
        self.place.get_or_init(|| future_path(directory, name))
    }

    /// `at` of `written` bytes of the segment `base..end` are there. What offset that is is not looked up: in between, records
    /// count as equally long.
    fn reach(&self, base: Offset, end: Offset, at: u32, written: u32) {
        let records = i128::from(end.0 - base.0) * i128::from(at) / i128::from(written.max(1));
        self.offset.set(base.plus(records as i64));
    }

    pub fn cancel(&self) {
        self.is_cancelled.set(true);
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }
}

impl Store {
    /// The number of the log directory that [`absolute_path`] calls `path`, as [`Store::move_log`] takes it; `None` if it
    /// is none of ours. To the letter, as with Kafka.
    pub fn directory_at(&self, path: &Path) -> Option<usize> {
        let named = |dir: &Path| absolute_path(dir).as_os_str() == path.as_os_str();
        self.shared.dirs.iter().position(|dir| named(&dir.path))
    }

    /// The number of the log directory that a log lies in.
    pub fn directory_of(&self, log: &Log) -> usize {
        log.dir()
    }

    /// How fast logs are copied to other directories, in bytes per second; `None` is as fast as it goes. In force at once,
    /// for a move that is under way too.
    pub fn throttle_moves(&self, bytes_per_second: Option<u64>) {
        let now = self.shared.clock.now();
        self.shared.move_throttle.set(bytes_per_second, now);
    }

    /// Whether a log directory works.
    pub fn is_working(&self, directory: usize) -> bool {
        !self.shared.dirs[directory].is_offline()
    }

    /// Moves a log to another directory. Appends and reads go on; one move of a log at a time.
    ///
    /// - `Err`: the log is where it was. A fault of either directory has taken that one offline.
    /// - `Err` with [`StorageError::is_full`]: the new directory has no room for it.
    /// - What was cut off, by a close or by a fault of the old directory, is left to the next start, if it was
    ///   [wanted](Store::want_move).
    pub async fn move_log(
        &self,
        log: &Rc<Log>,
        directory: usize,
        progress: &MoveProgress,
    ) -> Result<Moved, StorageError> {
        if log.dir() == directory {
            self.clear_move(progress).await;
            return Ok(Moved::Done);
        }
        self.shared.dirs[directory].check()?;
        let parent = &self.shared.dirs[directory].path;
        let place = progress.place_in(parent, &log.name);
        let relocation = Relocation {
            log,
            shared: &self.shared,
            to: directory,
            path: place.clone(),
            progress,
            copied: RefCell::default(),
            generation: Cell::new(None),
        };
        log.is_moving.set(true);
        let moved = relocation.run().await;
        log.is_moving.set(false);
        if !matches!(moved, Ok(Moved::Done)) && !relocation.is_cut_off() {
            // Whatever is there is of no use; what cannot be removed now goes at the next start.
            let _ = self.shared.disk.remove(&relocation.path).await;
        }
        self.shared.start_removals().await;
        moved
    }
}

/// What clients call a log directory: absolute, without a slash at its end.
pub fn absolute_path(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.components().collect()
}

struct Relocation<'a> {
    log: &'a Log,
    shared: &'a Shared,
    to: usize,
    path: PathBuf,
    progress: &'a MoveProgress,
    /// Bytes of each segment that lie in the new directory.
    copied: RefCell<BTreeMap<Offset, u32>>,
    /// The log's when copying began: what was copied before bytes were taken back is of no use.
    generation: Cell<Option<u32>>,
}

/// Whether copying keeps to the throttle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speed {
    Throttled,
    /// Commits wait for it.
    Full,
}

/// How often the log in a directory was moved.
pub(super) async fn moves(disk: &Disk, path: &Path) -> u64 {
    let bytes = disk.read_file(&path.join(MOVES)).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').trim().parse().unwrap_or(0)
}

/// Which of a log's two directories.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Copy,
    Original,
}

/// One segment to copy: its base, and how far its file goes.
type Wanted = (Offset, u32);

impl Relocation<'_> {
    async fn run(&self) -> Result<Moved, StorageError> {
        if self.is_over() {
            return Ok(Moved::GivenUp);
        }
        self.create().await?;
        let mut rounds = 0;
        let _whole = loop {
            self.catch_up(&mut rounds).await?;
            // A compaction that was under way when the move began may have put other files in the place of what was copied,
            // and one of another log may have let much come meanwhile. From here on the store does not close.
            let whole = self.shared.compact_gate.enter().await;
            let is_close = self.left(&self.wanted()) <= self.shared.move_throttle.rest_bytes();
            if is_close || self.is_over() || rounds >= ROUNDS_MAX {
                break whole;
            }
        };
        if self.is_over() {
            return Ok(Moved::GivenUp);
        }
        if self.shared.has_swaps(self.log.dir()) {
            // What a swap says stands in the old directory only.
            self.shared.write_checkpoint(self.log.dir(), false).await?;
        }
        self.finish().await
    }

    /// Copies until little is left, or the log grows as fast as it is copied.
    async fn catch_up(&self, rounds: &mut u32) -> Result<(), StorageError> {
        let throttle = &self.shared.move_throttle;
        while *rounds < ROUNDS_MAX {
            let wanted = self.wanted();
            if self.is_over() || self.left(&wanted) <= throttle.rest_bytes() {
                break;
            }
            // One that was held back says nothing of how fast the log grows.
            *rounds += u32::from(!throttle.is_on());
            self.copy(&wanted, Speed::Throttled).await?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.progress.is_cancelled.get()
            || self.log.state().stage != Stage::Open
            || self.shared.closing.get()
    }

    /// The move has ended though it is still wanted.
    fn is_cut_off(&self) -> bool {
        let is_wanted = !self.progress.is_cancelled() && self.log.state().stage == Stage::Open;
        is_wanted && (self.shared.closing.get() || self.log.is_offline())
    }

    /// The move is over, or what was copied is of no use.
    fn is_stale(&self) -> bool {
        self.is_over() || self.generation.get() != Some(self.log.state().generation)
    }

    /// Waits until the throttle lets more through, or there is no more to be copied.
    async fn hold_back(&self) {
        let shared = self.shared;
        while let Some(wait) = shared.move_throttle.wait(shared.clock.now())
            && !self.is_stale()
        {
            if let Disk::Sim(_) = shared.disk {
                // Time stands still there.
                return rt::yield_now().await;
            }
            rt::sleep(wait.min(NAP)).await;
        }
    }

    /// Makes the copy's directory, without what an earlier run copied: that cannot be told from what it did not come to.
    ///
    /// - `Err` with [`StorageError::is_full`]: there is no room for all of the log.
    async fn create(&self) -> Result<(), StorageError> {
        let disk = &self.shared.disk;
        let failed = |error| self.failed(&self.path, error);
        disk.create_dir(&self.path).await.map_err(failed)?;
        for entry in disk.list(&self.path).await.map_err(failed)? {
            if entry.name != WANTED_MOVE {
                let left = self.path.join(&entry.name);
                let gone = self.shared.take_off_file(&left).await;
                gone.map_err(|error| self.failed(&left, error))?;
            }
        }
        self.shared
            .check_spare_room(self.to, self.log.size())
            .await?;
        let file = self.path.join(PARTITION_METADATA);
        let text = encode_partition_metadata(self.log.topic_id);
        small::write_synced(disk, &file, text.as_bytes())
            .await
            .map_err(|e| self.failed(&file, e))
    }

    /// What there is to copy now; forgets what was copied of an earlier life of the log.
    fn wanted(&self) -> Vec<Wanted> {
        let state = self.log.state();
        if self.generation.replace(Some(state.generation)) != Some(state.generation) {
            self.copied.borrow_mut().clear();
            self.progress.bytes.set(0);
        }
        let there = state.segments.iter().filter(|s| s.exists && s.size > 0);
        there.map(|s| (s.base, s.written.min(s.size))).collect()
    }

    fn left(&self, wanted: &[Wanted]) -> u64 {
        let copied = self.copied.borrow();
        let left = wanted.iter().map(|(base, written)| {
            u64::from(written.saturating_sub(copied.get(base).copied().unwrap_or(0)))
        });
        left.sum()
    }

    async fn copy(&self, wanted: &[Wanted], speed: Speed) -> Result<(), StorageError> {
        let throttle = &self.shared.move_throttle;
        let ends = wanted.iter().skip(1).map(|(base, _)| *base);
        let ends = ends.chain([self.log.end_offset()]);
        for (&(base, written), end) in wanted.iter().zip(ends) {
            let mut at = self.copied.borrow().get(&base).copied().unwrap_or(0);
            if at >= written {
                continue;
            }
            self.progress.reach(base, end, at, written);
            let file = self.open(base).await?;
            while at < written {
                if speed == Speed::Throttled {
                    self.hold_back().await;
                    if self.is_stale() {
                        return Ok(());
                    }
                }
                // From the block that was copied in part.
                let from = at / BLOCK_BYTES as u32 * BLOCK_BYTES as u32;
                let to = written.min(from.saturating_add(throttle.step_bytes()));
                let Ok(page) = self.log.read_chunk(base, from, to).await else {
                    // Deleted or cut meanwhile; a fault of the old directory shows by itself.
                    break;
                };
                let size = block_ceil(page.len());
                let whole = match size == page.len() {
                    true => page,
                    false => {
                        let mut buffer = Buffer::zeroed(size);
                        buffer[..page.len()].copy_from_slice(&page);
                        buffer.freeze()
                    }
                };
                let bytes = u64::from(to - at);
                self.shared
                    .take_spare_room(self.to, file.path(), bytes)
                    .await?;
                file.write(whole, u64::from(from))
                    .await
                    .map_err(|e| self.failed(file.path(), e))?;
                self.progress.bytes.set(self.progress.bytes.get() + bytes);
                throttle.spend(bytes, self.shared.clock.now());
                at = to;
                self.progress.reach(base, end, at, written);
                self.copied.borrow_mut().insert(base, at);
                if self.is_stale() {
                    return Ok(());
                }
                yield_if_needed().await;
            }
            file.close().await.map_err(|e| self.failed(&self.path, e))?;
        }
        Ok(())
    }

    async fn open(&self, base: Offset) -> Result<File, StorageError> {
        let path = FileKind::Log.path(&self.path, base);
        let opened = self.shared.disk.open(&path, Open::CREATE).await;
        opened.map_err(|e| self.failed(&path, e))
    }

    /// The rest, with commits stopped, and the change of directories.
    async fn finish(&self) -> Result<Moved, StorageError> {
        let _round = self.shared.round_gate.enter().await;
        let _inside = self.log.gate.enter().await;
        if self.is_over() {
            return Ok(Moved::GivenUp);
        }
        // All that is durable must be in the segments, and nothing of the log in the journal of a directory that it may
        // come back to.
        self.log.commit_inside().await?;
        if self.log.state().in_journal {
            self.shared
                .reset_journal(self.log.dir(), Some(self.log))
                .await?;
        }
        let wanted = self.wanted();
        self.copy(&wanted, Speed::Full).await?;
        if self.is_over() || self.left(&wanted) > 0 {
            return Ok(Moved::GivenUp);
        }
        self.seal(&wanted).await?;
        self.copy_side_files(&wanted).await?;
        self.count_move(Whose::Copy).await?;
        let home = self.shared.dirs[self.to].path.join(&self.log.name);
        if let Err(error) = self.take_name(&home).await {
            // The copy may have the name, and be found beside the original by the next start: the original counts.
            self.count_move(Whose::Original).await?;
            return Err(error);
        }
        // It only says what is so now.
        let _ = self.shared.disk.remove(&home.join(WANTED_MOVE)).await;
        let (old_dir, old_path) = self.change_over(home, &wanted);
        // The move stands, whatever becomes of these: without a checkpoint the next start scans the log.
        if let Err(error) = self.shared.write_checkpoint(self.to, false).await {
            tracing::error!(partition = %self.log.name, %error, "no checkpoint of a log that moved");
        }
        if let Err(error) = self
            .shared
            .retire(old_dir, &old_path, &self.log.name, AT_ONCE)
            .await
        {
            tracing::error!(partition = %self.log.name, %error, "the old directory of a log that moved stays behind");
        }
        self.progress.offset.set(self.log.end_offset());
        Ok(Moved::Done)
    }

    /// Notes that the copy is newer than the original; or, where that was taken back, that the original is.
    async fn count_move(&self, whose: Whose) -> Result<(), StorageError> {
        let disk = &self.shared.disk;
        let old = self.log.state().path.clone();
        let moves = moves(disk, &old).await;
        let (path, dir, count) = match whose {
            Whose::Copy => (&self.path, self.to, moves + 1),
            Whose::Original => (&old, self.log.dir(), moves + 2),
        };
        let file = path.join(MOVES);
        let written = small::write_synced(disk, &file, format!("{count}\n").as_bytes()).await;
        written.map_err(|error| self.shared.failed_beside(dir, &file, error))?;
        let synced = disk.sync_dir(path).await;
        synced.map_err(|error| self.shared.failed_beside(dir, path, error))
    }

    /// Gives the copy, durable by then, the log's name, durably.
    async fn take_name(&self, home: &Path) -> Result<(), StorageError> {
        let (disk, parent) = (&self.shared.disk, &self.shared.dirs[self.to].path);
        disk.rename(&self.path, home)
            .await
            .map_err(|e| self.failed(home, e))?;
        disk.sync_dir(parent)
            .await
            .map_err(|e| self.failed(parent, e))
    }

    /// Cuts the copies to what was copied, durably; those of segments that are gone go.
    async fn seal(&self, wanted: &[Wanted]) -> Result<(), StorageError> {
        for &(base, size) in wanted {
            let file = self.open(base).await?;
            let sealed = async {
                file.truncate(u64::from(size)).await?;
                file.datasync().await
            };
            let sealed = sealed.await;
            sealed.map_err(|e| self.failed(file.path(), e))?;
        }
        let copied: Vec<Offset> = self.copied.borrow().keys().copied().collect();
        for base in copied {
            if !wanted.iter().any(|(kept, _)| *kept == base) {
                let file = FileKind::Log.path(&self.path, base);
                let _ = self.shared.disk.remove(&file).await;
            }
        }
        Ok(())
    }

    /// Indexes, snapshots, epochs and the start. All but the start can be made anew, and need no sync.
    async fn copy_side_files(&self, wanted: &[Wanted]) -> Result<(), StorageError> {
        let (old, snapshots) = {
            let state = self.log.state();
            (state.path.clone(), state.snapshots.clone())
        };
        let mut names: Vec<PathBuf> = vec![EPOCH_CHECKPOINT.into(), START_OFFSET.into()];
        let bare = Path::new("");
        for &(base, _) in wanted {
            for kind in [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex] {
                names.push(kind.path(bare, base));
            }
        }
        names.extend(
            snapshots
                .iter()
                .map(|&at| FileKind::Snapshot.path(bare, at)),
        );
        let disk = &self.shared.disk;
        for name in names {
            let Ok(bytes) = disk.read_file(&old.join(&name)).await else {
                continue;
            };
            let file = self.path.join(&name);
            let written = match name.as_os_str() == START_OFFSET {
                true => disk.replace_file(&file, &bytes).await,
                false => small::write(disk, &file, &bytes).await,
            };
            written.map_err(|e| self.failed(&file, e))?;
        }
        Ok(())
    }

    /// From here on the log's files are the new ones. Returns where the old ones are.
    fn change_over(&self, home: PathBuf, wanted: &[Wanted]) -> (usize, PathBuf) {
        let log = self.log;
        self.shared.close_files(log.id, None);
        let mut state = log.state.borrow_mut();
        let old_path = std::mem::replace(&mut state.path, home);
        for segment in &mut state.segments {
            // The copy has no space reserved; one that was rolled and not finished yet is made again from here.
            if let Some((_, size)) = wanted.iter().find(|(base, _)| *base == segment.base) {
                segment.allocated = *size;
            } else {
                segment.exists = false;
                segment.allocated = 0;
            }
        }
        state.changed = true;
        state.uncut = None;
        // Whoever is about to open a file by its old name looks again; and no checkpoint of the new directory tells of it yet.
        state.generation = self.shared.next_generation();
        state.compaction.checkpointed = Offset::ZERO;
        (log.seat.change(self.to), old_path)
    }

    /// A fault of the directory that the log moves to, which takes the appends of others as long as there is room for them.
    fn failed(&self, path: &Path, error: std::io::Error) -> StorageError {
        self.shared.failed_beside(self.to, path, error)
    }
}
