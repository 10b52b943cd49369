//! What the journal holds after a crash goes to the segments, before any log is opened.
//!
//! Applying a round again changes nothing, so a crash in the middle of it does no harm. When all is durable the files are
//! cleared, so that nothing of them is applied to what later lives write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::error::StorageError;
use super::join::try_join_bounded;
use super::journal::{StoredRun, rounds};
use super::names::{FileKind, PARTITION_METADATA, decode_partition_metadata};
use crate::record::split;
use crate::rt::{BLOCK_BYTES, Buffer, Disk, File, Open, block_ceil, block_floor};
use crate::types::{Offset, TopicId};

/// Applies the journal files of one directory and clears them. Returns the bytes of batches that they held.
///
/// - `known`: what the checkpoint knows, by the name of the partition's directory. What it calls durable in its segment is
///   left alone: compaction may have put another file there.
pub(super) async fn replay(
    disk: &Disk,
    directory: &Path,
    files: &[PathBuf],
    known: &HashMap<String, Known>,
) -> Result<u64, StorageError> {
    let mut contents = Vec::new();
    for file in files {
        let open = disk
            .open(file, Open::READ)
            .await
            .map_err(StorageError::io(file))?;
        let first = open
            .read(0, BLOCK_BYTES)
            .await
            .map_err(StorageError::io(file))?;
        // A file that was cleared, or never used, need not be read whole.
        if first.iter().any(|&byte| byte != 0) {
            contents.push(disk.read_file(file).await.map_err(StorageError::io(file))?);
        }
    }
    let mut all: Vec<(u64, Vec<StoredRun<'_>>)> = contents
        .iter()
        .flat_map(|content| rounds(content))
        .collect();
    all.sort_by_key(|round| round.0);
    let mut segments: BTreeMap<(&str, Offset), Vec<StoredRun<'_>>> = BTreeMap::new();
    for run in all.into_iter().flat_map(|round| round.1) {
        segments.entry((run.name, run.base)).or_default().push(run);
    }
    let mut applied = 0;
    let mut segments = segments.into_iter().peekable();
    while segments.peek().is_some() {
        let some = segments.by_ref().take(APPLY_DEPTH);
        let applies = some.map(|((name, base), runs)| {
            apply_known(disk, directory.join(name), base, runs, known.get(name))
        });
        let written = try_join_bounded(applies, APPLY_DEPTH).await?;
        // All together: the file system makes many changes durable at once.
        let syncs = written.into_iter().flatten().map(Applied::finish);
        let bytes = try_join_bounded(syncs, APPLY_DEPTH).await?;
        applied += bytes.into_iter().sum::<u64>();
    }
    for file in files {
        clear(disk, file).await.map_err(StorageError::io(file))?;
    }
    Ok(applied)
}

/// Segments that runs are brought to side by side; as many files are open.
const APPLY_DEPTH: usize = 256;

/// A segment that was written, not yet durably.
struct Applied {
    file: File,
    bytes: u64,
}

impl Applied {
    /// Returns the bytes of batches.
    async fn finish(self) -> Result<u64, StorageError> {
        let path = self.file.path().to_owned();
        let finished = async {
            self.file.datasync().await?;
            self.file.close().await
        };
        finished.await.map_err(StorageError::io(&path))?;
        Ok(self.bytes)
    }
}

/// What the checkpoint knows of a log.
pub(super) struct Known {
    pub topic_id: TopicId,
    pub recovery_point: Offset,
}

impl Known {
    /// Whether all of a run is durable in its segment.
    fn holds(&self, run: &StoredRun<'_>) -> bool {
        let last = split(run.bytes).map_while(Result::ok).last();
        let end = last.map(|batch| batch.header.next_offset());
        run.topic_id == self.topic_id && end.is_some_and(|end| end <= self.recovery_point)
    }
}

/// Applies those of one segment's runs that are of the topic whose directory it is, and not in the segment for certain.
async fn apply_known(
    disk: &Disk,
    path: PathBuf,
    base: Offset,
    mut runs: Vec<StoredRun<'_>>,
    known: Option<&Known>,
) -> Result<Option<Applied>, StorageError> {
    // A crash may have spoilt the file before the first segment was there.
    let owner = topic_id(disk, &path).await;
    let owner = owner.or(known.map(|known| known.topic_id));
    runs.retain(|run| Some(run.topic_id) == owner && !known.is_some_and(|known| known.holds(run)));
    apply(disk, &path, base, &runs).await
}

/// Writes the runs of one segment into its file. A segment that is gone was deleted since.
async fn apply(
    disk: &Disk,
    path: &Path,
    base: Offset,
    runs: &[StoredRun<'_>],
) -> Result<Option<Applied>, StorageError> {
    let end = runs
        .iter()
        .map(|run| run.position as u64 + run.bytes.len() as u64)
        .max();
    let (Some(first), Some(end)) = (runs.iter().map(|run| run.position).min(), end) else {
        return Ok(None);
    };
    let name = FileKind::Log.path(path, base);
    let file = match disk.open(&name, Open::WRITE).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io(&name)(error)),
    };
    let start = block_floor(first as u64);
    let size = block_ceil((end - start) as usize);
    let mut buffer = Buffer::zeroed(size);
    let held = file
        .read(start, size)
        .await
        .map_err(StorageError::io(&name))?;
    buffer[..held.len()].copy_from_slice(&held);
    for run in runs {
        let at = (run.position as u64 - start) as usize;
        buffer[at..at + run.bytes.len()].copy_from_slice(run.bytes);
    }
    file.write(buffer.freeze(), start)
        .await
        .map_err(StorageError::io(&name))?;
    Ok(Some(Applied {
        file,
        bytes: runs.iter().map(|run| run.bytes.len() as u64).sum(),
    }))
}

async fn topic_id(disk: &Disk, path: &Path) -> Option<TopicId> {
    let bytes = disk.read_file(&path.join(PARTITION_METADATA)).await.ok()?;
    decode_partition_metadata(std::str::from_utf8(&bytes).ok()?)
}

async fn clear(disk: &Disk, path: &Path) -> std::io::Result<()> {
    let file = disk.open(path, Open::WRITE).await?;
    if !file.is_empty()? {
        file.write(Buffer::zeroed(BLOCK_BYTES).freeze(), 0).await?;
        file.datasync().await?;
    }
    file.close().await
}
