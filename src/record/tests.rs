//! Goal: a batch that was built comes back record for record through check, iteration and recompression in every
//! codec; what is not a batch fails cleanly and as the fault it is.
//! Method: a builder's batches, changed field by field; every prefix; seeded mutations; bombs.

use bytes::Bytes;

use super::*;
use crate::types::{LeaderEpoch, Offset, Prng, ProducerEpoch, ProducerId, Timestamp};

const CAP: usize = 16 << 20;
const NOW: i64 = 1_700_000_000_000;

/// Owned, to be compared after the scratch is gone.
type Owned = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn owned(batch: &[u8], codecs: &mut Codecs) -> Result<Vec<Owned>, RecordError> {
    records(batch, CAP, codecs)?
        .map(|record| {
            let record = record?;
            let headers = record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect();
            Ok((
                record.offset.0,
                record.timestamp.0,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers,
            ))
        })
        .collect()
}

/// `count` records with every kind of absent and empty field among them.
fn sample(count: i64) -> Vec<Owned> {
    let mut prng = Prng::new(count as u64);
    (0..count)
        .map(|i| {
            let mut noise = vec![0; prng.below(300) as usize];
            prng.fill(&mut noise);
            let key = (i % 3 != 0).then(|| format!("key-{}", i % 7).into_bytes());
            let value = match i % 5 {
                0 => None,
                1 => Some(Vec::new()),
                2 => Some(noise),
                _ => Some(b"the same text again and again ".repeat(i as usize % 9)),
            };
            let headers = (0..i % 4)
                .map(|h| {
                    let value = (h != 1).then(|| vec![b'v'; h as usize * 40]);
                    (vec![b'h'; h as usize], value)
                })
                .collect();
            (
                i,
                NOW + prng.below(2_000) as i64 - 1_000,
                key,
                value,
                headers,
            )
        })
        .collect()
}

fn append(builder: &mut BatchBuilder, record: &Owned) {
    let headers: Vec<_> = record
        .4
        .iter()
        .map(|(key, value)| Header {
            key,
            value: value.as_deref(),
        })
        .collect();
    let (key, value) = (record.2.as_deref(), record.3.as_deref());
    builder.append(Timestamp(record.1), key, value, &headers);
}

fn build(codec: Codec, records: &[Owned], codecs: &mut Codecs) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 0);
    for record in records {
        append(&mut builder, record);
    }
    builder.build(&BatchSeal::default(), codecs)
}

#[test]
#[should_panic(expected = "1 records are there already")]
fn encoded_records_are_not_put_behind_others() {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    builder.append(Timestamp(NOW), None, None, &[]);
    let encoded = builder.records().to_vec();
    builder.fill(Timestamp(NOW), &encoded, 1);
}

#[test]
fn what_is_built_is_read_back_in_every_codec() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        for count in [1, 2, 5, 64, 1000] {
            let sent = sample(count);
            let batch = build(codec, &sent, &mut codecs);
            let limits = Limits::client(1 << 20, CAP);
            let checked = check(batch.clone(), &limits, &mut codecs).expect("a built batch");
            assert_eq!(checked.codec(), codec);
            assert_eq!(checked.count() as i64, count);
            let max = sent.iter().map(|record| record.1).max();
            assert_eq!(Some(checked.max_timestamp().0), max);
            assert_eq!(owned(&batch, &mut codecs).expect("a built batch"), sent);
        }
    }
}

fn client() -> Limits {
    Limits::client(1 << 20, CAP)
}

fn keys() -> Limits {
    Limits {
        walk: Walk::Keys,
        ..client()
    }
}

fn create_time(earliest: i64, latest: i64) -> Limits {
    Limits {
        timestamps: TimestampRule::CreateTime {
            earliest: Timestamp(earliest),
            latest: Timestamp(latest),
        },
        ..client()
    }
}

/// A built batch with a change made to it and its CRC put right again.
fn changed(codec: Codec, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = build(codec, &sample(5), &mut Codecs::new()).to_vec();
    change(&mut bytes);
    recrc(&mut bytes);
    Bytes::from(bytes)
}

