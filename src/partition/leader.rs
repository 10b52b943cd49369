//! The leader's side of a replica.

use smallvec::SmallVec;

use super::producers::{ProducerTable, SequenceCheck, SequenceError, sequence_after};
use super::transactions::{EndedTransaction, MarkerFacts, MarkerRefusal};
use crate::types::{LeaderEpoch, Offset, OffsetRange, ProducerEpoch, ProducerId, Timestamp};

/// What admission needs to know of a checked batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchFacts {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    /// Offsets the batch takes: its last offset delta and 1.
    pub count: i32,
    pub max_timestamp: Timestamp,
    pub is_transactional: bool,
    /// Its producer bumps its epoch with every transaction (KIP-890), so that one that is not known here begins at 0.
    pub bumps_epoch: bool,
}

impl BatchFacts {
    /// Sequence number of the last record, wrapping as KIP-98 says.
    pub fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.count - 1)
    }

    /// `false` for the batches that coordinators write in a producer's name.
    pub(super) fn has_sequence(&self) -> bool {
        self.base_sequence >= 0
    }

    fn is_idempotent(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }
}

/// A batch may be appended, or was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted {
    Append {
        base_offset: Offset,
    },
    Duplicate {
        base_offset: Offset,
        timestamp: Timestamp,
    },
}

/// Why a batch was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProduceRefusal {
    Sequence(SequenceError),
    /// The log directory is offline: KAFKA_STORAGE_ERROR.
    Offline,
}

/// A request named a leader epoch that is not this leader's (KIP-320).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochError {
    Fenced,
    Unknown,
}

/// What a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
    /// A follower reads up to the log's end.
    Replica,
}

/// How far a read at some isolation may go, and whether the offset asked is inside the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadBound {
    /// The first offset that must not be read.
    pub upper: Offset,
    /// `false`: the offset lies before the log's start or past its end.
    pub in_range: bool,
}

/// What the shell must do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Answer the producers that wait for offsets below this one.
    WakeProducers(Offset),
    /// Records up to this offset became readable.
    WakeReaders(Offset),
    /// Records up to this offset became stable: readers of what is committed may go on.
    WakeCommittedReaders(Offset),
    /// The log directory failed: everyone who waits gets an error.
    FailWaiters,
}

/// A few effects, in the order in which they must happen.
pub type Effects = SmallVec<[Effect; 3]>;

/// One replica that leads its partition.
#[derive(Debug)]
pub struct Partition {
    leader_epoch: LeaderEpoch,
    log_start: Offset,
    log_end: Offset,
    durable_end: Offset,
    high_watermark: Offset,
    offline: bool,
    producers: ProducerTable,
}

