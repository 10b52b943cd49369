//! Reads assigned partitions of a topic, in order, each from its leader.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use crate::protocol::{ErrorCode, Records};
use crate::record::split;
use crate::types::{NodeId, Offset, ProducerId};

use super::cluster::{AutoCreate, Cluster};
use super::connection::Reply;
use super::error::ClientError;
use super::isolation::{Aborted, Isolation};
use super::offsets::Place;
use super::parked::Parked;
use super::topology::Topic;

/// How much a fetch asks for, and how long the broker may wait for it.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    pub max_wait: Duration,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub isolation: Isolation,
}

/// A consumer of fixed partitions, without a group. One fetch is in flight for each leader while the answer before
/// it is being read, so memory is bounded by two answers a broker.
///
/// Leaders that move are followed: a partition whose leader refuses it, or is gone, waits until the metadata has been
/// learned anew, while the others are read on.
pub struct Consumer {
    cluster: Rc<Cluster>,
    topic: Topic,
    options: ConsumerOptions,
    /// The next offset to be fetched of each partition.
    positions: BTreeMap<i32, Offset>,
    /// The next offset to be given to the caller.
    delivered: BTreeMap<i32, Offset>,
    fetches: Vec<Fetching>,
    ready: VecDeque<Fetched>,
    parked: Parked,
}

struct Fetching {
    node: NodeId,
    partitions: Vec<i32>,
    reply: Reply<FetchResponse>,
}

/// Whole batches of one partition. The first may begin before `from`: skip the records below it.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub partition: i32,
    pub from: Offset,
    /// The offset after the last batch.
    pub next: Offset,
    pub batches: Bytes,
    pub high_watermark: Offset,
    /// Of a fetch that reads committed records only, by their first offset: see [`Fetched::visible`].
    pub aborted: Vec<Aborted>,
}

impl Default for ConsumerOptions {
    fn default() -> ConsumerOptions {
        ConsumerOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            isolation: Isolation::default(),
        }
    }
}

impl Consumer {
    /// Reads `partitions` of `topic` (all, if `None`) from `place` on.
    ///
    /// - `Err(Invalid)`: the topic has no such partition.
    pub async fn open(
        cluster: Rc<Cluster>,
        topic: &str,
        partitions: Option<&[i32]>,
        place: Place,
        options: ConsumerOptions,
    ) -> Result<Consumer, ClientError> {
        let topic = cluster.topic(topic, AutoCreate::Forbid).await?;
        let partitions: Vec<i32> = match partitions {
            Some(some) => some.to_vec(),
            None => topic.partitions.iter().map(|p| p.index).collect(),
        };
        for &partition in &partitions {
            topic.partition(partition)?;
        }
        let positions = cluster.offsets(&topic.name, &partitions, place).await?;
        Ok(Consumer::at(cluster, topic, positions, options))
    }

    /// Reads the partitions of `positions` from there on.
    pub(super) fn at(
        cluster: Rc<Cluster>,
        topic: Topic,
        positions: BTreeMap<i32, Offset>,
        options: ConsumerOptions,
    ) -> Consumer {
        Consumer {
            cluster,
            topic,
            options,
            delivered: positions.clone(),
            positions,
            fetches: Vec::new(),
            ready: VecDeque::new(),
            parked: Parked::new(),
        }
    }

    /// The next offset to be fetched of each partition that is read.
    pub fn positions(&self) -> &BTreeMap<i32, Offset> {
        &self.positions
    }

    /// What keeps some of it from being read now: an error that may pass, which [`poll`](Self::poll) tries again.
    pub fn trouble(&self) -> Option<&ClientError> {
        self.parked.trouble()
    }

    /// The offset up to which the caller has been given a partition's batches.
    pub fn delivered(&self, partition: i32) -> Option<Offset> {
        self.delivered.get(&partition).copied()
    }

    /// Stops reading a partition. What was fetched of it already is dropped.
    pub fn drop_partition(&mut self, partition: i32) {
        self.positions.remove(&partition);
        self.delivered.remove(&partition);
        self.ready.retain(|fetched| fetched.partition != partition);
        self.parked.forget(partition);
    }

    /// The next batches of any partition; waits as long as there are none. May be dropped before it is ready: nothing
    /// is lost.
    ///
    /// - Errors that may pass are retried for the cluster's `retry_for` before they are returned.
    pub async fn poll(&mut self) -> Result<Fetched, ClientError> {
        loop {
            if let Some(fetched) = self.ready.pop_front() {
                self.delivered.insert(fetched.partition, fetched.next);
                return Ok(fetched);
            }
            if let Err(error) = self.step().await {
                let retry_for = self.cluster.options().retry_for;
                self.parked.on_error(error, retry_for)?;
            }
        }
    }

    /// Asks, and takes the first answer that comes before the leaders are to be learned anew.
    async fn step(&mut self) -> Result<(), ClientError> {
        if self.parked.is_due() {
            // If this fails too, so will the next fetch, with an error that says more.
            let name = &self.topic.name;
            if let Ok(topic) = self.cluster.learn(name, AutoCreate::Forbid).await {
                self.topic = topic;
            }
            self.parked.release();
        }
        self.ask().await?;
        let answer = self.parked.until_due(first_of(&mut self.fetches)).await;
        if let Some((fetch, answer)) = answer {
            self.take(&fetch, answer)?;
            // The next fetch is on its way while the caller reads this one.
            self.ask().await?;
        }
        Ok(())
    }

