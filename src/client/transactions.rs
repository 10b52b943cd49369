//! Transactions as an administrator sees them: which are open, where, and how to end one that hangs.

use crate::protocol::describe_producers::{DescribeProducersRequest, ProducerState, TopicRequest};
use crate::protocol::describe_transactions::{DescribeTransactionsRequest, TransactionState};
use crate::protocol::list_transactions::{self, ListTransactionsRequest};
use crate::protocol::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use crate::types::NodeId;

use super::admin::sole;
use super::cluster::{AutoCreate, Cluster};
use super::coordinator::{ANY_VERSION, Coordinated};
use super::error::ClientError;

/// Which transactions to list; what is left at its default lets all through.
#[derive(Clone, Default, Debug)]
pub struct TransactionFilter {
    /// Kafka's names, as `Ongoing`.
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Only those that have been running for longer, in milliseconds (KIP-994).
    pub running_ms_min: Option<i64>,
    /// A regular expression for the transactional id (KIP-1152).
    pub pattern: Option<String>,
}

/// Whose transaction in a partition is to be aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenTransaction {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Markers of older coordinators than the last one's are refused.
    pub coordinator_epoch: i32,
}

impl Cluster {
    /// The transactional ids of all brokers with the coordinator of each, sorted.
    ///
    /// - `Err(Server)` of `INVALID_REQUEST` where a state is none, `INVALID_REGULAR_EXPRESSION` where the pattern is none.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<(NodeId, list_transactions::TransactionState)>, ClientError> {
        let states = filter.states.iter();
        let request = ListTransactionsRequest {
            state_filters: states.map(|state| state.as_str().into()).collect(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.running_ms_min.unwrap_or(-1),
            transactional_id_pattern: filter.pattern.as_deref().map(Into::into),
        };
        let mut found = self
            .ask_all(&request, |answer| {
                ClientError::check(answer.error_code, || "transactions".to_owned(), None)?;
                if let Some(unknown) = answer.unknown_state_filters.first() {
                    return Err(ClientError::Invalid(format!(
                        "no transaction has a state called {unknown}"
                    )));
                }
                Ok(answer.transaction_states)
            })
            .await?;
        found.sort_by(|a, b| a.1.transactional_id.cmp(&b.1.transactional_id));
        Ok(found)
    }

    /// A transactional id's state with its coordinator.
    ///
    /// - `Err(Server)` of `TRANSACTIONAL_ID_NOT_FOUND`.
    pub async fn describe_transaction(
        &self,
        id: &str,
    ) -> Result<(NodeId, TransactionState), ClientError> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
        };
        let key = (Coordinated::Transaction, id);
        let about = || key.0.about(id);
        let row = self
            .ask_coordinator(key, &request, ANY_VERSION, |answer| {
                let row = sole(answer.transaction_states, &about())?;
                ClientError::check(row.error_code, about, None)?;
                Ok(row)
            })
            .await?;
        Ok((self.find_coordinator(key.0, id).await?, row))
    }

    /// The producers that a partition's leader remembers, with their open transactions.
    pub async fn describe_producers(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerState>, ClientError> {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: topic.into(),
                partition_indexes: vec![partition],
            }],
        };
        let about = || format!("partition {topic}-{partition}");
        self.topic(topic, AutoCreate::Forbid)
            .await?
            .partition(partition)?;
        self.retry(async || {
            let connection = self.leader(topic, partition).await?;
            let answer = connection.call(&request).await?;
            let rows = answer.topics.into_iter().flat_map(|t| t.partitions);
            let row = sole(rows.collect(), &about())?;
            let message = row.error_message.as_deref();
            let told = ClientError::check(row.error_code, about, message);
            if told.is_err() {
                self.forget(topic);
            }
            told.map(|()| row.active_producers)
        })
        .await
    }

    /// Ends a transaction in one partition alone, by an abort marker of our own making: for one that no coordinator
    /// knows of any more, and that keeps read-committed readers waiting (KIP-664).
    ///
    /// - `Err(Server)`: `INVALID_PRODUCER_EPOCH` where the producer has moved on, `TRANSACTION_COORDINATOR_FENCED` where the
    ///   coordinator has.
    pub async fn abort_in_partition(
        &self,
        topic: &str,
        partition: i32,
        open: OpenTransaction,
    ) -> Result<(), ClientError> {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: open.producer_id,
                producer_epoch: open.producer_epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: topic.into(),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch: open.coordinator_epoch,
                // The oldest: the producer's epoch need not have risen.
                transaction_version: 0,
            }],
        };
        let about = || format!("partition {topic}-{partition}");
        self.topic(topic, AutoCreate::Forbid)
            .await?
            .partition(partition)?;
        self.retry(async || {
            let connection = self.leader(topic, partition).await?;
            let answer = connection.call(&request).await?;
            let topics = answer.markers.into_iter().flat_map(|marker| marker.topics);
            let row = sole(topics.flat_map(|t| t.partitions).collect(), &about())?;
            let told = ClientError::check(row.error_code, about, None);
            if told.is_err() {
                self.forget(topic);
            }
            told
        })
        .await
    }
}
