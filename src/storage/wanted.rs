//! Moves to other directories that were asked for, on disk: the next start goes on with those that did not end.
//!
//! From when a move is asked for until it ends, the directory that the log goes to holds `<topic>-<partition>.<unique>-future`
//! (KIP-113), in which the copy is made, and in it a file that says which log is wanted there. Whoever takes the move back
//! removes that file first; a directory without it is only cleared away by a start. The file is not synced: a power cut may
//! forget a move that was just asked for, as with Kafka.

use std::io;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::log::Log;
use super::names::{FUTURE_SUFFIX, WANTED_MOVE, passing_name};
use super::relocate::MoveProgress;
use super::removal::Removal;
use super::small;
use super::store::Store;
use crate::rt::Disk;
use crate::types::{PartitionIndex, TopicId, Uuid};

/// A move that an earlier run was asked for and that did not end.
#[derive(Clone, Debug)]
pub struct WantedMove {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    place: PathBuf,
}

impl WantedMove {
    /// For going on with it.
    pub fn progress(&self) -> MoveProgress {
        let progress = MoveProgress::default();
        let placed = progress.place.set(self.place.clone());
        placed.expect("it is new");
        progress
    }
}

impl Store {
    /// Whether a log has room in another directory, as things are.
    ///
    /// - `Err` with [`StorageError::is_full`]: why not.
    pub async fn check_move(&self, log: &Log, directory: usize) -> Result<(), StorageError> {
        self.shared.check_spare_room(directory, log.size()).await
    }

    /// Notes in a directory that a log is wanted there: a start goes on with the move that `progress` is of.
    pub async fn want_move(
        &self,
        log: &Log,
        directory: usize,
        progress: &MoveProgress,
    ) -> Result<(), StorageError> {
        let parent = &self.shared.dirs[directory].path;
        let place = progress.place_in(parent, log.name());
        let text = format!("{} {}\n", log.topic_id, log.partition.partition);
        let file = place.join(WANTED_MOVE);
        let disk = &self.shared.disk;
        let written = async {
            disk.create_dir(place).await?;
            small::write(disk, &file, text.as_bytes()).await
        };
        let written = written.await;
        written.map_err(|error| self.shared.failed_beside(directory, &file, error))
    }

    /// Takes that back, durably: no start goes on with the move. One that has begun removes its copy itself.
    pub async fn unwant_move(
        &self,
        directory: usize,
        progress: &MoveProgress,
    ) -> Result<(), StorageError> {
        let Some(place) = progress.place.get() else {
            return Ok(());
        };
        let disk = &self.shared.disk;
        let removed = async {
            disk.remove(&place.join(WANTED_MOVE)).await?;
            disk.sync_dir(place).await
        };
        match removed.await {
            // It has ended, or never was noted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| self.shared.failed_beside(directory, place, error)),
        }
    }

    /// Clears away what a move that does not begin left in its directory.
    pub async fn clear_move(&self, progress: &MoveProgress) {
        if let Some(place) = progress.place.get() {
            let (removals, now) = (&self.shared.removals, self.shared.clock.now());
            removals.add(Removal::Directory(place.clone()), now);
            self.shared.start_removals().await;
        }
    }

    /// The moves that earlier runs did not end, each with the number of the directory that the log goes to.
    pub fn wanted_moves(&self) -> impl Iterator<Item = (usize, &WantedMove)> {
        let images = self.directories.images().iter().enumerate();
        images.flat_map(|(dir, image)| image.wanted.iter().map(move |wanted| (dir, wanted)))
    }
}

/// As Kafka calls it: `<topic>-<partition>.<unique>-future`.
pub(super) fn future_path(directory: &Path, name: &str) -> PathBuf {
    let unique: String = Uuid::random()
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    directory.join(passing_name(name, &unique, FUTURE_SUFFIX))
}

/// Which log a directory that a move left is wanted for; `None`: for none.
pub(super) async fn wanted(disk: &Disk, place: PathBuf) -> Option<WantedMove> {
    let bytes = disk.read_file(&place.join(WANTED_MOVE)).await.ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // A crash may leave the padding of the write.
    let (topic_id, partition) = text.trim_end_matches('\0').trim().split_once(' ')?;
    Some(WantedMove {
        topic_id: topic_id.parse().ok()?,
        partition: PartitionIndex(partition.parse().ok()?),
        place,
    })
}
