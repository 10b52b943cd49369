//! Putting a rewritten segment in the place of those it was made of, and finding out after a crash how far that got.

use std::path::Path;
use std::rc::Rc;

use super::super::aborted::{Aborted, AbortedSeal, AbortedTransaction};
use super::super::checkpoint::{Checkpoint, LogEntry};
use super::super::epochs::Epochs;
use super::super::error::StorageError;
use super::super::log::{Log, Stage, State};
use super::super::names::{FileKind, deleted_name};
use super::super::removal::Removal;
use super::super::segment::Segment;
use super::super::shared::Shared;
use super::plan::Source;
use super::round::{CompactError, Output};
use crate::types::Offset;

/// What the `.swap` and `.log.cleaned` files of a partition's directory say.
#[derive(Clone, Default, Debug)]
pub(in crate::storage) struct FoundSwaps {
    /// Bases of new segments that were written, and not renamed yet.
    pub cleaned: Vec<Offset>,
    /// Bases of new segments that count.
    pub swaps: Vec<Offset>,
    /// What they are, and which offsets they hold.
    entries: Vec<LogEntry>,
}

impl FoundSwaps {
    pub fn is_none(&self) -> bool {
        self.cleaned.is_empty() && self.swaps.is_empty()
    }
}

impl Log {
    /// Before a compaction below `until`: the directory's checkpoint tells of every earlier swap, whose file goes, and its
    /// recovery point is not below `until`.
    pub(super) async fn tell_swaps(&self, until: Offset) -> Result<(), StorageError> {
        let is_told = {
            let state = self.state();
            state.compaction.checkpointed >= until && state.compaction.swaps.is_empty()
        };
        match is_told {
            true => Ok(()),
            false => self.shared.write_checkpoint(self.dir(), false).await,
        }
    }

    /// Puts the new segment in the place of the group. Returns the log's generation after that.
    ///
    /// - `generation`: what it was when the sources were looked at. `Err(Interrupted)`: they are not there any more.
    pub(super) async fn swap_in(
        &self,
        group: &[Source],
        output: Output,
        aborted: &[AbortedTransaction],
        generation: u32,
    ) -> Result<u32, CompactError> {
        let Output { file, segment, .. } = output;
        let file = Rc::new(file);
        let base = segment.base;
        let path = self.state().path.clone();
        let disk = &self.shared.disk;
        {
            let _inside = self.gate.enter().await;
            if self.shared.closing.get() || !self.has_sources(group, generation) {
                let _ = disk.remove(&FileKind::Cleaned.path(&path, base)).await;
                return Err(CompactError::Interrupted);
            }
            // Its name must be there for sure when the swap says that it counts.
            let synced = disk.sync_dir(&path).await;
            synced.map_err(|error| self.output_failed(&path, error))?;
            let record = self.swap_record(group, &segment, aborted);
            {
                // No checkpoint may be taken between what is said on disk and in memory.
                let _checkpoint = self.shared.checkpoint_gate.enter().await;
                let name = FileKind::Swap.path(&path, base);
                let put = disk.replace_file(&name, &record).await;
                put.map_err(|error| self.output_failed(&name, error))?;
                self.change_segments(group, segment, aborted, file);
            }
            let failed = |error| self.shared.failed(self.dir(), &path, error);
            let name = FileKind::Log.path(&path, base);
            // Set aside first: the blocks of a large file are not given back all at once.
            let old = deleted_name(&name);
            disk.rename(&name, &old).await.map_err(failed)?;
            let cleaned = FileKind::Cleaned.path(&path, base);
            disk.rename(&cleaned, &name).await.map_err(failed)?;
            disk.sync_dir(&path).await.map_err(failed)?;
            self.write_index(base).await?;
            match aborted.is_empty() {
                true => {
                    let old = FileKind::TxnIndex.path(&path, base);
                    self.shared.remove_if_there(self.dir(), &old).await?;
                }
                false => self.store_aborted(base).await?,
            }
            if let Some(segment) = self.state.borrow_mut().segment_at_mut(base) {
                segment.pinned = None;
                segment.shelve_index();
            }
        }
        let delay_ms = self.config().file_delete_delay_ms;
        let due = self.shared.due_in(delay_ms);
        let old = deleted_name(&FileKind::Log.path(&path, base));
        self.shared.removals.add(Removal::File(old), due);
        for source in &group[1..] {
            self.shared.removals.add_segment(self.id, source.base);
        }
        self.shared.start_removals().await;
        let mut state = self.state.borrow_mut();
        state.compaction.swaps.push(base);
        Ok(state.generation)
    }

