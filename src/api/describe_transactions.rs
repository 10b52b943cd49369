//! DescribeTransactions (65): the state of transactional ids (KIP-664).

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::txn::{TxnReply, TxnRequest};
use crate::types::Str;

/// Transactional ids of one request that are asked side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: DescribeTransactionsRequest,
    version: i16,
) -> DescribeTransactionsResponse {
    let ids = request.transactional_ids.into_iter();
    let ids = ids.map(|id| describe(&context.shard, version, id));
    DescribeTransactionsResponse {
        transaction_states: join_bounded(ids, DEPTH).await,
        ..DescribeTransactionsResponse::default()
    }
}

async fn describe(shard: &Rc<Shard>, version: i16, id: Str) -> TransactionState {
    let request = TxnRequest::Describe(id.clone());
    let answer = match id.is_empty() {
        true => Err(ErrorCode::InvalidRequest),
        false => shard.txn_request(&id, version, request).await,
    };
    match answer {
        Ok(TxnReply::Describe(state)) => state,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => TransactionState {
            error_code: error.code(),
            transactional_id: id,
            ..TransactionState::default()
        },
    }
}