    /// Starts a fetch at every leader that has none in flight, and parks what cannot be asked for.
    async fn ask(&mut self) -> Result<(), ClientError> {
        let mut wanted: BTreeMap<NodeId, Vec<FetchPartition>> = BTreeMap::new();
        let mut failure = Ok(());
        if self.positions.is_empty() {
            let what = "no partition is left to read".to_owned();
            return Err(ClientError::Invalid(what));
        }
        for (&partition, &position) in &self.positions {
            if self.parked.contains(partition) {
                continue;
            }
            let known = self.topic.partition(partition)?;
            match self.topic.leader(partition) {
                Ok(leader) => wanted.entry(leader).or_default().push(FetchPartition {
                    partition,
                    current_leader_epoch: known.leader_epoch.0,
                    fetch_offset: position.0,
                    partition_max_bytes: self.options.partition_max_bytes,
                    ..Default::default()
                }),
                Err(error) => {
                    self.parked.park([partition]);
                    failure = failure.and(Err(error));
                }
            }
        }
        for (node, partitions) in wanted {
            if self.fetches.iter().any(|fetch| fetch.node == node) {
                continue;
            }
            let indexes: Vec<i32> = partitions.iter().map(|asked| asked.partition).collect();
            match self.fetch(node, partitions).await {
                Ok(reply) => self.fetches.push(Fetching {
                    node,
                    partitions: indexes,
                    reply,
                }),
                Err(error) => {
                    self.parked.park(indexes);
                    failure = failure.and(Err(error));
                }
            }
        }
        failure
    }

    async fn fetch(
        &self,
        node: NodeId,
        partitions: Vec<FetchPartition>,
    ) -> Result<Reply<FetchResponse>, ClientError> {
        let connection = self.cluster.node(node).await?;
        let newest = connection.version::<FetchRequest>()?;
        // From version 13 on, topics are named by id only.
        let version = match self.topic.has_id() {
            true => newest,
            false => newest.min(12),
        };
        connection.submit(&self.request(partitions), version)
    }

    fn request(&self, partitions: Vec<FetchPartition>) -> FetchRequest {
        FetchRequest {
            max_wait_ms: self.options.max_wait.as_millis() as i32,
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.max_bytes,
            isolation_level: self.options.isolation.code() as i8,
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions,
            }],
            ..Default::default()
        }
    }

    fn take(
        &mut self,
        fetch: &Fetching,
        answer: Result<FetchResponse, ClientError>,
    ) -> Result<(), ClientError> {
        let checked = answer.and_then(|answer| {
            ClientError::check(answer.error_code, || "fetch".to_owned(), None)?;
            Ok(answer)
        });
        let answer = checked.inspect_err(|_| self.parked.park(fetch.partitions.iter().copied()))?;
        let mut first_error = None;
        for data in answer.responses.into_iter().flat_map(|t| t.partitions) {
            let partition = data.partition_index;
            if let Err(error) = self.take_partition(data) {
                self.parked.park([partition]);
                first_error.get_or_insert(error);
            }
        }
        self.parked.on_served(fetch.partitions.iter().copied());
        first_error.map_or(Ok(()), Err)
    }

    fn take_partition(&mut self, data: PartitionData) -> Result<(), ClientError> {
        let partition = data.partition_index;
        // Dropped while its fetch was in flight.
        let Some(&position) = self.positions.get(&partition) else {
            return Ok(());
        };
        let about = || {
            format!(
                "partition {}-{partition} at offset {position}",
                self.topic.name
            )
        };
        ClientError::check(data.error_code, about, None)?;
        let aborted = aborted(data.aborted_transactions.unwrap_or_default());
        let Some(Records::Bytes(bytes)) = data.records else {
            return Ok(());
        };
        let corrupt = |what: String| ClientError::Server {
            code: ErrorCode::CorruptMessage,
            about: about(),
            message: Some(what),
        };
        let (next, end) = whole(&bytes, position).map_err(&corrupt)?;
        if end == 0 && !bytes.is_empty() {
            return Err(corrupt("a batch that is cut short".to_owned()));
        }
        if end > 0 {
            self.positions.insert(partition, next);
            self.ready.push_back(Fetched {
                partition,
                from: position,
                next,
                batches: bytes.slice(..end),
                high_watermark: Offset(data.high_watermark),
                aborted,
            });
        }
        Ok(())
    }
}

/// The offset after whole batches that are read from `from` on, and where they end; `Err` says why they are none.
pub(super) fn whole(batches: &[u8], from: Offset) -> Result<(Offset, usize), String> {
    let (mut next, mut cut) = (from, split(batches));
    for batch in &mut cut {
        let batch = batch.map_err(|error| error.to_string())?;
        next = batch.header.next_offset().max(next);
    }
    Ok((next, cut.position()))
}

/// The first answer of any; waits for ever where nothing is in flight.
async fn first_of(fetches: &mut Vec<Fetching>) -> (Fetching, Result<FetchResponse, ClientError>) {
    let (index, answer) = poll_fn(|context| {
        for (index, fetch) in fetches.iter_mut().enumerate() {
            if let Poll::Ready(answer) = Pin::new(&mut fetch.reply).poll(context) {
                return Poll::Ready((index, answer));
            }
        }
        Poll::Pending
    })
    .await;
    (fetches.swap_remove(index), answer)
}

fn aborted(rows: Vec<AbortedTransaction>) -> Vec<Aborted> {
    let rows = rows.into_iter().map(|row| Aborted {
        producer: ProducerId(row.producer_id),
        first: Offset(row.first_offset),
    });
    Aborted::in_order(rows)
}
