//! Reads assigned partitions of a topic, in order, each from its leader.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use crate::protocol::{ErrorCode, Records};
use crate::record::split;
use crate::rt;
use crate::types::{NodeId, Offset, ProducerId};

use super::backoff::Backoff;
use super::cluster::{AutoCreate, Cluster, new_backoff};
use super::connection::Reply;
use super::error::ClientError;
use super::isolation::{Aborted, Isolation};
use super::offsets::Place;
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
    backoff: Backoff,
    failing_since: Option<Instant>,
}

struct Fetching {
    node: NodeId,
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
            backoff: new_backoff(),
            failing_since: None,
        }
    }

    /// The next offset to be fetched of each partition that is read.
    pub fn positions(&self) -> &BTreeMap<i32, Offset> {
        &self.positions
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
    }

    /// The next batches of any partition; waits as long as there are none. May be dropped before it is ready: nothing
    /// is lost.
    ///
    /// - Errors that may pass are retried for the cluster's `retry_for` before they are returned.
    pub async fn poll(&mut self) -> Result<Fetched, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => {}
                Err(error) => self.after(error).await?,
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Fetched>, ClientError> {
        if self.ready.is_empty() {
            self.ask().await?;
            let answer = self.first_answer().await?;
            self.take(answer)?;
            // The next fetch is on its way while the caller reads this one.
            self.ask().await?;
        }
        let fetched = self.ready.pop_front();
        if let Some(fetched) = &fetched {
            self.delivered.insert(fetched.partition, fetched.next);
        }
        Ok(fetched)
    }

    /// Starts a fetch at every leader that has none in flight.
    async fn ask(&mut self) -> Result<(), ClientError> {
        let mut wanted: BTreeMap<NodeId, Vec<FetchPartition>> = BTreeMap::new();
        for (&partition, &position) in &self.positions {
            let leader = self.topic.leader(partition)?;
            wanted.entry(leader).or_default().push(FetchPartition {
                partition,
                current_leader_epoch: self.topic.partition(partition)?.leader_epoch.0,
                fetch_offset: position.0,
                partition_max_bytes: self.options.partition_max_bytes,
                ..Default::default()
            });
        }
        for (node, partitions) in wanted {
            if self.fetches.iter().any(|fetch| fetch.node == node) {
                continue;
            }
            let connection = self.cluster.node(node).await?;
            let newest = connection.version::<FetchRequest>()?;
            // From version 13 on, topics are named by id only.
            let version = if self.topic.has_id() {
                newest
            } else {
                newest.min(12)
            };
            let reply = connection.submit(&self.request(partitions), version)?;
            self.fetches.push(Fetching { node, reply });
        }
        Ok(())
    }

    fn request(&self, partitions: Vec<FetchPartition>) -> FetchRequest {
        FetchRequest {
            max_wait_ms: self.options.max_wait.as_millis() as i32,
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.max_bytes,
            isolation_level: match self.options.isolation {
                Isolation::Uncommitted => 0,
                Isolation::Committed => 1,
            },
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions,
            }],
            ..Default::default()
        }
    }

    async fn first_answer(&mut self) -> Result<FetchResponse, ClientError> {
        if self.fetches.is_empty() {
            return Err(ClientError::Invalid(
                "no partition is left to read".to_owned(),
            ));
        }
        let fetches = &mut self.fetches;
        let (index, answer) = poll_fn(|context| {
            for (index, fetch) in fetches.iter_mut().enumerate() {
                if let Poll::Ready(answer) = Pin::new(&mut fetch.reply).poll(context) {
                    return Poll::Ready((index, answer));
                }
            }
            Poll::Pending
        })
        .await;
        self.fetches.swap_remove(index);
        answer
    }

    fn take(&mut self, answer: FetchResponse) -> Result<(), ClientError> {
        ClientError::check(answer.error_code, || "fetch".to_owned(), None)?;
        let mut first_error = None;
        for partition in answer.responses.into_iter().flat_map(|t| t.partitions) {
            if let Err(error) = self.take_partition(partition) {
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => {
                if self.failing_since.take().is_some() {
                    self.backoff = new_backoff();
                }
                Ok(())
            }
        }
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
        let (mut next, mut end) = (position, 0);
        for batch in split(&bytes) {
            let batch = batch.map_err(|error| corrupt(error.to_string()))?;
            next = batch.header.next_offset().max(next);
            end += batch.bytes.len();
        }
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

    /// Waits and learns the leaders anew, unless the error is final or has lasted too long.
    async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let wait = self.backoff.next_wait();
        if !error.is_retriable() || since.elapsed() + wait > self.cluster.options().retry_for {
            return Err(error);
        }
        rt::sleep(wait).await;
        // Fetches in flight at other leaders stay; an answer for a partition that has moved says so itself.
        if let Ok(topic) = self
            .cluster
            .learn(&self.topic.name, AutoCreate::Forbid)
            .await
        {
            self.topic = topic;
        }
        Ok(())
    }
}

fn aborted(rows: Vec<AbortedTransaction>) -> Vec<Aborted> {
    let rows = rows.into_iter().map(|row| Aborted {
        producer: ProducerId(row.producer_id),
        first: Offset(row.first_offset),
    });
    let mut aborted: Vec<Aborted> = rows.collect();
    aborted.sort_by_key(|transaction| transaction.first);
    aborted
}
