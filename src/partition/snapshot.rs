//! The producers of a partition as bytes, so that recovery need not replay the whole log.
//!
//! | version | how it is told | what it adds |
//! |---|---|---|
//! | 1 | no prefix: the archive itself | producers, their last batches |
//! | 2 | 8 bytes `RLPT`, 2, 0, 0, 0xff | coordinator epochs and open transactions |
//!
//! The prefix cannot begin an archive of version 1, which begins with sequence numbers: its last byte would make the
//! second one negative. Frozen: a change of either struct is a new version.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use smallvec::SmallVec;

use super::producers::{BATCHES_REMEMBERED, ProducerEntry, ProducerTable, SeenBatch};
use super::transactions::OpenTransaction;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// A snapshot's bytes were not written by [`ProducerTable::snapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotError;

const V2_PREFIX: [u8; 8] = [b'R', b'L', b'P', b'T', 2, 0, 0, 0xff];

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SnapshotV1 {
    producers: Vec<ProducerV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ProducerV1 {
    id: i64,
    epoch: i16,
    last_seen: i64,
    end_offset: i64,
    last_timestamp: i64,
    batches: Vec<SeenBatch>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SnapshotV2 {
    producers: Vec<ProducerV2>,
}

#[derive(Clone, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ProducerV2 {
    id: i64,
    epoch: i16,
    coordinator_epoch: i32,
    last_seen: i64,
    end_offset: i64,
    last_timestamp: i64,
    /// −1: no transaction is open.
    txn_first_offset: i64,
    txn_started: i64,
    batches: Vec<SeenBatch>,
}

impl From<ProducerV1> for ProducerV2 {
    fn from(old: ProducerV1) -> ProducerV2 {
        ProducerV2 {
            id: old.id,
            epoch: old.epoch,
            coordinator_epoch: -1,
            last_seen: old.last_seen,
            end_offset: old.end_offset,
            last_timestamp: old.last_timestamp,
            txn_first_offset: -1,
            txn_started: -1,
            batches: old.batches,
        }
    }
}

/// Producers as bytes, for a file of their own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EncodedProducers {
    /// What they are read from: [`CopiedProducers::encode`].
    pub state: Vec<u8>,
    /// What Kafka's programs read of them: [`CopiedProducers::kafka_rows`].
    pub kafka_rows: Vec<u8>,
}

/// Bytes of a producer in [`EncodedProducers::kafka_rows`].
pub const KAFKA_ROW_BYTES: usize = 46;

/// The producers of a table as they were at one moment, to be made bytes of elsewhere: of a hundred thousand that takes many
/// times as long as to copy them.
pub struct CopiedProducers {
    /// With no batches, and how many each has.
    producers: Vec<(ProducerV2, usize)>,
    /// Of all, one producer's after the other's.
    batches: Vec<SeenBatch>,
}

impl CopiedProducers {
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// One producer after the other, with its batches.
    fn each(&self) -> impl Iterator<Item = (&ProducerV2, &[SeenBatch])> {
        let mut rest = &self.batches[..];
        self.producers.iter().map(move |(producer, count)| {
            let (batches, after) = rest.split_at(*count);
            rest = after;
            (producer, batches)
        })
    }

    /// The bytes of version 2, by producer, so that equal tables give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let producers = self.each().map(|(producer, batches)| ProducerV2 {
            batches: batches.to_vec(),
            ..producer.clone()
        });
        let producers = producers.collect();
        let archive = rkyv::to_bytes::<Error>(&SnapshotV2 { producers })
            .expect("a vector of plain numbers always serialises");
        [&V2_PREFIX[..], &archive[..]].concat()
    }

    /// All that a file of them holds.
    pub fn encode_file(&self) -> EncodedProducers {
        EncodedProducers {
            state: self.encode(),
            kafka_rows: self.kafka_rows(),
        }
    }

    /// As Kafka's snapshots have them (`ProducerSnapshot`, version 1), 46 bytes each, big-endian: id 8, epoch 2, sequence 4 and
    /// offset 8 of the last record (−1: none known), records of its batch after the first 4, newest timestamp 8, coordinator
    /// epoch 4, first offset of the open transaction 8 (−1: none).
    pub fn kafka_rows(&self) -> Vec<u8> {
        let mut rows = Vec::with_capacity(KAFKA_ROW_BYTES * self.producers.len());
        for (producer, batches) in self.each() {
            let (sequence, offset, more) = match batches.last() {
                None => (-1, -1, 0),
                Some(last) => {
                    let offset = last.end_offset().0 - 1;
                    let more = (offset - last.base_offset) as i32;
                    (last.last_sequence, offset, more)
                }
            };
            rows.extend_from_slice(&producer.id.to_be_bytes());
            rows.extend_from_slice(&producer.epoch.to_be_bytes());
            rows.extend_from_slice(&i32::to_be_bytes(sequence));
            rows.extend_from_slice(&i64::to_be_bytes(offset));
            rows.extend_from_slice(&more.to_be_bytes());
            rows.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            rows.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            rows.extend_from_slice(&producer.txn_first_offset.to_be_bytes());
        }
        rows
    }
}