impl Partition {
    /// A leader over a recovered log: what was found on disk is durable and, with one replica, committed.
    pub fn recovered(
        leader_epoch: LeaderEpoch,
        log: OffsetRange,
        mut producers: ProducerTable,
    ) -> Partition {
        assert!(log.start <= log.end, "a log ends before it starts: {log:?}");
        producers.on_high_watermark(log.end);
        Partition {
            leader_epoch,
            log_start: log.start,
            log_end: log.end,
            durable_end: log.end,
            high_watermark: log.end,
            offline: false,
            producers,
        }
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Log end offset (LEO): the offset the next record gets.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Records that a crash of the machine could take: those above the durable end. What was appended while a flush was
    /// under way is among them, and counts towards the next (`flush.messages`).
    pub fn unflushed(&self) -> i64 {
        self.log_end.0 - self.durable_end.0
    }

    /// High watermark: consumers read below it.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Last stable offset (KIP-98): no transaction is open below it, and the markers of those that ended are committed.
    pub fn last_stable_offset(&self) -> Offset {
        match self.producers.first_unstable() {
            Some(first) => first.max(self.log_start).min(self.high_watermark),
            None => self.high_watermark,
        }
    }

    pub fn is_offline(&self) -> bool {
        self.offline
    }

    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// Checks the leader epoch that a request believes in; [`LeaderEpoch::NONE`] skips the check.
    pub fn check_epoch(&self, current: LeaderEpoch) -> Result<(), EpochError> {
        match current {
            LeaderEpoch::NONE => Ok(()),
            epoch if epoch < self.leader_epoch => Err(EpochError::Fenced),
            epoch if epoch > self.leader_epoch => Err(EpochError::Unknown),
            _ => Ok(()),
        }
    }

    /// Decides whether a batch may be appended now, and where. Changes nothing.
    ///
    /// - Source: idempotence KIP-98, unknown producers KIP-360.
    pub fn admit(&self, facts: &BatchFacts) -> Result<Admitted, ProduceRefusal> {
        if self.offline {
            return Err(ProduceRefusal::Offline);
        }
        if facts.is_idempotent() {
            match self
                .producers
                .check(facts)
                .map_err(ProduceRefusal::Sequence)?
            {
                SequenceCheck::Next => {}
                SequenceCheck::Duplicate {
                    base_offset,
                    timestamp,
                } => {
                    return Ok(Admitted::Duplicate {
                        base_offset,
                        timestamp,
                    });
                }
            }
        }
        Ok(Admitted::Append {
            base_offset: self.log_end,
        })
    }

    /// The batch just admitted lies in the log's tail, in memory. Returns the offsets it took.
    pub fn on_appended(&mut self, facts: &BatchFacts, now: Timestamp) -> OffsetRange {
        let start = self.log_end;
        self.log_end = start.plus(facts.count as i64);
        if facts.is_idempotent() {
            self.producers.on_appended(facts, start, now);
        }
        OffsetRange {
            start,
            end: self.log_end,
        }
    }

    /// Decides whether a transaction's marker may be appended now, and where. Changes nothing.
    ///
    /// - `transaction_version`: as the coordinator names it; 2 for markers that bump the epoch.
    /// - Source: KIP-98, KIP-890, KIP-1228.
    pub fn admit_marker(
        &self,
        marker: &MarkerFacts,
        transaction_version: i16,
    ) -> Result<Offset, MarkerRefusal> {
        if self.offline {
            return Err(MarkerRefusal::Offline);
        }
        self.producers.check_marker(marker, transaction_version)?;
        Ok(self.log_end)
    }

    /// The marker just admitted lies in the log's tail. Returns the transaction that it ended, if it had records here.
    pub fn on_marker(&mut self, marker: &MarkerFacts, now: Timestamp) -> Option<EndedTransaction> {
        let offset = self.log_end;
        self.log_end = offset.plus(1);
        self.producers.on_marker(marker, offset, now)
    }

    /// The topic asks for write caching: what was appended counts as committed now.
    pub fn on_cached(&mut self, out: &mut Effects) {
        self.advance_high(self.log_end, out);
    }

    /// Everything below `end` is on this broker's stable storage.
    pub fn on_durable(&mut self, end: Offset, out: &mut Effects) {
        assert!(
            end <= self.log_end,
            "durable to {end}, but the log ends at {}",
            self.log_end
        );
        self.durable_end = self.durable_end.max(end);
        // One replica: its durable end is the smallest of the in-sync set.
        self.advance_high(self.durable_end, out);
    }

    /// DeleteRecords or retention moved the log's start.
    pub fn on_log_start(&mut self, start: Offset) {
        assert!(
            start <= self.high_watermark,
            "start {start} above the high watermark"
        );
        // Producers are kept: Kafka, too, recognises a retry of records that were deleted meanwhile.
        self.log_start = self.log_start.max(start);
    }

    /// A new leader epoch begins with this replica as its leader.
    pub fn on_leader_epoch(&mut self, epoch: LeaderEpoch) {
        assert!(epoch >= self.leader_epoch, "leader epochs never go back");
        self.leader_epoch = epoch;
    }

    /// A write or a sync failed: nothing more is accepted, whoever waits is told.
    pub fn on_storage_failed(&mut self, out: &mut Effects) {
        self.offline = true;
        out.push(Effect::FailWaiters);
    }

    /// Forgets producers that were silent for `expiration_ms`, part by part; see [`ProducerTable::expire_some`].
    pub fn expire_producers(
        &mut self,
        from: ProducerId,
        now: Timestamp,
        expiration_ms: i64,
    ) -> (usize, Option<ProducerId>) {
        self.producers.expire_some(from, now, expiration_ms)
    }

    /// How far a read from `from` may go. Offsets between the high watermark and the log's end are in
    /// range and empty (COMPAT: never OFFSET_OUT_OF_RANGE there).
    pub fn read_bound(&self, from: Offset, isolation: Isolation) -> ReadBound {
        let upper = match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset(),
            Isolation::Replica => self.log_end,
        };
        ReadBound {
            upper,
            in_range: self.log_start <= from && from <= self.log_end,
        }
    }

