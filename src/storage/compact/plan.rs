//! What of a log is dirty, whether it is due, and which segments become one.

use std::ops::Range;

use super::super::index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, relative};
use super::super::log::{LogConfig, State};
use crate::types::{Offset, Timestamp};

/// What of a topic's configuration compaction goes by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CompactConfig {
    /// `min.cleanable.dirty.ratio`.
    pub dirty_ratio_min: f64,
    /// `min.compaction.lag.ms`.
    pub lag_ms_min: i64,
    /// `max.compaction.lag.ms`.
    pub lag_ms_max: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

impl Default for CompactConfig {
    /// Kafka's defaults.
    fn default() -> CompactConfig {
        CompactConfig {
            dirty_ratio_min: 0.5,
            lag_ms_min: 0,
            lag_ms_max: i64::MAX,
            delete_retention_ms: 86_400_000,
        }
    }
}

/// How dirty a log is: what compaction would read for its keys, and what it has read before.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dirty {
    /// The first offset whose keys were never looked at.
    pub first: Offset,
    /// Where what may be rewritten ends: a segment's base.
    pub until: Offset,
    pub clean_bytes: u64,
    /// Of `first..until`, in whole segments.
    pub dirty_bytes: u64,
    /// Milliseconds by which the oldest dirty record is past `max.compaction.lag.ms`; 0: it is not.
    pub overdue_ms: i64,
}

impl Dirty {
    /// The dirty part of what could be compacted, 0 to 1.
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }

    /// Whether it is to be compacted now, by Kafka's rule.
    pub fn is_due(&self, config: &CompactConfig) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.ratio() > config.dirty_ratio_min)
    }
}

/// One segment, as the plan sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub base: Offset,
    /// The base of the next segment.
    pub end: Offset,
    pub size: u32,
    pub created: i64,
    pub first_timestamp: i64,
    /// The largest of its records, or when it was last written where none carries one, as Kafka goes by its file's time.
    pub newest: i64,
}

/// A log as the plan sees it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub start: Offset,
    pub end: Offset,
    /// All but the active segment, in order.
    pub rolled: Vec<Source>,
    /// Where the active segment begins; the log's end if there is none.
    pub active: Offset,
    pub first_dirty: Option<Offset>,
    /// All below is durable in its segment's own file, and nothing is noted of a place there.
    pub settled: Offset,
}

impl View {
    pub fn of(state: &State) -> View {
        let mut rolled = Vec::with_capacity(state.segments.len().saturating_sub(1));
        let pairs = state.segments.iter().zip(state.segments.iter().skip(1));
        for (number, (segment, next)) in pairs.enumerate() {
            rolled.push(Source {
                base: segment.base,
                end: next.base,
                size: segment.size,
                created: segment.created,
                first_timestamp: segment.first_timestamp,
                newest: state.or_written(segment.max_timestamp, number),
            });
        }
        let unwritten = state.segments.iter().find(|s| s.written < s.size);
        let noted =
            [state.durable_at, state.durable_pos].map(|at| at.map_or(Offset::ZERO, |at| at.base));
        let settled = noted.into_iter().chain(unwritten.map(|s| s.base));
        View {
            start: state.start,
            end: state.end,
            rolled,
            active: state.segments.back().map_or(state.end, |s| s.base),
            first_dirty: state.compaction.first_dirty,
            settled: settled.fold(state.recovery_point, Offset::min),
        }
    }

    /// The rolled segment that holds `offset`: the first where it lies below all, one past the last in the active one.
    fn floor(&self, offset: Offset) -> usize {
        if offset >= self.active {
            return self.rolled.len();
        }
        let after = self.rolled.partition_point(|s| s.base <= offset);
        after.saturating_sub(1)
    }
}

/// What is dirty in `view` of which everything below `stable` is decided: committed, its transactions ended.
///
/// Source: `LogCleanerManager.cleanableOffsets`, `LogToClean`, `maxCompactionDelay`.
pub(super) fn dirty(view: &View, stable: Offset, config: &CompactConfig, now: Timestamp) -> Dirty {
    let inside = view.start..=view.end;
    let first = view.first_dirty.filter(|offset| inside.contains(offset));
    let first = first.unwrap_or(view.start);
    let from_first = view.floor(first)..view.rolled.len();
    let mut limit = stable.min(view.active).min(view.settled);
    if config.lag_ms_min > 0 {
        let newest = now.0.saturating_sub(config.lag_ms_min);
        let young = view.rolled[from_first.clone()]
            .iter()
            .find(|s| s.newest > newest);
        limit = limit.min(young.map_or(limit, |s| s.base));
    }
    let until = match limit.max(first) {
        limit if limit >= view.active => view.active,
        limit => view
            .rolled
            .get(view.floor(limit))
            .map_or(view.start, |s| s.base),
    };
    let bytes = |range: Range<usize>| -> u64 {
        let segments = view.rolled.get(range).unwrap_or_default();
        segments.iter().map(|s| s.size as u64).sum()
    };
    let below = |offset: Offset| view.rolled.partition_point(|s| s.base < offset);
    let oldest = view.rolled[from_first]
        .iter()
        .map(|s| s.first_timestamp)
        .filter(|timestamp| *timestamp > 0)
        .min();
    let clean_until = now.0.saturating_sub(config.lag_ms_max.max(0));
    Dirty {
        first,
        until,
        clean_bytes: bytes(0..below(first)),
        dirty_bytes: bytes(view.floor(first.min(until))..below(until)),
        overdue_ms: oldest.map_or(0, |oldest| clean_until.saturating_sub(oldest).max(0)),
    }
}

/// Segments in order, those that become one together: as many as fit `segment.bytes`, the index and its 32-bit offsets.
///
/// Source: `Cleaner.groupSegmentsBySize`; but the size of an index is bounded by the bytes it is for.
pub(super) fn groups(segments: &[Source], config: &LogConfig) -> Vec<Range<usize>> {
    let entries_max = (config.index_bytes as usize)
        .checked_div(OFFSET_ENTRY_BYTES.max(TIME_ENTRY_BYTES))
        .unwrap_or(0) as u64;
    let interval = config.index_interval_bytes.max(1) as u64;
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (i, segment) in segments.iter().enumerate() {
        let joined = bytes + segment.size as u64;
        let fits = |group: &Range<usize>| {
            let base = segments[group.start].base;
            joined <= config.segment_bytes as u64
                && joined / interval < entries_max
                && relative(base, segment.end).is_some()
        };
        match groups.last_mut().filter(|group| fits(group)) {
            Some(group) => {
                group.end = i + 1;
                bytes = joined;
            }
            None => {
                groups.push(i..i + 1);
                bytes = segment.size as u64;
            }
        }
    }
    groups
}
