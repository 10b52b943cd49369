//! Sends records to the partitions of one topic: batches, linger, second tries in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::protocol::ErrorCode;
use crate::protocol::init_producer_id::InitProducerIdRequest;
use crate::record::{self, BatchBuilder, BatchSeal, Codec, Codecs};
use crate::rt;
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

use super::cluster::{AutoCreate, Cluster};
use super::error::ClientError;
use super::sender;
use super::topology::Topic;

/// What an acknowledgement stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// The broker answers nothing: sent is all that is known.
    None,
    /// The leader has it.
    Leader,
    /// Every in-sync replica has it.
    All,
}

/// Whether the broker is given what it needs to drop duplicates of second tries (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idempotence {
    On,
    Off,
}

/// How a producer batches and what it waits for.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    pub acks: Acks,
    pub codec: Codec,
    /// A batch is sent when the next record would take it past this size (before compression).
    pub batch_bytes: usize,
    /// or when its first record has waited so long.
    pub linger: Duration,
    pub idempotence: Idempotence,
    /// Batches of one partition in flight. Without idempotence, more than 1 may reorder on a second try.
    pub window: usize,
    /// Records buffered and unacknowledged, in bytes, beyond which [`Producer::room`] waits.
    pub buffer_bytes: usize,
    /// Given to the broker as the time for its replicas.
    pub request_timeout: Duration,
}

/// A producer to one topic. Appending never waits; [`Producer::room`] is where a faster caller is held back.
pub struct Producer {
    shared: Rc<Shared>,
    queues: Vec<Rc<Queue>>,
}

/// What the producer and its senders share.
pub(super) struct Shared {
    pub cluster: Rc<Cluster>,
    pub topic: Topic,
    pub options: ProducerOptions,
    identity: Option<(ProducerId, ProducerEpoch)>,
    codecs: RefCell<Codecs>,
    stats: Cell<ProducerStats>,
    buffered_bytes: Cell<usize>,
    failure: RefCell<Option<ClientError>>,
    waiters: RefCell<Vec<Waker>>,
    closed: Cell<bool>,
}

/// What a producer has come to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ProducerStats {
    pub records_acked: u64,
    pub batches_acked: u64,
}

/// One partition's records: the batch being filled and those that are full.
pub(super) struct Queue {
    pub partition: i32,
    state: RefCell<QueueState>,
}

struct QueueState {
    open: BatchBuilder,
    opened_at: Option<Instant>,
    ready: VecDeque<Batch>,
    sequence_next: i32,
    /// Counted from 0 over the partition, to name records in errors.
    records: u64,
    sender: Option<Waker>,
    is_sending: bool,
}

/// A finished batch.
pub(super) struct Batch {
    pub bytes: Bytes,
    pub count: i32,
    pub first_record: u64,
    /// What it counts for in the buffer.
    buffered_bytes: usize,
}