fn recrc(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn put<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) {
    batch[at..at + N].copy_from_slice(&bytes);
}

fn refused(bytes: Bytes, limits: &Limits) -> RecordError {
    match check(bytes, limits, &mut Codecs::new()) {
        Ok(batch) => panic!("passed: {:?}", batch.header()),
        Err(error) => error,
    }
}

#[test]
fn a_builder_is_used_again_for_the_next_batch() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec, 1 << 10);
        for count in [3, 200, 1] {
            let sent = sample(count);
            for record in &sent {
                let size = builder.size();
                append(&mut builder, record);
                let headers: Vec<_> = record
                    .4
                    .iter()
                    .map(|(key, value)| Header {
                        key,
                        value: value.as_deref(),
                    })
                    .collect();
                let (key, value) = (record.2.as_deref(), record.3.as_deref());
                let grown = builder.size() - size;
                assert!(grown <= BatchBuilder::record_size_max(key, value, &headers));
            }
            let size = builder.size();
            let batch = builder.build(&BatchSeal::default(), &mut codecs);
            assert!(codec != Codec::None || batch.len() == size);
            assert!(builder.is_empty());
            assert_eq!(owned(&batch, &mut codecs).expect("a built batch"), sent);
        }
    }
}

#[test]
fn levels_change_between_batches() {
    let mut codecs = Codecs::new();
    let sent = sample(300);
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Lz4] {
        for level in [1, 9, -5, 1000] {
            let mut builder = BatchBuilder::new(codec, 0).with_level(level);
            for record in &sent {
                append(&mut builder, record);
            }
            let batch = builder.build(&BatchSeal::default(), &mut codecs);
            assert_eq!(owned(&batch, &mut codecs).expect("a built batch"), sent);
        }
    }
}

#[test]
fn a_seal_is_what_the_header_says() {
    let seal = BatchSeal {
        base_offset: Offset(900),
        leader_epoch: LeaderEpoch(4),
        producer: Some(Producer {
            id: ProducerId(4711),
            epoch: ProducerEpoch(3),
            base_sequence: i32::MAX - 1,
        }),
        is_transactional: true,
        is_control: true,
    };
    let mut codecs = Codecs::new();
    let mut builder = BatchBuilder::new(Codec::Lz4, 0);
    for record in sample(4) {
        append(&mut builder, &record);
    }
    let batch = builder.build(&seal, &mut codecs);
    let facts = check_slice(&batch, &Limits::log(), &mut codecs).expect("a built batch");
    let header = facts.header;
    assert_eq!(header.base_offset(), Offset(900));
    assert_eq!(header.last_offset(), Offset(903));
    assert_eq!(header.next_offset(), Offset(904));
    assert_eq!(header.leader_epoch(), LeaderEpoch(4));
    assert_eq!(header.producer_id(), ProducerId(4711));
    assert_eq!(header.producer_epoch(), ProducerEpoch(3));
    assert_eq!(header.base_sequence(), i32::MAX - 1);
    // MAX − 1, MAX, 0, 1.
    assert_eq!(header.last_sequence(), 1);
    assert!(header.is_transactional() && header.is_control());
}

