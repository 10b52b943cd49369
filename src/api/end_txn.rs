//! EndTxn (26): commits or aborts a transaction. v5 the epoch to go on with (KIP-890).

use std::rc::Rc;

use super::context::Context;
use crate::protocol::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::txn::{TxnReply, TxnRequest};

pub(super) async fn serve(
    context: Rc<Context>,
    request: EndTxnRequest,
    version: i16,
) -> EndTxnResponse {
    let id = request.transactional_id.clone();
    let request = TxnRequest::End(request);
    match context.shard.txn_request(&id, version, request).await {
        Ok(TxnReply::End(response)) => response,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => EndTxnResponse {
            error_code: error.code(),
            ..EndTxnResponse::default()
        },
    }
}