    fn advance_high(&mut self, to: Offset, out: &mut Effects) {
        if to > self.high_watermark {
            let stable_before = self.last_stable_offset();
            self.high_watermark = to;
            self.producers.on_high_watermark(to);
            out.push(Effect::WakeProducers(to));
            out.push(Effect::WakeReaders(to));
            let stable = self.last_stable_offset();
            if stable > stable_before {
                out.push(Effect::WakeCommittedReaders(stable));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Partition {
        let log = OffsetRange {
            start: Offset(0),
            end: Offset(0),
        };
        Partition::recovered(LeaderEpoch(4), log, ProducerTable::default())
    }

    fn plain(count: i32) -> BatchFacts {
        BatchFacts {
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            count,
            max_timestamp: Timestamp(5),
            is_transactional: false,
            bumps_epoch: false,
        }
    }

    fn append(partition: &mut Partition, facts: &BatchFacts) -> OffsetRange {
        assert!(matches!(
            partition.admit(facts),
            Ok(Admitted::Append { .. })
        ));
        partition.on_appended(facts, Timestamp(0))
    }

    #[test]
    fn readers_see_only_what_is_durable() {
        let mut partition = empty();
        append(&mut partition, &plain(10));
        let bound = partition.read_bound(Offset(3), Isolation::ReadUncommitted);
        assert_eq!(
            bound,
            ReadBound {
                upper: Offset(0),
                in_range: true
            }
        );
        let mut effects = Effects::new();
        partition.on_durable(Offset(10), &mut effects);
        assert_eq!(
            effects[..],
            [
                Effect::WakeProducers(Offset(10)),
                Effect::WakeReaders(Offset(10)),
                Effect::WakeCommittedReaders(Offset(10))
            ]
        );
        assert_eq!(
            partition
                .read_bound(Offset(3), Isolation::ReadCommitted)
                .upper,
            Offset(10)
        );
        assert!(
            !partition
                .read_bound(Offset(11), Isolation::ReadUncommitted)
                .in_range
        );
    }

    #[test]
    fn a_late_commit_does_not_move_the_high_watermark_back() {
        let mut partition = empty();
        append(&mut partition, &plain(10));
        let mut effects = Effects::new();
        partition.on_durable(Offset(10), &mut effects);
        effects.clear();
        partition.on_durable(Offset(4), &mut effects);
        assert!(effects.is_empty());
        assert_eq!(partition.high_watermark(), Offset(10));
    }

    #[test]
    fn write_caching_commits_at_append() {
        let mut partition = empty();
        append(&mut partition, &plain(2));
        let mut effects = Effects::new();
        partition.on_cached(&mut effects);
        assert_eq!(partition.high_watermark(), Offset(2));
    }

    /// What was lost: the count of records appended during a flush, which set it to none. Up to twice `flush.messages` were
    /// acknowledged from memory.
    #[test]
    fn what_is_appended_during_a_flush_stays_unflushed_after_it() {
        let mut partition = empty();
        append(&mut partition, &plain(10));
        append(&mut partition, &plain(4));
        assert_eq!(partition.unflushed(), 14);
        let mut effects = Effects::new();
        partition.on_cached(&mut effects);
        assert_eq!(partition.unflushed(), 14, "committed, but from memory");
        partition.on_durable(Offset(10), &mut effects);
        assert_eq!(partition.unflushed(), 4);
        partition.on_durable(Offset(14), &mut effects);
        assert_eq!(partition.unflushed(), 0);
    }

    #[test]
    fn a_duplicate_takes_no_offsets() {
        let mut partition = empty();
        let facts = BatchFacts {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            ..plain(3)
        };
        append(&mut partition, &facts);
        let again = partition.admit(&facts);
        assert_eq!(
            again,
            Ok(Admitted::Duplicate {
                base_offset: Offset(0),
                timestamp: Timestamp(5)
            })
        );
        assert_eq!(partition.log_end(), Offset(3));
    }

    #[test]
    fn an_open_transaction_holds_back_readers_of_what_is_committed() {
        let mut partition = empty();
        append(&mut partition, &plain(2));
        let facts = BatchFacts {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            is_transactional: true,
            ..plain(3)
        };
        append(&mut partition, &facts);
        let mut effects = Effects::new();
        partition.on_durable(Offset(5), &mut effects);
        assert_eq!(effects[2..], [Effect::WakeCommittedReaders(Offset(2))]);
        let bound = partition.read_bound(Offset(0), Isolation::ReadCommitted);
        assert_eq!(bound.upper, Offset(2));
        let marker = MarkerFacts {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(0),
            coordinator_epoch: 0,
            committed: true,
            timestamp: Timestamp(6),
        };
        assert_eq!(partition.admit_marker(&marker, 0), Ok(Offset(5)));
        let ended = partition.on_marker(&marker, Timestamp(0));
        assert_eq!(ended.map(|ended| ended.first_offset), Some(Offset(2)));
        assert_eq!(partition.last_stable_offset(), Offset(2), "not yet durable");
        effects.clear();
        partition.on_durable(Offset(6), &mut effects);
        assert_eq!(effects[2..], [Effect::WakeCommittedReaders(Offset(6))]);
    }

    #[test]
    fn leader_epochs_fence_both_ways() {
        let partition = empty();
        assert_eq!(
            partition.check_epoch(LeaderEpoch(3)),
            Err(EpochError::Fenced)
        );
        assert_eq!(
            partition.check_epoch(LeaderEpoch(5)),
            Err(EpochError::Unknown)
        );
        assert_eq!(partition.check_epoch(LeaderEpoch(4)), Ok(()));
        assert_eq!(partition.check_epoch(LeaderEpoch::NONE), Ok(()));
    }

    #[test]
    fn an_offline_partition_refuses_and_tells_who_waits() {
        let mut partition = empty();
        let mut effects = Effects::new();
        partition.on_storage_failed(&mut effects);
        assert_eq!(effects[..], [Effect::FailWaiters]);
        assert_eq!(partition.admit(&plain(1)), Err(ProduceRefusal::Offline));
    }
}
