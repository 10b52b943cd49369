//! AddPartitionsToTxn and AddOffsetsToTxn: partitions join a transaction, or are asked after (KIP-890).

use super::coordinator::{Refusal, refused};
use super::transaction::BUMPS_EPOCH;
use super::{
    TransactionCoordinator, TxnContext, TxnOutput, TxnRecord, TxnReply, TxnRequest, TxnState,
    TxnValue,
};
use crate::metadata::{Image, is_internal};
use crate::protocol::ErrorCode;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Str};

/// The first version of AddPartitionsToTxn that brokers send, for clients whose transactions are of version 2.
const BETWEEN_BROKERS_SINCE: i16 = 4;

/// Who wants to join which transaction.
struct Joining<'a> {
    id: &'a Str,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    /// Of transactions, as the client speaks them.
    client_version: i16,
}

impl TransactionCoordinator {
    /// Answers a request that joins a transaction; `Err(id)` if it must wait for the markers of the last one.
    pub(super) fn join(
        &mut self,
        version: i16,
        request: &TxnRequest,
        context: &TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> Result<TxnReply, Str> {
        let result = match request {
            TxnRequest::AddPartitions {
                transactional_id,
                producer_id,
                producer_epoch,
                partitions,
                verify_only,
            } => {
                let is_client = version < BETWEEN_BROKERS_SINCE;
                if let Some(reply) = unusable(context.image, partitions, is_client) {
                    return Ok(reply);
                }
                let joining = Joining {
                    id: transactional_id,
                    producer_id: *producer_id,
                    producer_epoch: *producer_epoch,
                    client_version: if is_client { 0 } else { BUMPS_EPOCH },
                };
                if *verify_only {
                    return Ok(self.verify(version, request, &joining, partitions));
                }
                self.add(&joining, partitions, context, out)
                    .map_err(|refusal| (refusal, transactional_id))
            }
            TxnRequest::AddOffsets {
                transactional_id,
                producer_id,
                producer_epoch,
                partition,
            } => {
                // Clients of version 2 do not send it.
                let joining = Joining {
                    id: transactional_id,
                    producer_id: *producer_id,
                    producer_epoch: *producer_epoch,
                    client_version: 0,
                };
                self.add(&joining, std::slice::from_ref(partition), context, out)
                    .map_err(|refusal| (refusal, transactional_id))
            }
            _ => return Ok(refused(version, request, ErrorCode::InvalidRequest)),
        };
        match result {
            Ok(()) => Ok(refused(version, request, ErrorCode::None)),
            Err((Refusal::Error(error), _)) => Ok(refused(version, request, error)),
            Err((Refusal::MarkersPending, id)) => Err(id.detach()),
        }
    }

    fn add(
        &mut self,
        joining: &Joining<'_>,
        partitions: &[(Str, i32)],
        context: &TxnContext<'_>,
        out: &mut TxnOutput,
    ) -> Result<(), Refusal> {
        let (producer_id, epoch) = (joining.producer_id, joining.producer_epoch);
        let transaction = self.writable_by(joining.id, producer_id, epoch)?;
        let more: Vec<(Str, i32)> = partitions
            .iter()
            .filter(|partition| !transaction.contains(partition))
            .map(|(topic, index)| (own_name(context.image, topic), *index))
            .collect();
        if more.is_empty() && transaction.value.state == TxnState::Ongoing {
            return Ok(());
        }
        let next = transaction.joined(more, joining.client_version, context.now.wall);
        if !fits(joining.id, &next.value, context) {
            return Err(Refusal::Error(ErrorCode::UnknownServerError));
        }
        self.change(joining.id, next, context, out);
        Ok(())
    }

    /// Says of each partition whether it is in the transaction; changes nothing.
    fn verify(
        &self,
        version: i16,
        request: &TxnRequest,
        joining: &Joining<'_>,
        partitions: &[(Str, i32)],
    ) -> TxnReply {
        let judged = self.judged(joining.id).and_then(|transaction| {
            transaction.check_producer(joining.producer_id, joining.producer_epoch)?;
            match transaction.value.state.is_decided() {
                true => Err(ErrorCode::ConcurrentTransactions),
                false => Ok(transaction),
            }
        });
        let transaction = match judged {
            Ok(transaction) => transaction,
            Err(error) => return refused(version, request, error),
        };
        let row = |partition: &(Str, i32)| {
            let error = match transaction.contains(partition) {
                true => ErrorCode::None,
                false => ErrorCode::TransactionAbortable,
            };
            (partition.0.clone(), partition.1, error)
        };
        TxnReply::AddPartitions(partitions.iter().map(row).collect())
    }
}

/// The refusal of a request that names partitions which do not exist, or of a client that names an internal topic; the
/// other partitions are not attempted.
fn unusable(image: &Image, partitions: &[(Str, i32)], is_client: bool) -> Option<TxnReply> {
    let fault = |(topic, index): &(Str, i32)| {
        let found = image.topic(topic);
        match found.and_then(|found| found.partition(PartitionIndex(*index))) {
            _ if is_client && is_internal(topic) => Some(ErrorCode::TopicAuthorizationFailed),
            Some(_) => None,
            None => Some(ErrorCode::UnknownTopicOrPartition),
        }
    };
    if partitions
        .iter()
        .all(|partition| fault(partition).is_none())
    {
        return None;
    }
    let row = |partition: &(Str, i32)| {
        let error = fault(partition).unwrap_or(ErrorCode::OperationNotAttempted);
        (partition.0.clone(), partition.1, error)
    };
    Some(TxnReply::AddPartitions(
        partitions.iter().map(row).collect(),
    ))
}

/// Whether a transaction's record fits the partition. Kafka answers UNKNOWN_SERVER_ERROR where it does not.
pub(super) fn fits(id: &Str, value: &TxnValue, context: &TxnContext<'_>) -> bool {
    const FRAMING_BYTES: usize = 256;
    let names = value.partitions.iter().map(|(topic, _)| topic.len() + 8);
    let at_most = FRAMING_BYTES + id.len() + names.sum::<usize>();
    if at_most <= context.batch_bytes_max {
        return true;
    }
    // A topic's name is written once for all of its partitions: what was counted is more than there is.
    let record = TxnRecord {
        transactional_id: id.clone(),
        value: Some(value.clone()),
    };
    let (key, value) = record.encode();
    FRAMING_BYTES + key.len() + value.map_or(0, |value| value.len()) <= context.batch_bytes_max
}

/// The topic's name without the request's frame behind it.
fn own_name(image: &Image, topic: &Str) -> Str {
    let known = image.topic(topic).map(|topic| topic.name.clone());
    known.unwrap_or_else(|| topic.detach())
}
