//! What a log holds after a restart: trusted up to the checkpoint, looked at batch by batch beyond it.
//!
//! After a clean close nothing is read. Otherwise the scan begins at the recovery point and ends at the first batch
//! that is torn, stale, zero or out of order. There the file is cut, durably, with the first commit: what
//! comes after a cut reads as zeros, so bytes of an earlier life can never be taken for data. Until then the file is as the
//! crash left it, and the next start finds the same in it. File lengths only bound the scan; they decide nothing.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::chores::Chore;
use super::compact::{Compaction, FoundSwaps};
use super::directories::Found;
use super::epochs::Epochs;
use super::error::StorageError;
use super::journal::JOURNAL_FILES;
use super::log::{Log, LogConfig, Marks, NOT_JOURNALED, Stage, State};
use super::names::{
    DELETED_FILE_SUFFIX, EPOCH_CHECKPOINT, FileKind, START_OFFSET, decode_start_offset,
};
use super::read::copy_out;
use super::removal::Removal;
use super::segment::{Incoming, Segment};
use super::window::{WINDOW_BYTES, Window};
use crate::record::{BatchHeader, Limits, RawBatch, check_slice};
use crate::rt::{File, Open};
use crate::types::Offset;

/// What recovery had to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// Bytes of log read and checked beyond the checkpoint.
    pub scanned_bytes: u64,
    /// Bytes of file that are not of the log, padding included.
    pub truncated_bytes: u64,
}

/// A log's directory as listed, while the log recovers.
#[derive(Clone, Default, Debug)]
pub(super) struct Listing {
    /// Bases and file lengths of segments, in order.
    segments: Vec<(Offset, u64)>,
    /// Whether there is a file that says where the log starts.
    has_start: bool,
    /// Where producer snapshots were taken, in order.
    snapshots: Vec<Offset>,
    /// What a compaction left.
    swaps: FoundSwaps,
}

/// Where a scan stands.
struct Scan {
    segment: Segment,
    end: Offset,
}

/// The state of a log that was just opened: new, or as the last run's checkpoint has it.
pub(super) fn initial_state(
    found: Option<Found>,
    path: PathBuf,
    config: LogConfig,
    generation: u32,
) -> State {
    let mut state = State {
        start: Offset::ZERO,
        end: Offset::ZERO,
        durable: Offset::ZERO,
        durable_at: None,
        recovery_point: Offset::ZERO,
        segments: Default::default(),
        epochs: Epochs::default(),
        epochs_dirty: false,
        config,
        stage: Stage::Open,
        scanned: true,
        listing: None,
        uncut: None,
        broken_promise: false,
        durable_pos: None,
        inherited: (Offset::ZERO, 0),
        journaled: [NOT_JOURNALED; JOURNAL_FILES],
        in_journal: false,
        durable_max: (-1, Offset(-1)),
        replay_from: None,
        dirty: false,
        changed: true,
        run_bytes: 0,
        generation,
        marks: Marks::default(),
        compaction: Compaction::default(),
        snapshots: Default::default(),
        producers: None,
        untold_bytes: 0,
        path,
    };
    let Some(found) = found else { return state };
    state.stage = Stage::Unrecovered;
    state.scanned = found.clean;
    state.changed = !found.clean;
    if let Some(entry) = found.entry {
        state.start = entry.start;
        state.compaction.checkpointed = entry.recovery_point;
        state.set_end(entry.recovery_point);
        state.epochs = entry.epochs;
        state.segments = entry.segments.iter().map(Segment::from_entry).collect();
        if let Some(last) = state.segments.back_mut() {
            last.aborted.cover_to(entry.recovery_point);
            last.finished = false;
        }
        state.note_durable_end();
        state.producers = entry.producers;
        if entry.snapshot >= Offset::ZERO {
            state.snapshots.push(entry.snapshot);
        }
    }
    state
}

impl State {
    fn set_end(&mut self, end: Offset) {
        (self.end, self.durable, self.recovery_point) = (end, end, end);
    }

    /// Where recovery begins to look for markers of which no index of aborted transactions tells.
    fn aborted_covered(&self) -> Offset {
        let covered = self.segments.iter().map(|s| s.aborted.covered());
        covered.min().unwrap_or(Offset(i64::MAX))
    }

