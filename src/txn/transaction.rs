//! One transactional id and its transitions, each from what is to what is next; nothing here changes anything.

use super::{TxnState, TxnValue};
use crate::types::{Micros, ProducerEpoch, ProducerId, Str, Timestamp};

/// The highest epoch a producer is given. One more exists, for the end or the abort of its last transaction.
pub(super) const EPOCH_LAST: i16 = i16::MAX - 1;

/// The version of transactions in which every end raises the epoch (KIP-890).
pub(super) const BUMPS_EPOCH: i16 = 2;

/// What is known of one transactional id.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    /// In memory of its own, shared by all that names this transaction.
    pub id: Str,
    pub value: TxnValue,
    /// Kafka's "last producer epoch": whose InitProducerId the present epoch answered, or what the end of the last
    /// transaction raised, the coordinator's abort included. Not in the log, so −1 after loading.
    pub last_epoch: ProducerEpoch,
    /// When it must end or is forgotten; by state in one of the coordinator's two sets.
    pub timer: Option<Micros>,
}

/// A transition: the value that is to be recorded, and what goes with it in memory only.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub value: TxnValue,
    pub last_epoch: ProducerEpoch,
}

/// Who decides a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decider {
    /// The producer, whose request speaks this version of transactions.
    Client(i16),
    /// The coordinator, on a time-out or for a new incarnation: the present producer is fenced.
    Coordinator,
}

impl Transaction {
    /// Whether no epoch is left to give to another incarnation.
    pub fn epochs_used_up(&self) -> bool {
        self.value.producer_epoch.0 >= EPOCH_LAST
    }

    pub fn contains(&self, partition: &(Str, i32)) -> bool {
        self.value.partitions.binary_search(partition).is_ok()
    }

    /// The next incarnation, with the epoch and producer id given; at rest, without a transaction.
    pub fn begun(
        &self,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        last_epoch: ProducerEpoch,
        timeout_ms: i32,
        now: Timestamp,
    ) -> Next {
        let value = TxnValue {
            producer_id,
            producer_epoch: epoch,
            timeout_ms,
            partitions: Vec::new(),
            start: Timestamp::NONE,
            ..self.moved(TxnState::Empty, now)
        };
        Next { value, last_epoch }
    }

    /// With more partitions; the transaction begins now if none is open.
    pub fn joined(&self, more: Vec<(Str, i32)>, client_version: i16, now: Timestamp) -> Next {
        let mut value = self.moved(TxnState::Ongoing, now);
        if self.value.state != TxnState::Ongoing {
            value.start = now;
        }
        value.partitions.extend(more);
        value.partitions.sort_unstable();
        value.partitions.dedup();
        value.client_version = client_version;
        self.kept(value)
    }

    /// Decided. The epoch rises where version 2 ends a transaction and where the coordinator does, by one and never
    /// past the highest number there is.
    ///
    /// - `next_producer_id`: asked only where the producer goes on and has used up its epochs; it goes on with that.
    pub fn decided(
        &self,
        committed: bool,
        decider: Decider,
        next_producer_id: impl FnOnce() -> ProducerId,
        now: Timestamp,
    ) -> Next {
        let state = match committed {
            true => TxnState::PrepareCommit,
            false => TxnState::PrepareAbort,
        };
        let mut value = self.moved(state, now);
        let epoch = self.value.producer_epoch;
        let raised = ProducerEpoch(epoch.0.saturating_add(1));
        if self.value.state != TxnState::Ongoing {
            // An abort without a transaction (KIP-890) begins and ends at once.
            value.start = now;
        }
        value.next_producer_id = ProducerId::NONE;
        let mut last_epoch = self.last_epoch;
        match decider {
            Decider::Client(version) if version >= BUMPS_EPOCH => {
                if self.epochs_used_up() {
                    value.next_producer_id = next_producer_id();
                }
                value.client_version = version;
                value.producer_epoch = raised;
                last_epoch = epoch;
            }
            Decider::Client(_) => value.client_version = 0,
            Decider::Coordinator => {
                value.producer_epoch = raised;
                // The producer itself may come back with the epoch that it had, and goes on with the raised one (KIP-360).
                last_epoch = epoch;
                if self.value.client_version < BUMPS_EPOCH {
                    value.client_version = 0;
                }
            }
        }
        Next { value, last_epoch }
    }

    /// The decided transaction with all its markers written; `None` if nothing is decided.
    pub fn completed(&self, now: Timestamp) -> Option<Next> {
        let state = match self.value.state {
            TxnState::PrepareCommit => TxnState::CompleteCommit,
            TxnState::PrepareAbort => TxnState::CompleteAbort,
            _ => return None,
        };
        let (producer_id, producer_epoch) = self.goes_on_with();
        let value = TxnValue {
            producer_id,
            producer_epoch,
            next_producer_id: ProducerId::NONE,
            partitions: Vec::new(),
            ..self.moved(state, now)
        };
        Some(self.kept(value))
    }

    /// What the producer writes its next transaction with, once the decided one is complete.
    pub fn goes_on_with(&self) -> (ProducerId, ProducerEpoch) {
        let value = &self.value;
        if value.next_producer_id != ProducerId::NONE && value.client_version >= BUMPS_EPOCH {
            (value.next_producer_id, ProducerEpoch(0))
        } else {
            (value.producer_id, value.producer_epoch)
        }
    }

    /// The present value in another state. The producer id until now becomes the previous one, as in Kafka, whether
    /// or not it changes.
    fn moved(&self, state: TxnState, now: Timestamp) -> TxnValue {
        TxnValue {
            previous_producer_id: self.value.producer_id,
            state,
            last_update: now,
            ..self.value.clone()
        }
    }

    fn kept(&self, value: TxnValue) -> Next {
        Next {
            value,
            last_epoch: self.last_epoch,
        }
    }
}
