//! Room on a log directory's disk: the reserve that batches may not take, and how service comes back.
//!
//! Batches take space only where a segment's file is made longer. There the file system is asked, and the last of its
//! space is left alone: what takes little and frees much (a new log start, a deletion in the metadata log, checkpoints)
//! finds room on a disk that takes no more batches. Work that can wait (compaction, moves to other directories) leaves
//! batches a reserve of their own beside it, and only ends where that is reached: nothing is refused for its sake.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::{Fault, StorageError, fault_of};
use super::shared::{Directory, Shared};
use super::store::Store;
use crate::rt::{Space, sleep};

/// The reserve is this part of the file system, within bounds.
const RESERVE_PART: u64 = 50;
const RESERVE_BYTES_MAX: u64 = 256 << 20;
/// Work that can wait leaves so many reserves, as many as make a disk count as pressed.
const RESERVES_SPARED: u64 = 2;
/// A shard's journal takes at most this part of what is free.
const JOURNAL_PART: u64 = 16;
/// What the file system said is believed so long, and not at all while this many reserves or fewer are left.
const BELIEVED_US: u64 = 1_000_000;
const BELIEVED_RESERVES: u64 = 4;
/// How often a full directory without anything to write is asked whether it has room again.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Bytes of a file system that batches may not take.
pub fn reserve_bytes(space: Space) -> u64 {
    (space.total_bytes / RESERVE_PART).min(RESERVE_BYTES_MAX)
}

/// Bytes of a file system's free space that work which can wait may take.
pub fn spare_bytes(space: Space) -> u64 {
    let spared = RESERVES_SPARED * reserve_bytes(space);
    space.available_bytes.saturating_sub(spared)
}

fn must_spare(space: Space, path: &Path, bytes: u64) -> Result<(), StorageError> {
    let spare = spare_bytes(space);
    if spare >= bytes {
        return Ok(());
    }
    let why = format!(
        "no room: {bytes} bytes are wanted, and {spare} may be taken; the rest of the disk is kept for appends and deletions"
    );
    Err(StorageError::io(path)(io::Error::new(
        io::ErrorKind::StorageFull,
        why,
    )))
}

impl Shared {
    /// Bytes by which a file may be made longer: as `wanted`, or fewer, but at least `needed`.
    ///
    /// - `Err` with [`StorageError::is_full`]: only the reserve is left.
    pub async fn take_room(
        &self,
        dir: usize,
        path: &Path,
        needed: u64,
        wanted: u64,
    ) -> Result<u64, StorageError> {
        let Some(space) = self.space_of(dir, wanted).await else {
            return Ok(wanted);
        };
        let free = space.available_bytes.saturating_sub(reserve_bytes(space));
        if free < needed {
            return Err(self.failed(dir, path, io::Error::from_raw_os_error(libc::ENOSPC)));
        }
        let taken = wanted.min(free);
        self.dirs[dir].took(taken);
        Ok(taken)
    }

    /// Takes room for work that can wait. The directory takes appends all the same.
    ///
    /// - `Err` with [`StorageError::is_full`]: what is left is for appends and for what makes room.
    pub async fn take_spare_room(
        &self,
        dir: usize,
        path: &Path,
        bytes: u64,
    ) -> Result<(), StorageError> {
        let Some(space) = self.space_of(dir, bytes).await else {
            return Ok(());
        };
        must_spare(space, path, bytes)?;
        self.dirs[dir].took(bytes);
        Ok(())
    }

    /// Whether work that takes so many bytes in all may begin, by what the file system says now.
    ///
    /// - `Err`: as with [`Shared::take_spare_room`].
    pub async fn check_spare_room(&self, dir: usize, bytes: u64) -> Result<(), StorageError> {
        match self.ask_space(dir).await {
            Some(space) => must_spare(space, &self.dirs[dir].path, bytes),
            None => Ok(()),
        }
    }