    /// A marker lies at `offset` that nobody has noted, where its segment's index does not reach.
    fn forget_aborted(&mut self, offset: Offset) {
        if let Some(segment) = self
            .segment_of(offset)
            .and_then(|i| self.segments.get_mut(i))
            && segment.aborted.covered() <= offset
        {
            segment.aborted.forget();
        }
    }
}

impl Log {
    /// Finds the log's end and makes it ready for appends. Once after opening; for a new log it returns at once.
    ///
    /// - `on_batch`: called for every batch from the offset of the snapshot that [`Log::latest_snapshot`] gave (or
    ///   from the log's start) to the end, in order: whoever has state to rebuild does it there. What it learns of
    ///   aborted transactions it gives to [`Log::restore_aborted`] then.
    /// - `Err(SnapshotAhead)`: what the snapshot tells of was lost. It is removed; take the latest one again, and
    ///   recover again.
    pub async fn recover(
        &self,
        mut on_batch: impl FnMut(&RawBatch<'_>),
    ) -> Result<Recovered, StorageError> {
        if self.state().stage != Stage::Unrecovered {
            return Ok(Recovered::default());
        }
        let mut recovered = Recovered::default();
        let mut untold_bytes = 0;
        let mut on_batch = |batch: &RawBatch<'_>| {
            untold_bytes += batch.bytes.len() as u64;
            on_batch(batch);
        };
        let from = self.state().replay_from.unwrap_or(Offset::ZERO);
        let promised = self.state().recovery_point;
        if !self.state().scanned {
            self.list().await?;
            self.adopt_listing().await?;
            self.replay(from, &mut on_batch).await?;
            recovered = self.scan(from, &mut on_batch).await?;
            self.state.borrow_mut().scanned = true;
            self.remove_snapshots_past_end().await?;
            // The checkpoint promises more than there is. It must be taken back before other bytes lie there.
            let mut state = self.state.borrow_mut();
            let end = state.end;
            let told = state.producers.take_if(|noted| noted.offset > end);
            state.broken_promise = end < promised || told.is_some();
            if from > end {
                state.replay_from = None;
                return Err(StorageError::SnapshotAhead);
            }
        } else {
            self.replay(from, &mut on_batch).await?;
        }
        let broken_promise = {
            let mut state = self.state.borrow_mut();
            state.listing = None;
            state.untold_bytes = untold_bytes;
            state.stage = Stage::Open;
            if let Some(active) = state.segments.back_mut() {
                active.appended = self.shared.clock.wall().0;
                state.inherited = (active.base, active.size);
            }
            std::mem::take(&mut state.broken_promise)
        };
        if broken_promise {
            self.shared.write_checkpoint(self.dir(), false).await?;
        }
        Ok(recovered)
    }

    /// What the last life rolled and did not come to finish is finished, once its aborted transactions are known.
    pub(super) fn finish_rolled(&self) {
        for base in self.unfinished() {
            let log = self.id;
            self.shared.add_chore(Chore::Finish { log, base });
        }
    }

    /// The rolled segments that [`Log::finish_segment`] has still to come to.
    pub(super) fn unfinished(&self) -> Vec<Offset> {
        let state = self.state();
        let rolled = state.segments.len().saturating_sub(1);
        let unfinished = state.segments.iter().take(rolled).filter(|s| !s.finished);
        unfinished.map(|s| s.base).collect()
    }

    /// Lists the directory, once.
    pub(super) async fn list(&self) -> Result<(), StorageError> {
        if self.state().listing.is_some() {
            return Ok(());
        }
        let mut listing = self.list_now().await?;
        if !listing.swaps.is_none() {
            let mut swaps = std::mem::take(&mut listing.swaps);
            self.settle_swaps(&mut swaps).await?;
            // Files have other names and lengths now.
            listing = self.list_now().await?;
            self.remove_replaced(&swaps, &mut listing.segments).await?;
            listing.swaps = swaps;
        }
        let mut state = self.state.borrow_mut();
        state.snapshots = listing.snapshots.iter().copied().collect();
        state.listing = Some(Box::new(listing));
        Ok(())
    }

