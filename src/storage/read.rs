//! Reading a log: finding batches, and pinning their bytes without a copy.
//!
//! Every lookup is one synchronous function that either answers from memory or says which bytes it misses; the
//! asynchronous form fetches those and asks again. After each fetch all is looked up anew, since appends,
//! truncation and eviction go on meanwhile; only the position reached is kept, and not across a truncation.

use std::ops::Range;

use smallvec::SmallVec;

use super::ahead::Place;
use super::cache::ChunkKey;
use super::error::ReadError;
use super::index::relative;
use super::log::{Log, Mark, Stage, State};
use super::stats::Stats;
use crate::record::{BATCH_HEADER_BYTES, BatchHeader};
use crate::rt::{Page, Slice};
use crate::types::Offset;

/// What a read found: whole batches, but for the last, which `max_bytes` may cut.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// In order; pinned, not copied.
    pub slices: SmallVec<[Slice; 4]>,
    /// Of all slices.
    pub bytes: usize,
    /// First offset of the first batch, at or below what was asked for; the asked offset if nothing was read.
    pub base_offset: Offset,
}

/// What [`Log::try_read`] needs from disk first; [`Log::read`] gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    pub(super) base: Offset,
    pub(super) what: Wanted,
}

impl Read {
    /// The offset after the last whole batch: all headers are looked at.
    pub fn end_offset(&self) -> Offset {
        let (mut end, mut position) = (self.base_offset, 0);
        let mut raw = [0; BATCH_HEADER_BYTES];
        while position + BATCH_HEADER_BYTES <= self.bytes {
            self.copy_at(position, &mut raw);
            let Ok(header) = BatchHeader::view(&raw) else {
                break;
            };
            match header.size() {
                Ok(size) if position + size <= self.bytes => position += size,
                _ => break,
            }
            end = header.next_offset();
        }
        end
    }

    /// Copies bytes from `position` on, which may lie across slices.
    pub(super) fn copy_at(&self, mut position: usize, out: &mut [u8]) {
        let mut filled = 0;
        for slice in &self.slices {
            if position >= slice.len() {
                position -= slice.len();
                continue;
            }
            let count = (slice.len() - position).min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&slice[position..position + count]);
            filled += count;
            position = 0;
            if filled == out.len() {
                return;
            }
        }
    }
}

impl Missing {
    pub(super) fn index(base: Offset) -> Missing {
        Missing {
            base,
            what: Wanted::Index,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Bytes of the segment's file.
    Bytes { from: u32, to: u32 },
    /// The part of its index that is in its files.
    Index,
}

/// Why a lookup stopped.
pub(super) enum Stop {
    Missing(Missing),
    Failed(ReadError),
}

/// Chunks fetched for one lookup: they stay until it ends, however small the cache is.
type Pins = SmallVec<[(ChunkKey, Page); 4]>;

/// One lookup's place, kept while it waits for bytes.
#[derive(Default)]
pub(super) struct Cursor {
    pub pins: Pins,
    generation: Option<u32>,
    /// Headers below this have been looked at: by the walk for the beginning, and by that for the end.
    reached: [Option<Mark>; 2],
}

/// What a read is asked for; see [`Log::read`].
#[derive(Clone, Copy)]
struct Asked {
    from: Offset,
    upper: Offset,
    max_bytes: usize,
    at_least_one: bool,
    checksums: Checksums,
}

impl Asked {
    /// For whoever gets the records.
    fn new(from: Offset, upper: Offset, max_bytes: usize, at_least_one: bool) -> Asked {
        Asked {
            from,
            upper,
            max_bytes,
            at_least_one,
            checksums: Checksums::Held,
        }
    }
}

/// Whether what comes from the device is held against the batches' checksums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checksums {
    Held,
    Passed,
}

/// Where bytes were that a lookup pinned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundIn {
    /// In the log's tail, all of them.
    Tail,
    /// Some of them in chunks that were read from the file.
    Chunks,
}

/// Which of a lookup's walks.
#[derive(Clone, Copy)]
pub(super) enum Walk {
    Begin = 0,
    End = 1,
}

/// A batch in the log.
#[derive(Clone, Copy)]
pub(super) struct Located {
    pub base: Offset,
    pub position: u32,
    pub header: BatchHeader,
    pub size: u32,
}