#[test]
fn each_fault_is_named_and_answered_as_kafka_does() {
    use Verdict::*;
    type Change = fn(&mut Vec<u8>);
    let faults: [(&str, Verdict, Change); 19] = [
        ("two batches", InvalidRecord, |b| b.extend(b.clone())),
        ("bytes after it", InvalidRecord, |b| b.extend([0; 5])),
        ("cut short", InvalidRecord, |b| b.truncate(b.len() - 1)),
        ("length 48", Corrupt, |b| put(b, 8, 48i32.to_be_bytes())),
        ("length -5", Corrupt, |b| put(b, 8, (-5i32).to_be_bytes())),
        ("magic 1", InvalidRecord, |b| b[16] = 1),
        ("magic 3", Corrupt, |b| b[16] = 3),
        ("magic -1", Corrupt, |b| b[16] = 0xff),
        ("base offset 5", InvalidRecord, |b| b[7] = 5),
        ("count 0", InvalidRecord, |b| put(b, 57, [0; 4])),
        ("count -1", InvalidRecord, |b| put(b, 57, [0xff; 4])),
        ("count 4 of 5", InvalidRecord, |b| b[60] = 4),
        ("last delta 5 of 4", InvalidRecord, |b| b[26] = 5),
        ("4 of 5, agreed", InvalidRecord, |b| (b[60], b[26]) = (4, 3)),
        ("6 of 5, agreed", InvalidRecord, |b| (b[60], b[26]) = (6, 5)),
        ("control", InvalidRecord, |b| b[22] |= 0x20),
        ("codec 5", UnsupportedCodec, |b| b[22] |= 5),
        ("id, no sequence", InvalidRecord, |b| put(b, 43, [0; 10])),
        ("bytes after the records", InvalidRecord, |b| {
            b.push(0);
            let length = b.len() as i32 - 12;
            put(b, 8, length.to_be_bytes());
        }),
    ];
    for (name, verdict, change) in faults {
        let error = refused(changed(Codec::None, change), &client());
        assert_eq!(error.verdict(), verdict, "{name}: {error}");
        assert_eq!(error.faults(), []);
    }
    let mut bytes = changed(Codec::None, |_| ()).to_vec();
    bytes[70] ^= 1;
    let error = refused(Bytes::from(bytes), &client());
    assert!(matches!(error, RecordError::Crc { .. }), "{error}");
    assert_eq!(error.verdict(), Corrupt);
}

/// One record: key "k", no value, no headers; `change` is made to its body, its length then set.
fn single(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut body = vec![0, 0, 0, 2, b'k', 1, 0];
    change(&mut body);
    changed(Codec::None, |batch| {
        batch.truncate(61);
        put(batch, 23, 0i32.to_be_bytes());
        put(batch, 57, 1i32.to_be_bytes());
        batch.push(body.len() as u8 * 2);
        batch.extend(body);
        let length = batch.len() as i32 - 12;
        put(batch, 8, length.to_be_bytes());
    })
}

#[test]
fn a_malformed_record_is_named_with_its_index() {
    check(single(|_| ()), &client(), &mut Codecs::new()).expect("nothing was changed");
    type Change = fn(&mut Vec<u8>);
    let faults: [(Why, Change); 13] = [
        (Why::Size, |b| b.clear()),
        (Why::Size, |b| b.push(0)),
        (Why::OffsetDelta, |b| b[2] = 2),
        (Why::OffsetDelta, |b| b[2] = 1),
        (Why::Varint, |b| b[1] = 0x80),
        (Why::Key, |b| b[3] = 3),
        (Why::Key, |b| b[3] = 60),
        (Why::Value, |b| b[5] = 3),
        (Why::Value, |b| b[5] = 60),
        (Why::Headers, |b| b[6] = 1),
        (Why::Headers, |b| b[6] = 2),
        (Why::Headers, |b| (b[6] = 2, b.extend([1, 0])).1),
        (Why::Headers, |b| (b[6] = 2, b.extend([2, b'h', 3])).1),
    ];
    for (why, change) in faults {
        let error = refused(single(change), &client());
        match why {
            // A varint that runs on takes the next field's bytes with it.
            Why::Varint => assert!(matches!(error, RecordError::Record { index: 0, .. })),
            _ => assert_eq!(error, RecordError::Record { index: 0, why }),
        }
    }
    for length in [1, 100] {
        let mut batch = single(|_| ()).to_vec();
        batch[61] = length;
        recrc(&mut batch);
        let why = Why::Length;
        let error = refused(Bytes::from(batch), &client());
        assert_eq!(error, RecordError::Record { index: 0, why });
    }
}

#[test]
fn a_batch_larger_than_allowed_is_refused_before_its_crc() {
    let mut bytes = changed(Codec::None, |_| ()).to_vec();
    bytes[70] ^= 1;
    let limits = Limits::client(bytes.len() - 1, CAP);
    let error = refused(Bytes::from(bytes), &limits);
    assert_eq!(error.verdict(), Verdict::TooLarge);
}

