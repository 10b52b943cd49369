//! TxnOffsetCommit (28): a group's offsets as part of a transaction. v3 group metadata (KIP-447) · v5 the offsets join the
//! transaction by themselves (KIP-890).

use std::rc::Rc;

use super::context::Context;
use crate::group::{Caller, GroupReply, GroupRequest, InTransaction};
use crate::protocol::ErrorCode;
use crate::protocol::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::shard::Internal;
use crate::txn::{TxnReply, TxnRequest};
use crate::types::{ProducerEpoch, ProducerId, Str};

/// From here on the partition of the offsets is not added beforehand.
const JOINS_BY_ITSELF: i16 = 5;
/// The version of AddPartitionsToTxn by which brokers verify and add for clients.
const BETWEEN_BROKERS: i16 = 5;

pub(super) async fn serve(
    context: Rc<Context>,
    request: TxnOffsetCommitRequest,
    caller: Caller,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.clone();
    match commit(&context, request, caller).await {
        Ok(response) => response,
        Err(error) => TxnOffsetCommitResponse {
            topics: topics
                .into_iter()
                .map(|topic| refused(topic, error))
                .collect(),
            ..TxnOffsetCommitResponse::default()
        },
    }
}

async fn commit(
    context: &Context,
    request: TxnOffsetCommitRequest,
    caller: Caller,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let adds = caller.version >= JOINS_BY_ITSELF;
    let config = context.shard.broker_config();
    let mut in_transaction = match adds || config.transaction_partition_verification_enable {
        true => InTransaction::Unasked,
        false => InTransaction::Taken,
    };
    let group = &request.group_id;
    loop {
        let ask = GroupRequest::TxnOffsetCommit(request.clone(), in_transaction);
        let reply = context.shard.group_request(group, caller.clone(), ask);
        match reply.await? {
            GroupReply::TxnOffsetCommit(response) => return Ok(response),
            // The first offsets of a transaction.
            GroupReply::Unconfirmed(end) => {
                join(context, &request, caller.version).await?;
                in_transaction = InTransaction::Confirmed(end);
            }
            _ => unreachable!("a reply is of its request's kind"),
        }
    }
}

/// Has the transaction's coordinator confirm that the group's partition is in the transaction, or add it: nothing may be
/// written in a transaction that its coordinator will not end there.
async fn join(
    context: &Context,
    request: &TxnOffsetCommitRequest,
    version: i16,
) -> Result<(), ErrorCode> {
    let shard = &context.shard;
    let adds = version >= JOINS_BY_ITSELF;
    let place = shard.coordinator_place(Internal::Offsets, &request.group_id);
    let (_, partition) = place.ok_or(ErrorCode::NotCoordinator)?;
    let ask = TxnRequest::AddPartitions {
        transactional_id: request.transactional_id.clone(),
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        partitions: vec![(Str::from_static(Internal::Offsets.name()), partition)],
        verify_only: !adds,
    };
    let id = &request.transactional_id;
    let error = match shard.txn_request(id, BETWEEN_BROKERS, ask).await? {
        TxnReply::AddPartitions(rows) => rows.first().map_or(ErrorCode::None, |row| row.2),
        _ => unreachable!("a reply is of its request's kind"),
    };
    match error {
        ErrorCode::None => Ok(()),
        // What producers are told when they write, and versions that do not know that a transaction can be aborted.
        ErrorCode::ProducerFenced => Err(ErrorCode::InvalidProducerEpoch),
        ErrorCode::TransactionAbortable if version < 4 => Err(ErrorCode::InvalidTxnState),
        error => Err(error),
    }
}

fn refused(topic: TxnOffsetCommitRequestTopic, error: ErrorCode) -> TxnOffsetCommitResponseTopic {
    let row = |partition_index| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code: error.code(),
    };
    TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|p| row(p.partition_index))
            .collect(),
    }
}
