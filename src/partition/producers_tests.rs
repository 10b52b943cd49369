use super::*;
use crate::record::{BatchBuilder, BatchSeal, Codec, Codecs, Producer};

fn batch(epoch: i16, base_sequence: i32, count: i32) -> BatchFacts {
    BatchFacts {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        count,
        max_timestamp: Timestamp(1),
        is_transactional: false,
        bumps_epoch: false,
    }
}

fn appended(batches: &[(i16, i32, i32)]) -> ProducerTable {
    let mut table = ProducerTable::default();
    let mut offset = Offset(100);
    for &(epoch, sequence, count) in batches {
        let facts = batch(epoch, sequence, count);
        assert_eq!(table.check(&facts), Ok(SequenceCheck::Next));
        table.on_appended(&facts, offset, Timestamp(1000));
        offset = offset.plus(count as i64);
    }
    table
}

/// Goal: compaction keeps what a producer is known by, and no more. Method: headers of all its batches.
#[test]
fn only_the_newest_batch_with_a_sequence_is_a_producers_last() {
    let header = |base_offset: i64, count: i32| {
        let mut batch = BatchBuilder::new(Codec::None, 256);
        (0..count).for_each(|_| batch.append(Timestamp(1), Some(b"k"), None, &[]));
        let seal = BatchSeal {
            base_offset: Offset(base_offset),
            producer: Some(Producer {
                id: ProducerId(7),
                epoch: ProducerEpoch(0),
                base_sequence: 0,
            }),
            ..BatchSeal::default()
        };
        let bytes = batch.build(&seal, &mut Codecs::new());
        *BatchHeader::view(&bytes).expect("whole")
    };
    let mut table = appended(&[(0, i32::MAX - 1, 2), (0, 0, 3)]);
    assert!(!table.is_last_batch(&header(100, 2)));
    assert!(table.is_last_batch(&header(102, 3)));
    let marker = |epoch| MarkerFacts {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(epoch),
        coordinator_epoch: 0,
        committed: true,
        timestamp: Timestamp(1),
    };
    table.on_marker(&marker(0), Offset(105), Timestamp(1));
    assert!(
        table.is_last_batch(&header(102, 3)),
        "a marker has no sequence"
    );
    assert!(!table.is_last_batch(&header(105, 1)));
    table.on_marker(&marker(1), Offset(106), Timestamp(1));
    assert!(
        table.is_last_batch(&header(106, 1)),
        "it alone tells the epoch"
    );
    assert!(!table.is_last_batch(&header(102, 3)));
    expire(&mut table, Timestamp(i64::MAX), 1);
    assert!(
        !table.is_last_batch(&header(106, 1)),
        "nobody asks for it any more"
    );
}

fn expire(table: &mut ProducerTable, now: Timestamp, expiration_ms: i64) -> usize {
    let (mut count, mut from) = (0, ProducerId(i64::MIN));
    loop {
        let (some, next) = table.expire_some(from, now, expiration_ms);
        count += some;
        match next {
            Some(next) => from = next,
            None => return count,
        }
    }
}

/// Goal: going through many in parts misses none, and what the table takes goes with them. Method: every third is silent,
/// every one has batches outside its entry.
#[test]
fn many_expire_part_by_part() {
    let mut table = ProducerTable::default();
    for id in 0..5_000 {
        for sequence in 0..3 {
            let facts = BatchFacts {
                producer_id: ProducerId(id),
                ..batch(0, sequence, 1)
            };
            let now = if id % 3 == 0 { 1_000 } else { 2_000 };
            table.on_appended(&facts, Offset(id * 3), Timestamp(now));
        }
    }
    let full = table.memory_bytes();
    let (some, next) = table.expire_some(ProducerId(0), Timestamp(2_500), 1_000);
    assert_eq!((some, next), (334, Some(ProducerId(1_000))));
    assert_eq!(expire(&mut table, Timestamp(2_500), 1_000), 1_667 - 334);
    assert!(table.iter().all(|(id, _)| id.0 % 3 != 0));
    assert!(
        table.memory_bytes() < full * 7 / 10,
        "{} of {full}",
        table.memory_bytes()
    );
    assert_eq!(expire(&mut table, Timestamp(9_000), 1_000), 3_333);
    assert_eq!(table.memory_bytes(), 0);
}

#[test]
fn answers_a_retry_with_the_offset_of_the_first_append() {
    let table = appended(&[(0, 0, 3), (0, 3, 2)]);
    let first = SequenceCheck::Duplicate {
        base_offset: Offset(100),
        timestamp: Timestamp(1),
    };
    assert_eq!(table.check(&batch(0, 0, 3)), Ok(first));
    // The same first sequence with another count is not a retry.
    assert_eq!(
        table.check(&batch(0, 0, 4)),
        Err(SequenceError::OutOfOrder { expected: 5 })
    );
}

#[test]
fn remembers_five_batches_and_no_more() {
    let table = appended(&[
        (0, 0, 1),
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 5, 1),
    ]);
    assert!(matches!(
        table.check(&batch(0, 1, 1)),
        Ok(SequenceCheck::Duplicate { .. })
    ));
    assert_eq!(
        table.check(&batch(0, 0, 1)),
        Err(SequenceError::OutOfOrder { expected: 6 })
    );
}

#[test]
fn fences_older_epochs_and_starts_newer_ones_at_zero() {
    let table = appended(&[(3, 0, 5)]);
    let current = ProducerEpoch(3);
    assert_eq!(
        table.check(&batch(2, 5, 1)),
        Err(SequenceError::StaleEpoch { current })
    );
    assert_eq!(
        table.check(&batch(4, 5, 1)),
        Err(SequenceError::OutOfOrder { expected: 0 })
    );
    assert_eq!(table.check(&batch(4, 0, 1)), Ok(SequenceCheck::Next));
}