#[test]
fn keyless_records_are_all_named_where_keys_are_needed() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        let batch = build(codec, &sample(8), &mut codecs);
        let error = refused(batch.clone(), &keys());
        let indexes: Vec<_> = error.faults().iter().map(|fault| fault.index).collect();
        assert_eq!(indexes, [0, 3, 6], "{codec}");
        assert_eq!(error.verdict(), Verdict::InvalidRecord);
        check(batch, &client(), &mut codecs).expect("keys are not needed here");
    }
}

#[test]
fn timestamps_out_of_bounds_are_all_named() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        let mut records = sample(6);
        for (record, timestamp) in records.iter_mut().zip([50, 10, -1, 100, 101, 9]) {
            record.1 = timestamp;
        }
        let batch = build(codec, &records, &mut codecs);
        let error = refused(batch.clone(), &create_time(10, 100));
        let indexes: Vec<_> = error.faults().iter().map(|fault| fault.index).collect();
        assert_eq!(indexes, [4, 5], "{codec}");
        assert_eq!(error.verdict(), Verdict::InvalidTimestamp);
        let checked = check(batch, &create_time(9, 101), &mut codecs).expect("in bounds");
        assert_eq!(checked.facts().min_timestamp, Some(Timestamp(9)));
        assert_eq!(checked.restamp(), None);
    }
}

#[test]
fn a_key_that_is_missing_comes_before_a_timestamp_that_is_wrong() {
    let mut records = sample(4);
    records[3].1 = 200;
    let batch = build(Codec::None, &records, &mut Codecs::new());
    let limits = Limits {
        walk: Walk::Keys,
        ..create_time(i64::MIN, 100)
    };
    let error = refused(batch, &limits);
    let no_keys = error
        .faults()
        .iter()
        .filter(|fault| fault.kind == RecordFaultKind::NoKey)
        .map(|fault| fault.index);
    assert_eq!(no_keys.collect::<Vec<_>>(), [0, 3]);
    assert_eq!(error.verdict(), Verdict::InvalidTimestamp);
}

#[test]
fn a_max_timestamp_that_lies_is_corrected_in_the_copy() {
    let mut codecs = Codecs::new();
    for codec in [Codec::None, Codec::Gzip] {
        let lies = (i64::MAX - 5).to_be_bytes();
        let batch = changed(codec, |batch| put(batch, 35, lies));
        let honest = sample(5).iter().map(|record| record.1).max().unwrap_or(0);
        let limits = create_time(i64::MIN, NOW + 5_000);
        let checked = check(batch, &limits, &mut codecs).expect("its records are in bounds");
        let due = (TimestampType::CreateTime, Timestamp(honest));
        assert_eq!(checked.restamp(), Some(due));
        assert_eq!(checked.max_timestamp(), due.1);
        let mut copy = checked.bytes().to_vec();
        stamp_max_timestamp(&mut copy, due.0, due.1);
        let again = check(Bytes::from(copy), &limits, &mut codecs).expect("stamped");
        assert_eq!(again.restamp(), None);
        assert_eq!(again.header().max_timestamp(), due.1);
    }
}

#[test]
fn only_the_broker_sets_log_append_time() {
    let mut codecs = Codecs::new();
    let mut batch = changed(Codec::Zstd, |_| ()).to_vec();
    stamp_max_timestamp(&mut batch, TimestampType::LogAppendTime, Timestamp(77));
    let batch = Bytes::from(batch);
    let limits = Limits {
        timestamps: TimestampRule::LogAppendTime,
        ..client()
    };
    let error = refused(batch.clone(), &limits);
    assert_eq!(error.verdict(), Verdict::InvalidTimestamp);
    for record in owned(&batch, &mut codecs).expect("stamped") {
        assert_eq!(record.1, 77);
    }
    // Where create time rules, Kafka takes such a batch and clears the bit.
    let checked = check(batch, &create_time(i64::MIN, NOW), &mut codecs).expect("taken");
    let due = (TimestampType::CreateTime, Timestamp(77));
    assert_eq!(checked.restamp(), Some(due));
}

