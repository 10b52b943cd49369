//! What changes a log other than by appending: truncation, snapshots, side files, the clean close.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use smallvec::SmallVec;

use super::checkpoint::{LogEntry, NotedProducers};
use super::chores::Chore;
use super::error::StorageError;
use super::log::{Log, Stage};
use super::names::{EPOCH_CHECKPOINT, FileKind};
use super::producers_file;
use super::segment::Segment;
use super::small;
use crate::partition::EncodedProducers;
use crate::types::Offset;

/// Bytes of a segment that its index files need not know: little to walk.
const UNINDEXED_MAX: u32 = 8 << 20;

/// Producer snapshots kept per log: the newest may prove unreadable.
const SNAPSHOTS_KEPT: usize = 2;

impl Log {
    /// Takes back every batch that reaches `to` or past it; the next append begins at or after `to`. Durable when it
    /// returns. Nothing may be appended meanwhile. Does nothing if the log ends at or below `to`.
    pub async fn truncate(&self, to: Offset) -> Result<(), StorageError> {
        let _round = self.shared.round_gate.enter().await;
        let _inside = self.gate.enter().await;
        if to >= self.end_offset() {
            return Ok(());
        }
        // What stays must be in the files: the memory of a block that is cut goes.
        self.commit_inside().await?;
        if !self.state().compaction.swaps.is_empty() {
            // What a swap tells is not true of a segment that is cut: the checkpoint tells it before.
            self.shared.write_checkpoint(self.dir(), false).await?;
        }
        if self.state().in_journal {
            // A replay must not bring back what is taken back here.
            self.shared.reset_journal(self.dir(), Some(self)).await?;
        }
        let path = self.state().path.clone();
        let cut = self
            .find_boundary(to)
            .await
            .map_err(|e| e.into_storage(&path))?;
        let largest = match cut {
            Some((base, _)) => self.largest_timestamp(base, base, to).await,
            None => Ok(-1),
        };
        let largest = largest.map_err(|e| e.into_storage(&path))?;
        let removed: Vec<Offset> = {
            let mut guard = self.state.borrow_mut();
            let state = &mut *guard;
            let mut removed = Vec::new();
            // No batch reaches `to`: what is there stays, and the log ends later than its last batch.
            if let Some((base, position)) = cut {
                while state.segments.back().is_some_and(|s| s.base > base) {
                    let segment = state.segments.pop_back().expect("looked at just above");
                    self.shared.tail_shrank(segment.extents.size());
                    removed.push(segment.base);
                }
                if let Some(segment) = state.segments.back_mut() {
                    self.shared
                        .tail_shrank(segment.truncate(position, to, largest));
                }
            }
            if to < state.start {
                let gone = state.segments.drain(..);
                removed.extend(gone.map(|s| s.base));
                state.start = to;
            }
            if state.segments.is_empty() {
                state
                    .segments
                    .push_back(Segment::new(to, self.shared.clock.wall()));
            }
            state.generation = self.shared.next_generation();
            state.marks.clear();
            let clean = state.compaction.first_dirty;
            state.compaction.first_dirty = clean.map(|offset| offset.min(to));
            (state.end, state.durable, state.recovery_point) = (to, to, to);
            state.note_durable_end();
            state.epochs_dirty |= state.epochs.truncate_end(to);
            state.changed = true;
            removed
        };
        self.cut_files(&removed, to).await?;
        self.shared.write_checkpoint(self.dir(), false).await
    }

