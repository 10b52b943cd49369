//! Commit rounds: what was appended becomes durable, all dirty logs side by side.
//!
//! A round takes from each dirty log what is appended by then (its open extent is sealed), writes it, and syncs.
//! Appends go on meanwhile in the next extent; what they add belongs to the next round. The log's gate keeps
//! two rounds, or a round and a truncation, from having writes to the same block in flight.

use std::rc::Rc;

use smallvec::SmallVec;

use super::chores::Chore;
use super::error::StorageError;
use super::extent::floor;
use super::join::join_bounded;
use super::log::{Log, LogId, Mark, Stage};
use super::names::FileKind;
use super::shared::Shared;
use super::stats::Stats;
use crate::rt::{BLOCK_BYTES, File, Page};
use crate::types::Offset;

/// What one round came to.
#[derive(Debug, Default)]
pub struct Committed {
    /// Logs that are durable up to these offsets.
    pub logs: Vec<(LogId, Offset)>,
    /// Logs that are not further than before. Where [`StorageError::is_full`], they stay dirty and nothing is lost;
    /// else their directory is offline.
    pub failed: Vec<(LogId, StorageError)>,
}

/// What one round takes from one log.
struct Taken {
    /// All below is in `parts` or was durable before.
    end: Offset,
    generation: u32,
    /// Largest timestamp of the last part's segment, and the last offset of its batch.
    max: (i64, Offset),
    parts: SmallVec<[Part; 1]>,
}

/// One segment's share of it.
struct Part {
    base: Offset,
    writes: SmallVec<[Write; 2]>,
}

struct Write {
    page: Page,
    /// Where the page goes, and where its data ends.
    start: u32,
    end: u32,
    /// Bytes at the page's front that only the disk has.
    gap: u32,
}

/// Preallocation grows by what is there, between these bounds.
const RESERVE_BYTES_MIN: u32 = 64 << 10;
const RESERVE_BYTES_MAX: u32 = 64 << 20;
/// Writes of one log in flight at once.
const WRITE_DEPTH: usize = 4;

impl Shared {
    /// One round over the logs that are dirty now.
    pub(super) async fn commit(self: &Rc<Shared>) -> Committed {
        let ids = std::mem::take(&mut *self.dirty.borrow_mut());
        let jobs = ids.into_iter().filter_map(|id| {
            let log = self.log(id)?;
            Some(async move {
                let outcome = log.commit().await;
                (log, outcome)
            })
        });
        let mut committed = Committed::default();
        let mut full = vec![false; self.dirs.len()];
        let mut written = vec![false; self.dirs.len()];
        for (log, outcome) in join_bounded(jobs, self.config.commit_depth).await {
            match outcome {
                Ok(durable) => {
                    written[log.dir] = true;
                    committed.logs.push((log.id, durable));
                }
                Err(error) => {
                    full[log.dir] |= error.is_full();
                    committed.failed.push((log.id, error));
                }
            }
        }
        for (i, dir) in self.dirs.iter().enumerate() {
            if written[i] && !full[i] {
                dir.on_written();
            }
        }
        Stats::add(&self.stats.commits, 1);
        self.evict_tails();
        self.start_chores().await;
        committed
    }
}

impl Log {
    /// Makes durable what is appended now. Returns the durable end.
    pub(super) async fn commit(&self) -> Result<Offset, StorageError> {
        let _inside = self.gate.enter().await;
        self.commit_inside().await
    }

    /// [`Log::commit`] by one who is inside the gate.
    pub(super) async fn commit_inside(&self) -> Result<Offset, StorageError> {
        let taken = self.take();
        if let Err(error) = self.shared.dirs[self.dir].check() {
            self.state.borrow_mut().dirty = false;
            return Err(error);
        }
        for part in &taken.parts {
            if let Err(error) = self.write_part(part).await {
                if error.is_full() {
                    self.stay_dirty();
                }
                return Err(error);
            }
        }
        Ok(self.settle(taken))
    }

    /// Seals what is not written yet and notes where the log ends. Synchronous: nothing is appended meanwhile.
    fn take(&self) -> Taken {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        state.dirty = false;
        let mut parts: SmallVec<[Part; 1]> = SmallVec::new();
        let mut bytes = 0;
        let mut max = (-1, Offset(-1));
        let first = state
            .segments
            .iter()
            .rposition(|s| s.written >= s.size && s.size > 0);
        for segment in state.segments.iter_mut().skip(first.map_or(0, |i| i + 1)) {
            let mut part = Part {
                base: segment.base,
                writes: SmallVec::new(),
            };
            for extent in segment.extents.iter_mut().filter(|e| e.written < e.end) {
                bytes += (extent.end - extent.written) as usize;
                part.writes.push(Write {
                    page: extent.seal(),
                    start: extent.start,
                    end: extent.end,
                    gap: extent.valid - extent.start,
                });
            }
            if !part.writes.is_empty() {
                max = (segment.max_timestamp, segment.max_timestamp_offset);
                parts.push(part);
            }
        }
        // Between what is usual and what came now, so that one large run does not cost memory for long.
        state.run_bytes = (state.run_bytes * 3 + bytes) / 4;
        Taken {
            end: state.end,
            generation: state.generation,
            max,
            parts,
        }
    }

    fn stay_dirty(&self) {
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Open && !std::mem::replace(&mut state.dirty, true) {
            drop(state);
            self.shared.mark_dirty(self.id);
        }
    }

