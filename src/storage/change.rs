//! What changes a log other than by appending: truncation, snapshots, side files, the clean close.

use std::path::PathBuf;

use smallvec::SmallVec;

use super::checkpoint::LogEntry;
use super::chores::Chore;
use super::error::StorageError;
use super::frame::{self, Kind};
use super::log::{Log, Stage};
use super::names::{EPOCH_CHECKPOINT, FileKind};
use super::segment::Segment;
use super::small;
use crate::types::Offset;

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
            let file = self.shared.file(self, base, false).await?;
            file.truncate(size as u64)
                .await
                .map_err(|e| self.shared.failed(self.dir(), file.path(), e))?;
            file.datasync()
                .await
                .map_err(|e| self.shared.failed(self.dir(), file.path(), e))?;
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
        self.state.borrow_mut().snapshots =
            snapshots.iter().copied().filter(|&o| o <= to).collect();
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

    /// Whether a snapshot of the producers' state would shorten the next recovery by much: after a roll, or many bytes.
    pub fn wants_snapshot(&self) -> bool {
        let state = self.state();
        let newest = state.snapshots.last().copied().unwrap_or(state.start);
        let since = state
            .segments
            .iter()
            .filter(|s| s.base >= newest)
            .map(|s| s.size as u64)
            .sum::<u64>();
        newest < state.end
            && (state.segments.back().is_some_and(|s| s.base > newest)
                || since > SNAPSHOT_EVERY_BYTES)
    }

    /// Stores `state`, the producers' state at `offset` of the log, so that recovery replays only what comes after.
    ///
    /// Not synced, and it need not be: a torn snapshot is not used, one past the recovered end is removed.
    pub async fn write_snapshot(&self, offset: Offset, state: &[u8]) -> Result<(), StorageError> {
        let (file, bytes) = self.snapshot_file(offset, state);
        let written = small::write(&self.shared.disk, &file, &bytes).await;
        written.map_err(|error| self.shared.failed(self.dir(), &file, error))?;
        self.note_snapshot(offset);
        Ok(())
    }

    /// [`Log::write_snapshot`] before what it tells of is deleted: synced, but for its name, which is durable with the
    /// new start.
    pub async fn write_snapshot_synced(
        &self,
        offset: Offset,
        state: &[u8],
    ) -> Result<(), StorageError> {
        let (file, bytes) = self.snapshot_file(offset, state);
        let written = small::write_synced(&self.shared.disk, &file, &bytes).await;
        written.map_err(|error| self.shared.failed(self.dir(), &file, error))?;
        self.note_snapshot(offset);
        Ok(())
    }

    fn snapshot_file(&self, offset: Offset, state: &[u8]) -> (PathBuf, Vec<u8>) {
        let file = FileKind::Snapshot.path(&self.state().path, offset);
        let bytes = frame::encode(Kind::Producers, offset.0 as u64, state);
        (file, bytes)
    }

    /// A snapshot is in its file; the oldest goes.
    fn note_snapshot(&self, offset: Offset) {
        let path = self.state().path.clone();
        let mut gone: SmallVec<[Offset; 2]> = SmallVec::new();
        {
            let mut state = self.state.borrow_mut();
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
    }

    /// The newest snapshot that can be read, and the offset it was taken at; [`Log::recover`] then replays from there.
    pub async fn latest_snapshot(&self) -> Result<Option<(Offset, Vec<u8>)>, StorageError> {
        if self.state().stage == Stage::Unrecovered && !self.state().scanned {
            self.list().await?;
        }
        let (path, offsets) = {
            let state = self.state();
            (state.path.clone(), state.snapshots.clone())
        };
        for &offset in offsets.iter().rev() {
            let Ok(bytes) = self
                .shared
                .disk
                .read_file(&FileKind::Snapshot.path(&path, offset))
                .await
            else {
                continue;
            };
            if let Some(frame) =
                frame::decode(Kind::Producers, &bytes).filter(|f| f.sequence == offset.0 as u64)
            {
                self.state.borrow_mut().replay_from = Some(offset);
                return Ok(Some((offset, frame.payload.to_vec())));
            }
        }
        self.state.borrow_mut().replay_from = None;
        Ok(None)
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
            name: self.partition.to_string(),
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
            epochs: {
                let mut epochs = state.epochs.clone();
                epochs.truncate_end(state.recovery_point);
                epochs
            },
            segments,
        })
    }

    /// Before a checkpoint: the active segment's indexes, and the epochs' file.
    pub(super) async fn write_side_files(&self) -> Result<(), StorageError> {
        let _inside = self.gate.enter().await;
        if self.state().stage != Stage::Open || self.is_offline() {
            return Ok(());
        }
        let active = self
            .state()
            .segments
            .back()
            .filter(|s| s.exists && s.size > 0)
            .map(|s| s.base);
        if let Some(base) = active {
            self.write_index(base).await?;
            self.store_aborted(base).await?;
        }
        self.write_epochs().await
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

    /// The clean close of a log: its active file ends where its last batch does.
    pub(super) async fn finish_active(&self) -> Result<(), StorageError> {
        let touched = {
            let mut state = self.state.borrow_mut();
            let active = state
                .segments
                .back_mut()
                .filter(|s| s.exists && s.allocated > 0);
            active.map(|segment| {
                segment.note_time();
                segment.allocated = 0;
                (segment.base, segment.size)
            })
        };
        let changed = {
            let mut state = self.state.borrow_mut();
            let last = state.segments.back();
            let has_unstored = last.is_some_and(|s| s.aborted.has_unstored());
            std::mem::take(&mut state.changed) || has_unstored
        };
        if let Some((base, size)) = touched {
            let file = self.shared.file(self, base, false).await?;
            file.truncate(size as u64)
                .await
                .map_err(|e| self.shared.failed(self.dir(), file.path(), e))?;
            file.datasync()
                .await
                .map_err(|e| self.shared.failed(self.dir(), file.path(), e))?;
        }
        if changed {
            self.write_side_files().await
        } else {
            Ok(())
        }
    }
}

/// Bytes appended since the last snapshot that make a new one worth its file.
const SNAPSHOT_EVERY_BYTES: u64 = 64 << 20;
