//! Sends records to the partitions of one topic: batches, linger, second tries in order.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::protocol::ErrorCode;
use crate::protocol::init_producer_id::InitProducerIdRequest;
use crate::record::{BatchBuilder, Codec, Header};
use crate::rt;
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

use super::batching::{Account, Batch, Filling, Sealing, wants_id};
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
    pub account: Account,
    sealing: Sealing,
}

/// What a producer has come to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ProducerStats {
    pub records_acked: u64,
    pub batches_acked: u64,
}

/// One partition's records, and who sends them.
pub(super) struct Queue {
    pub partition: i32,
    state: RefCell<QueueState>,
}

struct QueueState {
    filling: Filling,
    sender: Option<Waker>,
    is_sending: bool,
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
        let identity = match wants_id(options.idempotence, options.acks)? {
            true => Some(cluster.producer_id().await?),
            false => None,
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
            account: Account::default(),
            sealing: Sealing::new(identity),
        });
        Ok(Producer { shared, queues })
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> u32 {
        self.queues.len() as u32
    }

    /// Puts a record into the partition's batch, which is sent when it is full or has lingered.
    ///
    /// - `headers`: in their order, which is kept; one key may come several times.
    /// - `Err`: the partition does not exist, or the producer has failed for good.
    pub fn append(
        &self,
        partition: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), ClientError> {
        self.shared.account.check()?;
        let queue = self
            .queues
            .iter()
            .find(|queue| queue.partition == partition);
        let queue = match queue {
            Some(queue) => queue,
            None => return self.shared.topic.partition(partition).map(drop),
        };
        queue.append(&self.shared, timestamp, key, value, headers);
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
        queue.map_or(0, |queue| queue.state.borrow().filling.open_bytes())
    }

    /// Waits until the buffer has room.
    pub async fn room(&self) -> Result<(), ClientError> {
        let max = self.shared.options.buffer_bytes;
        self.shared.account.below(max).await
    }

    /// Sends everything now and waits until all of it is acknowledged (acks none: written to the socket).
    pub async fn flush(&self) -> Result<ProducerStats, ClientError> {
        for queue in &self.queues {
            queue.seal(&self.shared);
        }
        self.shared.account.below(1).await?;
        if self.shared.options.acks == Acks::None {
            self.shared.cluster.written().await;
        }
        Ok(self.stats())
    }

    pub fn stats(&self) -> ProducerStats {
        self.shared.account.stats()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.account.close();
        for queue in &self.queues {
            queue.wake();
        }
    }
}

impl Queue {
    fn new(partition: i32, options: &ProducerOptions) -> Queue {
        Queue {
            partition,
            state: RefCell::new(QueueState {
                filling: Filling::new(options.codec),
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
        headers: &[Header<'_>],
    ) {
        let size = BatchBuilder::record_size_max(key, value, headers);
        let batch_bytes = shared.options.batch_bytes;
        let is_full = {
            let state = self.state.borrow();
            state.filling.is_too_full_for(size, batch_bytes)
        };
        if is_full {
            self.seal(shared);
        }
        let mut state = self.state.borrow_mut();
        let begins = state.filling.opened_at().is_none();
        let grown = state.filling.append(timestamp, key, value, headers);
        shared.account.grow(grown);
        if begins {
            wake(&mut state.sender);
        }
    }

    /// Ends the batch being filled, if it has any records.
    fn seal(&self, shared: &Shared) {
        let mut state = self.state.borrow_mut();
        if state.filling.seal(self.partition, &shared.sealing) {
            wake(&mut state.sender);
        }
    }

    /// The next batch to send: a full one, or the open one if it has lingered.
    pub fn take(&self, shared: &Shared, now: Instant) -> Option<Batch> {
        let lingered = {
            let state = self.state.borrow();
            let due = state
                .filling
                .opened_at()
                .map(|at| at + shared.options.linger);
            state.filling.front().is_none() && due.is_some_and(|due| due <= now)
        };
        if lingered {
            self.seal(shared);
        }
        self.state.borrow_mut().filling.pop()
    }

    /// Whether [`Queue::take`] has something without waiting for the linger.
    pub fn has_ready(&self) -> bool {
        self.state.borrow().filling.front().is_some()
    }

    /// When the open batch will have lingered.
    pub fn linger_end(&self, shared: &Shared) -> Option<Instant> {
        let state = self.state.borrow();
        let opened_at = state.filling.opened_at();
        opened_at.map(|at| at + shared.options.linger)
    }

    /// Puts batches back in front, the first one foremost.
    pub fn put_back(&self, batches: Vec<Batch>) {
        let mut state = self.state.borrow_mut();
        for batch in batches.into_iter().rev() {
            state.filling.put_back(batch);
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

impl Cluster {
    /// An id and an epoch for a new idempotent producer.
    pub async fn producer_id(&self) -> Result<(ProducerId, ProducerEpoch), ClientError> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: 60_000,
            producer_epoch: -1,
            ..Default::default()
        };
        self.retry(async || {
            let answer = self.any().await?.call(&request).await?;
            ClientError::check(answer.error_code, || "producer id".to_owned(), None)?;
            Ok((
                ProducerId(answer.producer_id),
                ProducerEpoch(answer.producer_epoch),
            ))
        })
        .await
    }
}

impl Batch {
    /// How errors name it.
    pub fn about(&self, topic: &str) -> String {
        let partition = self.partition;
        let last = self.first_record + self.count as u64 - 1;
        match self.count {
            1 => format!(
                "partition {}-{partition}, record {last} sent to it ({} bytes)",
                topic,
                self.bytes.len()
            ),
            _ => format!(
                "partition {}-{partition}, records {} to {last} sent to it ({} bytes in one batch)",
                topic,
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