    async fn write_part(&self, part: &Part) -> Result<(), StorageError> {
        let file = self.segment_file(part).await?;
        let overlapping = part
            .writes
            .windows(2)
            .any(|w| w[1].start < w[0].start + w[0].page.len() as u32);
        let depth = if overlapping { 1 } else { WRITE_DEPTH };
        let writes = part
            .writes
            .iter()
            .map(|w| self.write_page(&file, part.base, w));
        for outcome in join_bounded(writes, depth).await {
            outcome?;
        }
        Stats::add(&self.shared.stats.syncs, 1);
        match file.datasync().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.shared.failed(self.dir, file.path(), error)),
        }
    }

    /// The segment's file, there and durable by name, with room for the part.
    async fn segment_file(&self, part: &Part) -> Result<Rc<File>, StorageError> {
        let (exists, allocated, path, limit) = {
            let state = self.state();
            let segment = state
                .segment_at(part.base)
                .expect("the gate keeps segments that are written to");
            (
                segment.exists,
                segment.allocated,
                state.path.clone(),
                state.config.segment_bytes,
            )
        };
        let file = self.shared.file(self, part.base, !exists).await?;
        if !exists {
            let directory = self.directory().to_owned();
            for path in [&path, &directory] {
                if let Err(error) = self.shared.disk.sync_dir(path).await {
                    return Err(self.shared.failed(self.dir, path, error));
                }
            }
        }
        let end = part
            .writes
            .iter()
            .map(|w| w.start + w.page.len() as u32)
            .max()
            .unwrap_or(0);
        let mut reserved = allocated;
        if end > allocated {
            let step = allocated.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
            let limit = limit.next_multiple_of(BLOCK_BYTES as u32);
            reserved = allocated.saturating_add(step).min(limit).max(end);
            match file.reserve(reserved as u64).await {
                Ok(()) => {}
                // Some file systems cannot; the writes then allocate.
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
                Err(error) => return Err(self.shared.failed(self.dir, file.path(), error)),
            }
        }
        let mut state = self.state.borrow_mut();
        let segment = state
            .segment_at_mut(part.base)
            .expect("the gate keeps segments that are written to");
        segment.exists = true;
        segment.allocated = reserved;
        Ok(file)
    }

    async fn write_page(
        &self,
        file: &File,
        base: Offset,
        write: &Write,
    ) -> Result<(), StorageError> {
        let page = match write.gap {
            0 => write.page.clone(),
            gap => self.complete_block(base, write.start, gap).await?,
        };
        let bytes = page.len() as u64;
        debug_assert_eq!(floor(write.start), write.start);
        if let Err(error) = file.write(page, write.start as u64).await {
            return Err(self.shared.failed(self.dir, file.path(), error));
        }
        Stats::add(&self.shared.stats.writes, 1);
        Stats::add(&self.shared.stats.write_bytes, bytes);
        let mut state = self.state.borrow_mut();
        let segment = state
            .segment_at_mut(base)
            .expect("the gate keeps segments that are written to");
        segment.written = segment.written.max(write.end);
        if let Some(extent) = segment
            .extents
            .iter_mut()
            .find(|e| e.start == write.start && e.end == write.end)
        {
            extent.written = write.end;
            self.shared
                .evictable
                .borrow_mut()
                .push_back((self.id, base, write.start));
        }
        Ok(())
    }

    /// Fetches the front of the block that a log reopened in its middle goes on in.
    async fn complete_block(
        &self,
        base: Offset,
        start: u32,
        gap: u32,
    ) -> Result<Page, StorageError> {
        let head = self.read_chunk(base, start, start + gap).await;
        let path = self.state().path.clone();
        let head = head.map_err(|error| error.into_storage(&FileKind::Log.path(&path, base)))?;
        let mut state = self.state.borrow_mut();
        let segment = state
            .segment_at_mut(base)
            .expect("the gate keeps segments that are written to");
        let extent = segment
            .extents
            .iter_mut()
            .find(|e| e.start == start && e.valid > start);
        let extent = extent.expect("an extent that is not written stays");
        extent.fill_head(&head);
        Ok(extent.seal())
    }

    /// The round is on stable storage.
    fn settle(&self, taken: Taken) -> Offset {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        assert_eq!(
            state.generation, taken.generation,
            "the gate keeps a log from being cut while it is written"
        );
        state.durable = state.durable.max(taken.end);
        state.recovery_point = state.recovery_point.max(taken.end);
        if let Some(mark) = durable_mark(taken.end, &taken.parts) {
            state.durable_at = Some(mark);
            state.durable_max = taken.max;
            state.marks.note(mark);
        }
        let count = state.segments.len();
        let rolled = state.segments.iter().take(count.saturating_sub(1)).rev();
        for segment in rolled
            .take_while(|s| !s.finished)
            .filter(|s| s.written >= s.size)
        {
            self.shared.add_chore(Chore::Finish {
                log: self.id,
                base: segment.base,
            });
        }
        state.durable
    }
}

/// Where the durable end lies: what readers at the tail will ask for.
fn durable_mark(end: Offset, parts: &[Part]) -> Option<Mark> {
    let last = parts.last()?;
    let position = last.writes.iter().map(|w| w.end).max()?;
    Some(Mark {
        offset: end,
        base: last.base,
        position,
    })
}