impl Default for ProducerOptions {
    /// As Kafka's own producer: acks all, idempotent, 16 KiB batches, five in flight, 32 MiB of buffer.
    fn default() -> ProducerOptions {
        ProducerOptions {
            acks: Acks::All,
            codec: Codec::None,
            batch_bytes: 16 << 10,
            linger: Duration::from_millis(5),
            idempotence: Idempotence::On,
            window: 5,
            buffer_bytes: 32 << 20,
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Acks {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

impl Producer {
    /// Learns the topic (which may create it) and, if idempotent, gets a producer id.
    ///
    /// - `Err(Invalid)`: idempotence with other acks than all, which no broker grants.
    pub async fn open(
        cluster: Rc<Cluster>,
        topic: &str,
        options: ProducerOptions,
    ) -> Result<Producer, ClientError> {
        let identity = match options.idempotence {
            Idempotence::On if options.acks != Acks::All => {
                let what = "an idempotent producer needs acks all";
                return Err(ClientError::Invalid(what.to_owned()));
            }
            Idempotence::On => Some(producer_id(&cluster).await?),
            Idempotence::Off => None,
        };
        let topic = cluster.topic(topic, AutoCreate::Allow).await?;
        let queues = topic
            .partitions
            .iter()
            .map(|partition| Rc::new(Queue::new(partition.index, &options)));
        let queues = queues.collect();
        let shared = Rc::new(Shared {
            cluster,
            topic,
            options,
            identity,
            codecs: RefCell::new(Codecs::new()),
            stats: Cell::default(),
            buffered_bytes: Cell::new(0),
            failure: RefCell::new(None),
            waiters: RefCell::default(),
            closed: Cell::new(false),
        });
        Ok(Producer { shared, queues })
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> u32 {
        self.queues.len() as u32
    }

    /// Puts a record into the partition's batch, which is sent when it is full or has lingered.
    ///
    /// - `Err`: the partition does not exist, or the producer has failed for good.
    pub fn append(
        &self,
        partition: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), ClientError> {
        self.shared.failure()?;
        let queue = self
            .queues
            .iter()
            .find(|queue| queue.partition == partition);
        let queue = match queue {
            Some(queue) => queue,
            None => return self.shared.topic.partition(partition).map(drop),
        };
        queue.append(&self.shared, timestamp, key, value);
        let mut state = queue.state.borrow_mut();
        if !state.is_sending {
            state.is_sending = true;
            let sending = sender::run(queue.clone(), self.shared.clone());
            rt::spawn(rt::Queue::Net, "producer", sending);
        }
        Ok(())
    }

    /// Bytes in the batch that the partition is filling; 0 where the next record begins one.
    pub fn open_bytes(&self, partition: i32) -> usize {
        let queue = self
            .queues
            .iter()
            .find(|queue| queue.partition == partition);
        queue.map_or(0, |queue| {
            let state = queue.state.borrow();
            if state.open.is_empty() {
                0
            } else {
                state.open.size()
            }
        })
    }

    /// Waits until the buffer has room.
    pub async fn room(&self) -> Result<(), ClientError> {
        let max = self.shared.options.buffer_bytes;
        self.shared
            .wait_until(|shared| shared.buffered_bytes.get() < max)
            .await
    }

    /// Sends everything now and waits until all of it is acknowledged (acks none: written to the socket).
    pub async fn flush(&self) -> Result<ProducerStats, ClientError> {
        for queue in &self.queues {
            queue.seal(&self.shared);
        }
        self.shared
            .wait_until(|shared| shared.buffered_bytes.get() == 0)
            .await?;
        if self.shared.options.acks == Acks::None {
            self.shared.cluster.written().await;
        }
        Ok(self.stats())
    }

    pub fn stats(&self) -> ProducerStats {
        self.shared.stats.get()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closed.set(true);
        for queue in &self.queues {
            queue.wake();
        }
    }
}

impl Shared {
    pub fn is_closed(&self) -> bool {
        self.closed.get() || self.failure.borrow().is_some()
    }

    /// Ends the producer: every later call fails with `error`.
    pub fn fail(&self, error: ClientError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.wake_waiters();
    }

    /// `batch` needs no more care.
    pub fn acked(&self, batch: &Batch) {
        let mut stats = self.stats.get();
        stats.records_acked += batch.count as u64;
        stats.batches_acked += 1;
        self.stats.set(stats);
        self.buffered_bytes
            .set(self.buffered_bytes.get() - batch.buffered_bytes);
        self.wake_waiters();
    }

    fn failure(&self) -> Result<(), ClientError> {
        match self.failure.borrow().as_ref() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    async fn wait_until(&self, done: impl Fn(&Shared) -> bool) -> Result<(), ClientError> {
        poll_fn(|context| {
            if let Err(error) = self.failure() {
                return Poll::Ready(Err(error));
            }
            if done(self) {
                return Poll::Ready(Ok(()));
            }
            self.waiters.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn wake_waiters(&self) {
        for waiter in self.waiters.take() {
            waiter.wake();
        }
    }
}

impl Queue {
    fn new(partition: i32, options: &ProducerOptions) -> Queue {
        Queue {
            partition,
            state: RefCell::new(QueueState {
                open: BatchBuilder::new(options.codec, 0),
                opened_at: None,
                ready: VecDeque::new(),
                sequence_next: 0,
                records: 0,
                sender: None,
                is_sending: false,
            }),
        }
    }

    fn append(
        &self,
        shared: &Shared,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let size = BatchBuilder::record_size_max(key, value, &[]);
        let is_full = {
            let state = self.state.borrow();
            !state.open.is_empty() && state.open.size() + size > shared.options.batch_bytes
        };
        if is_full {
            self.seal(shared);
        }
        let mut state = self.state.borrow_mut();
        let before = if state.open.is_empty() {
            0
        } else {
            state.open.size()
        };
        state.open.append(timestamp, key, value, &[]);
        state.records += 1;
        let grown = state.open.size() - before;
        shared
            .buffered_bytes
            .set(shared.buffered_bytes.get() + grown);
        if before == 0 {
            state.opened_at = Some(Instant::now());
            wake(&mut state.sender);
        }
    }

    /// Ends the batch being filled, if it has any records.
    fn seal(&self, shared: &Shared) {
        let mut state = self.state.borrow_mut();
        if state.open.is_empty() {
            return;
        }
        let count = state.open.count();
        let base_sequence = state.sequence_next;
        let seal = BatchSeal {
            producer: shared.identity.map(|(id, epoch)| record::Producer {
                id,
                epoch,
                base_sequence,
            }),
            ..Default::default()
        };
        let batch = Batch {
            buffered_bytes: state.open.size(),
            count,
            first_record: state.records - count as u64,
            bytes: state.open.build(&seal, &mut shared.codecs.borrow_mut()),
        };
        // Sequences go from the largest number back to 0 (KIP-98).
        state.sequence_next = base_sequence.wrapping_add(count) & i32::MAX;
        state.ready.push_back(batch);
        state.opened_at = None;
        wake(&mut state.sender);
    }

    /// The next batch to send: a full one, or the open one if it has lingered.
    pub fn take(&self, shared: &Shared, now: Instant) -> Option<Batch> {
        let lingered = {
            let state = self.state.borrow();
            let due = state.opened_at.map(|at| at + shared.options.linger);
            state.ready.is_empty() && due.is_some_and(|due| due <= now)
        };
        if lingered {
            self.seal(shared);
        }
        self.state.borrow_mut().ready.pop_front()
    }

    /// Whether [`Queue::take`] has something without waiting for the linger.
    pub fn has_ready(&self) -> bool {
        !self.state.borrow().ready.is_empty()
    }

    /// When the open batch will have lingered.
    pub fn linger_end(&self, shared: &Shared) -> Option<Instant> {
        let state = self.state.borrow();
        state.opened_at.map(|at| at + shared.options.linger)
    }

    /// Puts batches back in front, the first one foremost.
    pub fn put_back(&self, batches: Vec<Batch>) {
        let mut state = self.state.borrow_mut();
        for batch in batches.into_iter().rev() {
            state.ready.push_front(batch);
        }
    }

    /// Keeps the sender's waker for when there is something new to send.
    pub fn park(&self, waker: &Waker) {
        let mut state = self.state.borrow_mut();
        if !state
            .sender
            .as_ref()
            .is_some_and(|kept| kept.will_wake(waker))
        {
            state.sender = Some(waker.clone());
        }
    }

    fn wake(&self) {
        wake(&mut self.state.borrow_mut().sender);
    }
}

fn wake(parked: &mut Option<Waker>) {
    if let Some(waker) = parked.take() {
        waker.wake();
    }
}

/// An id and an epoch for a new idempotent producer.
async fn producer_id(cluster: &Cluster) -> Result<(ProducerId, ProducerEpoch), ClientError> {
    let request = InitProducerIdRequest {
        transaction_timeout_ms: 60_000,
        producer_epoch: -1,
        ..Default::default()
    };
    cluster
        .retry(async || {
            let answer = cluster.any().await?.call(&request).await?;
            ClientError::check(answer.error_code, || "producer id".to_owned(), None)?;
            Ok((
                ProducerId(answer.producer_id),
                ProducerEpoch(answer.producer_epoch),
            ))
        })
        .await
}

impl Batch {
    /// How errors name it.
    pub fn about(&self, topic: &Topic, partition: i32) -> String {
        let last = self.first_record + self.count as u64 - 1;
        match self.count {
            1 => format!(
                "partition {}-{partition}, record {last} sent to it ({} bytes)",
                topic.name,
                self.bytes.len()
            ),
            _ => format!(
                "partition {}-{partition}, records {} to {last} sent to it ({} bytes in one batch)",
                topic.name,
                self.first_record,
                self.bytes.len()
            ),
        }
    }
}

/// Whether the broker holds the batch already, so that its refusal is as good as an acknowledgement.
pub(super) fn is_duplicate(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::DuplicateSequenceNumber)
}
