//! Which of a partition's segments have had their time: Kafka's rules (`UnifiedLog.deleteOldSegments`), as one function.

use crate::types::{Offset, Timestamp};

/// One segment, as far as retention looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    pub base: Offset,
    /// Bytes of batches.
    pub size: u64,
    /// Its largest record timestamp; where no record carries one, when it was last written.
    pub newest: Timestamp,
}

/// What a topic asks to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionPolicy {
    /// `cleanup.policy` contains `delete`. Without it only what lies below the log's start goes.
    pub delete: bool,
    /// `retention.ms`; negative is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative is no limit.
    pub retention_bytes: i64,
}

/// Where a partition stands when it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogBounds {
    pub start: Offset,
    /// Nothing at or above it is deleted.
    pub high_watermark: Offset,
    pub end: Offset,
}

/// Segments that go for one reason, with their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Share {
    pub segments: usize,
    pub bytes: u64,
}

/// What of a log is to go: its oldest segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Wholly below the log's start (DeleteRecords).
    pub by_start: Share,
    /// Over `retention.bytes`.
    pub by_size: Share,
    /// All records older than `retention.ms`.
    pub by_time: Share,
    /// The base of the first segment that stays, or the log's end: where the log starts then, unless it starts later.
    pub end: Offset,
    /// The active segment goes too, and must be closed first.
    pub active: bool,
}

/// The segments that have had their time, `None` if all stay.
///
/// - `segments`: all of the log's, oldest first; the last one is active.
/// - What goes is a prefix, looked at three times as Kafka does: what lies below the start, then what is over
///   `retention.bytes`, then what is older than `retention.ms`. Each time the first segment that stays ends the look.
/// - Size: the oldest goes as long as what is left is at least `retention.bytes`. Time: a segment goes by its newest
///   record; one with a record from the future stays, and all behind it.
/// - An active segment that is empty always stays, and so does a segment that reaches past the high watermark.
/// - Source: KIP-107 for the log's start; `log.retention.*` of Kafka's documentation.
pub fn expired(
    segments: &[SegmentFacts],
    bounds: LogBounds,
    policy: RetentionPolicy,
    now: Timestamp,
) -> Option<Expired> {
    let mut left = segments;
    let next = |left: &[SegmentFacts]| left.get(1).map_or(bounds.end, |s| s.base);
    let mut take = |goes: &mut dyn FnMut(&SegmentFacts, Offset) -> bool| {
        let mut share = Share::default();
        while let Some(first) = left.first() {
            let (active, upper) = (left.len() == 1, next(left));
            let held = upper > bounds.high_watermark || (active && first.size == 0);
            if held || !goes(first, upper) {
                break;
            }
            share.segments += 1;
            share.bytes += first.size;
            left = &left[1..];
        }
        share
    };
    // The active segment holds the end, which no start is above: it goes only by size or time.
    let last = segments.last().map(|s| s.base);
    let by_start = take(&mut |s, upper| Some(s.base) != last && upper <= bounds.start);
    let (mut by_size, mut by_time) = (Share::default(), Share::default());
    if policy.delete {
        if let Ok(kept) = u64::try_from(policy.retention_bytes) {
            let total = segments.iter().map(|s| s.size).sum::<u64>() - by_start.bytes;
            let mut over = total.checked_sub(kept);
            by_size = take(&mut |s, _| {
                let rest = over.and_then(|over| over.checked_sub(s.size));
                over = rest.or(over);
                rest.is_some()
            });
        }
        if policy.retention_ms >= 0 {
            by_time = take(&mut |s, _| now.0.saturating_sub(s.newest.0) > policy.retention_ms);
        }
    }
    let count = by_start.segments + by_size.segments + by_time.segments;
    (count > 0).then(|| Expired {
        by_start,
        by_size,
        by_time,
        end: segments.get(count).map_or(bounds.end, |s| s.base),
        active: count == segments.len(),
    })
}

#[cfg(test)]
mod tests {
    //! Goal: the same segments go as in Apache Kafka. Method: tables of segments and policies, one row a rule; what a row
    //! expects was tried on Kafka 4.3.1 or stands in its documentation.

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const FOREVER: RetentionPolicy = RetentionPolicy {
        delete: true,
        retention_ms: -1,
        retention_bytes: -1,
    };

    /// Segments of (size, age in ms): ten offsets each, from 0 on.
    fn segments(of: &[(u64, i64)]) -> Vec<SegmentFacts> {
        let fact = |(i, &(size, age)): (usize, &(u64, i64))| SegmentFacts {
            base: Offset(i as i64 * 10),
            size,
            newest: Timestamp(NOW.0 - age),
        };
        of.iter().enumerate().map(fact).collect()
    }

    /// Of all segments, committed to the end.
    fn bounds(segments: &[SegmentFacts]) -> LogBounds {
        let active = segments.last().expect("a segment");
        let end = active.base.plus(if active.size == 0 { 0 } else { 10 });
        LogBounds {
            start: Offset(0),
            high_watermark: end,
            end,
        }
    }

    /// How many go by start, size and time.
    fn counts(found: Option<Expired>) -> [usize; 3] {
        found.map_or([0; 3], |e| {
            [e.by_start.segments, e.by_size.segments, e.by_time.segments]
        })
    }

