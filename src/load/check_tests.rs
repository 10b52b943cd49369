//! Goal: each kind of fault is found when it is planted, counted as itself, and nothing else is.
//!
//! Method: two producers' records in two partitions, read whole, and then with one fault each.

use super::*;

const RUN: u64 = 77;

fn stamp(producer: u32, sequence: u64) -> Stamp {
    Stamp {
        run: RUN,
        due_ns: 1,
        producer,
        sequence,
    }
}

/// 100 records of each producer in each partition, those of producer 1 with numbers 10 to 19 refused.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    for partition in 0..2 {
        for producer in 0..2 {
            let mut made = Made {
                count: 100,
                ..Made::default()
            };
            if producer == 1 {
                made.fail(10..15);
                made.fail(15..20);
            }
            ledger.insert((partition, producer), made);
        }
    }
    ledger
}

/// Everything that was acknowledged, in order, with the producers' batches taking turns.
fn all() -> Vec<(u32, Stamp)> {
    let mut all = Vec::new();
    for partition in 0..2 {
        for batch in 0..10 {
            for producer in 0..2 {
                if (producer, batch) != (1, 1) {
                    let batch = batch * 10..(batch + 1) * 10;
                    all.extend(batch.map(|sequence| (partition, stamp(producer, sequence))));
                }
            }
        }
    }
    all
}

fn verdict_of(read: &[(u32, Stamp)], reach: Reach) -> Verdict {
    let mut checker = Checker::new(RUN);
    for &(partition, stamp) in read {
        checker.saw(partition, stamp);
    }
    checker.verdict(&ledger(), reach)
}

fn verdict(read: &[(u32, Stamp)]) -> Verdict {
    verdict_of(read, Reach::End)
}

#[test]
fn what_came_whole_and_once_has_no_fault() {
    let found = verdict(&all());
    let wanted = Verdict {
        checked: 380,
        ..Verdict::default()
    };
    assert_eq!(found, wanted);
    assert_eq!(found.faults(), 0);
}

#[test]
fn a_lost_record_is_found_in_the_middle_and_at_the_end() {
    for at in [0, 57, 379] {
        let mut read = all();
        read.remove(at);
        let found = verdict(&read);
        assert_eq!((found.lost, found.faults()), (1, 1), "{at}");
    }
    // A partition of which nothing comes at all.
    let read: Vec<_> = all().into_iter().filter(|(p, _)| *p == 0).collect();
    assert_eq!(verdict(&read).lost, 190);
}

#[test]
fn a_reader_that_stopped_partway_knows_only_of_what_it_passed_over() {
    let mut read = all();
    read.truncate(300);
    read.remove(57);
    assert_eq!(verdict_of(&read, Reach::Partway).lost, 1);
    assert_eq!(verdict_of(&read, Reach::End).lost, 81);
}

#[test]
fn a_duplicate_is_found_whenever_it_comes() {
    for (from, to) in [(0, 1), (5, 200), (379, 380)] {
        let mut read = all();
        read.insert(to, read[from]);
        let found = verdict(&read);
        assert_eq!((found.duplicated, found.faults()), (1, 1), "{from} {to}");
        assert_eq!(found.checked, 380);
    }
}

#[test]
fn a_record_behind_a_later_one_is_reordered_and_not_lost() {
    let mut read = all();
    read.swap(3, 5);
    let found = verdict(&read);
    // 5, 4, 3: two of the three come after a later one.
    assert_eq!((found.reordered, found.faults()), (2, 2));
    let mut read = all();
    let moved = read.remove(42);
    read.push(moved);
    let found = verdict(&read);
    assert_eq!((found.reordered, found.faults()), (1, 1));
    // The order of different producers or partitions says nothing.
    let mut read = all();
    read.sort_by_key(|(partition, stamp)| (stamp.producer, 1 - partition, stamp.sequence));
    assert_eq!(verdict(&read).faults(), 0);
}