    async fn list_now(&self) -> Result<Listing, StorageError> {
        let path = self.state().path.clone();
        let entries = self.shared.disk.list(&path).await;
        let entries = entries.map_err(|e| self.shared.failed(self.dir(), &path, e))?;
        let mut listing = Listing::default();
        for entry in entries {
            match FileKind::parse(&entry.name) {
                Some((FileKind::Log, base)) => listing.segments.push((base, entry.len)),
                Some((FileKind::Snapshot, offset)) => listing.snapshots.push(offset),
                Some((FileKind::Cleaned, base)) => listing.swaps.cleaned.push(base),
                Some((FileKind::Swap, base)) => listing.swaps.swaps.push(base),
                _ if entry.name == START_OFFSET => listing.has_start = true,
                _ if entry.name.ends_with(DELETED_FILE_SUFFIX) => {
                    let left = Removal::File(path.join(&entry.name));
                    self.shared.removals.add(left, self.shared.clock.now());
                }
                _ => {}
            }
        }
        Ok(listing)
    }

    /// A small file's text, where there is reason to look for it and it can be read.
    async fn text_if(&self, is_wanted: bool, path: PathBuf) -> Option<String> {
        if !is_wanted {
            return None;
        }
        let bytes = self.shared.disk.read_file(&path).await.ok()?;
        String::from_utf8(bytes).ok()
    }

    /// Holds the checkpoint's segments against the files that are there; what does not fit is scanned.
    async fn adopt_listing(&self) -> Result<(), StorageError> {
        let path = self.state().path.clone();
        let has_start = self.state().listing.as_ref().is_some_and(|l| l.has_start);
        let start_file = self.text_if(has_start, path.join(START_OFFSET)).await;
        let start = start_file.and_then(|text| decode_start_offset(&text));
        self.remove_below(start).await?;
        let no_epochs = self.state().epochs.entries().is_empty();
        let epochs_file = self.text_if(no_epochs, path.join(EPOCH_CHECKPOINT)).await;
        let epochs = epochs_file.and_then(|text| Epochs::decode(&text));
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let Listing {
            segments: files,
            swaps,
            ..
        } = state.listing.as_deref().cloned().unwrap_or_default();
        let len = |base: Offset| files.iter().find(|f| f.0 == base).map(|f| f.1);
        state.adopt_swaps(&swaps, len);
        let known = state.segments.len();
        // Segments below the start may have been removed since the checkpoint; a hole further up ends the trust.
        while state
            .segments
            .front()
            .is_some_and(|s| len(s.base).is_none())
        {
            state.segments.pop_front();
        }
        let fits = |s: &Segment| len(s.base).is_some_and(|len| len >= s.size as u64);
        let trusted = state.segments.iter().take_while(|s| fits(s)).count();
        if trusted < state.segments.len() || (trusted == 0 && known > 0) {
            let next = state.segments.get(trusted).map_or(Offset::ZERO, |s| s.base);
            state.segments.truncate(trusted);
            state.set_end(next);
        }
        if state.segments.is_empty() {
            // No file: all was below the start, or nothing was ever there.
            let bare = start.unwrap_or(state.start);
            state.set_end(files.first().map_or(bare, |f| f.0));
        }
        let first = state
            .segments
            .front()
            .map(|s| s.base)
            .or(files.first().map(|f| f.0));
        let floor = first.unwrap_or(state.end);
        state.start = state.start.max(start.unwrap_or(floor)).max(floor);
        if let Some(epochs) = epochs {
            state.epochs = epochs;
        }
        let end = state.end;
        state.epochs.truncate_end(end);
        state.note_durable_end();
        Ok(())
    }

    /// Removes what lies wholly below the log's start: its removal was cut short, and a hole in what is left of it must
    /// not be taken for a loss.
    ///
    /// - `noted`: what the file of the start says.
    async fn remove_below(&self, noted: Option<Offset>) -> Result<(), StorageError> {
        let (below, path) = {
            let mut guard = self.state.borrow_mut();
            let state = &mut *guard;
            let start = state.start.max(noted.unwrap_or(Offset::ZERO));
            let Some(listing) = state.listing.as_mut() else {
                return Ok(());
            };
            let ends = listing.segments.iter().skip(1).map(|next| next.0);
            let count = ends.take_while(|&end| end <= start).count();
            let below: Vec<(Offset, u64)> = listing.segments.drain(..count).collect();
            if let Some(&(first, _)) = listing.segments.first() {
                while state.segments.front().is_some_and(|s| s.base < first) {
                    state.segments.pop_front();
                }
            }
            (below, state.path.clone())
        };
        for (base, _) in below {
            self.remove_segment(&path, base).await?;
        }
        Ok(())
    }