    /// Whether the log still has the segments of a group, as they were.
    fn has_sources(&self, group: &[Source], generation: u32) -> bool {
        let state = self.state();
        let is_there = |source: &Source| {
            let segment = state.segment_at(source.base);
            segment.is_some_and(|segment| segment.size == source.size)
        };
        state.stage == Stage::Open && state.generation == generation && group.iter().all(is_there)
    }

    /// The bytes of the `.swap` file: a checkpoint of one log that has one segment.
    fn swap_record(
        &self,
        group: &[Source],
        segment: &Segment,
        aborted: &[AbortedTransaction],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        aborted.iter().for_each(|entry| entry.encode(&mut bytes));
        let mut entry = segment.to_entry();
        entry.seal = Some(segment.index.seal(u32::MAX, u32::MAX));
        entry.aborted = AbortedSeal {
            count: aborted.len() as u32,
            crc: crc32c::crc32c(&bytes),
            ..AbortedSeal::NONE
        };
        let entry = LogEntry {
            name: self.name().to_owned(),
            topic_id: self.topic_id,
            start: segment.base,
            recovery_point: group.last().expect("a group has a segment").end,
            snapshot: Offset(-1),
            producers: None,
            epochs: Epochs::default(),
            segments: vec![entry],
        };
        let record = Checkpoint {
            clean: false,
            generation: 0,
            logs: vec![entry],
        };
        record.encode()
    }

    /// From here on, readers find the new segment. What they hold of the old ones stays theirs.
    fn change_segments(
        &self,
        group: &[Source],
        mut segment: Segment,
        aborted: &[AbortedTransaction],
        file: Rc<crate::rt::File>,
    ) {
        segment.pinned = Some(file);
        // Where there is none, that is all there is to know: recovery has no marker to look for.
        segment.aborted = match aborted.is_empty() {
            true => Aborted::sealed(AbortedSeal::NONE),
            false => Aborted::empty(segment.base),
        };
        aborted
            .iter()
            .for_each(|entry| segment.aborted.push(*entry));
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let first = state
            .segment_of(segment.base)
            .expect("looked at inside the gate");
        for gone in state.segments.drain(first..first + group.len()) {
            self.shared.tail_shrank(gone.extents.size());
            self.shared.close_files(self.id, Some(gone.base));
        }
        state.segments.insert(first, segment);
        state.generation = self.shared.next_generation();
        state.marks.clear();
        state.changed = true;
        self.shared.chunks.borrow_mut().forget(self.id);
    }

    /// Completes or throws away what a crash left of a compaction. Once, when the directory was listed.
    pub(in crate::storage) async fn settle_swaps(
        &self,
        found: &mut FoundSwaps,
    ) -> Result<(), StorageError> {
        let path = self.state().path.clone();
        let disk = &self.shared.disk;
        let failed = |error| self.shared.failed(self.dir(), &path, error);
        for &base in &found.swaps {
            let name = FileKind::Swap.path(&path, base);
            let bytes = disk.read_file(&name).await.map_err(failed)?;
            let entry =
                Checkpoint::decode(&bytes).and_then(|record| record.logs.into_iter().next());
            match entry.filter(|entry| entry.topic_id == self.topic_id) {
                Some(entry) => found.entries.push(entry),
                None => tracing::warn!(file = %name.display(), "not the record of a compaction"),
            }
        }
        for &base in &found.cleaned {
            let cleaned = FileKind::Cleaned.path(&path, base);
            let counts = found.entries.iter().any(|entry| entry.start == base);
            let settled = match counts {
                true => {
                    disk.rename(&cleaned, &FileKind::Log.path(&path, base))
                        .await
                }
                false => disk.remove(&cleaned).await,
            };
            settled.map_err(failed)?;
        }
        disk.sync_dir(&path).await.map_err(failed)
    }

