//! The markers of transactions, as a partition takes them in.

use super::Shard;
use super::produce::{Joined, ProduceJoin, ProduceOutcome};
use super::replica::{Replica, accepted, append_failed};
use super::waiters::Waiter;
use crate::config::TimestampType as TopicTimestamp;
use crate::partition::{EndedTransaction, MarkerFacts, MarkerRefusal};
use crate::protocol::ErrorCode;
use crate::record::{CheckedBatch, EndMarker, Limits, TimestampType, check};
use crate::storage::{AbortedTransaction, Stamps};
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

impl Replica {
    /// Appends the marker that ends a producer's transaction. Returns its offset when it is committed.
    ///
    /// - `transaction_version`: 2 for a marker whose epoch is above that of the transaction's batches (KIP-890).
    /// - A marker may come again, and is appended again: readers do not mind.
    /// - `Err`: `TransactionCoordinatorFenced`, `InvalidProducerEpoch`, `KafkaStorageError`, `UnknownTopicOrPartition`, or
    ///   `UnknownServerError` for ids that no producer has and versions that are none; nothing was appended, but for `KafkaStorageError` and
    ///   `UnknownTopicOrPartition`, where that is not known.
    pub async fn append_marker(
        &self,
        shard: &Shard,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: i32,
        committed: bool,
        transaction_version: i16,
    ) -> Result<Offset, ErrorCode> {
        let marker = MarkerFacts {
            producer_id,
            producer_epoch,
            coordinator_epoch,
            committed,
            timestamp: shard.clock.wall(),
        };
        let offset = self.put_marker(shard, &marker, transaction_version)?;
        let end = offset.plus(1);
        if end <= self.core().high_watermark() {
            return Ok(offset);
        }
        let join = ProduceJoin::local(1);
        join.expect_part();
        let waiter = Waiter {
            end,
            join: join.clone(),
            index: 0,
            outcome: accepted(offset, Timestamp::NONE, Offset(-1)),
            // Its coordinator could only append it again.
            deadline: None,
        };
        self.park(shard, waiter);
        join.part_done();
        Joined(join.clone()).await;
        let outcome = join.take_outcomes().pop().map(|(_, outcome)| outcome);
        let outcome = outcome.unwrap_or(ProduceOutcome::refused(ErrorCode::UnknownServerError));
        match outcome.error {
            ErrorCode::None => Ok(offset),
            error => Err(error),
        }
    }

    /// Admits and appends a marker, in this turn.
    fn put_marker(
        &self,
        shard: &Shard,
        marker: &MarkerFacts,
        transaction_version: i16,
    ) -> Result<Offset, ErrorCode> {
        if self.is_deleted() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        // What a coordinator has decided before stands before the marker, also in the log.
        if let Some(coordinator) = self.hooked() {
            coordinator.flush();
        }
        if marker.producer_id.0 < 0 || marker.producer_epoch.0 < 0 || transaction_version < 0 {
            return Err(ErrorCode::UnknownServerError);
        }
        let admitted = self.core().admit_marker(marker, transaction_version);
        let base_offset = admitted.map_err(refused)?;
        let config = self.config();
        let now = marker.timestamp;
        let batch = batch_of(shard, marker);
        let stamps = Stamps {
            base_offset,
            epoch: self.core().leader_epoch(),
            restamp: (config.message_timestamp_type == TopicTimestamp::LogAppendTime)
                .then_some((TimestampType::LogAppendTime, now)),
        };
        let appended = self.log.append_stamped(&batch, stamps, now);
        appended.map_err(|error| append_failed(error).error)?;
        let ended = self.core_mut().on_marker(marker, now);
        if let Some(aborted) = ended.and_then(aborted) {
            self.log.note_aborted(aborted);
        }
        self.verifying.mark(marker.producer_id);
        self.count_appended(batch.size());
        if let Some(coordinator) = self.hooked() {
            coordinator.on_marker(marker.producer_id, marker.producer_epoch, marker.committed);
        }
        if config.write_caching {
            self.commit_from_memory(shard, &config);
        }
        Ok(base_offset)
    }
}

fn batch_of(shard: &Shard, marker: &MarkerFacts) -> CheckedBatch {
    let codecs = &mut *shard.codecs.borrow_mut();
    let text = EndMarker {
        committed: marker.committed,
        coordinator_epoch: marker.coordinator_epoch,
    };
    let producer = (marker.producer_id, marker.producer_epoch);
    let batch = text.batch(producer, marker.timestamp, codecs);
    let checked = check(batch, &Limits::log(), codecs);
    checked.expect("a marker of our own is well formed")
}

/// What the log's index keeps of an ended transaction; nothing of one that was committed.
pub(super) fn aborted(ended: EndedTransaction) -> Option<AbortedTransaction> {
    (!ended.committed).then_some(AbortedTransaction {
        producer_id: ended.producer_id,
        first_offset: ended.first_offset,
        last_offset: ended.marker_offset,
        stable_end: ended.stable_end,
    })
}

fn refused(refusal: MarkerRefusal) -> ErrorCode {
    match refusal {
        MarkerRefusal::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        MarkerRefusal::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        MarkerRefusal::Offline => ErrorCode::KafkaStorageError,
    }
}
