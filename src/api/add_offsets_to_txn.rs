//! AddOffsetsToTxn (25): a group's offsets join a transaction; clients of transactions version 2 do not send it.

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use crate::shard::Internal;
use crate::txn::{TxnReply, TxnRequest};
use crate::types::{ProducerEpoch, ProducerId, Str};

pub(super) async fn serve(
    context: Rc<Context>,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let refused = |error: ErrorCode| AddOffsetsToTxnResponse {
        error_code: error.code(),
        ..AddOffsetsToTxnResponse::default()
    };
    let shard = &context.shard;
    // The group may be new, and its offsets the first ever.
    if let Err(error) = shard.ensure_internal(Internal::Offsets).await {
        return refused(error);
    }
    let Some((_, partition)) = shard.coordinator_place(Internal::Offsets, &request.group_id) else {
        return refused(ErrorCode::CoordinatorNotAvailable);
    };
    let id = request.transactional_id;
    let request = TxnRequest::AddOffsets {
        transactional_id: id.clone(),
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        partition: (Str::from_static(Internal::Offsets.name()), partition),
    };
    match shard.txn_request(&id, version, request).await {
        Ok(TxnReply::AddOffsets(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => refused(error),
    }
}