    /// What a failure of work that can wait means for its directory: want of room is no reason to refuse appends.
    pub fn failed_beside(&self, dir: usize, path: &Path, error: io::Error) -> StorageError {
        match fault_of(&error) {
            Fault::Full => StorageError::io(path)(error),
            Fault::Offline => self.failed(dir, path, error),
        }
    }

    /// Whether a shard's journal leaves most of the free space to batches; one that is there already takes none.
    pub async fn has_room_for_journal(&self, dir: usize) -> bool {
        let missing = self.journals[dir].missing_bytes(&self.disk).await;
        let space = self.disk.space(self.journals[dir].directory()).await;
        missing == 0 || space.is_ok_and(|space| missing <= space.available_bytes / JOURNAL_PART)
    }

    /// Whether batches are refused for want of room, here or on another shard, or will be soon.
    pub async fn is_pressed(&self, dir: usize) -> bool {
        let directory = &self.dirs[dir];
        if directory.is_full() || directory.is_offline() {
            return directory.is_full();
        }
        let space = self.space_of(dir, 0).await;
        space.is_some_and(|space| spare_bytes(space) == 0)
    }

    /// `None` where the file system does not say.
    async fn space_of(&self, dir: usize, wanted: u64) -> Option<Space> {
        let (directory, now) = (&self.dirs[dir], self.clock.now());
        if let Some((space, at)) = directory.believed_space() {
            let plenty = wanted.saturating_add(BELIEVED_RESERVES * reserve_bytes(space));
            if now.0.saturating_sub(at.0) < BELIEVED_US && space.available_bytes > plenty {
                return Some(space);
            }
        }
        self.ask_space(dir).await
    }

    /// Asks the file system.
    async fn ask_space(&self, dir: usize) -> Option<Space> {
        let (directory, now) = (&self.dirs[dir], self.clock.now());
        let space = self.disk.space(&directory.path).await.ok()?;
        directory.note_space(space, now);
        Some(space)
    }

    /// Whether nothing waits to be written there, so that no round will find out that there is room.
    fn is_idle(&self, dir: usize) -> bool {
        let dirty = self.dirty.borrow();
        !dirty
            .iter()
            .any(|id| self.log(*id).is_some_and(|log| log.dir() == dir))
    }
}

impl Directory {
    fn took(&self, bytes: u64) {
        if let Some((mut space, at)) = self.believed_space() {
            space.available_bytes = space.available_bytes.saturating_sub(bytes);
            self.note_space(space, at);
        }
    }
}

impl Store {
    /// Returns the number of a directory that has failed, each once. Meanwhile it brings full directories back when they
    /// have room: those that have something to write find out by writing it.
    pub async fn directory_failed(&self) -> usize {
        let shared = &self.shared;
        loop {
            let mut changed = std::mem::take(&mut *shared.changed_dirs.borrow_mut());
            changed.retain(|&dir| shared.dirs[dir].is_offline());
            if let Some(failed) = changed.pop() {
                shared.changed_dirs.borrow_mut().extend(changed);
                return failed;
            }
            if !shared.dirs.iter().any(Directory::is_full) {
                shared.dirs_changed.wait().await;
                continue;
            }
            sleep(ASK_EVERY).await;
            self.ask_full_directories().await;
        }
    }

    /// Takes appends again where there is room and nothing waits to be written.
    pub async fn ask_full_directories(&self) {
        let shared = &self.shared;
        for (dir, directory) in shared.dirs.iter().enumerate() {
            if !directory.is_full() || !shared.is_idle(dir) {
                continue;
            }
            let Ok(space) = shared.disk.space(&directory.path).await else {
                continue;
            };
            directory.note_space(space, shared.clock.now());
            if space.available_bytes > reserve_bytes(space) && shared.is_idle(dir) {
                directory.on_written();
            }
        }
    }

    /// Takes a directory offline that failed on another shard.
    pub fn take_offline(&self, directory: usize) {
        self.shared.dirs[directory].set_offline();
    }
}
