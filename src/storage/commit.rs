//! Commit rounds: what was appended becomes durable, all dirty logs side by side.
//!
//! A round takes from each dirty log what is appended by then (its open extent is sealed) and writes it; a write ends when it is on stable storage (`O_DSYNC`;
//! in the journal an `fdatasync` where that was measured to be cheaper). When a round begins is `gather`'s to say.
//! Small runs go to the journal, all in one write, and stay in memory until they reach their segments in large
//! ones: when a journal file is full, at a large run, at the close. Appends go on meanwhile in the next extent, or in the
//! same one where it went to the journal; what they add belongs to the next round. The log's gate keeps
//! two rounds, or a round and a truncation, from having writes to the same block in flight.

use std::rc::Rc;

use futures_lite::future::zip;
use smallvec::SmallVec;

use super::chores::Chore;
use super::error::StorageError;
use super::extent::floor;
use super::join::{join_bounded, try_join_bounded};
use super::journal::{self, Route, Run, RunFacts, route};
use super::lanes::IoClass;
use super::log::{Log, LogId, Mark, NOT_JOURNALED, Stage};
use super::names::{FileKind, PARTITION_METADATA, encode_partition_metadata};
use super::shared::Shared;
use super::small;
use super::stats::Stats;
use crate::rt::{BLOCK_BYTES, Disk, File, Page};
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
/// Writes of one log in flight at once, where a commit waits for them.
const WRITE_DEPTH: usize = 4;
/// What a drain brings to one log, from this size on, is not written beside what it brings to another.
const LARGE_BYTES: u32 = 64 << 10;

impl Shared {
    /// One round over the logs that are dirty now.
    pub(super) async fn commit(self: &Rc<Shared>) -> Committed {
        let _round = self.round_gate.enter().await;
        let ids = std::mem::take(&mut *self.dirty.borrow_mut());
        self.gathering.on_round();
        let (mut direct, mut journaled) = (Vec::new(), Vec::new());
        journaled.resize_with(self.dirs.len(), Vec::new);
        for log in ids.into_iter().filter_map(|id| self.log(id)) {
            // A log may be listed twice: a failed round puts it back.
            if !std::mem::take(&mut log.state.borrow_mut().dirty) {
                continue;
            }
            match self.journals[log.dir()]
                .is_ready()
                .then(|| log.journal_run())
                .flatten()
            {
                Some(run) => journaled[log.dir()].push(run),
                None => direct.push(log),
            }
        }
        let rounds = journaled
            .into_iter()
            .enumerate()
            .filter(|(_, runs)| !runs.is_empty());
        let rounds = rounds.map(|(dir, runs)| self.commit_to_journal(dir, runs));
        let (direct, journaled) = zip(
            self.commit_direct(direct),
            join_bounded(rounds, self.dirs.len()),
        )
        .await;
        let mut committed = Committed::default();
        let mut full = vec![false; self.dirs.len()];
        let mut written = vec![false; self.dirs.len()];
        for (log, outcome) in journaled.into_iter().flatten().chain(direct) {
            match outcome {
                Ok(durable) => {
                    written[log.dir()] = true;
                    committed.logs.push((log.id, durable));
                }
                Err(error) => {
                    full[log.dir()] |= error.is_full();
                    committed.failed.push((log.id, error));
                }
            }
        }
        let mut slowest_us = 0;
        for (i, dir) in self.dirs.iter().enumerate() {
            if written[i] {
                slowest_us = dir.sync_cost.get().us().max(slowest_us);
            }
            if written[i] && !full[i] {
                dir.on_written();
            }
        }
        Stats::add(&self.stats.commits, 1);
        self.gathering.on_round_end(self.clock.now(), slowest_us);
        self.evict_tails();
        self.tend_journals();
        self.start_chores().await;
        self.start_removals().await;
        committed
    }

    /// Commits logs to their segments, side by side.
    async fn commit_direct(&self, logs: Vec<Rc<Log>>) -> Vec<Outcome> {
        let jobs = logs.into_iter().map(|log| async move {
            let outcome = log.commit().await;
            (log, outcome)
        });
        join_bounded(jobs, self.config.commit_depth).await
    }