#[test]
fn stamping_leaves_the_crc_right() {
    let mut codecs = Codecs::new();
    let mut batch = changed(Codec::Snappy, |_| ()).to_vec();
    stamp(&mut batch, Offset(1 << 40), LeaderEpoch(9));
    let facts = check_slice(&batch, &Limits::log(), &mut codecs).expect("stamped");
    assert_eq!(facts.header.base_offset(), Offset(1 << 40));
    assert_eq!(facts.header.leader_epoch(), LeaderEpoch(9));
    let first = &owned(&batch, &mut codecs).expect("stamped")[0];
    assert_eq!(first.0, 1 << 40);
}

#[test]
fn recompression_changes_nothing_but_the_bytes() {
    let mut codecs = Codecs::new();
    let sent = sample(500);
    for from in Codec::ALL {
        let batch = build(from, &sent, &mut codecs);
        let checked = check(batch, &client(), &mut codecs).expect("a built batch");
        for to in Codec::ALL {
            let other = recompress(&checked, to, None, CAP, &mut codecs).expect("well formed");
            assert_eq!(other.codec(), to);
            let again =
                check(other.bytes().clone(), &client(), &mut codecs).expect("as good as built");
            assert_eq!(again.max_timestamp(), checked.max_timestamp());
            assert_eq!(again.count(), 500);
            let read = owned(other.bytes(), &mut codecs).expect("as good as built");
            assert_eq!(read, sent, "{from} to {to}");
        }
    }
}

#[test]
fn rubbish_under_a_right_crc_is_found_where_it_is_inflated() {
    let mut codecs = Codecs::new();
    for codec in &Codec::ALL[1..] {
        let batch = changed(*codec, |batch| batch[61..].fill(b'x'));
        let checked = check(batch.clone(), &client(), &mut codecs).expect("not inflated");
        let inflate = RecordError::Inflate { codec: *codec };
        assert_eq!(refused(batch.clone(), &keys()), inflate);
        assert_eq!(owned(&batch, &mut codecs), Err(inflate.clone()));
        let error = recompress(&checked, Codec::None, None, CAP, &mut codecs);
        assert_eq!(error.err(), Some(inflate));
    }
}

#[test]
fn a_bomb_is_stopped_at_the_cap() {
    let mut codecs = Codecs::new();
    let zeroes = vec![0; 8 << 20];
    for codec in &Codec::ALL[1..] {
        let mut builder = BatchBuilder::new(*codec, 0);
        builder.append(Timestamp(0), Some(b"k"), Some(&zeroes), &[]);
        let inflated = builder.size() - BATCH_HEADER_BYTES;
        let batch = builder.build(&BatchSeal::default(), &mut codecs);
        assert!(batch.len() < 1 << 20, "{codec}: {} bytes", batch.len());
        let mut fresh = Codecs::new();
        for cap in [0, 1, 1 << 10, 1 << 20, inflated - 1] {
            let error = records(&batch, cap, &mut fresh).err();
            let stopped = RecordError::InflatedTooLarge { bytes_max: cap };
            assert_eq!(error, Some(stopped), "{codec} at {cap}");
            let capacity = fresh.inflated.capacity();
            assert!(capacity <= cap + 1, "{codec} at {cap}: {capacity}");
        }
        let read = records(&batch, inflated, &mut fresh).expect("fits exactly");
        assert_eq!(read.count(), 1);
    }
}

#[test]
fn every_prefix_fails_cleanly() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        let batch = build(codec, &sample(9), &mut codecs);
        for cut in 0..batch.len() {
            let error = refused(batch.slice(..cut), &keys());
            assert_eq!(error.verdict(), Verdict::InvalidRecord, "{codec} at {cut}");
            assert!(owned(&batch[..cut], &mut codecs).is_err());
        }
        // The compressed part alone cut short, header and CRC telling of nothing.
        for cut in BATCH_HEADER_BYTES..batch.len() {
            let mut shorter = batch[..cut].to_vec();
            put(&mut shorter, 8, (cut as i32 - 12).to_be_bytes());
            recrc(&mut shorter);
            // What a frame ends with (an end mark, a checksum) may be all that is missing, never a record.
            match check(Bytes::from(shorter), &keys(), &mut codecs) {
                Err(RecordError::Refused { faults }) => assert_eq!(faults.len(), 3),
                Err(_) => (),
                Ok(_) => panic!("{codec} at {cut}: three records have no key"),
            }
        }
    }
}