#[test]
fn a_changed_record_is_corrupted_wherever_it_changed() {
    let mut value = vec![9; 100];
    stamp(1, 5).write(&mut value, Some(b"key"));
    assert_eq!(
        Stamp::read(&value, Some(b"key"), RUN),
        Some(Ok(stamp(1, 5)))
    );
    for at in 8..100 {
        for bit in 0..8 {
            let mut changed = value.clone();
            changed[at] ^= 1 << bit;
            let read = Stamp::read(&changed, Some(b"key"), RUN);
            assert_eq!(read, Some(Err(Corrupted)), "{at}");
        }
    }
    let cut = Stamp::read(&value[..99], Some(b"key"), RUN);
    assert_eq!(cut, Some(Err(Corrupted)));
    let other_key = Stamp::read(&value, Some(b"kex"), RUN);
    assert_eq!(other_key, Some(Err(Corrupted)));
    // Of another run, or no record of ours at all.
    assert_eq!(Stamp::read(&value, Some(b"key"), RUN + 1), None);
    assert_eq!(Stamp::read(&value[..31], Some(b"key"), RUN), None);
    let mut checker = Checker::new(RUN);
    checker.corrupted();
    assert_eq!(checker.verdict(&Ledger::new(), Reach::End).faults(), 1);
}

#[test]
fn a_record_that_was_never_made_is_corrupted() {
    let mut read = all();
    read.push((1, stamp(0, 100)));
    let found = verdict(&read);
    assert_eq!((found.corrupted, found.faults()), (1, 1));
    let mut read = all();
    read.push((1, stamp(7, 0)));
    assert_eq!(verdict(&read).corrupted, 1);
}

#[test]
fn a_record_that_nobody_acknowledged_may_come_and_need_not() {
    let mut read = all();
    read.insert(20, (0, stamp(1, 10)));
    read.insert(21, (0, stamp(1, 11)));
    let found = verdict(&read);
    assert_eq!((found.unacknowledged, found.faults()), (2, 0));
}

#[test]
fn what_was_sent_with_acks_0_and_did_not_come_is_unconfirmed_and_no_fault() {
    let mut ledger = ledger();
    for made in ledger.values_mut() {
        made.rest = Rest::Sent;
    }
    let mut checker = Checker::new(RUN);
    let mut read = all();
    // One in the middle, and everything from some place on.
    read.truncate(300);
    read.remove(57);
    for &(partition, stamp) in &read {
        checker.saw(partition, stamp);
    }
    for (reach, unconfirmed) in [(Reach::End, 81), (Reach::Partway, 1)] {
        let wanted = Verdict {
            checked: 299,
            unconfirmed,
            ..Verdict::default()
        };
        assert_eq!(checker.verdict(&ledger, reach), wanted);
        assert_eq!(wanted.faults(), 0);
    }
    // That nobody answers for them makes no other fault a smaller one.
    checker.saw(0, stamp(0, 3));
    assert_eq!(checker.verdict(&ledger, Reach::End).faults(), 1);
}

#[test]
fn what_a_group_reads_again_is_told_by_its_offset() {
    let mut checker = Checker::new(RUN);
    assert_eq!(checker.end(3), Offset(0));
    checker.reached(3, Offset(20));
    checker.reached(3, Offset(10));
    assert_eq!(checker.end(3), Offset(20));
    checker.redelivered();
    let found = checker.verdict(&Ledger::new(), Reach::End);
    assert_eq!((found.redelivered, found.faults()), (1, 0));
}

#[test]
fn partitions_that_were_followed_apart_come_to_the_same_verdict() {
    let mut read = all();
    // One fault of each kind, in different partitions.
    read.swap(3, 4);
    read.remove(50);
    read.push((1, stamp(0, 99)));
    let whole = verdict_of(&read, Reach::End);
    assert!(whole.lost == 1 && whole.duplicated == 1 && whole.reordered == 1);
    let mut parts = [0, 1].map(|own| {
        let mut checker = Checker::new(RUN);
        for &(partition, stamp) in read.iter().filter(|(partition, _)| *partition == own) {
            checker.saw(partition, stamp);
            checker.reached(partition, Offset(5));
        }
        if own == 1 {
            checker.corrupted();
        }
        checker
    });
    let [first, second] = &mut parts;
    let second = std::mem::replace(second, Checker::new(RUN));
    first.absorb(second);
    let wanted = Verdict {
        corrupted: 1,
        ..whole
    };
    assert_eq!(first.verdict(&ledger(), Reach::End), wanted);
    assert_eq!([0, 1].map(|partition| first.end(partition)), [Offset(5); 2]);
    // It goes on where both were.
    first.saw(1, stamp(0, 99));
    assert_eq!(first.verdict(&ledger(), Reach::End).duplicated, 2);
}