impl From<Missing> for Stop {
    fn from(missing: Missing) -> Stop {
        Stop::Missing(missing)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Stop {
        Stop::Failed(error)
    }
}

impl Log {
    /// Reads batches from the one that holds `from`, up to `upper`.
    ///
    /// - `from`: within `[start, end]`, else `Err(OutOfRange)`; inside a batch, the whole batch is returned (COMPAT 32).
    /// - `upper`: a batch boundary, at most the end offset; nothing at or past it is returned.
    /// - `max_bytes`: the last batch is cut there; but with `at_least_one` the first batch comes whole (KIP-74),
    ///   and without, nothing comes if it does not fit.
    /// - Answers from one segment at a time, as Kafka does.
    pub async fn read(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        self.read_asked(Asked::new(from, upper, max_bytes, at_least_one))
            .await
    }

    /// [`Log::read`] of whole batches that are not held against their checksums: recovery goes by their headers, and
    /// whoever reads the records later finds what is wrong with them.
    pub(super) async fn read_unchecked(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: usize,
    ) -> Result<Read, ReadError> {
        let asked = Asked {
            checksums: Checksums::Passed,
            ..Asked::new(from, upper, max_bytes, true)
        };
        self.read_asked(asked).await
    }

    async fn read_asked(&self, asked: Asked) -> Result<Read, ReadError> {
        let mut cursor = Cursor::default();
        let mut found_at_once = true;
        loop {
            match self.read_now(asked, &mut cursor) {
                Ok(read) => return Ok(read),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing(missing)) => {
                    if std::mem::take(&mut found_at_once) {
                        Stats::add(&self.shared.stats.reads_missed, 1);
                    }
                    self.fetch(missing, &mut cursor).await?;
                }
            }
        }
    }

