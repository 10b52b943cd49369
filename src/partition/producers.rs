//! What a partition remembers of each producer, to recognise duplicates and gaps (KIP-98, KIP-360), and its transaction.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::leader::BatchFacts;
use super::transactions::{
    EndedTransaction, MarkerFacts, MarkerRefusal, OpenTransaction, Transactions,
};
use crate::record::BatchHeader;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// Batches remembered per producer: as many as a client may have in flight with idempotence.
pub const BATCHES_REMEMBERED: usize = 5;

/// One appended batch of a producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct SeenBatch {
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    /// Newest timestamp in the batch; Kafka answers a retry with it as the append time.
    pub timestamp: i64,
}

/// A producer's state on one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// Of the coordinator that wrote the last marker; −1 if there was none.
    pub coordinator_epoch: i32,
    /// The broker's clock at the last append; expiry counts from here.
    pub last_seen: Timestamp,
    pub(super) batches: SmallVec<[SeenBatch; 1]>,
    /// Offset after this producer's newest batch or marker.
    pub end_offset: Offset,
    /// Newest timestamp in this producer's newest batch, or that of its newer marker.
    pub last_timestamp: Timestamp,
    /// The transaction that is open here.
    pub transaction: Option<OpenTransaction>,
}

impl SeenBatch {
    /// The offset after the batch.
    fn end_offset(&self) -> Offset {
        let count = (self.last_sequence - self.base_sequence) & i32::MAX;
        Offset(self.base_offset + i64::from(count) + 1)
    }
}

impl ProducerEntry {
    /// A producer of which nothing was appended yet.
    fn new(epoch: ProducerEpoch, now: Timestamp) -> ProducerEntry {
        ProducerEntry {
            epoch,
            coordinator_epoch: -1,
            last_seen: now,
            batches: SmallVec::new(),
            end_offset: Offset(-1),
            last_timestamp: Timestamp::NONE,
            transaction: None,
        }
    }

    /// A newer epoch begins: its sequences start over.
    fn take_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

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
    /// Not transactional, while the producer has a transaction open here: INVALID_TXN_STATE.
    InTransaction,
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

/// All producers that a partition knows.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct ProducerTable {
    entries: HashMap<ProducerId, ProducerEntry>,
    transactions: Transactions,
}

impl ProducerTable {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the table takes, but for the few that its allocator adds.
    pub fn memory_bytes(&self) -> usize {
        let batches = |entry: &ProducerEntry| match entry.batches.spilled() {
            true => entry.batches.capacity() * size_of::<SeenBatch>(),
            false => 0,
        };
        let slots = self.entries.capacity() * size_of::<(ProducerId, ProducerEntry)>();
        slots + self.entries.values().map(batches).sum::<usize>()
    }

    /// Every producer with its state, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// A table of these producers; `None` if two of them have a transaction that begins at one offset.
    pub(super) fn from_entries(
        entries: HashMap<ProducerId, ProducerEntry>,
    ) -> Option<ProducerTable> {
        let mut transactions = Transactions::default();
        let mut open = 0;
        for (id, entry) in &entries {
            if let Some(transaction) = entry.transaction {
                open += 1;
                transactions.reopen(*id, transaction.first_offset);
            }
        }
        (transactions.open_count() == open).then_some(ProducerTable {
            entries,
            transactions,
        })
    }

    /// The newest epoch seen of a producer; `None` if it is not known here.
    pub fn epoch_of(&self, id: ProducerId) -> Option<ProducerEpoch> {
        self.entries.get(&id).map(|entry| entry.epoch)
    }

    /// Where a producer's last batch or marker ended here; `None` if it is not known.
    pub fn end_of(&self, id: ProducerId) -> Option<Offset> {
        self.entries.get(&id).map(|entry| entry.end_offset)
    }

    /// Whether an idempotent batch is next in its producer's sequence, and fits its transaction.
    ///
    /// - An unknown producer may begin anywhere: its state may have expired or been deleted (KIP-360). But one that bumps
    ///   its epoch with every transaction begins every one at 0 (KIP-890).
    /// - A new epoch must begin at 0, also where only a marker has begun it.
    /// - A batch without a sequence, of a coordinator, is held against the epoch only.
    pub fn check(&self, facts: &BatchFacts) -> Result<SequenceCheck, SequenceError> {
        let Some(entry) = self.entries.get(&facts.producer_id) else {
            return match facts.bumps_epoch && facts.base_sequence > 0 {
                true => Err(SequenceError::OutOfOrder { expected: 0 }),
                false => Ok(SequenceCheck::Next),
            };
        };
        if facts.producer_epoch < entry.epoch {
            return Err(SequenceError::StaleEpoch {
                current: entry.epoch,
            });
        }
        let is_new_epoch = facts.producer_epoch > entry.epoch;
        if facts.has_sequence() {
            if !is_new_epoch && let Some(seen) = entry.duplicate_of(facts) {
                return Ok(SequenceCheck::Duplicate {
                    base_offset: Offset(seen.base_offset),
                    timestamp: Timestamp(seen.timestamp),
                });
            }
            let expected = match is_new_epoch {
                true => 0,
                false => sequence_after(entry.last_sequence(), 1),
            };
            if facts.base_sequence != expected {
                return Err(SequenceError::OutOfOrder { expected });
            }
        }
        match entry.transaction.is_some() && !facts.is_transactional {
            true => Err(SequenceError::InTransaction),
            false => Ok(SequenceCheck::Next),
        }
    }