    /// Makes the files follow a truncation: the cut one first, so that what is removed was past its end.
    async fn cut_files(&self, removed: &[Offset], to: Offset) -> Result<(), StorageError> {
        let path = self.state().path.clone();
        let active = self
            .state()
            .segments
            .back()
            .filter(|s| s.exists)
            .map(|s| (s.base, s.size));
        if let Some((base, size)) = active {
            self.cut(base, size).await?;
        }
        let mut gone: Vec<_> = Vec::new();
        for &base in removed {
            self.shared.close_files(self.id, Some(base));
            gone.push(FileKind::Log.path(&path, base));
        }
        for base in removed.iter().copied().chain(active.map(|a| a.0)) {
            gone.push(FileKind::Index.path(&path, base));
            gone.push(FileKind::TimeIndex.path(&path, base));
            let state = self.state();
            let kept = state
                .segment_at(base)
                .is_some_and(|s| s.aborted.is_stored());
            if !kept {
                gone.push(FileKind::TxnIndex.path(&path, base));
            }
        }
        let snapshots = std::mem::take(&mut self.state.borrow_mut().snapshots);
        let lost = snapshots
            .iter()
            .filter(|&&o| o > to)
            .map(|&o| FileKind::Snapshot.path(&path, o));
        gone.extend(lost);
        {
            let mut state = self.state.borrow_mut();
            state.snapshots = snapshots.iter().copied().filter(|&o| o <= to).collect();
            state.producers.take_if(|noted| noted.offset > to);
            // At most; how much of what stays is told of by a file is not known here.
            state.untold_bytes = state.segments.iter().map(|s| u64::from(s.size)).sum();
        }
        for file in gone {
            match self.shared.disk.remove(&file).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.shared.failed(self.dir(), &file, error));
                }
                _ => {}
            }
        }
        self.shared
            .disk
            .sync_dir(&path)
            .await
            .map_err(|e| self.shared.failed(self.dir(), &path, e))
    }

    /// Bytes that a recovery would have to read for the producers' state, at most.
    pub fn untold_bytes(&self) -> u64 {
        self.state().untold_bytes
    }

    /// Has the next checkpoint say that the producers' state at `offset`, the log's end, is `state`.
    pub fn note_producers(&self, offset: Offset, state: Bytes) {
        let mut log = self.state.borrow_mut();
        log.untold_bytes = 0;
        log.producers = Some(NotedProducers { offset, state });
    }

    /// Stores the `producers` as they were at `offset` of the log, so that recovery replays only what comes after.
    ///
    /// Not synced, and it need not be: a torn snapshot is not used, one past the recovered end is removed.
    pub async fn write_snapshot(
        &self,
        offset: Offset,
        producers: &EncodedProducers,
    ) -> Result<(), StorageError> {
        let told_bytes = self.untold_bytes();
        self.write_told_snapshot(offset, told_bytes, producers)
            .await
    }

    /// [`Log::write_snapshot`] of producers that were taken some time ago.
    ///
    /// - `told_bytes`: [`Log::untold_bytes`] when they were taken.
    pub async fn write_told_snapshot(
        &self,
        offset: Offset,
        told_bytes: u64,
        producers: &EncodedProducers,
    ) -> Result<(), StorageError> {
        let (file, bytes) = self.snapshot_file(offset, producers);
        let written = small::write(&self.shared.disk, &file, &bytes).await;
        self.note_snapshot(offset, told_bytes, &file, written)
    }

    /// [`Log::write_told_snapshot`] before what it tells of is deleted: synced, but for its name, which is durable with the
    /// new start.
    pub async fn write_snapshot_synced(
        &self,
        offset: Offset,
        told_bytes: u64,
        producers: &EncodedProducers,
    ) -> Result<(), StorageError> {
        let (file, bytes) = self.snapshot_file(offset, producers);
        let written = small::write_synced(&self.shared.disk, &file, &bytes).await;
        self.note_snapshot(offset, told_bytes, &file, written)
    }

    fn snapshot_file(&self, offset: Offset, producers: &EncodedProducers) -> (PathBuf, Vec<u8>) {
        let file = FileKind::Snapshot.path(&self.state().path, offset);
        (file, producers_file::encode(offset, producers))
    }

    /// Where a snapshot was `written` to its file, the oldest goes.
    ///
    /// - `told_bytes`: what was appended when it was taken; more may have come since.
    fn note_snapshot(
        &self,
        offset: Offset,
        told_bytes: u64,
        file: &Path,
        written: io::Result<()>,
    ) -> Result<(), StorageError> {
        written.map_err(|error| self.shared.failed(self.dir(), file, error))?;
        let path = self.state().path.clone();
        let mut gone: SmallVec<[Offset; 2]> = SmallVec::new();
        {
            let mut state = self.state.borrow_mut();
            state.untold_bytes -= told_bytes.min(state.untold_bytes);
            state.snapshots.retain(|o| *o != offset);
            state.snapshots.push(offset);
            state.snapshots.sort();
            while state.snapshots.len() > SNAPSHOTS_KEPT {
                gone.push(state.snapshots.remove(0));
            }
            state.changed = true;
        }
        for offset in gone {
            let path = FileKind::Snapshot.path(&path, offset);
            self.shared.add_chore(Chore::Remove { path });
        }
        Ok(())
    }

    /// The newest state of the producers that can be read, and its offset; [`Log::recover`] then replays from there.
    pub async fn latest_snapshot(&self) -> Result<Option<(Offset, Bytes)>, StorageError> {
        if self.state().stage == Stage::Unrecovered && !self.state().scanned {
            self.list().await?;
        }
        let (path, offsets, noted) = {
            let state = self.state();
            let noted = state.producers.clone();
            (state.path.clone(), state.snapshots.clone(), noted)
        };
        let from = noted.as_ref().map_or(Offset(-1), |noted| noted.offset);
        for &offset in offsets.iter().rev().filter(|&&offset| offset > from) {
            let Ok(bytes) = self
                .shared
                .disk
                .read_file(&FileKind::Snapshot.path(&path, offset))
                .await
            else {
                continue;
            };
            let found = producers_file::decode(offset, &bytes);
            if let Some(state) = found.ok().and_then(|found| found.state) {
                self.state.borrow_mut().replay_from = Some(offset);
                return Ok(Some((offset, Bytes::copy_from_slice(state))));
            }
        }
        self.state.borrow_mut().replay_from = noted.as_ref().map(|noted| noted.offset);
        Ok(noted.map(|noted| (noted.offset, noted.state)))
    }

    /// What the directory's checkpoint says of this log; `None` before recovery and after deletion.
    pub(super) fn checkpoint_entry(&self) -> Option<LogEntry> {
        let state = self.state();
        if state.stage != Stage::Open {
            return None;
        }
        let mut segments = Vec::new();
        if let Some(at) = state.durable_at {
            let stored = state.segments.iter().filter(|s| s.exists);
            for segment in stored.take_while(|s| s.base <= at.base) {
                segments.push(segment.to_entry());
            }
            if let Some(last) = segments.last_mut().filter(|s| s.base == at.base) {
                last.size = at.position;
                (last.max_timestamp, last.max_timestamp_offset) = state.durable_max;
            }
        }
        Some(LogEntry {
            name: self.name.clone(),
            topic_id: self.topic_id,
            start: state.start,
            recovery_point: state.recovery_point,
            snapshot: state
                .snapshots
                .iter()
                .rev()
                .find(|o| **o <= state.recovery_point)
                .copied()
                .unwrap_or(Offset(-1)),
            producers: state.producers.clone(),
            epochs: {
                let mut epochs = state.epochs.clone();
                epochs.truncate_end(state.recovery_point);
                epochs
            },
            segments,
        })
    }

    /// The active segment's base, and how many of its bytes its index files do not know and the index in memory does.
    fn active(&self) -> Option<(Offset, u32)> {
        let state = self.state();
        let active = state.segments.back();
        let active = active.filter(|s| state.stage == Stage::Open && s.exists && s.size > 0)?;
        // What neither knows is left to the first lookup: the whole segment would have to be read.
        let is_known = active.index_whole || active.seal.is_some();
        let unindexed = is_known.then_some(active.size - active.indexed);
        Some((active.base, unindexed.unwrap_or(0)))
    }

    /// How much its index and epochs' files are worth being written, in bytes of batches; 0 is not at all. Where they are
    /// behind, lookups walk the batches.
    pub(super) fn side_files_due(&self) -> u32 {
        let unindexed = self.active().map_or(0, |(_, unindexed)| unindexed);
        match self.state().epochs_dirty {
            true => unindexed.max(UNINDEXED_MAX),
            false if unindexed < UNINDEXED_MAX => 0,
            false => unindexed,
        }
    }

    /// Before a checkpoint: the active segment's indexes, and the epochs' file.
    pub(super) async fn write_side_files(&self) -> Result<(), StorageError> {
        let _inside = self.gate.enter().await;
        if self.is_offline() {
            return Ok(());
        }
        if let Some((base, unindexed)) = self.active() {
            if unindexed > 0 {
                self.write_index(base).await?;
            }
            self.store_aborted(base).await?;
        }
        let is_open = self.state().stage == Stage::Open;
        match is_open {
            true => self.write_epochs().await,
            false => Ok(()),
        }
    }

    /// Before a checkpoint: what was aborted in the active segment, without which recovery looks at all its batches.
    pub(super) async fn store_active_aborted(&self) -> Result<(), StorageError> {
        let _inside = self.gate.enter().await;
        match self.active() {
            Some((base, _)) if !self.is_offline() => self.store_aborted(base).await,
            _ => Ok(()),
        }
    }

    async fn write_epochs(&self) -> Result<(), StorageError> {
        let (text, path) = {
            let mut state = self.state.borrow_mut();
            if !std::mem::take(&mut state.epochs_dirty) {
                return Ok(());
            }
            (state.epochs.encode(), state.path.join(EPOCH_CHECKPOINT))
        };
        let written = small::write(&self.shared.disk, &path, text.as_bytes()).await;
        written.map_err(|error| self.shared.failed(self.dir(), &path, error))
    }

    /// The clean close of a log begins: its active file ends where its last batch does, though not durably. Returns whether
    /// that changed it.
    pub(super) async fn trim_active(&self) -> Result<bool, StorageError> {
        let _inside = self.gate.enter().await;
        if self.is_offline() {
            return Ok(false);
        }
        let trimmed = {
            let mut guard = self.state.borrow_mut();
            let state = &mut *guard;
            // A rolled segment was cut when it was finished.
            let uncut = state.uncut.take().is_some();
            let active = state.segments.back_mut();
            let active = active.filter(|s| s.exists && (uncut || s.allocated > 0));
            active.map(|segment| {
                segment.note_time();
                segment.allocated = 0;
                (segment.base, segment.size)
            })
        };
        if let Some((base, size)) = trimmed {
            self.shorten(base, size).await?;
        }
        Ok(trimmed.is_some())
    }

    /// What [`Log::trim_active`] did becomes durable.
    pub(super) async fn sync_active(&self) -> Result<(), StorageError> {
        let base = self.state().segments.back().map(|s| s.base);
        let Some(base) = base else { return Ok(()) };
        let file = self.shared.file(self, base, false).await?;
        let synced = file.datasync().await;
        synced.map_err(|e| self.shared.failed(self.dir(), file.path(), e))
    }

    /// The clean close of a log ends: what is told of it is in its files.
    pub(super) async fn finish_active(&self) -> Result<(), StorageError> {
        let is_behind = {
            let mut state = self.state.borrow_mut();
            let last = state.segments.back();
            let is_behind = last.is_some_and(|s| s.aborted.has_unstored() || s.indexed < s.size);
            std::mem::take(&mut state.changed) || is_behind
        };
        match is_behind {
            true => self.write_side_files().await,
            false => Ok(()),
        }
    }
}
