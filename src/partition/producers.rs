//! What a partition remembers of each producer, to recognise duplicates and gaps (KIP-98, KIP-360).

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::leader::BatchFacts;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches remembered per producer: as many as a client may have in flight with idempotence.
pub const BATCHES_REMEMBERED: usize = 5;

/// One appended batch of a producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SeenBatch {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    /// Newest timestamp in the batch; Kafka answers a retry with it as the append time.
    timestamp: i64,
}

/// A producer's state on one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// The broker's clock at the last append; expiry counts from here.
    pub last_seen: Timestamp,
    batches: SmallVec<[SeenBatch; 1]>,
    /// Offset after this producer's newest batch.
    pub end_offset: Offset,
    /// Newest timestamp in this producer's newest batch.
    pub last_timestamp: Timestamp,
}

impl ProducerEntry {
    /// The last sequence number appended; −1 if none is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(-1, |batch| batch.last_sequence)
    }

    fn duplicate_of(&self, facts: &BatchFacts) -> Option<&SeenBatch> {
        let last = facts.last_sequence();
        self.batches
            .iter()
            .rev()
            .find(|seen| seen.base_sequence == facts.base_sequence && seen.last_sequence == last)
    }
}

/// Why a sequence was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceError {
    /// The epoch is older than the newest one seen: INVALID_PRODUCER_EPOCH.
    StaleEpoch { current: ProducerEpoch },
    /// The first sequence is not the one expected next: OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder { expected: i32 },
}

/// The answer to "may this batch be appended?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SequenceCheck {
    Next,
    /// It was appended before, at this offset; `timestamp` is the newest in the batch.
    Duplicate {
        base_offset: Offset,
        timestamp: Timestamp,
    },
}

/// A snapshot's bytes were not written by [`ProducerTable::snapshot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotError;

/// Version 1 of the snapshot, frozen: the file's frame carries the version.
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

/// All producers that a partition knows.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct ProducerTable {
    entries: HashMap<ProducerId, ProducerEntry>,
}

impl ProducerTable {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every producer with its state, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// Whether an idempotent batch is next in its producer's sequence.
    ///
    /// - An unknown producer may begin anywhere: its state may have expired or been deleted (KIP-360).
    /// - A new epoch must begin at 0.
    pub fn check(&self, facts: &BatchFacts) -> Result<SequenceCheck, SequenceError> {
        let Some(entry) = self.entries.get(&facts.producer_id) else {
            return Ok(SequenceCheck::Next);
        };
        if facts.producer_epoch < entry.epoch {
            return Err(SequenceError::StaleEpoch {
                current: entry.epoch,
            });
        }
        if facts.producer_epoch > entry.epoch {
            return match facts.base_sequence {
                0 => Ok(SequenceCheck::Next),
                _ => Err(SequenceError::OutOfOrder { expected: 0 }),
            };
        }
        if let Some(seen) = entry.duplicate_of(facts) {
            return Ok(SequenceCheck::Duplicate {
                base_offset: Offset(seen.base_offset),
                timestamp: Timestamp(seen.timestamp),
            });
        }
        let expected = sequence_after(entry.last_sequence(), 1);
        match facts.base_sequence == expected || entry.batches.is_empty() {
            true => Ok(SequenceCheck::Next),
            false => Err(SequenceError::OutOfOrder { expected }),
        }
    }

    /// Remembers an appended idempotent batch; also how recovery rebuilds the table from the log.
    pub fn on_appended(&mut self, facts: &BatchFacts, base_offset: Offset, now: Timestamp) {
        let entry = self
            .entries
            .entry(facts.producer_id)
            .or_insert_with(|| ProducerEntry {
                epoch: facts.producer_epoch,
                last_seen: now,
                batches: SmallVec::new(),
                end_offset: base_offset,
                last_timestamp: Timestamp::NONE,
            });
        if entry.epoch != facts.producer_epoch {
            entry.epoch = facts.producer_epoch;
            entry.batches.clear();
        }
        if entry.batches.len() == BATCHES_REMEMBERED {
            entry.batches.remove(0);
        }
        entry.batches.push(SeenBatch {
            base_sequence: facts.base_sequence,
            last_sequence: facts.last_sequence(),
            base_offset: base_offset.0,
            timestamp: facts.max_timestamp.0,
        });
        entry.last_seen = now;
        entry.end_offset = base_offset.plus(facts.count as i64);
        entry.last_timestamp = facts.max_timestamp;
    }

    /// Forgets producers not seen for `expiration_ms` before `now`. Returns how many.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|_, entry| now.0.saturating_sub(entry.last_seen.0) < expiration_ms);
        before - self.entries.len()
    }

    /// Forgets everything, before the table is rebuilt from a truncated log.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The table as bytes, sorted by producer so that equal tables give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut producers: Vec<ProducerV1> = self
            .entries
            .iter()
            .map(|(id, entry)| ProducerV1 {
                id: id.0,
                epoch: entry.epoch.0,
                last_seen: entry.last_seen.0,
                end_offset: entry.end_offset.0,
                last_timestamp: entry.last_timestamp.0,
                batches: entry.batches.to_vec(),
            })
            .collect();
        producers.sort_by_key(|producer| producer.id);
        rkyv::to_bytes::<rkyv::rancor::Error>(&SnapshotV1 { producers })
            .expect("a vector of plain numbers always serialises")
            .to_vec()
    }

    /// Reads [`ProducerTable::snapshot`]'s bytes back; they are checked, not trusted.
    pub fn from_snapshot(bytes: &[u8]) -> Result<ProducerTable, SnapshotError> {
        let snapshot = rkyv::from_bytes::<SnapshotV1, rkyv::rancor::Error>(bytes)
            .map_err(|_| SnapshotError)?;
        let mut entries = HashMap::with_capacity(snapshot.producers.len());
        for producer in snapshot.producers {
            if producer.batches.len() > BATCHES_REMEMBERED {
                return Err(SnapshotError);
            }
            let entry = ProducerEntry {
                epoch: ProducerEpoch(producer.epoch),
                last_seen: Timestamp(producer.last_seen),
                batches: SmallVec::from_vec(producer.batches),
                end_offset: Offset(producer.end_offset),
                last_timestamp: Timestamp(producer.last_timestamp),
            };
            entries.insert(ProducerId(producer.id), entry);
        }
        Ok(ProducerTable { entries })
    }
}

/// The sequence number `count` after `sequence`, wrapping from `i32::MAX` to 0 (KIP-98).
pub(super) fn sequence_after(sequence: i32, count: i32) -> i32 {
    match sequence.checked_add(count) {
        Some(next) => next,
        None => count - (i32::MAX - sequence) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, count: i32) -> BatchFacts {
        BatchFacts {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence,
            count,
            max_timestamp: Timestamp(1),
            is_transactional: false,
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
        assert_eq!(table.expire(Timestamp(1999), 1000), 0);
        assert_eq!(table.expire(Timestamp(2000), 1000), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn snapshots_read_back_equal_and_their_prefixes_fail() {
        let table = appended(&[(1, 0, 3), (1, 3, 2)]);
        let bytes = table.snapshot();
        assert_eq!(ProducerTable::from_snapshot(&bytes), Ok(table));
        assert!(ProducerTable::from_snapshot(&bytes[..bytes.len() - 1]).is_err());
        assert!(ProducerTable::from_snapshot(&[]).is_err());
    }
}