    /// Whether a batch of the log holds the last that is known of its producer: the last sequence, or where its epoch has
    /// none, the last batch or marker. Compaction must not take it away, or a restart forgets the producer (KIP-98).
    pub fn is_last_batch(&self, header: &BatchHeader) -> bool {
        let Some(entry) = self.entries.get(&header.producer_id()) else {
            return false;
        };
        let end = entry
            .batches
            .last()
            .map_or(entry.end_offset, SeenBatch::end_offset);
        header.next_offset() == end
    }

    /// Whether a producer has a transaction open here in this very epoch: its next batch needs no verification.
    pub fn has_open_transaction(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        let entry = self.entries.get(&id);
        entry.is_some_and(|entry| entry.epoch == epoch && entry.transaction.is_some())
    }

    /// Remembers an appended idempotent batch; also how recovery rebuilds the table from the log.
    pub fn on_appended(&mut self, facts: &BatchFacts, base_offset: Offset, now: Timestamp) {
        let new = || ProducerEntry::new(facts.producer_epoch, now);
        let entry = self.entries.entry(facts.producer_id).or_insert_with(new);
        entry.take_epoch(facts.producer_epoch);
        if facts.has_sequence() {
            if entry.batches.len() == BATCHES_REMEMBERED {
                entry.batches.remove(0);
            }
            entry.batches.push(SeenBatch {
                base_sequence: facts.base_sequence,
                last_sequence: facts.last_sequence(),
                base_offset: base_offset.0,
                timestamp: facts.max_timestamp.0,
            });
        }
        entry.last_seen = now;
        entry.end_offset = base_offset.plus(facts.count as i64);
        entry.last_timestamp = facts.max_timestamp;
        if facts.is_transactional && entry.transaction.is_none() {
            entry.transaction = Some(OpenTransaction {
                first_offset: base_offset,
                started: now,
            });
            self.transactions.begin(facts.producer_id, base_offset);
        }
    }

    /// Whether a marker may be appended.
    ///
    /// - `transaction_version`: from 2 on a marker bumps the epoch, and may come again only when nothing is open
    ///   (KIP-890, KIP-1228).
    pub fn check_marker(
        &self,
        marker: &MarkerFacts,
        transaction_version: i16,
    ) -> Result<(), MarkerRefusal> {
        let Some(entry) = self.entries.get(&marker.producer_id) else {
            return Ok(());
        };
        let current = entry.epoch;
        let bumps = transaction_version >= 2;
        let is_stale = marker.producer_epoch < current
            || bumps && marker.producer_epoch == current && entry.transaction.is_some();
        if is_stale {
            return Err(MarkerRefusal::StaleEpoch { current });
        }
        match marker.coordinator_epoch < entry.coordinator_epoch {
            true => Err(MarkerRefusal::CoordinatorFenced {
                current: entry.coordinator_epoch,
            }),
            false => Ok(()),
        }
    }

    /// Takes in an appended marker; also how recovery does.
    ///
    /// Returns the transaction that it ended; `None` if the producer had none open here, which a marker may say again.
    pub fn on_marker(
        &mut self,
        marker: &MarkerFacts,
        offset: Offset,
        now: Timestamp,
    ) -> Option<EndedTransaction> {
        let new = || ProducerEntry::new(marker.producer_epoch, now);
        let entry = self.entries.entry(marker.producer_id).or_insert_with(new);
        entry.take_epoch(marker.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_seen = now;
        entry.end_offset = offset.plus(1);
        entry.last_timestamp = marker.timestamp;
        let first_offset = entry.transaction.take()?.first_offset;
        Some(EndedTransaction {
            producer_id: marker.producer_id,
            first_offset,
            marker_offset: offset,
            committed: marker.committed,
            stable_end: self.transactions.end(first_offset, offset),
        })
    }

    /// The first offset of the earliest transaction that is open, or whose marker is not below the high watermark.
    pub fn first_unstable(&self) -> Option<Offset> {
        self.transactions.first_unstable()
    }

    /// Everything below is committed.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.transactions.on_high_watermark(high_watermark);
    }

    /// How many transactions are open here.
    pub fn open_transactions(&self) -> usize {
        self.transactions.open_count()
    }

    /// Forgets producers not seen for `expiration_ms` before `now`, but for those with an open transaction. Returns how
    /// many.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            let silent_ms = now.0.saturating_sub(entry.last_seen.0);
            silent_ms < expiration_ms || entry.transaction.is_some()
        });
        before - self.entries.len()
    }

    /// Forgets everything, before the table is rebuilt from a truncated log.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.transactions.clear();
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
        table.expire(Timestamp(i64::MAX), 1);
        assert!(
            !table.is_last_batch(&header(106, 1)),
            "nobody asks for it any more"
        );
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
        assert_eq!(table.expire(Timestamp(i64::MAX), 1000), 0);
        table.on_marker(&marker(0, 0), Offset(102), Timestamp(1000));
        assert_eq!(table.expire(Timestamp(i64::MAX), 1000), 1);
    }
}
