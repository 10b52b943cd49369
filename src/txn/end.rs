//! EndTxn: a producer decides its transaction, once.

use super::init::fenced_code;
use super::transaction::{BUMPS_EPOCH, Decider, EPOCH_LAST, Transaction};
use super::{TransactionCoordinator, TxnContext, TxnOutput, TxnState};
use crate::protocol::ErrorCode;
use crate::protocol::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::types::{ProducerEpoch, ProducerId};

/// What a request to end a transaction comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// The transaction is decided now.
    Decide,
    /// It was decided so before; the answer was lost.
    Again,
}

/// The first version of EndTxn whose answer has a producer id and epoch.
const BUMPS_SINCE: i16 = 5;

impl TransactionCoordinator {
    /// Decides a transaction. From version 5 on (KIP-890) every end raises the epoch, by which a retry is told from
    /// the end of the next transaction; an abort without a transaction is one too.
    pub(super) fn end(
        &mut self,
        version: i16,
        request: &EndTxnRequest,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> EndTxnResponse {
        let client_version = if version >= BUMPS_SINCE {
            BUMPS_EPOCH
        } else {
            0
        };
        let id = &request.transactional_id;
        let verdict = self.judged(id).and_then(|transaction| {
            if client_version >= BUMPS_EPOCH {
                transaction.judge_bumping(request)
            } else {
                transaction.judge_plain(request)
            }
        });
        match verdict {
            Err(error) => {
                return EndTxnResponse {
                    error_code: fenced_code(error, version, 2).code(),
                    producer_id: ProducerId::NONE.0,
                    producer_epoch: ProducerEpoch::NONE.0,
                    ..Default::default()
                };
            }
            Ok(Verdict::Decide) => {
                let decider = Decider::Client(client_version);
                self.decide(id, request.committed, decider, context, out);
            }
            Ok(Verdict::Again) => {}
        }
        let (producer_id, epoch) = self.known(id).goes_on_with();
        EndTxnResponse {
            producer_id: producer_id.0,
            producer_epoch: epoch.0,
            ..Default::default()
        }
    }
}

impl Transaction {
    /// Transactions of version 1: the epoch stays, so the state alone tells a retry.
    fn judge_plain(&self, request: &EndTxnRequest) -> Result<Verdict, ErrorCode> {
        let producer_id = ProducerId(request.producer_id);
        self.check_producer(producer_id, ProducerEpoch(request.producer_epoch))?;
        match (self.value.state, request.committed) {
            (TxnState::Ongoing, _) => Ok(Verdict::Decide),
            (TxnState::PrepareCommit | TxnState::PrepareAbort, _) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => {
                Ok(Verdict::Again)
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Transactions of version 2: a request with the epoch before the present one is a retry, with the present one
    /// it ends the next transaction.
    fn judge_bumping(&self, request: &EndTxnRequest) -> Result<Verdict, ErrorCode> {
        let value = &self.value;
        if value.state.is_decided() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let (id, epoch) = (ProducerId(request.producer_id), request.producer_epoch);
        let present = value.producer_epoch.0;
        let rotated = value.previous_producer_id == id && epoch == EPOCH_LAST && present == 0;
        if value.producer_id != id && !rotated {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let again = rotated || i32::from(epoch) + 1 == i32::from(present);
        let complete = matches!(
            value.state,
            TxnState::CompleteCommit | TxnState::CompleteAbort
        );
        if epoch != present && !(complete && again) {
            return Err(ErrorCode::ProducerFenced);
        }
        match (value.state, request.committed) {
            (TxnState::Ongoing, _) => Ok(Verdict::Decide),
            (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if again => {
                Ok(Verdict::Again)
            }
            (_, false) if !again => Ok(Verdict::Decide),
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }
}