#[test]
fn mutated_batches_fail_or_pass_but_never_panic() {
    let seed = 0x5eed_0003;
    println!("seed {seed:#x}");
    let mut prng = Prng::new(seed);
    let mut codecs = Codecs::new();
    let limits = Limits {
        walk: Walk::Keys,
        ..create_time(NOW - 2_000, NOW + 2_000)
    };
    let mut passed = 0;
    for codec in Codec::ALL {
        let mut records = sample(30);
        for record in &mut records {
            record.2.get_or_insert_default();
        }
        let batch = build(codec, &records, &mut codecs).to_vec();
        for _ in 0..20_000 {
            let mut mutant = batch.clone();
            for _ in 0..=prng.below(3) {
                let at = 16 + prng.below(mutant.len() as u64 - 16) as usize;
                mutant[at] = match prng.below(3) {
                    0 => mutant[at] ^ 1 << prng.below(8),
                    1 => [0, 0x7f, 0x80, 0xff][prng.below(4) as usize],
                    _ => prng.next_u64() as u8,
                };
            }
            recrc(&mut mutant);
            let _ = owned(&mutant, &mut codecs);
            let _ = check_slice(&mutant, &Limits::log(), &mut codecs);
            if let Ok(checked) = check(Bytes::from(mutant), &limits, &mut codecs) {
                passed += 1;
                let read =
                    owned(checked.bytes(), &mut codecs).expect("what is checked can be read");
                assert_eq!(read.len() as i32, checked.count());
                recompress(&checked, Codec::Lz4, None, CAP, &mut codecs).expect("and recompressed");
            }
        }
    }
    assert!(
        passed > 1000,
        "mutations of values alone must pass: {passed}"
    );
}

#[test]
fn split_yields_whole_batches_and_says_where_the_rest_begins() {
    let mut codecs = Codecs::new();
    let batches: Vec<_> = Codec::ALL
        .iter()
        .map(|codec| build(*codec, &sample(3), &mut codecs))
        .collect();
    let all = batches.concat();
    for cut in 0..=all.len() {
        let mut split = split(&all[..cut]);
        let whole = split
            .by_ref()
            .map(|batch| batch.expect("well formed").bytes);
        let whole: Vec<_> = whole.collect();
        assert_eq!(whole.concat(), all[..split.position()]);
        assert!(
            cut - split.position() < batches[whole.len().min(4)].len().max(1) || cut == all.len()
        );
    }
    let mut torn = all.clone();
    torn.extend([0; 4096]);
    let mut split = split(&torn);
    assert_eq!(split.by_ref().filter(Result::is_ok).count(), batches.len());
    assert_eq!(split.position(), all.len());
    assert!(split.next().is_none());
}

#[test]
fn a_record_is_found_by_its_timestamp() {
    let mut codecs = Codecs::new();
    for codec in Codec::ALL {
        let mut records = sample(6);
        for (record, timestamp) in records.iter_mut().zip([50, 10, 60, 100, 100, 9]) {
            record.1 = timestamp;
        }
        let mut batch = build(codec, &records, &mut codecs).to_vec();
        stamp(&mut batch, Offset(1000), LeaderEpoch(0));
        let mut find = |target, start| {
            first_at_or_after(&batch, Timestamp(target), Offset(start), CAP, &mut codecs)
                .expect("well formed")
                .map(|(offset, timestamp)| (offset.0, timestamp.0))
        };
        assert_eq!(find(0, 0), Some((1000, 50)));
        assert_eq!(find(0, 1001), Some((1001, 10)));
        assert_eq!(find(51, 0), Some((1002, 60)));
        assert_eq!(find(100, 0), Some((1003, 100)));
        assert_eq!(find(100, 1004), Some((1004, 100)));
        assert_eq!(find(101, 0), None);
        assert_eq!(find(0, 1006), None);
        let found = latest(&batch, CAP, &mut codecs).expect("well formed");
        assert_eq!(found, Some((Offset(1003), Timestamp(100))));
    }
}
