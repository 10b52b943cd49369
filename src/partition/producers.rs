//! What a partition remembers of each producer, to recognise duplicates and gaps (KIP-98, KIP-360), and its transaction.

use std::collections::BTreeMap;

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
    pub(super) fn end_offset(&self) -> Offset {
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

    /// Bytes of its batches that lie outside.
    fn spilled_bytes(&self) -> usize {
        match self.batches.spilled() {
            true => self.batches.capacity() * size_of::<SeenBatch>(),
            false => 0,
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
///
/// In the order of their ids: a million of them can be gone through in parts while others come, and the table grows by a
/// node at a time, where one by hash would move all of them in one turn.
#[derive(Clone, Default, Debug)]
pub struct ProducerTable {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// Bytes of batches that lie outside their entries.
    spilled_bytes: usize,
    transactions: Transactions,
}

impl PartialEq for ProducerTable {
    /// How they lie in memory does not count.
    fn eq(&self, other: &ProducerTable) -> bool {
        self.entries == other.entries && self.transactions == other.transactions
    }
}

/// Producers that are looked at in one turn.
const LOOKED_AT_ONCE: usize = 1_000;
/// A node of the table has room for so many entries,
const NODE_ROOM: usize = 11;
/// of which ids that come in their order fill so many,
const NODE_FILLED: usize = 6;
/// and this beside them; where it has nodes below it, links to them too.
const NODE_BYTES: usize = 16 + (NODE_ROOM + 1) * size_of::<usize>();

impl ProducerTable {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the table takes, from above: its nodes may be fuller. Costs no walk.
    pub fn memory_bytes(&self) -> usize {
        let leaves = self.entries.len().div_ceil(NODE_FILLED);
        let nodes = leaves + leaves / NODE_FILLED;
        let node_bytes = NODE_ROOM * size_of::<(ProducerId, ProducerEntry)>() + NODE_BYTES;
        nodes * node_bytes + self.spilled_bytes
    }

    /// Every producer with its state, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// A table of these producers; `None` if two of them have a transaction that begins at one offset.
    pub(super) fn from_entries(
        entries: BTreeMap<ProducerId, ProducerEntry>,
    ) -> Option<ProducerTable> {
        let mut transactions = Transactions::default();
        let mut open = 0;
        for (id, entry) in &entries {
            if let Some(transaction) = entry.transaction {
                open += 1;
                transactions.reopen(*id, transaction.first_offset);
            }
        }
        let spilled_bytes = entries.values().map(ProducerEntry::spilled_bytes).sum();
        (transactions.open_count() == open).then_some(ProducerTable {
            entries,
            spilled_bytes,
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
        let spilled_before = entry.spilled_bytes();
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
        self.spilled_bytes = self.spilled_bytes - spilled_before + entry.spilled_bytes();
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

    /// Forgets producers not seen for `expiration_ms` before `now`, but for those with an open transaction. Looks at some,
    /// from the id `from` on. Returns how many it has forgotten, and where to go on, if there are more.
    pub fn expire_some(
        &mut self,
        from: ProducerId,
        now: Timestamp,
        expiration_ms: i64,
    ) -> (usize, Option<ProducerId>) {
        let mut gone = Vec::new();
        let mut range = self.entries.range(from..);
        for (id, entry) in range.by_ref().take(LOOKED_AT_ONCE) {
            let silent_ms = now.0.saturating_sub(entry.last_seen.0);
            if silent_ms >= expiration_ms && entry.transaction.is_none() {
                gone.push(*id);
            }
        }
        let next = range.next().map(|(id, _)| *id);
        for id in &gone {
            let entry = self.entries.remove(id).expect("it was found just now");
            self.spilled_bytes -= entry.spilled_bytes();
        }
        (gone.len(), next)
    }

    /// Forgets everything, before the table is rebuilt from a truncated log.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.spilled_bytes = 0;
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
#[path = "producers_tests.rs"]
mod tests;
