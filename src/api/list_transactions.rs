//! ListTransactions (66): the transactional ids of this broker, over all its coordinators (KIP-664). v1 by duration
//! (KIP-994) · v2 by pattern (KIP-1152).

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use crate::txn::{TxnFilter, TxnReply, TxnRequest};

pub(super) async fn serve(
    context: Rc<Context>,
    request: ListTransactionsRequest,
    version: i16,
) -> ListTransactionsResponse {
    let filter = TxnFilter {
        states: request.state_filters,
        producer_ids: request.producer_id_filters,
        duration_ms: request.duration_filter,
        transactional_id_pattern: request.transactional_id_pattern,
    };
    let request = TxnRequest::List(filter);
    let refused = |error: ErrorCode| ListTransactionsResponse {
        error_code: error.code(),
        ..ListTransactionsResponse::default()
    };
    let replies = match context.shard.txn_request_to_all(version, request).await {
        Ok(replies) => replies,
        Err(error) => return refused(error),
    };
    let mut all = ListTransactionsResponse::default();
    for reply in replies {
        let TxnReply::List(one) = reply else {
            unreachable!("a reply is of its request's kind")
        };
        if one.error_code != ErrorCode::None.code() {
            return one;
        }
        // Every coordinator knows the same states.
        all.unknown_state_filters = one.unknown_state_filters;
        all.transaction_states.extend(one.transaction_states);
    }
    all
}
