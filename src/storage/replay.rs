//! What the journal holds after a crash goes to the segments, before any log is opened.
//!
//! Applying a round again changes nothing, so a crash in the middle of it does no harm. When all is durable the files are
//! cleared, so that nothing of them is applied to what later lives write.
//!
//! A segment without a file was either begun in the journal and not brought to its file yet, or deleted since. It was begun
//! there if the journal has it from its first byte, no file of the log is newer, and not all of it lies below the log's start.
//! What deletes a segment sees to one of these: retention and DeleteRecords note the start first, and keep a newer file where
//! they cannot; compaction keeps what is newer and the checkpoint knows what it replaces; a truncation clears the journal; a
//! log that is deleted takes its directory along.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::error::StorageError;
use super::join::try_join_bounded;
use super::journal::{StoredRun, rounds};
use super::names::{
    FileKind, PARTITION_METADATA, START_OFFSET, decode_partition_metadata, decode_start_offset,
};
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
    let mut begun: BTreeMap<&str, BTreeMap<Offset, Vec<StoredRun<'_>>>> = BTreeMap::new();
    let mut segments = segments.into_iter().peekable();
    while segments.peek().is_some() {
        let some = segments.by_ref().take(APPLY_DEPTH);
        let applies = some.map(|((name, base), runs)| async move {
            let path = directory.join(name);
            let runs = wanted(disk, &path, runs, known.get(name)).await;
            let applied = apply(disk, &path, base, &runs, Open::WRITE).await?;
            Ok(match applied {
                Outcome::NoFile => (None, Some((name, base, runs))),
                Outcome::Nothing => (None, None),
                Outcome::Written(applied) => (Some(applied), None),
            })
        });
        let (written, missing): (Vec<_>, Vec<_>) = try_join_bounded(applies, APPLY_DEPTH)
            .await?
            .into_iter()
            .unzip();
        for (name, base, runs) in missing.into_iter().flatten() {
            begun.entry(name).or_default().insert(base, runs);
        }
        // All together: the file system makes many changes durable at once.
        let syncs = written.into_iter().flatten().map(Applied::finish);
        let bytes = try_join_bounded(syncs, APPLY_DEPTH).await?;
        applied += bytes.into_iter().sum::<u64>();
    }
    let makes = begun
        .into_iter()
        .map(|(name, segments)| make(disk, directory.join(name), segments));
    let bytes = try_join_bounded(makes, APPLY_DEPTH).await?;
    applied += bytes.into_iter().sum::<u64>();
    for file in files {
        clear(disk, file).await.map_err(StorageError::io(file))?;
    }
    Ok(applied)
}

/// Segments that runs are brought to side by side; as many files are open.
const APPLY_DEPTH: usize = 256;

/// What applying the runs of one segment came to.
enum Outcome {
    Written(Applied),
    /// There were none.
    Nothing,
    /// The segment has no file.
    NoFile,
}

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
        run.topic_id == self.topic_id
            && end_of(run.bytes).is_some_and(|end| end <= self.recovery_point)
    }
}

/// The offset after a run's last record.
fn end_of(run: &[u8]) -> Option<Offset> {
    let last = split(run).map_while(Result::ok).last();
    last.map(|batch| batch.header.next_offset())
}

/// Whether a segment that has no file was begun in the journal; else it was deleted since.
///
/// - `runs`: what the journal holds of it, with their positions.
/// - `newest`: the base of the newest file that its log has.
/// - `floor`: what is below was deleted, or is in files for certain.
pub(super) fn was_begun<'a>(
    base: Offset,
    runs: impl Iterator<Item = (u32, &'a [u8])> + Clone,
    newest: Option<Offset>,
    floor: Offset,
) -> bool {
    let is_newest = newest.is_none_or(|newest| newest < base);
    let is_whole = runs.clone().any(|(position, _)| position == 0);
    is_newest
        && is_whole
        && runs
            .filter_map(|(_, run)| end_of(run))
            .any(|end| end > floor)
}

/// Those of one segment's runs that are of the topic whose directory it is, and not in the segment for certain.
async fn wanted<'a>(
    disk: &Disk,
    path: &Path,
    mut runs: Vec<StoredRun<'a>>,
    known: Option<&Known>,
) -> Vec<StoredRun<'a>> {
    // A crash may have spoilt the file before the first segment was there.
    let owner = topic_id(disk, path).await;
    let owner = owner.or(known.map(|known| known.topic_id));
    runs.retain(|run| Some(run.topic_id) == owner && !known.is_some_and(|known| known.holds(run)));
    runs
}

/// Makes the files of those of a log's segments without one that were begun in the journal. Returns the bytes of batches.
///
/// One after the other, and each durably: the next start takes what is missing below another for deleted.
async fn make(
    disk: &Disk,
    path: PathBuf,
    segments: BTreeMap<Offset, Vec<StoredRun<'_>>>,
) -> Result<u64, StorageError> {
    let entries = match disk.list(&path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StorageError::io(&path)(error)),
    };
    let files = entries.iter().filter_map(|e| FileKind::parse(&e.name));
    let logs = files.filter(|(kind, _)| *kind == FileKind::Log);
    let newest = logs.map(|(_, base)| base).max();
    let noted = disk.read_file(&path.join(START_OFFSET)).await.ok();
    let noted = noted.and_then(|text| decode_start_offset(std::str::from_utf8(&text).ok()?));
    let start = noted.unwrap_or(Offset::ZERO);
    let mut bytes = 0;
    for (base, runs) in segments {
        let held = runs.iter().map(|run| (run.position, run.bytes));
        if !was_begun(base, held, newest, start) {
            continue;
        }
        if let Outcome::Written(made) = apply(disk, &path, base, &runs, Open::CREATE).await? {
            bytes += made.finish().await?;
            disk.sync_dir(&path)
                .await
                .map_err(StorageError::io(&path))?;
        }
    }
    Ok(bytes)
}

/// Writes the runs of one segment into its file.
async fn apply(
    disk: &Disk,
    path: &Path,
    base: Offset,
    runs: &[StoredRun<'_>],
    how: Open,
) -> Result<Outcome, StorageError> {
    let end = runs
        .iter()
        .map(|run| run.position as u64 + run.bytes.len() as u64)
        .max();
    let (Some(first), Some(end)) = (runs.iter().map(|run| run.position).min(), end) else {
        return Ok(Outcome::Nothing);
    };
    let name = FileKind::Log.path(path, base);
    let file = match disk.open(&name, how).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Outcome::NoFile),
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
    Ok(Outcome::Written(Applied {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchSeal, Codec, Codecs};
    use crate::types::Timestamp;

    #[test]
    fn a_segment_without_a_file_was_begun_in_the_journal_or_deleted() {
        let mut builder = BatchBuilder::new(Codec::None, 100);
        for _ in 0..3 {
            builder.append(Timestamp(1), None, Some(b"value"), &[]);
        }
        let batch = builder.build(&BatchSeal::default(), &mut Codecs::new());
        // Offsets 40 to 42.
        let run = [&40i64.to_be_bytes()[..], &batch[8..]].concat();
        let begun = |position, newest: Option<i64>, floor| {
            let runs = [(position, &run[..])].into_iter();
            was_begun(Offset(40), runs, newest.map(Offset), Offset(floor))
        };
        assert!(begun(0, None, 0));
        assert!(begun(0, Some(39), 42));
        assert!(!begun(61, Some(39), 0), "its front came to a file once");
        assert!(!begun(0, Some(41), 0), "a newer one came to a file");
        assert!(!begun(0, None, 43), "all of it lies below the start");
    }
}