    #[test]
    fn by_time_whole_segments_go_by_their_newest_record() {
        let rows: &[(&[i64], i64, usize)] = &[
            // Exactly as old as allowed stays.
            (&[101, 100, 0], 100, 1),
            (&[100, 100, 0], 100, 0),
            // -1 is for ever, 0 is everything that is a millisecond old.
            (&[9999, 9999, 9999], -1, 0),
            (&[1, 1, 0], 0, 2),
            // A young segment, or one from the future, keeps all behind it.
            (&[500, 50, 500, 500], 100, 1),
            (&[500, -1, 500, 500], 100, 1),
            (&[-1, 500, 500], 100, 0),
            // All are old: the active one goes too.
            (&[500, 500, 500], 100, 3),
            (&[101], 100, 1),
            // Past any number: no overflow.
            (&[i64::MIN / 2, 500], 100, 0),
            (&[500], i64::MAX, 0),
        ];
        for (ages, retention_ms, wanted) in rows {
            let of: Vec<(u64, i64)> = ages.iter().map(|&age| (1000, age)).collect();
            let segments = segments(&of);
            let policy = RetentionPolicy {
                retention_ms: *retention_ms,
                ..FOREVER
            };
            let found = expired(&segments, bounds(&segments), policy, NOW);
            assert_eq!(counts(found), [0, 0, *wanted], "{ages:?} {retention_ms}");
            if let Some(found) = found {
                assert_eq!(found.active, *wanted == ages.len());
                assert_eq!(found.end, Offset(*wanted as i64 * 10));
                assert_eq!(found.by_time.bytes, *wanted as u64 * 1000);
            }
        }
    }

    #[test]
    fn by_size_the_oldest_go_while_enough_is_left() {
        let rows: &[(&[u64], i64, usize)] = &[
            // Less than a whole segment over: nothing goes.
            (&[100, 100, 100], 201, 0),
            (&[100, 100, 100], 200, 1),
            (&[100, 100, 100], 199, 1),
            (&[100, 100, 100], 100, 2),
            (&[100, 100, 100], 300, 0),
            (&[100, 100, 100], 1 << 40, 0),
            (&[100, 100, 100], -1, 0),
            // Nothing may be kept: the active segment goes too.
            (&[100, 100, 100], 0, 3),
            (&[100], 0, 1),
            // Down to at least the limit, whatever the sizes.
            (&[500, 10, 10, 10], 20, 2),
            (&[10, 500, 10], 20, 1),
        ];
        for (sizes, retention_bytes, wanted) in rows {
            let of: Vec<(u64, i64)> = sizes.iter().map(|&size| (size, 0)).collect();
            let segments = segments(&of);
            let policy = RetentionPolicy {
                retention_bytes: *retention_bytes,
                ..FOREVER
            };
            let found = expired(&segments, bounds(&segments), policy, NOW);
            assert_eq!(
                counts(found),
                [0, *wanted, 0],
                "{sizes:?} {retention_bytes}"
            );
        }
    }

    #[test]
    fn size_is_looked_at_before_time_and_after_the_start() {
        let segments = segments(&[(100, 500), (100, 500), (100, 500), (100, 50), (100, 50)]);
        let policy = RetentionPolicy {
            delete: true,
            retention_ms: 100,
            retention_bytes: 300,
        };
        let bounds = LogBounds {
            start: Offset(10),
            ..bounds(&segments)
        };
        // The first lies below the start; 400 are left, so one goes by size; the third by time.
        let found = expired(&segments, bounds, policy, NOW).expect("three go");
        assert_eq!(counts(Some(found)), [1, 1, 1]);
        assert_eq!((found.end, found.active), (Offset(30), false));
    }

    #[test]
    fn below_the_start_segments_go_whatever_the_policy() {
        let segments = segments(&[(100, 0), (100, 0), (100, 0)]);
        let compacted = RetentionPolicy {
            delete: false,
            retention_ms: 0,
            retention_bytes: 0,
        };
        for (start, wanted) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 2)] {
            let bounds = LogBounds {
                start: Offset(start),
                ..bounds(&segments)
            };
            for policy in [compacted, FOREVER] {
                let found = expired(&segments, bounds, policy, NOW);
                assert_eq!(counts(found), [wanted, 0, 0], "start {start}");
                // Even a start at the end leaves the active segment alone.
                assert!(found.is_none_or(|found| !found.active));
            }
        }
    }

    #[test]
    fn nothing_at_or_above_the_high_watermark_goes() {
        let segments = segments(&[(100, 500), (100, 500), (100, 500)]);
        let policies = [
            RetentionPolicy {
                retention_ms: 0,
                ..FOREVER
            },
            RetentionPolicy {
                retention_bytes: 0,
                ..FOREVER
            },
        ];
        for policy in policies {
            for (high, wanted) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)] {
                let bounds = LogBounds {
                    high_watermark: Offset(high),
                    ..bounds(&segments)
                };
                let found = expired(&segments, bounds, policy, NOW);
                assert_eq!(counts(found).iter().sum::<usize>(), wanted, "{high}");
            }
        }
    }

    #[test]
    fn an_empty_active_segment_stays() {
        let policy = RetentionPolicy {
            delete: true,
            retention_ms: 0,
            retention_bytes: 0,
        };
        let alone = segments(&[(0, 500)]);
        assert_eq!(expired(&alone, bounds(&alone), policy, NOW), None);
        let rolled = segments(&[(100, 500), (0, 500)]);
        let found = expired(&rolled, bounds(&rolled), policy, NOW).expect("the full one goes");
        assert_eq!((found.end, found.active), (Offset(10), false));
        let bounds = LogBounds {
            start: Offset(0),
            high_watermark: Offset(0),
            end: Offset(0),
        };
        assert_eq!(expired(&[], bounds, policy, NOW), None, "never written");
    }
}