impl ProducerTable {
    /// The producers as they are now.
    pub fn copied(&self) -> CopiedProducers {
        let mut batches = Vec::with_capacity(self.len());
        let mut producers = Vec::with_capacity(self.len());
        for (id, entry) in self.iter() {
            batches.extend_from_slice(&entry.batches);
            let producer = ProducerV2 {
                id: id.0,
                epoch: entry.epoch.0,
                coordinator_epoch: entry.coordinator_epoch,
                last_seen: entry.last_seen.0,
                end_offset: entry.end_offset.0,
                last_timestamp: entry.last_timestamp.0,
                txn_first_offset: entry.transaction.map_or(-1, |open| open.first_offset.0),
                txn_started: entry.transaction.map_or(-1, |open| open.started.0),
                batches: Vec::new(),
            };
            producers.push((producer, entry.batches.len()));
        }
        CopiedProducers { producers, batches }
    }

    /// The table as bytes of version 2, at once.
    pub fn snapshot(&self) -> Vec<u8> {
        self.copied().encode()
    }

    /// [`ProducerTable::snapshot`], but nothing for no producers: of most partitions.
    pub fn noted(&self) -> Bytes {
        match self.is_empty() {
            true => Bytes::new(),
            false => Bytes::from(self.snapshot()),
        }
    }

    /// Reads [`ProducerTable::noted`] back.
    pub fn from_noted(bytes: &[u8]) -> Result<ProducerTable, SnapshotError> {
        match bytes.is_empty() {
            true => Ok(ProducerTable::default()),
            false => ProducerTable::from_snapshot(bytes),
        }
    }

    /// Reads a snapshot's bytes back, of either version; they are checked, not trusted.
    pub fn from_snapshot(bytes: &[u8]) -> Result<ProducerTable, SnapshotError> {
        let producers = match bytes.strip_prefix(&V2_PREFIX) {
            Some(archive) => {
                let aligned = aligned(archive);
                let read = rkyv::from_bytes::<SnapshotV2, Error>(&aligned);
                read.map_err(|_| SnapshotError)?.producers
            }
            None => {
                let aligned = aligned(bytes);
                let read = rkyv::from_bytes::<SnapshotV1, Error>(&aligned);
                let producers = read.map_err(|_| SnapshotError)?.producers;
                producers.into_iter().map(ProducerV2::from).collect()
            }
        };
        let mut entries = BTreeMap::new();
        for producer in producers {
            let id = ProducerId(producer.id);
            if entries.insert(id, entry(producer)?).is_some() {
                return Err(SnapshotError);
            }
        }
        ProducerTable::from_entries(entries).ok_or(SnapshotError)
    }
}

/// An archive is read in place, and its numbers must lie at their alignment.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}