    /// [`Log::read`] where all of it is in memory; `Ok(Err(missing))` where it is not, and `read` is to be awaited.
    pub fn try_read(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Result<Read, Missing>, ReadError> {
        let asked = Asked::new(from, upper, max_bytes, at_least_one);
        match self.read_now(asked, &mut Cursor::default()) {
            Ok(read) => Ok(Ok(read)),
            Err(Stop::Missing(missing)) => Ok(Err(missing)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn read_now(&self, asked: Asked, cursor: &mut Cursor) -> Result<Read, Stop> {
        let Asked {
            from,
            upper,
            max_bytes,
            at_least_one,
            checksums,
        } = asked;
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        self.check_readable(state)?;
        if from < state.start || from > state.end {
            return Err(out_of_range(state).into());
        }
        let upper = upper.min(state.end);
        let nothing = Read {
            base_offset: from,
            ..Read::default()
        };
        if from >= upper {
            return Ok(nothing);
        }
        let Some(first) = self.locate(state, from, cursor)? else {
            return Ok(nothing);
        };
        if first.header.base_offset() >= upper {
            return Ok(nothing);
        }
        state.marks.note(first.mark());
        let segment = state.segment_at(first.base).expect("located in it");
        let next_base = state
            .segments
            .iter()
            .find(|s| s.base > first.base)
            .map(|s| s.base);
        let end = match next_base.is_some_and(|next| next <= upper) {
            true => segment.size,
            false => self.position_of(state, first.base, upper, cursor)?,
        };
        if !at_least_one && first.size as usize > max_bytes {
            return Ok(nothing);
        }
        let limit = max_bytes.max(if at_least_one { first.size as usize } else { 0 });
        let end = end.min(
            first
                .position
                .saturating_add(u32::try_from(limit).unwrap_or(u32::MAX)),
        );
        let mut read = Read {
            base_offset: first.header.base_offset(),
            ..Read::default()
        };
        let found_in = self.gather(
            state,
            first.base,
            first.position,
            end,
            cursor,
            &mut read.slices,
        )?;
        let stats = &self.shared.stats;
        match found_in {
            FoundIn::Tail => Stats::add(&stats.reads_tail, 1),
            FoundIn::Chunks => Stats::add(&stats.reads_chunks, 1),
        }
        read.bytes = (end - first.position) as usize;
        if checksums == Checksums::Held {
            self.keep_sound(state, first.base, first.position, &mut read)?;
            let end = first.position + read.bytes as u32;
            let size = state.segment_at(first.base).map_or(0, |s| s.size);
            let is_over = found_in == FoundIn::Tail || end >= size;
            let place = Place {
                log: self.id,
                generation: state.generation,
                base: first.base,
            };
            self.note_read(place, first.position..end, is_over, cursor);
        }
        Stats::add(&self.shared.stats.served_bytes, read.bytes as u64);
        Ok(read)
    }

    /// Has what follows read ahead, if this reader goes through the log in sequence.
    fn note_read(&self, place: Place, read: Range<u32>, is_over: bool, cursor: &Cursor) {
        let mut ahead = self.shared.ahead.borrow_mut();
        let waited = !cursor.pins.is_empty();
        let mut chunks = self.shared.chunks.borrow_mut();
        let held = ahead.on_read(place, read, waited, is_over, chunks.budget_max());
        chunks.grow(held);
        drop((ahead, chunks));
        self.shared.start_reading_ahead();
    }

    pub(super) fn check_readable(&self, state: &State) -> Result<(), ReadError> {
        match state.stage == Stage::Deleted || self.is_offline() {
            true => Err(ReadError::Offline),
            false => Ok(()),
        }
    }

    /// The batch that holds `offset`, or the first one after it; `None` if there is none.
    fn locate(
        &self,
        state: &State,
        offset: Offset,
        cursor: &mut Cursor,
    ) -> Result<Option<Located>, Stop> {
        let Some(first) = state.segment_of(offset) else {
            // Compaction may leave the first segment's base above the start.
            return match state.segments.front() {
                Some(segment) => self.walk(state, segment.base, 0, (cursor, Walk::Begin), |_| true),
                None => Ok(None),
            };
        };
        for i in first..state.segments.len() {
            let segment = &state.segments[i];
            let position = match state.marks.find(offset).filter(|m| m.base == segment.base) {
                Some(mark) => mark.position,
                None => self.index_position(segment, offset)?,
            };
            let wanted = |h: &BatchHeader| h.last_offset() >= offset;
            let found = self.walk(state, segment.base, position, (cursor, Walk::Begin), wanted)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A position at or before the batch that holds `offset`, by the segment's index.
    fn index_position(
        &self,
        segment: &super::segment::Segment,
        offset: Offset,
    ) -> Result<u32, Stop> {
        let relative = relative(segment.base, offset).unwrap_or(u32::MAX);
        let position = segment.index.position_before(relative);
        if position == 0 && !segment.index_whole {
            return Err(Missing::index(segment.base).into());
        }
        Ok(position)
    }

    /// Where the batch boundary `upper` lies in the segment `base`.
    fn position_of(
        &self,
        state: &mut State,
        base: Offset,
        upper: Offset,
        cursor: &mut Cursor,
    ) -> Result<u32, Stop> {
        if let Some(end) = state
            .end_mark()
            .filter(|m| m.offset == upper && m.base == base)
        {
            return Ok(end.position);
        }
        if let Some(mark) = state.marks.find(upper).filter(|m| m.base == base) {
            return Ok(mark.position);
        }
        let segment = state.segment_at(base).expect("located in it");
        let from = self.index_position(segment, upper)?;
        let found = self.walk(state, base, from, (cursor, Walk::End), |h| {
            h.last_offset() >= upper
        })?;
        let position = found.map_or(segment.size, |batch| batch.position);
        state.marks.note(Mark {
            offset: upper,
            base,
            position,
        });
        Ok(position)
    }

    /// Walks the headers of a segment from `position` to the first batch that is `wanted`.
    pub(super) fn walk(
        &self,
        state: &State,
        base: Offset,
        position: u32,
        (cursor, which): (&mut Cursor, Walk),
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<Located>, Stop> {
        let Some(segment) = state.segment_at(base) else {
            return Ok(None);
        };
        if cursor.generation != Some(state.generation) {
            cursor.reached = [None; 2];
            cursor.generation = Some(state.generation);
        }
        let resumed =
            cursor.reached[which as usize].filter(|m| m.base == base && m.position > position);
        let mut position = resumed.map_or(position, |m| m.position);
        while position < segment.size {
            let batch = self.batch_at(state, base, position, segment.size, cursor)?;
            // Found again from here if the lookup has to wait for more.
            cursor.reached[which as usize] = Some(Mark {
                offset: Offset(-1),
                base,
                position,
            });
            if wanted(&batch.header) {
                return Ok(Some(batch));
            }
            position += batch.size;
        }
        Ok(None)
    }

    /// The batch at `position`, held against the segment's bounds.
    pub(super) fn batch_at(
        &self,
        state: &State,
        base: Offset,
        position: u32,
        end: u32,
        cursor: &mut Cursor,
    ) -> Result<Located, Stop> {
        let corrupt = |why| ReadError::Corrupt {
            position: position as u64,
            why,
        };
        if end - position < BATCH_HEADER_BYTES as u32 {
            return Err(corrupt("the segment ends inside a header").into());
        }
        let mut slices = SmallVec::new();
        self.gather(
            state,
            base,
            position,
            position + BATCH_HEADER_BYTES as u32,
            cursor,
            &mut slices,
        )?;
        let mut raw = [0; BATCH_HEADER_BYTES];
        copy_out(&slices, &mut raw);
        let header = *BatchHeader::view(&raw).map_err(|_| corrupt("no batch header"))?;
        let size = header
            .size()
            .map_err(|_| corrupt("a length no batch has"))?;
        if header.magic() != 2 || size > (end - position) as usize || header.base_offset() < base {
            return Err(corrupt("not a batch").into());
        }
        Ok(Located {
            base,
            position,
            header,
            size: size as u32,
        })
    }

    /// Pins `from..to` of a segment, from its extents and from cached chunks.
    pub(super) fn gather(
        &self,
        state: &State,
        base: Offset,
        from: u32,
        to: u32,
        cursor: &mut Cursor,
        out: &mut SmallVec<[Slice; 4]>,
    ) -> Result<FoundIn, Stop> {
        let segment = state.segment_at(base).expect("the caller looked it up");
        let mut position = from;
        let mut found_in = FoundIn::Tail;
        while position < to {
            if let Some((extent, until)) = segment.extents.at(position) {
                let until = until.min(to);
                out.push(extent.slice(position, until));
                position = until;
                continue;
            }
            let stretch = segment.chunk_stretch(position, to);
            let (chunk_start, until) = (stretch.chunk_start, stretch.until);
            assert!(
                until <= segment.written,
                "bytes {position}..{until} are neither in memory nor in the file"
            );
            let key = ChunkKey {
                log: self.id,
                generation: state.generation,
                base,
                number: stretch.number,
            };
            let Some(slice) = self.cached(
                key,
                position - chunk_start,
                until - chunk_start,
                &cursor.pins,
            ) else {
                let to = stretch.extent_start.min(segment.written);
                return Err(Missing {
                    base,
                    what: Wanted::Bytes { from: position, to },
                }
                .into());
            };
            found_in = FoundIn::Chunks;
            out.push(slice);
            position = until;
        }
        Ok(found_in)
    }

    fn cached(&self, key: ChunkKey, from: u32, to: u32, pins: &Pins) -> Option<Slice> {
        let pinned = pins
            .iter()
            .find(|(k, page)| *k == key && page.len() >= to as usize);
        match pinned {
            Some((_, page)) => Some(page.slice(from as usize..to as usize)),
            None => self.shared.chunks.borrow_mut().find(key, from, to),
        }
    }

    /// Where the batch that reaches `offset` begins: (segment, position). `None` if no batch does.
    pub(super) async fn find_boundary(
        &self,
        offset: Offset,
    ) -> Result<Option<(Offset, u32)>, ReadError> {
        let mut cursor = Cursor::default();
        loop {
            let found = {
                let state = self.state();
                self.locate(&state, offset, &mut cursor)
            };
            match found {
                Ok(found) => return Ok(found.map(|batch| (batch.base, batch.position))),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing(missing)) => self.fetch(missing, &mut cursor).await?,
            }
        }
    }
}

impl Located {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            offset: self.header.base_offset(),
            base: self.base,
            position: self.position,
        }
    }

    pub(super) fn corrupt(&self) -> ReadError {
        ReadError::Corrupt {
            position: self.position as u64,
            why: "a batch that cannot be read",
        }
    }
}

fn out_of_range(state: &State) -> ReadError {
    ReadError::OutOfRange {
        start: state.start,
        end: state.end,
    }
}

/// Copies as much of `slices` as `out` has room for.
pub(super) fn copy_out(slices: &[Slice], out: &mut [u8]) {
    let mut filled = 0;
    for slice in slices {
        let count = slice.len().min(out.len() - filled);
        out[filled..filled + count].copy_from_slice(&slice[..count]);
        filled += count;
    }
}