    /// Commits small runs with one write to the directory's journal; to their segments while it has no room.
    async fn commit_to_journal(&self, dir: usize, runs: Vec<Run>) -> Vec<Outcome> {
        let journal = &self.journals[dir];
        let Some(place) = journal.place(journal::frame_bytes(&runs) as u64) else {
            return self
                .commit_direct(runs.into_iter().map(|run| run.log).collect())
                .await;
        };
        let (used, size) = journal.fill();
        self.dirs[dir].lanes.pace_drains(used, size);
        let page = journal::encode(&runs, place.sequence);
        Stats::add(&self.stats.journal_writes, 1);
        let bytes = page.len();
        Stats::add(&self.stats.journal_bytes, bytes as u64);
        if let Some(file) = place.left {
            self.add_chore(Chore::Drain { dir, file });
        }
        let began = self.clock.now();
        let written = journal.write(&place.file, page, place.position).await;
        if written.is_ok() {
            self.note_journal_write(dir, bytes, self.clock.now().since(began));
        }
        let mut failure = match written {
            Ok(()) => None,
            Err(error) => Some(self.failed(dir, place.file.path(), error)),
        };
        let failed = failure.is_some();
        let settle = |run: Run| {
            let outcome = match failed {
                true => Err(failure.take().unwrap_or(StorageError::Offline)),
                false => Ok(run.log.settle_journal(run.end, place.index)),
            };
            (run.log, outcome)
        };
        runs.into_iter().map(settle).collect()
    }

    /// Has journal files made that are wanted and drained that were left.
    fn tend_journals(&self) {
        for (dir, journal) in self.journals.iter().enumerate() {
            if self.dirs[dir].is_offline() {
                continue;
            }
            if journal.wants_files() {
                self.add_chore(Chore::MakeJournal { dir });
            }
            for file in journal.undrained() {
                self.add_chore(Chore::Drain { dir, file });
            }
        }
    }
}

/// What became of one log in a round.
type Outcome = (Rc<Log>, Result<Offset, StorageError>);

impl Log {
    /// Makes durable what is appended now. Returns the durable end.
    pub(super) async fn commit(&self) -> Result<Offset, StorageError> {
        let _inside = self.gate.enter().await;
        self.commit_inside().await
    }

    /// [`Log::commit`] for a journal file that is to be used again. Nobody waits for it, and what is given to the device at
    /// once makes the journal's next write wait: one large write at a time, of all logs (measured: a fifth of the p99.9 of
    /// produce under load, and a higher rate).
    pub(super) async fn drain(&self) -> Result<Offset, StorageError> {
        let waiting = {
            let state = self.state();
            let newest = state.segments.back();
            newest.map_or(0, |segment| segment.size - segment.written)
        };
        let dir = &self.shared.dirs[self.dir()];
        // Before the log's gate, where a commit may wait that somebody waits for, and before a place among the others.
        let _alone = match waiting {
            ..LARGE_BYTES => None,
            _ => Some(dir.draining.enter().await),
        };
        let _turn = dir.lanes.turn(IoClass::Drain).await;
        let _inside = self.gate.enter().await;
        self.write_taken(1).await
    }

    /// [`Log::commit`] by one who is inside the gate.
    pub(super) async fn commit_inside(&self) -> Result<Offset, StorageError> {
        self.write_taken(WRITE_DEPTH).await
    }