    /// Gives `on_batch` the batches from `from` up to the end as it is known so far, without checking them.
    async fn replay(
        &self,
        from: Offset,
        on_batch: &mut impl FnMut(&RawBatch<'_>),
    ) -> Result<(), StorageError> {
        let (mut next, end, path) = {
            let state = self.state();
            let first = from.min(state.aborted_covered());
            (first.max(state.start), state.end, state.path.clone())
        };
        while next < end {
            let read = self
                .read_unchecked(next, end, WINDOW_BYTES)
                .await
                .map_err(|e| e.into_storage(&path))?;
            if read.bytes == 0 {
                break;
            }
            let mut bytes = vec![0; read.bytes];
            copy_out(&read.slices, &mut bytes);
            for batch in crate::record::split(&bytes) {
                let corrupt = |e| StorageError::Corrupt {
                    path: path.clone(),
                    why: format!("below the checkpoint: {e}"),
                };
                let batch = batch.map_err(corrupt)?;
                let header = batch.header;
                if header.base_offset() >= from {
                    on_batch(&batch);
                } else if header.is_control() {
                    self.state.borrow_mut().forget_aborted(header.base_offset());
                }
                next = header.next_offset().max(next.plus(1));
            }
        }
        Ok(())
    }

    /// Checks what lies beyond the known end, takes in what is good, and cuts off the rest.
    async fn scan(
        &self,
        from: Offset,
        on_batch: &mut impl FnMut(&RawBatch<'_>),
    ) -> Result<Recovered, StorageError> {
        let mut recovered = Recovered::default();
        let (files, path) = {
            let state = self.state();
            let files = state
                .listing
                .as_ref()
                .map(|l| l.segments.clone())
                .unwrap_or_default();
            (files, state.path.clone())
        };
        let last = self.state().segments.back().map(|s| s.base);
        let mut torn = false;
        for (base, len) in files {
            if last.is_some_and(|last| base < last) {
                if self.state().segment_at(base).is_none() {
                    self.remove_segment(&path, base).await?;
                }
                continue;
            }
            let contiguous = last == Some(base) || base == self.end_offset();
            if torn || !contiguous {
                recovered.truncated_bytes += len;
                torn = true;
                self.remove_segment(&path, base).await?;
                continue;
            }
            let scan = self
                .scan_segment(&path, base, len, from, on_batch, &mut recovered)
                .await?;
            // A rolled segment that lost its end: nothing after it was acknowledged.
            let mut state = self.state.borrow_mut();
            state.set_end(scan.end);
            state.segments.retain(|s| s.base != base);
            state.segments.push_back(scan.segment);
        }
        if self.end_offset() < self.start_offset() {
            // The start outlived all that the log held: it goes on there.
            torn = true;
            let bases: Vec<Offset> = self.state().segments.iter().map(|s| s.base).collect();
            for base in bases {
                self.remove_segment(&path, base).await?;
            }
            let mut state = self.state.borrow_mut();
            state.segments.clear();
            let start = state.start;
            state.set_end(start);
        }
        if torn {
            self.shared
                .disk
                .sync_dir(&path)
                .await
                .map_err(|e| self.shared.failed(self.dir(), &path, e))?;
        }
        let mut state = self.state.borrow_mut();
        let end = state.end;
        state.epochs.truncate_end(end);
        state.note_durable_end();
        Ok(recovered)
    }

    async fn remove_segment(&self, path: &Path, base: Offset) -> Result<(), StorageError> {
        for kind in FileKind::OF_SEGMENT.into_iter().rev() {
            let file = kind.path(path, base);
            match self.shared.disk.remove(&file).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.shared.failed(self.dir(), &file, error)),
            }
        }
        Ok(())
    }

