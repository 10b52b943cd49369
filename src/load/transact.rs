//! One producer's transactions: its id, the partitions that joined, the commit.
//!
//! Partitions join by AddPartitionsToTxn and epochs stay (the protocol before KIP-890's second part), which every broker
//! serves. A transaction in which anything failed is not ended but fenced off: InitProducerId with the same id aborts it and
//! gives the next epoch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::{ClientError, Cluster, Coordinated};
use crate::protocol::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use crate::protocol::end_txn::EndTxnRequest;
use crate::protocol::init_producer_id::InitProducerIdRequest;
use crate::protocol::{ErrorCode, Request};
use crate::rt;
use crate::types::{NodeId, ProducerEpoch, ProducerId, Str};

use super::slot::{Batch, Slot};
use super::target::Layout;

/// A transactional producer and its present transaction.
pub struct Transact {
    cluster: Rc<Cluster>,
    coordinator: Cell<Option<NodeId>>,
    pub id: Str,
    identity: (ProducerId, ProducerEpoch),
    timeout_ms: i32,
    records_max: u64,
    /// Records made in the present transaction.
    records: u64,
    joined: BTreeSet<usize>,
    joining: BTreeSet<usize>,
    /// Acknowledged, but not committed, and when each was submitted.
    pub pending: Vec<(Batch, u64)>,
    /// Why the transaction cannot be committed.
    pub failure: Option<String>,
}

impl Transact {
    /// A producer under `id`, which nobody else uses.
    pub async fn open(
        cluster: Rc<Cluster>,
        id: String,
        records_max: u64,
        timeout_ms: i32,
    ) -> Result<Transact, ClientError> {
        let mut transact = Transact {
            cluster,
            coordinator: Cell::new(None),
            id: id.into(),
            identity: (ProducerId::NONE, ProducerEpoch(-1)),
            timeout_ms,
            records_max,
            records: 0,
            joined: BTreeSet::new(),
            joining: BTreeSet::new(),
            pending: Vec::new(),
            failure: None,
        };
        transact.begin_anew().await?;
        Ok(transact)
    }

    pub fn identity(&self) -> (ProducerId, ProducerEpoch) {
        self.identity
    }

    /// Whether the present transaction takes a record more.
    pub fn has_room(&self) -> bool {
        self.records < self.records_max && self.failure.is_none()
    }

    /// How many records more it takes.
    pub fn room(&self) -> u64 {
        match self.failure {
            None => self.records_max - self.records,
            Some(_) => 0,
        }
    }

    /// Whether it has any records.
    pub fn is_begun(&self) -> bool {
        self.records > 0
    }

    /// Whether every partition that has records is part of it.
    pub fn is_joined(&self) -> bool {
        self.joining.is_empty()
    }

    /// Records were made for the slot.
    pub fn made(&mut self, slot: usize, count: u64) {
        self.records += count;
        if !self.joined.contains(&slot) {
            self.joining.insert(slot);
        }
    }

    /// Lets the partitions join for which records were made since the last time.
    pub async fn join(&mut self, slots: &[Slot], layout: &Layout) -> Result<(), ClientError> {
        if self.joining.is_empty() {
            return Ok(());
        }
        let mut topics: Vec<(usize, AddPartitionsToTxnTopic)> = Vec::new();
        for &slot in &self.joining {
            let spot = slots[slot].spot;
            if topics.last().map(|last| last.0) != Some(spot.topic) {
                let topic = AddPartitionsToTxnTopic {
                    name: layout.topics[spot.topic].name.as_str().into(),
                    partitions: Vec::new(),
                };
                topics.push((spot.topic, topic));
            }
            let (_, topic) = topics.last_mut().expect("one was pushed");
            topic.partitions.push(spot.partition);
        }
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.identity.0.0,
            v3_and_below_producer_epoch: self.identity.1.0,
            v3_and_below_topics: topics.into_iter().map(|(_, topic)| topic).collect(),
            ..Default::default()
        };
        self.ask(&request, 3, |answer| {
            let topics = answer.results_by_topic_v3_and_below.iter();
            let rows = topics.flat_map(|topic| &topic.results_by_partition);
            rows.map(|row| row.partition_error_code)
                .find(|code| *code != 0)
                .unwrap_or(0)
        })
        .await?;
        self.joined.append(&mut self.joining);
        Ok(())
    }

    /// Commits; the pending batches are the caller's then.
    pub async fn commit(&mut self) -> Result<Vec<(Batch, u64)>, ClientError> {
        if !self.joined.is_empty() {
            let request = EndTxnRequest {
                transactional_id: self.id.clone(),
                producer_id: self.identity.0.0,
                producer_epoch: self.identity.1.0,
                committed: true,
            };
            self.ask(&request, 4, |answer| answer.error_code).await?;
        }
        self.clear();
        Ok(std::mem::take(&mut self.pending))
    }

    /// Aborts whatever is open and gets the next epoch; the pending batches are the caller's then.
    pub async fn begin_anew(&mut self) -> Result<Vec<(Batch, u64)>, ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: self.timeout_ms,
            ..Default::default()
        };
        let answer = self
            .ask(&request, i16::MAX, |answer| answer.error_code)
            .await?;
        self.identity = (
            ProducerId(answer.producer_id),
            ProducerEpoch(answer.producer_epoch),
        );
        self.clear();
        Ok(std::mem::take(&mut self.pending))
    }

    fn clear(&mut self) {
        self.records = 0;
        self.joined.clear();
        self.joining.clear();
        self.failure = None;
    }

    /// Asks the coordinator, again while it moves, loads, or ends the transaction before.
    async fn ask<R: Request>(
        &self,
        request: &R,
        version_max: i16,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, ClientError> {
        let begun = Instant::now();
        self.cluster
            .retry(async || {
                let answer = self.ask_once(request, version_max, &code, begun).await;
                if answer.is_err() {
                    self.coordinator.set(None);
                }
                answer
            })
            .await
    }

    async fn ask_once<R: Request>(
        &self,
        request: &R,
        version_max: i16,
        code: &impl Fn(&R::Response) -> i16,
        begun: Instant,
    ) -> Result<R::Response, ClientError> {
        let id = self.id.as_str();
        let node = match self.coordinator.get() {
            Some(node) => node,
            None => {
                let kind = Coordinated::Transaction;
                self.cluster.find_coordinator(kind, id).await?
            }
        };
        self.coordinator.set(Some(node));
        let connection = self.cluster.node(node).await?;
        let version = connection.version::<R>()?.min(version_max);
        loop {
            let answer = connection.call_at(request, version).await?;
            let found = code(&answer);
            // The markers of the transaction before are still being written: soon over.
            if found == ErrorCode::ConcurrentTransactions.code()
                && begun.elapsed() < self.cluster.options().retry_for
            {
                rt::sleep(CONCURRENT_WAIT).await;
                continue;
            }
            ClientError::check(found, || format!("transactional id {id}"), None)?;
            return Ok(answer);
        }
    }
}

const CONCURRENT_WAIT: Duration = Duration::from_millis(2);
