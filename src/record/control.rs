//! Control batches: the markers that end transactions (KIP-98).
//!
//! | part | offset | size | field |
//! |---|---|---|---|
//! | key | 0 | 2 | version: 0 |
//! | | 2 | 2 | type: 0 abort, 1 commit; others are not of transactions |
//! | value | 0 | 2 | version: 0 |
//! | | 2 | 4 | epoch of the coordinator that wrote it |
//!
//! Big-endian. A later version may have more behind these fields, and what is known is read of it.

use bytes::Bytes;

use super::{BatchBuilder, BatchHeader, BatchSeal, Codec, Codecs, Producer, records};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// What a control record of a transaction says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndMarker {
    /// `false`: aborted.
    pub committed: bool,
    pub coordinator_epoch: i32,
}

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// The key and the value of a marker are never compressed, and far smaller.
const INFLATED_BYTES_MAX: usize = 4096;
/// A marker's batch takes 78 bytes.
const BATCH_BYTES: usize = 78;

impl EndMarker {
    /// The control batch that ends `producer`'s transaction.
    ///
    /// - `timestamp`: the coordinator's, of its decision or the append.
    /// - Offset and leader epoch are stamped when it is appended.
    pub fn batch(
        self,
        (id, epoch): (ProducerId, ProducerEpoch),
        timestamp: Timestamp,
        codecs: &mut Codecs,
    ) -> Bytes {
        let kind = if self.committed { COMMIT } else { ABORT };
        let [kind_high, kind_low] = kind.to_be_bytes();
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
        builder.append(
            timestamp,
            Some(&[0, 0, kind_high, kind_low]),
            Some(&value),
            &[],
        );
        let seal = BatchSeal {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            producer: Some(Producer {
                id,
                epoch,
                base_sequence: -1,
            }),
            is_transactional: true,
            is_control: true,
        };
        builder.build(&seal, codecs)
    }

    /// What a whole control batch says; `None` if it ends no transaction, or is malformed.
    pub fn of(batch: &[u8], codecs: &mut Codecs) -> Option<EndMarker> {
        let header = BatchHeader::view(batch).ok()?;
        if !header.is_control() {
            return None;
        }
        let record = records(batch, INFLATED_BYTES_MAX, codecs)
            .ok()?
            .next()?
            .ok()?;
        let (version, rest) = i16_of(record.key?)?;
        let (kind, _) = i16_of(rest)?;
        let committed = match (version, kind) {
            (0.., ABORT) => false,
            (0.., COMMIT) => true,
            _ => return None,
        };
        let (version, rest) = i16_of(record.value?)?;
        let epoch = rest.first_chunk()?;
        (version >= 0).then_some(EndMarker {
            committed,
            coordinator_epoch: i32::from_be_bytes(*epoch),
        })
    }
}

fn i16_of(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((i16::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Limits, check_slice, stamp};

    /// An abort and a commit, written by Kafka 4.3.1's broker for two producers of transactions of version 2.
    const KAFKA_ABORT: &str = "000000000000000500000042000000000266762360003000000000000001a219512822000001a219\
        51282200000000000000000001ffffffff000000012000000008000000000c00000000000000";
    const KAFKA_COMMIT: &str = "0000000000000006000000420000000002cac86c85003000000000000001a21951285d000001a219\
        51285d00000000000000010001ffffffff000000012000000008000000010c00000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |c: u8| (c as char).to_digit(16).expect("a hexadecimal digit") as u8;
        let digits: Vec<u8> = hex.bytes().map(digit).collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// Goal: our markers are Kafka's, byte for byte. Method: its own, built again from what they say.
    #[test]
    fn markers_are_kafkas_bytes() {
        let codecs = &mut Codecs::new();
        for (hex, committed) in [(KAFKA_ABORT, false), (KAFKA_COMMIT, true)] {
            let kafka = bytes(hex);
            let facts = check_slice(&kafka, &Limits::log(), codecs).expect("a sound batch");
            let header = facts.header;
            let marker = EndMarker::of(&kafka, codecs).expect("a marker");
            assert_eq!((marker.committed, marker.coordinator_epoch), (committed, 0));
            let producer = (header.producer_id(), header.producer_epoch());
            let mut ours = marker
                .batch(producer, header.max_timestamp(), codecs)
                .to_vec();
            stamp(&mut ours, header.base_offset(), header.leader_epoch());
            assert_eq!(ours, kafka);
        }
    }

    #[test]
    fn what_is_no_marker_is_none() {
        let codecs = &mut Codecs::new();
        let mut builder = BatchBuilder::new(Codec::None, 100);
        let seal = |is_control| BatchSeal {
            is_control,
            ..BatchSeal::default()
        };
        let value = Some(&[0; 6][..]);
        type Case<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, bool);
        let batches: [Case<'_>; 7] = [
            (Some(&[0, 0, 0, 0]), value, false),
            (Some(&[0, 0, 0, 2]), value, true),
            (Some(&[0xff, 0xff, 0, 0]), value, true),
            (Some(&[0, 0, 0]), value, true),
            (None, value, true),
            (Some(&[0, 0, 0, 1]), None, true),
            (Some(&[0, 0, 0, 1]), Some(&[0; 5]), true),
        ];
        for (key, value, is_control) in batches {
            builder.append(Timestamp(1), key, value, &[]);
            let batch = builder.build(&seal(is_control), codecs);
            assert_eq!(EndMarker::of(&batch, codecs), None, "{key:?} {value:?}");
        }
        let whole = EndMarker {
            committed: true,
            coordinator_epoch: 7,
        };
        let batch = whole.batch((ProducerId(1), ProducerEpoch(2)), Timestamp(3), codecs);
        assert_eq!(EndMarker::of(&batch, codecs), Some(whole));
        for end in 0..batch.len() {
            assert_eq!(EndMarker::of(&batch[..end], codecs), None);
        }
    }
}