    /// Removes the files of segments that a swap found after a crash has replaced.
    pub(in crate::storage) async fn remove_replaced(
        &self,
        found: &FoundSwaps,
        segments: &mut Vec<(Offset, u64)>,
    ) -> Result<(), StorageError> {
        let is_replaced = |base: Offset| {
            let inside = |entry: &LogEntry| entry.start < base && base < entry.recovery_point;
            found.entries.iter().any(inside)
        };
        let gone: Vec<Offset> = segments
            .extract_if(.., |file| is_replaced(file.0))
            .map(|file| file.0)
            .collect();
        let path = self.state().path.clone();
        self.shared.remove_segments(self.dir(), &path, gone).await
    }
}

impl Shared {
    /// Removes all files of segments that count no more, durably.
    async fn remove_segments(
        &self,
        dir: usize,
        path: &Path,
        bases: impl IntoIterator<Item = Offset>,
    ) -> Result<(), StorageError> {
        let mut removed = false;
        for base in bases {
            let kinds = FileKind::OF_SEGMENT.into_iter().chain([FileKind::Swap]);
            for kind in kinds {
                removed |= self.remove_if_there(dir, &kind.path(path, base)).await?;
            }
        }
        if removed {
            // A topic that was deleted meanwhile has taken its directory with it.
            match self.disk.sync_dir(path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.failed(dir, path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn remove_if_there(&self, dir: usize, file: &Path) -> Result<bool, StorageError> {
        match self.disk.remove(file).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed(dir, file, error)),
        }
    }

    /// The checkpoint of a directory is on disk: what it tells need not be told any more by a `.swap` file.
    pub(in crate::storage) async fn on_told(
        &self,
        dir: usize,
        told: Vec<ToldLog>,
    ) -> Result<(), StorageError> {
        for ToldLog {
            log,
            recovery_point,
            swaps,
        } in told
        {
            if log.dir() != dir {
                // It was moved meanwhile.
                continue;
            }
            log.state.borrow_mut().compaction.checkpointed = recovery_point;
            if swaps.is_empty() {
                continue;
            }
            let path = log.state().path.clone();
            for &base in &swaps {
                self.remove_if_there(log.dir(), &FileKind::Swap.path(&path, base))
                    .await?;
            }
            match self.disk.sync_dir(&path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.failed(log.dir(), &path, error));
                }
                _ => {}
            }
            log.state
                .borrow_mut()
                .compaction
                .swaps
                .retain(|base| !swaps.contains(base));
        }
        Ok(())
    }

    /// Whether any log of a directory has a swap that no checkpoint tells of.
    pub(in crate::storage) fn has_swaps(&self, dir: usize) -> bool {
        let logs = self.logs.borrow();
        let mut own = logs.iter().flatten().filter(|log| log.dir() == dir);
        own.any(|log| !log.state().compaction.swaps.is_empty())
    }
}

/// What a checkpoint tells of one log.
pub(in crate::storage) struct ToldLog {
    log: Rc<Log>,
    recovery_point: Offset,
    swaps: Vec<Offset>,
}

impl ToldLog {
    /// Of a checkpoint that has what the log is now.
    pub(in crate::storage) fn of(log: &Rc<Log>) -> ToldLog {
        let state = log.state();
        ToldLog {
            log: log.clone(),
            recovery_point: state.recovery_point,
            swaps: state.compaction.swaps.clone(),
        }
    }
}

impl State {
    /// Puts the new segments of swaps in the place of what the checkpoint knows of their offsets. A swap that reaches past
    /// the recovery point is passed over: its file is scanned like any other.
    ///
    /// `len`: the length of a segment's file, if there is one.
    pub(in crate::storage) fn adopt_swaps(
        &mut self,
        found: &FoundSwaps,
        len: impl Fn(Offset) -> Option<u64>,
    ) {
        self.compaction.swaps.extend(&found.swaps);
        for entry in &found.entries {
            let Some(segment) = entry.segments.first() else {
                continue;
            };
            let (base, end) = (segment.base, entry.recovery_point);
            // Removed since, by its age: then nothing of it counts.
            let is_there = len(base) == Some(segment.size as u64);
            if end > self.recovery_point || !is_there {
                continue;
            }
            self.segments.retain(|s| !(base..end).contains(&s.base));
            let at = self.segments.partition_point(|s| s.base < base);
            let mut segment = Segment::from_entry(segment);
            // Its indexes may not have been written.
            segment.finished = false;
            self.segments.insert(at, segment);
        }
    }
}