    /// Scans one segment from its trusted size on, and cuts its file where the scan ends.
    async fn scan_segment(
        &self,
        path: &Path,
        base: Offset,
        len: u64,
        from: Offset,
        on_batch: &mut impl FnMut(&RawBatch<'_>),
        recovered: &mut Recovered,
    ) -> Result<Scan, StorageError> {
        let name = FileKind::Log.path(path, base);
        let failed = |error| self.shared.failed(self.dir(), &name, error);
        let mut scan = self.begin_scan(base);
        let file = self
            .shared
            .disk
            .open(&name, Open::WRITE)
            .await
            .map_err(failed)?;
        let trusted = scan.segment.size;
        let mut window = Window::default();
        loop {
            let position = scan.segment.size;
            let Some(bytes) = window
                .batch(&file, position as u64, len)
                .await
                .map_err(failed)?
            else {
                break;
            };
            let Some(header) = self.check_batch(bytes, &scan) else {
                break;
            };
            let incoming = Incoming::of(&header, bytes.len() as u32);
            scan.segment
                .note(&incoming, position, self.config().index_interval_bytes);
            scan.end = header.next_offset();
            {
                let mut state = self.state.borrow_mut();
                let begun = state
                    .epochs
                    .assign(header.leader_epoch(), header.base_offset());
                state.epochs_dirty |= begun;
            }
            if header.base_offset() >= from {
                on_batch(&RawBatch {
                    header: &header,
                    bytes,
                });
            } else if header.is_control() {
                scan.segment.aborted.forget();
            }
        }
        let end = scan.segment.size;
        scan.segment.written = end;
        recovered.scanned_bytes += (end - trusted) as u64;
        recovered.truncated_bytes += len.saturating_sub(end as u64);
        if end > trusted {
            // Written by the last life, which may not have seen it become durable.
            file.datasync().await.map_err(failed)?;
        }
        file.close().await.map_err(failed)?;
        // Also where the length is right: blocks reserved past it may hold writes that never became part of it.
        let earlier = self.state.borrow_mut().uncut.replace((base, end));
        if let Some((earlier, end)) = earlier {
            self.cut(earlier, end).await?;
        }
        Ok(scan)
    }

    /// Cuts off what recovery found behind the log's end, durably, before anything else comes there. By one who is inside
    /// the gate.
    pub(super) async fn cut_tail(&self) -> Result<(), StorageError> {
        let uncut = self.state().uncut;
        if let Some((base, end)) = uncut {
            if self.holds(base) {
                self.cut(base, end).await?;
            }
            self.state.borrow_mut().uncut = None;
        }
        Ok(())
    }

    /// [`Log::shorten`], durably.
    pub(super) async fn cut(&self, base: Offset, end: u32) -> Result<(), StorageError> {
        let file = self.shorten(base, end).await?;
        let synced = file.datasync().await;
        synced.map_err(|error| self.shared.failed(self.dir(), file.path(), error))
    }

    /// Has a segment's file end at `end`, though not durably.
    pub(super) async fn shorten(&self, base: Offset, end: u32) -> Result<Rc<File>, StorageError> {
        let file = self.shared.file(self, base, false).await?;
        let shortened = file.truncate(end as u64).await;
        shortened.map_err(|error| self.shared.failed(self.dir(), file.path(), error))?;
        Ok(file)
    }

    fn begin_scan(&self, base: Offset) -> Scan {
        let mut state = self.state.borrow_mut();
        let end = state.end;
        let known = state.segments.iter().position(|s| s.base == base);
        let segment = match known.and_then(|i| state.segments.remove(i)) {
            Some(segment) => segment,
            None => Segment::found(base, self.shared.clock.wall()),
        };
        Scan { segment, end }
    }

    /// The header of a batch that belongs at the scan's end; `None` if these bytes do not.
    fn check_batch(&self, bytes: &[u8], scan: &Scan) -> Option<BatchHeader> {
        let mut codecs = self.shared.codecs.borrow_mut();
        let facts = check_slice(bytes, &Limits::log(), &mut codecs).ok()?;
        let header = facts.header;
        let in_order =
            header.base_offset() >= scan.end && header.last_offset() >= header.base_offset();
        let fits = super::index::relative(scan.segment.base, header.last_offset()).is_some();
        (in_order && fits).then_some(header)
    }

    /// Whether anything of the scan was cut decides nothing here: a snapshot past the end tells of lost batches.
    async fn remove_snapshots_past_end(&self) -> Result<(), StorageError> {
        let (path, end, offsets) = {
            let state = self.state();
            (state.path.clone(), state.end, state.snapshots.clone())
        };
        for &offset in offsets.iter().filter(|&&o| o > end) {
            let file = FileKind::Snapshot.path(&path, offset);
            self.shared
                .disk
                .remove(&file)
                .await
                .map_err(|e| self.shared.failed(self.dir(), &file, e))?;
        }
        self.state.borrow_mut().snapshots.retain(|o| *o <= end);
        Ok(())
    }
}
