//! InitProducerId: which incarnation of a transactional id may write, under which producer id and epoch.

use super::coordinator::Refusal;
use super::join::fits;
use super::transaction::{EPOCH_LAST, Next, Transaction};
use super::{TransactionCoordinator, TxnContext, TxnOutput, TxnState, TxnValue};
use crate::protocol::ErrorCode;
use crate::protocol::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::types::{ProducerEpoch, ProducerId, Str, Timestamp};

/// The producer id and epoch a producer says it has (KIP-360).
type Expected = Option<(ProducerId, ProducerEpoch)>;

impl TransactionCoordinator {
    /// Begins the next incarnation of a transactional id, or lets the present one go on.
    pub(super) fn init_producer_id(
        &mut self,
        version: i16,
        request: &InitProducerIdRequest,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> InitProducerIdResponse {
        match self.begin(request, context, out) {
            Ok((producer_id, epoch)) => InitProducerIdResponse {
                producer_id: producer_id.0,
                producer_epoch: epoch.0,
                ..Default::default()
            },
            Err(error) => InitProducerIdResponse {
                error_code: fenced_code(error, version, 4).code(),
                producer_id: ProducerId::NONE.0,
                producer_epoch: ProducerEpoch::NONE.0,
                ..Default::default()
            },
        }
    }

    fn begin(
        &mut self,
        request: &InitProducerIdRequest,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
        let expected = expected(request)?;
        let Some(id) = &request.transactional_id else {
            return Ok(((context.new_producer_id)(), ProducerEpoch(0)));
        };
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let timeout_ms = request.transaction_timeout_ms;
        if timeout_ms <= 0 || timeout_ms > context.config.transaction_max_timeout_ms {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let now = context.now.wall;
        let Some(transaction) = self.transactions.get(id.as_str()) else {
            let fresh = fresh(id, (context.new_producer_id)());
            let pair = (fresh.value.producer_id, ProducerEpoch(0));
            let next = fresh.begun(pair, ProducerEpoch::NONE, timeout_ms, now);
            if !fits(id, &next.value, context) {
                return Err(ErrorCode::UnknownServerError);
            }
            return Ok(self.begin_as(id, next, context, out));
        };
        if transaction.value.state.is_decided() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if transaction.value.state == TxnState::Ongoing {
            transaction.check_owner(expected)?;
            self.abort_and_fence(id, context, out);
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let new_producer_id = &mut *context.new_producer_id;
        let next = transaction.incarnated(expected, timeout_ms, new_producer_id, now)?;
        Ok(self.begin_as(id, next, context, out))
    }

    fn begin_as(
        &mut self,
        id: &Str,
        next: Next,
        context: &TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> (ProducerId, ProducerEpoch) {
        let pair = (next.value.producer_id, next.value.producer_epoch);
        self.change(id, next, context, out);
        pair
    }

    /// The transaction that `producer_id` and `producer_epoch` may add to.
    ///
    /// Kafka's order: while markers are due, nobody is judged, for the producer may already use the id that is to
    /// come.
    pub(super) fn writable_by(
        &self,
        id: &str,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) -> Result<&Transaction, Refusal> {
        let transaction = self.judged(id).map_err(Refusal::Error)?;
        if transaction.value.state.is_decided() {
            return Err(Refusal::MarkersPending);
        }
        transaction
            .check_producer(producer_id, producer_epoch)
            .map_err(Refusal::Error)?;
        Ok(transaction)
    }

    /// The transaction of an id that a request other than InitProducerId names.
    pub(super) fn judged(&self, id: &str) -> Result<&Transaction, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let transaction = self.transactions.get(id);
        transaction.ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

impl Transaction {
    pub(super) fn check_producer(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) -> Result<(), ErrorCode> {
        if self.value.producer_id != producer_id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if self.value.producer_epoch != producer_epoch {
            Err(ErrorCode::ProducerFenced)
        } else {
            Ok(())
        }
    }

    /// Whether whoever says what it expects may have the open transaction aborted. Kafka asks this only of the
    /// producer id, so that a late request of an older incarnation ends the newer one's transaction before it is
    /// refused.
    fn check_owner(&self, expected: Expected) -> Result<(), ErrorCode> {
        let present = (self.value.producer_id, self.value.producer_epoch);
        match expected {
            Some(expected) if expected != present => Err(ErrorCode::ProducerFenced),
            _ => Ok(()),
        }
    }

    /// The incarnation that answers InitProducerId, at rest: one epoch further, the present one again if it is what
    /// a lost answer said, or a new producer id when the epochs are used up.
    fn incarnated(
        &self,
        expected: Expected,
        timeout_ms: i32,
        new_producer_id: impl FnOnce() -> ProducerId,
        now: Timestamp,
    ) -> Result<Next, ErrorCode> {
        let value = &self.value;
        let (id, epoch) = (value.producer_id, value.producer_epoch);
        let last_of_previous = |(id, epoch): (ProducerId, ProducerEpoch)| {
            id == value.previous_producer_id && epoch.0 >= EPOCH_LAST
        };
        if expected.is_some_and(|pair| pair.0 != id && !last_of_previous(pair)) {
            return Err(ErrorCode::ProducerFenced);
        }
        let pair_and_last = match expected.map(|(_, expected)| expected) {
            None if self.epochs_used_up() => {
                ((new_producer_id(), ProducerEpoch(0)), ProducerEpoch::NONE)
            }
            None => ((id, ProducerEpoch(epoch.0 + 1)), ProducerEpoch::NONE),
            Some(expected) if expected == epoch && self.epochs_used_up() => {
                ((new_producer_id(), ProducerEpoch(0)), epoch)
            }
            Some(expected) if expected == epoch => ((id, ProducerEpoch(epoch.0 + 1)), epoch),
            // Aborted by the coordinator with the epoch that no producer is given.
            Some(expected) if expected == self.last_epoch && epoch.0 > EPOCH_LAST => {
                ((new_producer_id(), ProducerEpoch(0)), expected)
            }
            Some(expected) if expected == self.last_epoch => ((id, epoch), expected),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        let (pair, last_epoch) = pair_and_last;
        Ok(self.begun(pair, last_epoch, timeout_ms, now))
    }
}

/// A transactional id that nobody has used, before its first epoch.
fn fresh(id: &Str, producer_id: ProducerId) -> Transaction {
    Transaction {
        id: id.clone(),
        value: TxnValue {
            version: 0,
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            next_producer_epoch: ProducerEpoch::NONE,
            timeout_ms: 0,
            state: TxnState::Empty,
            partitions: Vec::new(),
            last_update: Timestamp::NONE,
            start: Timestamp::NONE,
            client_version: 0,
        },
        last_epoch: ProducerEpoch::NONE,
        timer: None,
    }
}

/// Both or neither are given.
fn expected(request: &InitProducerIdRequest) -> Result<Expected, ErrorCode> {
    let pair = (
        ProducerId(request.producer_id),
        ProducerEpoch(request.producer_epoch),
    );
    match (pair.0 == ProducerId::NONE, pair.1 == ProducerEpoch::NONE) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(pair)),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// The word for "fenced" that the client's version knows: PRODUCER_FENCED from version `since` on (KIP-588).
pub(super) fn fenced_code(error: ErrorCode, version: i16, since: i16) -> ErrorCode {
    if error == ErrorCode::ProducerFenced && version < since {
        ErrorCode::InvalidProducerEpoch
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::super::transaction::Decider;
    use super::*;

    const NOW: Timestamp = Timestamp(1000);

    /// The coordinator has aborted the open transaction of producer 7 in `epoch`, in the first version of transactions.
    fn aborted(epoch: i16) -> Transaction {
        let mut transaction = fresh(&Str::from_static("x"), ProducerId(7));
        transaction.value.producer_epoch = ProducerEpoch(epoch);
        let joined = transaction.joined(vec![(Str::from_static("t"), 0)], 0, NOW);
        transaction.value = joined.value;
        let new_producer_id = || unreachable!("the coordinator's abort needs no other producer id");
        let decided = transaction.decided(false, Decider::Coordinator, new_producer_id, NOW);
        (transaction.value, transaction.last_epoch) = (decided.value, decided.last_epoch);
        let completed = transaction.completed(NOW).expect("it is decided");
        (transaction.value, transaction.last_epoch) = (completed.value, completed.last_epoch);
        transaction
    }

    fn begun_with(transaction: &Transaction, epoch: i16) -> Result<(i64, i16), ErrorCode> {
        let expected = Some((ProducerId(7), ProducerEpoch(epoch)));
        let next = transaction.incarnated(expected, 60_000, || ProducerId(8), NOW)?;
        Ok((next.value.producer_id.0, next.value.producer_epoch.0))
    }

    /// Goal: a producer whose transaction was aborted by the coordinator, at its own wish or on a time-out, goes on
    /// (KIP-360). It was refused as fenced, and its client gave up.
    #[test]
    fn a_producer_goes_on_after_the_abort_of_its_transaction() {
        let transaction = aborted(0);
        assert_eq!(begun_with(&transaction, 0), Ok((7, 1)));
        assert_eq!(begun_with(&transaction, 1), Ok((7, 2)));
        assert_eq!(begun_with(&transaction, 2), Err(ErrorCode::ProducerFenced));
        assert_eq!(begun_with(&aborted(5), 4), Err(ErrorCode::ProducerFenced));
    }

    /// Goal: the highest epoch fences and is given to nobody.
    #[test]
    fn a_producer_whose_epochs_are_used_up_goes_on_under_another_id() {
        assert_eq!(begun_with(&aborted(EPOCH_LAST), EPOCH_LAST), Ok((8, 0)));
    }
}
