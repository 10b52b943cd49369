//! InitProducerId (22): an id for an idempotent producer (KIP-98), or the next epoch of a transactional one. v3 the
//! producer's own id and epoch (KIP-360) · v4 PRODUCER_FENCED.

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::txn::{TxnReply, TxnRequest};

pub(super) async fn serve(
    context: Rc<Context>,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.code(),
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.clone() {
        Some(id) if id.is_empty() => refused(ErrorCode::InvalidRequest),
        Some(id) => {
            let request = TxnRequest::InitProducerId(request);
            match context.shard.txn_request(&id, version, request).await {
                Ok(TxnReply::InitProducerId(response)) => response,
                Ok(_) => unreachable!("a reply is of its request's kind"),
                Err(error) => refused(error),
            }
        }
        None => match context.shard.next_producer_id().await {
            Ok(id) => InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Err(error) => refused(error.code),
        },
    }
}
