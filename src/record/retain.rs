//! A batch with some of its records: what compaction leaves of it.

use bytes::Bytes;
use zerocopy::FromZeros;

use super::build::{nullable_size, put_nullable, put_varint, seal_batch};
use super::header::{MAGIC, TimestampType};
use super::iterate::Records;
use super::varint::size;
use super::{BATCH_HEADER_BYTES, BatchHeader, Codec, Codecs, Record, RecordError};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// When a batch is given a time from which its tombstones, or its marker, may go (KIP-534).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Horizon {
    /// This one, if a record that is kept has no value.
    IfTombstone(Timestamp),
    /// This one: a marker whose transaction has left nothing.
    Now(Timestamp),
}

/// What is left of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// All of it, as it is.
    All,
    /// Some of its records, or all with a horizon that it did not have.
    Some(Bytes),
    /// No record; [`emptied`] still says which offsets and sequences it had.
    Nothing,
}

/// Keeps those records of a whole batch that `keep` wants, under their offsets.
///
/// - `batch`: exactly one batch, its CRC checked; a compressed one is compressed anew with its codec at its own level.
/// - `horizon`: a batch that has one keeps its own, which counts from the first cleaning that saw a tombstone.
/// - `inflated_bytes_max`: the most that its records may inflate to.
/// - The result has the offsets, sequences, epochs and attributes of the batch. Its base timestamp is the horizon if it
///   has one, else its first record's; its max timestamp is that of its records, as Kafka does (`MemoryRecords.filterTo`).
/// - `Err`: its records do not inflate or are malformed.
pub fn retain(
    batch: &[u8],
    horizon: Horizon,
    mut keep: impl FnMut(&Record<'_>) -> bool,
    inflated_bytes_max: usize,
    codecs: &mut Codecs,
) -> Result<Kept, RecordError> {
    let header = *BatchHeader::view(batch)?;
    let codec = header.codec().ok_or(RecordError::CodecId {
        id: header.codec_id(),
    })?;
    let stored = &batch[BATCH_HEADER_BYTES..];
    let bytes = codecs.inflate(codec, stored, inflated_bytes_max)?.len();
    // The scratch is taken for a moment: it is read here while the other half of `codecs` compresses.
    let scratch = std::mem::take(&mut codecs.inflated);
    let inflated = match codec {
        Codec::None => stored,
        _ => &scratch[..bytes],
    };
    let kept = retain_of(&header, inflated, horizon, &mut keep, codecs);
    codecs.inflated = scratch;
    kept
}

fn retain_of(
    header: &BatchHeader,
    inflated: &[u8],
    horizon: Horizon,
    keep: &mut impl FnMut(&Record<'_>) -> bool,
    codecs: &mut Codecs,
) -> Result<Kept, RecordError> {
    let mut wanted = Vec::with_capacity(header.count().max(0) as usize & 0xffff);
    let mut has_tombstone = false;
    for record in Records::new(header, inflated) {
        let record = record?;
        let keeps = keep(&record);
        has_tombstone |= keeps && record.value.is_none();
        wanted.push(keeps);
    }
    let count = wanted.iter().filter(|keeps| **keeps).count();
    if count == 0 {
        return Ok(Kept::Nothing);
    }
    let due = match horizon {
        Horizon::Now(at) => Some(at),
        Horizon::IfTombstone(at) => has_tombstone.then_some(at),
    };
    let given = due.filter(|_| header.delete_horizon().is_none());
    if count == wanted.len() && given.is_none() {
        return Ok(Kept::All);
    }
    let mut rest = *header;
    rest.count.set(count as i32);
    if given.is_some() {
        rest.set_delete_horizon(given);
    }
    let mut wants = wanted.iter();
    let chosen = Records::new(header, inflated)
        .flatten()
        .filter(|_| *wants.next().expect("as many as were walked"));
    let raw = encode(&mut rest, chosen);
    let mut out = Vec::with_capacity(BATCH_HEADER_BYTES + raw.len());
    out.resize(BATCH_HEADER_BYTES, 0);
    let codec = header.codec().expect("looked at by the caller");
    codecs.deflate(codec, None, &raw, &mut out);
    Ok(Kept::Some(seal_batch(out, &mut rest)))
}

/// The records as they stand in a batch; sets its base timestamp, unless that is a horizon, and its max timestamp.
fn encode<'a>(header: &mut BatchHeader, records: impl Iterator<Item = Record<'a>>) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut max = Timestamp::NONE;
    let mut is_first = header.delete_horizon().is_none();
    for record in records {
        if std::mem::take(&mut is_first) {
            header.base_timestamp.set(record.timestamp.0);
        }
        max = max.max(record.timestamp);
        let timestamp_delta = record.timestamp.0.wrapping_sub(header.base_timestamp.get());
        let offset_delta = record.offset.0.wrapping_sub(header.base_offset.get());
        let headers = record.headers.raw();
        let body = 1
            + size(timestamp_delta)
            + size(offset_delta)
            + nullable_size(record.key)
            + nullable_size(record.value)
            + size(record.headers.count() as i64)
            + headers.len();
        put_varint(&mut raw, body as i64);
        raw.push(0);
        put_varint(&mut raw, timestamp_delta);
        put_varint(&mut raw, offset_delta);
        put_nullable(&mut raw, record.key);
        put_nullable(&mut raw, record.value);
        put_varint(&mut raw, record.headers.count() as i64);
        raw.extend_from_slice(headers);
    }
    if header.timestamp_type() == TimestampType::CreateTime {
        header.max_timestamp.set(max.0);
    }
    raw
}