#[test]
fn lets_an_unknown_producer_begin_anywhere() {
    assert_eq!(
        ProducerTable::default().check(&batch(0, 4711, 1)),
        Ok(SequenceCheck::Next)
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let table = appended(&[(0, i32::MAX - 1, 2)]);
    assert_eq!(table.check(&batch(0, 0, 1)), Ok(SequenceCheck::Next));
    let table = appended(&[(0, i32::MAX - 1, 4)]);
    assert_eq!(table.check(&batch(0, 2, 1)), Ok(SequenceCheck::Next));
    assert!(matches!(
        table.check(&batch(0, i32::MAX - 1, 4)),
        Ok(SequenceCheck::Duplicate { .. })
    ));
}

#[test]
fn expires_by_the_time_of_the_append() {
    let mut table = appended(&[(0, 0, 1)]);
    assert_eq!(expire(&mut table, Timestamp(1999), 1000), 0);
    assert_eq!(expire(&mut table, Timestamp(2000), 1000), 1);
    assert!(table.is_empty());
}

fn marker(epoch: i16, coordinator_epoch: i32) -> MarkerFacts {
    MarkerFacts {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(epoch),
        coordinator_epoch,
        committed: true,
        timestamp: Timestamp(2),
    }
}

fn open_at(epoch: i16, offset: i64) -> ProducerTable {
    let mut table = ProducerTable::default();
    let facts = BatchFacts {
        is_transactional: true,
        ..batch(epoch, 0, 2)
    };
    table.on_appended(&facts, Offset(offset), Timestamp(1000));
    table
}

#[test]
fn a_plain_batch_inside_a_transaction_is_refused() {
    let mut table = open_at(0, 100);
    assert_eq!(
        table.check(&batch(0, 2, 1)),
        Err(SequenceError::InTransaction)
    );
    let next = BatchFacts {
        is_transactional: true,
        ..batch(0, 2, 1)
    };
    assert_eq!(table.check(&next), Ok(SequenceCheck::Next));
    table.on_marker(&marker(0, 1), Offset(102), Timestamp(0));
    assert_eq!(table.check(&batch(0, 2, 1)), Ok(SequenceCheck::Next));
}

/// Goal: the answers of Kafka 4.3 to markers of old and new epochs. Method: those it was seen to give.
#[test]
fn markers_are_fenced_by_both_epochs() {
    let mut table = open_at(3, 100);
    let stale = Err(MarkerRefusal::StaleEpoch {
        current: ProducerEpoch(3),
    });
    assert_eq!(table.check_marker(&marker(2, 9), 0), stale);
    assert_eq!(table.check_marker(&marker(3, 9), 2), stale);
    assert_eq!(table.check_marker(&marker(3, 9), 1), Ok(()));
    assert_eq!(table.check_marker(&marker(4, 9), 2), Ok(()));
    let ended = table.on_marker(&marker(4, 9), Offset(102), Timestamp(0));
    assert_eq!(ended.map(|ended| ended.stable_end), Some(Offset(103)));
    // Written again, as a coordinator that did not hear the answer does.
    assert_eq!(table.check_marker(&marker(4, 9), 2), Ok(()));
    assert_eq!(
        table.check_marker(&marker(4, 8), 2),
        Err(MarkerRefusal::CoordinatorFenced { current: 9 })
    );
    assert_eq!(
        table.on_marker(&marker(4, 9), Offset(103), Timestamp(0)),
        None
    );
}

#[test]
fn after_a_marker_that_bumps_the_epoch_sequences_begin_at_zero() {
    let mut table = open_at(3, 100);
    table.on_marker(&marker(4, 9), Offset(102), Timestamp(0));
    assert_eq!(
        table.check(&batch(4, 2, 1)),
        Err(SequenceError::OutOfOrder { expected: 0 })
    );
    assert_eq!(table.check(&batch(4, 0, 1)), Ok(SequenceCheck::Next));
    let mut unknown = ProducerTable::default();
    unknown.on_marker(&marker(4, 9), Offset(0), Timestamp(0));
    assert_eq!(
        unknown.check(&batch(4, 4, 1)),
        Err(SequenceError::OutOfOrder { expected: 0 })
    );
    let bumping = BatchFacts {
        bumps_epoch: true,
        ..batch(0, 4, 1)
    };
    assert_eq!(
        ProducerTable::default().check(&bumping),
        Err(SequenceError::OutOfOrder { expected: 0 })
    );
}

#[test]
fn an_ended_transaction_holds_until_its_marker_is_committed() {
    let mut table = open_at(0, 100);
    assert_eq!(table.first_unstable(), Some(Offset(100)));
    table.on_marker(&marker(0, 0), Offset(102), Timestamp(0));
    table.on_high_watermark(Offset(102));
    assert_eq!(table.first_unstable(), Some(Offset(100)));
    table.on_high_watermark(Offset(103));
    assert_eq!(table.first_unstable(), None);
}

#[test]
fn a_producer_with_an_open_transaction_does_not_expire() {
    let mut table = open_at(0, 100);
    assert_eq!(expire(&mut table, Timestamp(i64::MAX), 1000), 0);
    table.on_marker(&marker(0, 0), Offset(102), Timestamp(1000));
    assert_eq!(expire(&mut table, Timestamp(i64::MAX), 1000), 1);
}
