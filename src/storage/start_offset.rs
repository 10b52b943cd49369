//! Moving a log's start: DeleteRecords (KIP-107) and retention, which give up whole segments at the old end.

use super::error::StorageError;
use super::log::{Log, Stage, State};
use super::names::{START_OFFSET, encode_start_offset};
use crate::types::Offset;

/// What moving the start came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Deleted {
    /// The log's start now.
    pub start: Offset,
    /// Segments that were given up, and their bytes.
    pub segments: usize,
    pub bytes: u64,
}

impl Log {
    /// Moves the log's start up to `to`, durably, and removes the segments that lie wholly below it (KIP-107).
    ///
    /// - `to`: at most the end offset; a start that is already higher stays. Returns the start.
    pub async fn set_start_offset(&self, to: Offset) -> Result<Offset, StorageError> {
        Ok(self.move_start(to).await?.start)
    }

    /// [`Log::set_start_offset`] for retention: where the disk is too full to note the new start, the oldest segments go all
    /// the same, as far as the files that stay tell where the log starts.
    ///
    /// - `to`: the base of a segment, or the log's end as it was when its active segment was closed by [`Log::roll`].
    /// - The files are gone from the disk only when `file.delete.delay.ms` is over.
    /// - After a crash the log starts at `to` or, where the start could not be noted, perhaps at an earlier segment.
    pub async fn delete_segments(&self, to: Offset) -> Result<Deleted, StorageError> {
        match self.move_start(to).await {
            Err(error) if error.is_full() => self.drop_oldest(to).await,
            outcome => outcome,
        }
    }

    async fn move_start(&self, to: Offset) -> Result<Deleted, StorageError> {
        let inside = self.gate.enter().await;
        let (start, end) = (self.start_offset(), self.end_offset());
        assert!(to <= end, "a start of {to} in a log that ends at {end}");
        if self.state().stage == Stage::Deleted {
            return Ok(Deleted {
                start,
                ..Deleted::default()
            });
        }
        let to = to.max(start);
        if self.state().must_settle_before(to) {
            match self.commit_inside().await {
                // What is not in the files stays for now.
                Err(error) if error.is_full() => {}
                outcome => _ = outcome?,
            }
        }
        if to > start {
            // Before any file goes: recovery then knows that what is missing below is no loss.
            let file = self.state().path.join(START_OFFSET);
            let text = encode_start_offset(to);
            let written = self.shared.disk.replace_file(&file, text.as_bytes()).await;
            written.map_err(|error| self.shared.failed(self.dir(), &file, error))?;
        }
        let deleted = self.give_up(to)?;
        drop(inside);
        self.shared.start_removals().await;
        Ok(deleted)
    }

    /// Gives up segments without a note of the start: one with a file must stay, whose name says where the log starts.
    async fn drop_oldest(&self, to: Offset) -> Result<Deleted, StorageError> {
        let inside = self.gate.enter().await;
        let first = {
            let state = self.state();
            let stored = state.segments.iter().filter(|s| s.exists && s.base <= to);
            stored.map(|s| s.base).next_back()
        };
        let start = self.start_offset();
        let deleted = self.give_up(first.unwrap_or(start).max(start))?;
        drop(inside);
        self.shared.start_removals().await;
        Ok(deleted)
    }

    /// Begins the log at `to` and takes out the segments below it, as far as all of them is in their files.
    ///
    /// - `Err(Offline)`: the store is being closed, and its last checkpoint may tell of these segments.
    fn give_up(&self, to: Offset) -> Result<Deleted, StorageError> {
        if self.shared.closing.get() {
            return Err(StorageError::Offline);
        }
        let mut deleted = Deleted {
            start: to,
            ..Deleted::default()
        };
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Deleted {
            return Ok(deleted);
        }
        if to > state.start {
            state.start = to;
            state.changed = true;
            state.epochs_dirty |= state.epochs.truncate_start(to);
        }
        while state.segments.len() > 1
            && state.segments[1].base <= to
            && state.segments[1].base <= state.recovery_point
        {
            let segment = state.segments.pop_front().expect("there are two");
            self.shared.tail_shrank(segment.extents.size());
            self.shared.close_files(self.id, Some(segment.base));
            self.shared.removals.add_segment(self.id, segment.base);
            deleted.segments += 1;
            deleted.bytes += u64::from(segment.size);
        }
        if deleted.segments > 0 {
            state.changed = true;
            state.forget_lost_marks();
            let first = state.segments[0].base;
            self.shared.chunks.borrow_mut().forget_below(self.id, first);
        }
        Ok(deleted)
    }

    /// Whether the log has a segment of this base: one may be given up while a reader waits for its bytes.
    pub(super) fn holds(&self, base: Offset) -> bool {
        self.state().segment_at(base).is_some()
    }
}

impl State {
    /// Whether what moves the start to `to` must first bring all to the files: what lies in the journal only cannot be
    /// given up, and a snapshot past what is durable would be lost with the batches that it tells of.
    fn must_settle_before(&self, to: Offset) -> bool {
        let bases = self.segments.iter().skip(1).map(|s| s.base);
        let last = bases.take_while(|&base| base <= to).last();
        let told = self.told_of_producers();
        last.is_some_and(|base| base > self.recovery_point || told > self.durable)
    }

    /// Where the durable end lies is not known any more if its segment is gone: the next append begins another.
    fn forget_lost_marks(&mut self) {
        let first = self.segments.front().map(|s| s.base);
        for mark in [&mut self.durable_at, &mut self.durable_pos] {
            *mark = mark.filter(|mark| first.is_some_and(|first| mark.base >= first));
        }
    }
}