    /// - `depth`: writes in flight at once.
    async fn write_taken(&self, depth: usize) -> Result<Offset, StorageError> {
        self.shared.dirs[self.dir()].check()?;
        self.cut_tail().await?;
        let taken = self.take();
        for part in &taken.parts {
            if let Err(error) = self.write_part(part, depth).await {
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

    pub(super) fn stay_dirty(&self) {
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Open && !std::mem::replace(&mut state.dirty, true) {
            drop(state);
            self.shared.mark_dirty(self.id);
        }
    }

    /// What is not durable yet, if it is for the journal; `None` if it goes to its segment.
    fn journal_run(self: &Rc<Log>) -> Option<Run> {
        let state = self.state();
        let (from, end) = (state.durable_pos?, state.end_mark()?);
        let segment = state
            .segments
            .back()
            .filter(|_| state.stage == Stage::Open)?;
        let position = match from.base == segment.base {
            true => Some(from.position),
            // All before it is durable: the segment was begun since.
            false => (from.offset == segment.base).then_some(0),
        };
        let from = position.unwrap_or(0);
        let facts = RunFacts {
            bytes: segment.size.saturating_sub(from) as usize,
            in_one_segment: position.is_some()
                && state.segments.iter().any(|s| s.exists)
                && state.uncut.is_none(),
        };
        if facts.bytes == 0 || route(facts) == Route::Segment {
            return None;
        }
        let mut slices = SmallVec::new();
        let mut position = from;
        while position < segment.size {
            let (extent, until) = segment.extents.at(position)?;
            slices.push(extent.slice(position, until));
            position = until;
        }
        let log = self.clone();
        Some(Run {
            log,
            base: segment.base,
            position: from,
            slices,
            end,
        })
    }

    /// The journal holds the log up to `end`, in its file `file`.
    fn settle_journal(&self, end: Mark, file: usize) -> Offset {
        let mut state = self.state.borrow_mut();
        state.durable = state.durable.max(end.offset);
        if state
            .durable_pos
            .is_none_or(|known| known.offset <= end.offset)
        {
            state.durable_pos = Some(end);
        }
        // Meanwhile a drain may have brought as much to the segment.
        if end.offset > state.recovery_point {
            state.journaled[file] = end.offset;
        }
        state.in_journal = true;
        state.marks.note(end);
        let is_begun = state.segment_at(end.base).is_some_and(|s| !s.exists);
        // On a simulated disk, where chores are done at once, it is left to the journal's drain: there a start often finds
        // segments that have no file.
        if is_begun && matches!(self.shared.disk, Disk::Ring) {
            self.shared.add_chore(Chore::Begin { log: self.id });
        }
        state.durable
    }

    async fn write_part(&self, part: &Part, depth: usize) -> Result<(), StorageError> {
        let file = self.segment_file(part).await?;
        let overlapping = part
            .writes
            .windows(2)
            .any(|w| w[1].start < w[0].start + w[0].page.len() as u32);
        let depth = if overlapping { 1 } else { depth };
        let writes = part
            .writes
            .iter()
            .map(|w| self.write_page(&file, part.base, w));
        try_join_bounded(writes, depth).await?;
        Ok(())
    }

    /// The segment's file, there and durable by name, with room for the part.
    async fn segment_file(&self, part: &Part) -> Result<Rc<File>, StorageError> {
        let (exists, allocated, path, config, first) = {
            let state = self.state();
            let segment = state
                .segment_at(part.base)
                .expect("the gate keeps segments that are written to");
            (
                segment.exists,
                segment.allocated,
                state.path.clone(),
                state.config,
                !state.segments.iter().any(|s| s.exists),
            )
        };
        let file = self.shared.file(self, part.base, !exists).await?;
        if !exists {
            if first {
                // The journal's replay goes by the topic's id, so it must be there for sure.
                let metadata = path.join(PARTITION_METADATA);
                let text = encode_partition_metadata(self.topic_id);
                let written =
                    small::write_synced(&self.shared.disk, &metadata, text.as_bytes()).await;
                written.map_err(|error| self.shared.failed(self.dir(), &metadata, error))?;
            }
            let directory = self.directory().to_owned();
            // The log's own directory is there for sure once it has a segment.
            let parents = match first {
                true => &[&path, &directory][..],
                false => &[&path],
            };
            for path in parents {
                if let Err(error) = self.shared.disk.sync_dir(path).await {
                    return Err(self.shared.failed(self.dir(), path, error));
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
            let limit = config.segment_bytes.next_multiple_of(BLOCK_BYTES as u32);
            let step = match config.preallocate {
                true => limit,
                false => allocated.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX),
            };
            let wanted = allocated.saturating_add(step).min(limit).max(end) - allocated;
            let needed = u64::from(end - allocated);
            let taken = self
                .shared
                .take_room(self.dir(), file.path(), needed, u64::from(wanted))
                .await?;
            reserved = floor(allocated + taken as u32).max(end);
            // The length grows too: a write inside it needs neither the file's lock nor a new length.
            match file.preallocate(reserved as u64).await {
                Ok(()) => {}
                // Some file systems cannot; the writes then allocate.
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
                Err(error) => return Err(self.shared.failed(self.dir(), file.path(), error)),
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
        let began = self.shared.clock.now();
        if let Err(error) = file.write(page, write.start as u64).await {
            return Err(self.shared.failed(self.dir(), file.path(), error));
        }
        let took_us = self.shared.clock.now().since(began);
        self.shared.dirs[self.dir()]
            .segment_writes
            .record(took_us, bytes as usize);
        Stats::add(&self.shared.stats.writes, 1);
        Stats::add(&self.shared.stats.write_bytes, bytes);
        Stats::add(&self.shared.dirs[self.dir()].written_bytes, bytes);
        let mut state = self.state.borrow_mut();
        let segment = state
            .segment_at_mut(base)
            .expect("the gate keeps segments that are written to");
        let written = segment
            .extents
            .iter_mut()
            .rfind(|e| e.start == write.start && e.end == write.end);
        if let Some(extent) = written {
            extent.written = write.end;
            self.shared
                .evictable
                .borrow_mut()
                .push_back((self.id, base, write.start));
        }
        // Writes end in any order: what lies before may be in flight yet.
        segment.written = segment.extents.written_from(segment.written);
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
        self.shared.missed_head();
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
            if state
                .durable_pos
                .is_none_or(|known| known.offset <= mark.offset)
            {
                state.durable_pos = Some(mark);
            }
            state.durable_max = taken.max;
            state.marks.note(mark);
        }
        for end in state.journaled.iter_mut().filter(|end| **end <= taken.end) {
            *end = NOT_JOURNALED;
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
