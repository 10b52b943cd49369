//! Reads assigned partitions of a topic: each is pushed by the shard that owns it.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use rkyv::Archived;

use crate::client::consumer::{Fetched, whole};
use crate::client::error::ClientError;
use crate::client::isolation::{Aborted, Isolation};
use crate::client::offsets::Place;
use crate::client::parked::Parked;
use crate::protocol::ErrorCode;
use crate::types::{Offset, ProducerId};
use crate::wire::{AbortedV1, BatchesV1, Frame, SubscribeV1, SubscribedV1};

use super::client::{Destination, NativeClient, NativeTopic};
use super::connection::BatchStream;

/// How much may be on its way to a consumer.
#[derive(Clone, Debug)]
pub struct NativeConsumerOptions {
    /// Bytes that each shard may have sent and the caller not taken yet; a single batch may exceed it.
    pub buffer_bytes: u64,
    /// Bytes pushed at once, at most.
    pub max_bytes: u32,
    /// Where only committed records are read, nothing is pushed from the first open transaction on, and
    /// [`Fetched::visible`] passes over what was aborted.
    pub isolation: Isolation,
}

/// A consumer of fixed partitions, without a group. Memory is bounded by `buffer_bytes` for each shard that owns some of
/// the partitions.
///
/// Leaders that move are followed: a partition whose leader refuses it, or is gone, waits until the metadata has been
/// learned anew, while the others are read on.
pub struct NativeConsumer {
    client: Rc<NativeClient>,
    topic: NativeTopic,
    options: NativeConsumerOptions,
    /// The next offset to be pushed, of each partition.
    positions: BTreeMap<i32, Offset>,
    streams: Vec<Subscribed>,
    ready: VecDeque<Fetched>,
    /// A subscription is not answered: that it works is known by what it brings, or by the time that it has stood.
    parked: Parked,
}

/// One stream and the partitions it was asked for.
struct Subscribed {
    stream: BatchStream,
    /// By their place in the Subscribe; `None` once an error took one out.
    partitions: Vec<Option<i32>>,
    /// Taken by the caller and not given back as credits yet.
    owed_bytes: u64,
}

impl Default for NativeConsumerOptions {
    fn default() -> NativeConsumerOptions {
        NativeConsumerOptions {
            buffer_bytes: 8 << 20,
            max_bytes: 1 << 20,
            isolation: Isolation::default(),
        }
    }
}

impl NativeConsumer {
    /// Reads `partitions` of `topic` (all, if `None`) from `place` on.
    ///
    /// - `Err(Invalid)`: the topic has no such partition.
    pub async fn open(
        client: Rc<NativeClient>,
        topic: &str,
        partitions: Option<&[i32]>,
        place: Place,
        options: NativeConsumerOptions,
    ) -> Result<NativeConsumer, ClientError> {
        let topic = client.topic(topic).await?;
        let partitions: Vec<i32> = match partitions {
            Some(some) => some.to_vec(),
            None => (0..topic.partitions.len() as i32).collect(),
        };
        let mut positions = BTreeMap::new();
        for partition in partitions {
            topic.partition(partition)?;
            let offset = client.offset(&topic.name, partition, place).await?;
            positions.insert(partition, offset);
        }
        Ok(NativeConsumer {
            client,
            topic,
            options,
            positions,
            streams: Vec::new(),
            ready: VecDeque::new(),
            parked: Parked::new(),
        })
    }

    /// The next offset to be pushed, of each partition that is read.
    pub fn positions(&self) -> &BTreeMap<i32, Offset> {
        &self.positions
    }

    /// What keeps some of it from being read now: an error that may pass, which [`poll`](Self::poll) tries again.
    pub fn trouble(&self) -> Option<&ClientError> {
        self.parked.trouble()
    }

    /// The next batches of any partition; waits as long as there are none. May be dropped before it is ready: nothing
    /// is lost.
    ///
    /// - Errors that may pass are retried for the client's `retry_for` before they are returned.
    pub async fn poll(&mut self) -> Result<Fetched, ClientError> {
        loop {
            if let Some(fetched) = self.ready.pop_front() {
                return Ok(fetched);
            }
            if let Err(error) = self.step().await {
                let retry_for = self.client.options().retry_for;
                self.parked.on_error(error, retry_for)?;
            }
        }
    }

    /// Subscribes, and takes in the first frame that comes before the leaders are to be learned anew.
    async fn step(&mut self) -> Result<(), ClientError> {
        if self.parked.is_due() {
            // If this fails too, so will the next subscription, with an error that says more.
            if let Ok(topic) = self.client.learn(&self.topic.name).await {
                self.topic = topic;
            }
            self.parked.release();
        }
        self.subscribe().await?;
        self.parked.on_asked();
        let streams = &self.streams;
        let arriving = poll_fn(|context| next_of(streams, context));
        let arrived = self.parked.until_due(arriving).await;
        match arrived {
            None => Ok(()),
            Some((index, Ok(frame))) => self.take(index, &frame),
            Some((index, Err(error))) => {
                self.give_up(index);
                Err(error)
            }
        }
    }

