//! Goal: what is dirty, due and grouped is what Kafka would say. Method: small logs by hand.

use super::plan::{CompactConfig, Dirty, Source, View, dirty, groups};
use crate::storage::LogConfig;
use crate::types::{Offset, Timestamp};

/// Segments of 100 offsets and 1000 bytes each, the first record of each at its base plus 1, the last at its end; the
/// active one begins where they end.
fn view(rolled: i64, first_dirty: Option<i64>) -> View {
    let source = |i: i64| Source {
        base: Offset(i * 100),
        end: Offset(i * 100 + 100),
        size: 1000,
        created: 0,
        first_timestamp: i * 100 + 1,
        newest: i * 100 + 100,
    };
    View {
        start: Offset(0),
        end: Offset(rolled * 100 + 50),
        rolled: (0..rolled).map(source).collect(),
        active: Offset(rolled * 100),
        first_dirty: first_dirty.map(Offset),
        settled: Offset(i64::MAX),
    }
}

fn look(view: &View, stable: i64, config: &CompactConfig, now: i64) -> Dirty {
    dirty(view, Offset(stable), config, Timestamp(now))
}

fn bounds(dirty: &Dirty) -> (i64, i64, u64, u64) {
    let Dirty {
        first,
        until,
        clean_bytes,
        dirty_bytes,
        ..
    } = *dirty;
    (first.0, until.0, clean_bytes, dirty_bytes)
}

const ALL: i64 = i64::MAX;

#[test]
fn never_the_active_segment_nor_what_is_not_stable_or_settled() {
    let config = CompactConfig::default();
    let log = view(5, None);
    assert_eq!(bounds(&look(&log, ALL, &config, 0)), (0, 500, 0, 5000));
    assert_eq!(bounds(&look(&log, 320, &config, 0)), (0, 300, 0, 3000));
    assert_eq!(bounds(&look(&log, 300, &config, 0)), (0, 300, 0, 3000));
    assert_eq!(bounds(&look(&log, 99, &config, 0)), (0, 0, 0, 0));
    let unsettled = View {
        settled: Offset(250),
        ..log
    };
    assert_eq!(
        bounds(&look(&unsettled, ALL, &config, 0)),
        (0, 200, 0, 2000)
    );
    let empty = view(0, None);
    assert_eq!(bounds(&look(&empty, ALL, &config, 0)), (0, 0, 0, 0));
    assert!(!look(&empty, ALL, &config, 0).is_due(&config));
}

#[test]
fn what_was_cleaned_counts_as_clean_until_the_checkpoint_leaves_the_log() {
    let config = CompactConfig::default();
    let at = |first_dirty| bounds(&look(&view(5, Some(first_dirty)), ALL, &config, 0));
    assert_eq!(at(300), (300, 500, 3000, 2000));
    assert_eq!(at(500), (500, 500, 5000, 0));
    assert_eq!(
        at(350),
        (350, 500, 4000, 2000),
        "half a segment counts on both sides, as in Kafka"
    );
    assert_eq!(
        at(551),
        (0, 500, 0, 5000),
        "past the end: all is looked at again"
    );
    let mut cut = view(5, Some(100));
    cut.start = Offset(150);
    assert_eq!(
        bounds(&look(&cut, ALL, &config, 0)).0,
        150,
        "below the start"
    );
}

#[test]
fn a_log_is_due_by_its_ratio() {
    let config = CompactConfig::default();
    let due = |first_dirty| look(&view(4, Some(first_dirty)), ALL, &config, 0).is_due(&config);
    assert!(due(100), "three of four");
    assert!(!due(200), "a half is not more than a half");
    let always = CompactConfig {
        dirty_ratio_min: 0.0,
        ..config
    };
    assert!(look(&view(4, Some(300)), ALL, &always, 0).is_due(&always));
    assert!(
        !look(&view(4, Some(400)), ALL, &always, 0).is_due(&always),
        "nothing is dirty"
    );
}

#[test]
fn young_records_wait_and_old_ones_do_not() {
    let lag = CompactConfig {
        lag_ms_min: 50,
        ..CompactConfig::default()
    };
    // The third segment's newest record is at 300.
    assert_eq!(bounds(&look(&view(5, None), ALL, &lag, 349)).1, 200);
    assert_eq!(bounds(&look(&view(5, None), ALL, &lag, 350)).1, 300);
    assert_eq!(
        bounds(&look(&view(5, Some(200)), ALL, &lag, 349)).1,
        200,
        "what is clean is not held against it"
    );
    let overdue = CompactConfig {
        lag_ms_max: 1000,
        ..CompactConfig::default()
    };
    let at = |now| look(&view(4, Some(300)), ALL, &overdue, now);
    assert_eq!(at(1301).overdue_ms, 0);
    assert!(!at(1301).is_due(&overdue));
    assert_eq!(at(1302).overdue_ms, 1);
    assert!(at(1302).is_due(&overdue), "though only a quarter is dirty");
}

#[test]
fn segments_are_joined_up_to_the_size_the_index_and_its_offsets_allow() {
    let sources = view(7, None).rolled;
    let config = |segment_bytes| LogConfig {
        segment_bytes,
        ..LogConfig::default()
    };
    assert_eq!(groups(&sources, &config(3500)), [0..3, 3..6, 6..7]);
    assert_eq!(
        groups(&sources, &config(500)),
        [0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7]
    );
    assert_eq!(groups(&sources, &config(1 << 30)).first(), Some(&(0..7)));
    assert!(groups(&[], &config(500)).is_empty());
    let tight = LogConfig {
        index_interval_bytes: 100,
        index_bytes: 12 * 25,
        ..config(1 << 30)
    };
    assert_eq!(groups(&sources, &tight), [0..2, 2..4, 4..6, 6..7]);
    let mut far = sources;
    far[6].end = Offset(i64::from(i32::MAX) + 600);
    assert_eq!(groups(&far, &config(1 << 30)), [0..6, 6..7]);
}
