//! Finding records by their time.

use std::cell::Cell;

use smallvec::SmallVec;

use super::error::ReadError;
use super::index::relative;
use super::log::{Log, Mark, State};
use super::read::{Cursor, Located, Missing, Stop, Walk, copy_out};
use crate::record::{BatchHeader, first_at_or_after};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// A record found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOffset {
    pub offset: Offset,
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub epoch: LeaderEpoch,
}

/// The most that a batch may inflate to when it is searched for a timestamp.
const INFLATED_BYTES_MAX: usize = 256 << 20;

impl Log {
    /// The first record at or after the log's start and below `upper` whose timestamp is `target` or later.
    ///
    /// - Looks inside the batch (COMPAT 43); `Ok(None)` if there is no such record.
    pub async fn offset_for_timestamp(
        &self,
        target: Timestamp,
        upper: Offset,
    ) -> Result<Option<TimedOffset>, ReadError> {
        let mut cursor = Cursor::default();
        let mut next: Option<Mark> = None;
        let mut generation = self.state().generation;
        loop {
            let now = self.state().generation;
            if std::mem::replace(&mut generation, now) != now {
                // Batches lie elsewhere.
                next = None;
            }
            let found = self.timed_batch(target, upper, next, &mut cursor);
            let (batch, bytes, start) = match found {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing(missing)) => {
                    self.fetch(missing, &mut cursor).await?;
                    continue;
                }
            };
            let mut codecs = self.shared.codecs.borrow_mut();
            let first = first_at_or_after(&bytes, target, start, INFLATED_BYTES_MAX, &mut codecs);
            match first.map_err(|_| batch.corrupt())? {
                Some((offset, _)) if offset >= upper => return Ok(None),
                Some((offset, timestamp)) => {
                    let epoch = batch.header.leader_epoch();
                    return Ok(Some(TimedOffset {
                        offset,
                        timestamp,
                        epoch,
                    }));
                }
                None => {
                    next = Some(Mark {
                        position: batch.position + batch.size,
                        ..batch.mark()
                    })
                }
            }
        }
    }

    /// The next batch, from `next` on, whose largest timestamp is `target` or later, with its bytes.
    fn timed_batch(
        &self,
        target: Timestamp,
        upper: Offset,
        next: Option<Mark>,
        cursor: &mut Cursor,
    ) -> Result<Option<(Located, Vec<u8>, Offset)>, Stop> {
        let state = self.state();
        self.check_readable(&state)?;
        let after = next.map_or(Offset(-1), |m| m.base);
        let segments = state.segments.iter().filter(|s| s.base >= after);
        for segment in segments.filter(|s| s.max_timestamp >= target.0 && s.base < upper) {
            let from = match next.filter(|m| m.base == segment.base) {
                Some(mark) => mark.position,
                None if !segment.index_whole => {
                    return Err(Missing::index(segment.base).into());
                }
                None => {
                    let earlier = segment.index.relative_before_time(target.0);
                    segment.index.position_before(earlier)
                }
            };
            let wanted =
                |h: &BatchHeader| h.max_timestamp() >= target && h.last_offset() >= state.start;
            let Some(batch) =
                self.walk(&state, segment.base, from, (cursor, Walk::Begin), wanted)?
            else {
                continue;
            };
            if batch.header.base_offset() >= upper {
                return Ok(None);
            }
            let bytes = self.batch_bytes(&state, &batch, cursor)?;
            return Ok(Some((batch, bytes, state.start)));
        }
        Ok(None)
    }

    /// The record with the largest timestamp of those below `upper`, the earliest if there are several (KIP-734).
    ///
    /// - `upper`: a batch boundary; `Ok(None)` if no record below it has a timestamp.
    pub async fn max_timestamp(&self, upper: Offset) -> Result<Option<TimedOffset>, ReadError> {
        let (start, bases) = {
            let state = self.state();
            let first = state.segment_of(state.start).unwrap_or(0);
            let segments = state.segments.iter().skip(first);
            let bases: Vec<Offset> = segments.map(|s| s.base).filter(|&b| b < upper).collect();
            (state.start, bases)
        };
        let mut largest = -1;
        for base in bases {
            largest = largest.max(self.largest_timestamp(base, start, upper).await?);
        }
        match largest {
            ..0 => Ok(None),
            target => self.offset_for_timestamp(Timestamp(target), upper).await,
        }
    }

    /// The largest timestamp of a segment's batches that reach `start` and lie below `upper`; −1 is none.
    pub(super) async fn largest_timestamp(
        &self,
        base: Offset,
        start: Offset,
        upper: Offset,
    ) -> Result<i64, ReadError> {
        let mut cursor = Cursor::default();
        let largest = Cell::new(-1);
        loop {
            match self.raise_to_largest(base, start, upper, &largest, &mut cursor) {
                Ok(()) => return Ok(largest.get()),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Missing(missing)) => self.fetch(missing, &mut cursor).await?,
            }
        }
    }

    fn raise_to_largest(
        &self,
        base: Offset,
        start: Offset,
        upper: Offset,
        largest: &Cell<i64>,
        cursor: &mut Cursor,
    ) -> Result<(), Stop> {
        let state = self.state();
        self.check_readable(&state)?;
        let Some(segment) = state.segment_at(base) else {
            return Ok(());
        };
        let raise = |timestamp: i64| largest.set(largest.get().max(timestamp));
        let next = state.segments.iter().map(|s| s.base).find(|&b| b > base);
        if base >= start && next.unwrap_or(state.end) <= upper {
            raise(segment.max_timestamp);
            return Ok(());
        }
        if !segment.index_whole {
            return Err(Missing::index(base).into());
        }
        // From the start on, or else from the time index's last entry below `upper`: a few batches only.
        let times = &segment.index.times;
        let known = times.partition_point(|e| base.plus(e.relative as i64) < upper);
        let from = match known.checked_sub(1).map(|i| times[i]) {
            _ if base < start => relative(base, start).unwrap_or(u32::MAX),
            Some(entry) => {
                raise(entry.timestamp);
                entry.relative
            }
            None => 0,
        };
        let from = segment.index.position_before(from);
        self.walk(&state, base, from, (cursor, Walk::Begin), |h| {
            let past = h.last_offset() >= upper;
            if !past && h.last_offset() >= start {
                raise(h.max_timestamp().0);
            }
            past
        })?;
        Ok(())
    }

    pub(super) fn batch_bytes(
        &self,
        state: &State,
        batch: &Located,
        cursor: &mut Cursor,
    ) -> Result<Vec<u8>, Stop> {
        let mut slices = SmallVec::new();
        self.gather(
            state,
            batch.base,
            batch.position,
            batch.position + batch.size,
            cursor,
            &mut slices,
        )?;
        let mut bytes = vec![0; batch.size as usize];
        copy_out(&slices, &mut bytes);
        Ok(bytes)
    }
}