    /// Ends a stream and parks its partitions.
    fn give_up(&mut self, index: usize) {
        let given_up = self.streams.swap_remove(index);
        let partitions = given_up.partitions.into_iter().flatten();
        self.parked.park(partitions);
    }

    /// Subscribes to what no stream brings, and parks what cannot be subscribed to.
    async fn subscribe(&mut self) -> Result<(), ClientError> {
        let mut wanted: BTreeMap<Destination, Vec<i32>> = BTreeMap::new();
        let mut failure = Ok(());
        if self.positions.is_empty() {
            let what = "no partition is left to read".to_owned();
            return Err(ClientError::Invalid(what));
        }
        for &partition in self.positions.keys() {
            let mut streams = self.streams.iter();
            let is_read = streams.any(|stream| stream.partitions.contains(&Some(partition)));
            if is_read || self.parked.contains(partition) {
                continue;
            }
            match self.client.destination(&self.topic, partition) {
                Ok(to) => wanted.entry(to).or_default().push(partition),
                Err(error) => {
                    self.parked.park([partition]);
                    failure = failure.and(Err(error));
                }
            }
        }
        for (to, partitions) in wanted {
            match self.stream(&to, &partitions).await {
                Ok(stream) => self.streams.push(Subscribed {
                    stream,
                    partitions: partitions.into_iter().map(Some).collect(),
                    owed_bytes: 0,
                }),
                Err(error) => {
                    self.parked.park(partitions);
                    failure = failure.and(Err(error));
                }
            }
        }
        failure
    }

    async fn stream(
        &self,
        to: &Destination,
        partitions: &[i32],
    ) -> Result<BatchStream, ClientError> {
        let connection = self.client.open(to).await?;
        let rows = partitions.iter().map(|partition| {
            let known = self.topic.partition(*partition)?;
            Ok(SubscribedV1 {
                topic_id: self.topic.id.0,
                partition: *partition,
                offset: self.positions[partition].0,
                leader_epoch: known.leader_epoch.0,
            })
        });
        let request = SubscribeV1 {
            isolation: self.options.isolation.code(),
            credit_bytes: self.options.buffer_bytes.max(1),
            max_bytes: self.options.max_bytes,
            partitions: rows.collect::<Result<_, ClientError>>()?,
        };
        connection.subscribe(&request)
    }

    /// Takes in what a stream has brought.
    fn take(&mut self, index: usize, frame: &Frame) -> Result<(), ClientError> {
        let subscribed = &mut self.streams[index];
        let connection = subscribed.stream.connection().clone();
        let batches = connection.read(frame, Frame::read::<BatchesV1>)?;
        let place = batches.index.to_native() as usize;
        let Some(Some(partition)) = subscribed.partitions.get(place).copied() else {
            return Err(ClientError::Protocol {
                address: connection.address().to_owned(),
                what: "a stream brings a partition that was not asked for".to_owned(),
            });
        };
        let from = self.positions[&partition];
        let about = || format!("partition {}-{partition} at offset {from}", self.topic.name);
        if let Err(error) = ClientError::check(batches.error.to_native(), about, None) {
            subscribed.partitions[place] = None;
            self.parked.park([partition]);
            self.streams
                .retain(|stream| stream.partitions.iter().any(Option::is_some));
            return Err(error);
        }
        let next = match end_of(&frame.body, from) {
            Ok(next) => next,
            Err(what) => {
                // The stream goes on behind what cannot be read: only another one can begin where this was.
                let error = ClientError::Server {
                    code: ErrorCode::CorruptMessage,
                    about: about(),
                    message: Some(what),
                };
                self.give_up(index);
                return Err(error);
            }
        };
        subscribed.owed_bytes += frame.body.len() as u64;
        // Few frames carry many credits: half of the buffer is always on its way.
        if subscribed.owed_bytes >= self.options.buffer_bytes / 2 {
            subscribed.stream.credit(subscribed.owed_bytes)?;
            subscribed.owed_bytes = 0;
        }
        self.parked.on_served([partition]);
        self.positions.insert(partition, next);
        self.ready.push_back(Fetched {
            partition,
            from,
            next,
            batches: frame.body.clone(),
            high_watermark: Offset(batches.high_watermark.to_native()),
            aborted: aborted(&batches.aborted),
        });
        Ok(())
    }
}

/// The offset after `batches`, which must be whole; `Err` says why they are not.
fn end_of(batches: &[u8], from: Offset) -> Result<Offset, String> {
    match whole(batches, from)? {
        (next, end) if end == batches.len() => Ok(next),
        _ => Err("a batch that is cut short".to_owned()),
    }
}

fn aborted(rows: &[Archived<AbortedV1>]) -> Vec<Aborted> {
    let rows = rows.iter().map(|row| Aborted {
        producer: ProducerId(row.producer_id.to_native()),
        first: Offset(row.first_offset.to_native()),
    });
    Aborted::in_order(rows)
}

fn next_of(
    streams: &[Subscribed],
    context: &Context<'_>,
) -> Poll<(usize, Result<Frame, ClientError>)> {
    for (index, subscribed) in streams.iter().enumerate() {
        if let Poll::Ready(frame) = subscribed.stream.poll_next(context) {
            return Poll::Ready((index, frame));
        }
    }
    Poll::Pending
}
