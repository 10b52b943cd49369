//! AddPartitionsToTxn (24): partitions join a transaction, or are asked after. v4 several transactions, by brokers that
//! verify (KIP-890).

use std::rc::Rc;

use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use crate::shard::Shard;
use crate::storage::join_bounded;
use crate::txn::{TxnReply, TxnRequest};
use crate::types::{ProducerEpoch, ProducerId, Str};

/// Transactions of one request that are asked side by side.
const DEPTH: usize = 64;

pub(super) async fn serve(
    context: Rc<Context>,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let shard = &context.shard;
    if version < 4 {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: add(shard, version, transaction).await.topic_results,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    // Kafka never answers a request without transactions.
    if request.transactions.is_empty() {
        return AddPartitionsToTxnResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let transactions = request.transactions.into_iter();
    let transactions = transactions.map(|transaction| add(shard, version, transaction));
    AddPartitionsToTxnResponse {
        results_by_transaction: join_bounded(transactions, DEPTH).await,
        ..AddPartitionsToTxnResponse::default()
    }
}

async fn add(
    shard: &Rc<Shard>,
    version: i16,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let id = transaction.transactional_id;
    let partitions: Vec<(Str, i32)> = transaction.topics.iter().flat_map(places).collect();
    let request = TxnRequest::AddPartitions {
        transactional_id: id.clone(),
        producer_id: ProducerId(transaction.producer_id),
        producer_epoch: ProducerEpoch(transaction.producer_epoch),
        partitions: partitions.clone(),
        verify_only: transaction.verify_only,
    };
    let answer = match id.is_empty() {
        true => Err(ErrorCode::InvalidRequest),
        false => shard.txn_request(&id, version, request).await,
    };
    let rows = match answer {
        Ok(TxnReply::AddPartitions(rows)) => rows,
        Ok(_) => unreachable!("a reply is of its request's kind"),
        Err(error) => {
            let refused = partitions
                .into_iter()
                .map(|(topic, index)| (topic, index, error));
            refused.collect()
        }
    };
    // A topic without partitions is answered too.
    let mut rows = rows.into_iter();
    let topics = transaction.topics.into_iter();
    AddPartitionsToTxnResult {
        transactional_id: id,
        topic_results: topics.map(|topic| topic_result(topic, &mut rows)).collect(),
    }
}

fn places(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = (Str, i32)> + '_ {
    topic
        .partitions
        .iter()
        .map(|index| (topic.name.clone(), *index))
}

/// Takes the topic's rows, which are next: they come in the order of the request.
fn topic_result(
    topic: AddPartitionsToTxnTopic,
    rows: &mut impl Iterator<Item = (Str, i32, ErrorCode)>,
) -> AddPartitionsToTxnTopicResult {
    let rows = rows.take(topic.partitions.len());
    let row =
        |(_, partition_index, error): (Str, i32, ErrorCode)| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code: error.code(),
        };
    AddPartitionsToTxnTopicResult {
        results_by_partition: rows.map(row).collect(),
        name: topic.name,
    }
}