fn entry(producer: ProducerV2) -> Result<ProducerEntry, SnapshotError> {
    if producer.batches.len() > BATCHES_REMEMBERED || producer.txn_first_offset < -1 {
        return Err(SnapshotError);
    }
    let open = OpenTransaction {
        first_offset: Offset(producer.txn_first_offset),
        started: Timestamp(producer.txn_started),
    };
    Ok(ProducerEntry {
        epoch: ProducerEpoch(producer.epoch),
        coordinator_epoch: producer.coordinator_epoch,
        last_seen: Timestamp(producer.last_seen),
        batches: SmallVec::from_vec(producer.batches),
        end_offset: Offset(producer.end_offset),
        last_timestamp: Timestamp(producer.last_timestamp),
        transaction: (producer.txn_first_offset >= 0).then_some(open),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::BatchFacts;

    /// Goal: what was written by the first version is read. Method: an archive made with its own frozen structs.
    #[test]
    fn version_1_is_still_read() {
        let batch = SeenBatch {
            base_sequence: 0,
            last_sequence: 2,
            base_offset: 100,
            timestamp: 1,
        };
        let old = SnapshotV1 {
            producers: vec![ProducerV1 {
                id: 7,
                epoch: 1,
                last_seen: 1000,
                end_offset: 103,
                last_timestamp: 1,
                batches: vec![batch],
            }],
        };
        let bytes = rkyv::to_bytes::<Error>(&old).expect("serialises");
        let facts = BatchFacts {
            producer_epoch: ProducerEpoch(1),
            ..facts(7)
        };
        let mut table = ProducerTable::default();
        table.on_appended(&facts, Offset(100), Timestamp(1000));
        assert_eq!(ProducerTable::from_snapshot(&bytes), Ok(table));
    }

    #[test]
    fn snapshots_read_back_equal_and_their_prefixes_fail() {
        let mut table = ProducerTable::default();
        table.on_appended(&facts(7), Offset(100), Timestamp(1000));
        let open = BatchFacts {
            is_transactional: true,
            ..facts(8)
        };
        table.on_appended(&open, Offset(103), Timestamp(1001));
        let bytes = table.snapshot();
        assert_eq!(
            ProducerTable::from_noted(&table.noted()).as_ref(),
            Ok(&table)
        );
        let none = ProducerTable::default();
        assert_eq!(none.noted(), Bytes::new());
        assert_eq!(ProducerTable::from_noted(b""), Ok(none));
        let read = ProducerTable::from_snapshot(&bytes).expect("whole");
        assert_eq!(read.first_unstable(), Some(Offset(103)));
        assert_eq!(read, table);
        // Shorter ones may be whole archives of something else; the CRC of the file's frame keeps those away.
        for end in [0, V2_PREFIX.len(), bytes.len() - 1] {
            assert!(ProducerTable::from_snapshot(&bytes[..end]).is_err());
        }
    }

    /// Goal: a shard's turn is not held up by a partition that many producers write to. Method: what is done in the turn is
    /// timed apart from the rest, and must be the smaller part by far.
    #[test]
    fn copying_many_producers_takes_a_part_of_what_encoding_them_does() {
        const COUNT: i64 = 100_000;
        let mut table = ProducerTable::default();
        for id in 0..COUNT {
            for batch in 0..3 {
                let facts = BatchFacts {
                    base_sequence: 3 * batch,
                    ..facts(id)
                };
                let offset = Offset(3 * (3 * id + i64::from(batch)));
                table.on_appended(&facts, offset, Timestamp(1000));
            }
        }
        let time = |work: &mut dyn FnMut()| {
            let began = std::time::Instant::now();
            work();
            began.elapsed()
        };
        let mut best = None;
        for _ in 0..5 {
            let (mut copied, mut bytes) = (None, Vec::new());
            let copying = time(&mut || copied = Some(table.copied()));
            let encoding = time(&mut || bytes = copied.take().expect("copied").encode());
            assert_eq!(ProducerTable::from_snapshot(&bytes).as_ref(), Ok(&table));
            println!("{COUNT} producers: copied in {copying:?}, encoded in {encoding:?}");
            best = best.max(Some(encoding.as_micros() / copying.as_micros().max(1)));
        }
        assert!(best >= Some(2), "{best:?}");
    }

    #[test]
    fn two_transactions_from_one_offset_are_no_snapshot() {
        let producer = |id| ProducerV2 {
            id,
            epoch: 0,
            coordinator_epoch: 0,
            last_seen: 0,
            end_offset: 9,
            last_timestamp: 0,
            txn_first_offset: 5,
            txn_started: 0,
            batches: Vec::new(),
        };
        let producers = vec![producer(1), producer(2)];
        let archive = rkyv::to_bytes::<Error>(&SnapshotV2 { producers }).expect("serialises");
        let bytes = [&V2_PREFIX[..], &archive[..]].concat();
        assert_eq!(ProducerTable::from_snapshot(&bytes), Err(SnapshotError));
    }

    fn facts(id: i64) -> BatchFacts {
        BatchFacts {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            count: 3,
            max_timestamp: Timestamp(1),
            is_transactional: false,
            bumps_epoch: false,
        }
    }
}