/// A batch without records that keeps the offsets, sequences, epochs and max timestamp of `header`, so that whoever reads
/// the log still learns them (KIP-98).
pub fn emptied(header: &BatchHeader) -> Bytes {
    let mut header = *header;
    header.set_codec(Codec::None);
    header.set_delete_horizon(None);
    header.base_timestamp.set(Timestamp::NONE.0);
    header.count.set(0);
    seal_batch(vec![0; BATCH_HEADER_BYTES], &mut header)
}

/// A batch without records of the offsets `start..end`, which nobody wrote: between them compaction has left none.
///
/// Its attributes are zero, its base and max timestamp, producer id, producer epoch and base sequence −1.
pub fn filling(start: Offset, end: Offset, leader_epoch: LeaderEpoch) -> Bytes {
    let mut header = BatchHeader::new_zeroed();
    header.base_offset.set(start.0);
    header.leader_epoch.set(leader_epoch.0);
    header.magic = MAGIC;
    header.last_offset_delta.set((end.0 - start.0 - 1) as i32);
    header.base_timestamp.set(Timestamp::NONE.0);
    header.max_timestamp.set(Timestamp::NONE.0);
    header.producer_id.set(-1);
    header.producer_epoch.set(-1);
    header.base_sequence.set(-1);
    seal_batch(vec![0; BATCH_HEADER_BYTES], &mut header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        BatchBuilder, BatchSeal, Header, Limits, Producer, Walk, check_slice, records, stamp,
    };
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const MAX: usize = 1 << 20;

    /// Ten records at offsets 100 to 109, each with a header; the odd ones are tombstones if `tombstones`.
    fn ten(codec: Codec, tombstones: bool, codecs: &mut Codecs) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec, 1024);
        for i in 0..10_i64 {
            let key = format!("key-{i}");
            let value = (i % 2 == 0 || !tombstones).then(|| format!("value-{i}").repeat(20));
            let headers = [Header {
                key: b"h",
                value: (i > 3).then_some(&b"x"[..]),
            }];
            let value = value.as_ref().map(|v| v.as_bytes());
            builder.append(Timestamp(1000 + i), Some(key.as_bytes()), value, &headers);
        }
        let seal = BatchSeal {
            producer: Some(Producer {
                id: ProducerId(5),
                epoch: ProducerEpoch(2),
                base_sequence: 40,
            }),
            ..BatchSeal::default()
        };
        let mut batch = builder.build(&seal, codecs).to_vec();
        stamp(&mut batch, Offset(100), LeaderEpoch(7));
        batch
    }

    /// Offset, time, key, has a value, headers with their bytes.
    type Seen = (i64, i64, Vec<u8>, bool, Vec<u8>);

    fn seen(batch: &[u8], codecs: &mut Codecs) -> Vec<Seen> {
        let limits = Limits {
            walk: Walk::Inflated,
            ..Limits::log()
        };
        check_slice(batch, &limits, codecs).expect("a good batch");
        let see = |r: Record<'_>| {
            let key = r.key.expect("keyed").to_vec();
            let headers = r.headers.raw().to_vec();
            (r.offset.0, r.timestamp.0, key, r.value.is_some(), headers)
        };
        let all = records(batch, MAX, codecs).expect("inflates");
        all.map(|r| see(r.expect("well formed"))).collect()
    }

    #[test]
    fn keeps_offsets_sequences_and_codec_of_what_is_wanted() {
        let mut codecs = Codecs::new();
        for codec in Codec::ALL {
            let batch = ten(codec, false, &mut codecs);
            let mut expected = seen(&batch, &mut codecs);
            let wanted = [102, 103, 107];
            expected.retain(|r| wanted.contains(&r.0));
            let none = Horizon::IfTombstone(Timestamp(9));
            let keep = |r: &Record<'_>| wanted.contains(&r.offset.0);
            let kept = retain(&batch, none, keep, MAX, &mut codecs).expect("good");
            let Kept::Some(rest) = kept else {
                panic!("{codec}: {kept:?}")
            };
            assert_eq!(seen(&rest, &mut codecs), expected, "{codec}");
            let (old, new) = (
                *BatchHeader::view(&batch).expect("whole"),
                *BatchHeader::view(&rest).expect("whole"),
            );
            assert_eq!(
                (new.base_offset(), new.last_offset()),
                (Offset(100), Offset(109))
            );
            assert_eq!((new.base_sequence(), new.last_sequence()), (40, 49));
            assert_eq!(new.leader_epoch(), old.leader_epoch());
            assert_eq!((new.codec(), new.count()), (Some(codec), 3));
            assert_eq!(new.base_timestamp(), Timestamp(1002));
            assert_eq!(new.max_timestamp(), Timestamp(1007));
            assert_eq!(new.delete_horizon(), None);
        }
    }

    #[test]
    fn a_tombstone_gives_its_batch_a_horizon_once() {
        let mut codecs = Codecs::new();
        let batch = ten(Codec::Lz4, true, &mut codecs);
        let expected = seen(&batch, &mut codecs);
        let at = |ms| Horizon::IfTombstone(Timestamp(ms));
        let kept = retain(&batch, at(5_000), |_| true, MAX, &mut codecs).expect("good");
        let Kept::Some(first) = kept else {
            panic!("{kept:?}")
        };
        let header = BatchHeader::view(&first).expect("whole");
        assert_eq!(header.delete_horizon(), Some(Timestamp(5_000)));
        assert_eq!(header.max_timestamp(), Timestamp(1009));
        assert_eq!(
            seen(&first, &mut codecs),
            expected,
            "times are as they were"
        );
        let again = retain(&first, at(9_000), |_| true, MAX, &mut codecs);
        assert_eq!(again, Ok(Kept::All));
        let fewer = retain(&first, at(9_000), |r| r.offset.0 > 104, MAX, &mut codecs);
        let Ok(Kept::Some(fewer)) = fewer else {
            panic!("{fewer:?}")
        };
        let header = BatchHeader::view(&fewer).expect("whole");
        assert_eq!(header.delete_horizon(), Some(Timestamp(5_000)));
        assert_eq!(seen(&fewer, &mut codecs), expected[5..]);
    }

    #[test]
    fn what_is_kept_whole_is_not_built_anew() {
        let mut codecs = Codecs::new();
        let batch = ten(Codec::Zstd, false, &mut codecs);
        let at = Horizon::IfTombstone(Timestamp(5));
        let all = retain(&batch, at, |_| true, MAX, &mut codecs);
        assert_eq!(all, Ok(Kept::All));
        let nothing = retain(&batch, at, |_| false, MAX, &mut codecs);
        assert_eq!(nothing, Ok(Kept::Nothing));
    }

    #[test]
    fn an_emptied_batch_says_what_it_held() {
        let mut codecs = Codecs::new();
        let batch = ten(Codec::Gzip, false, &mut codecs);
        let empty = emptied(BatchHeader::view(&batch).expect("whole"));
        assert_eq!(empty.len(), BATCH_HEADER_BYTES);
        assert!(seen(&empty, &mut codecs).is_empty());
        let header = BatchHeader::view(&empty).expect("whole");
        assert_eq!(
            (header.last_offset(), header.last_sequence()),
            (Offset(109), 49)
        );
        assert_eq!(header.max_timestamp(), Timestamp(1009));
        assert_eq!(header.base_timestamp(), Timestamp::NONE);
    }
}
