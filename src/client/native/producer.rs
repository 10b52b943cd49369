//! Sends records to the partitions of one topic: batches, linger, many partitions in one frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::client::batching::{Account, Batch, Sealing, wants_id};
use crate::client::error::ClientError;
use crate::client::producer::{Acks, Idempotence, ProducerStats};
use crate::record::{BatchBuilder, Codec, Header};
use crate::rt;
use crate::types::{ProducerEpoch, Timestamp};

use super::client::{NativeClient, NativeTopic};
use super::queue::Queue;
use super::sender;

/// How a producer batches and what it waits for.
#[derive(Clone, Debug)]
pub struct NativeProducerOptions {
    /// [`Acks::None`] is answered too, when the batches are appended and before they are durable.
    pub acks: Acks,
    pub codec: Codec,
    /// A batch is sent when the next record would take it past this size (before compression).
    pub batch_bytes: usize,
    /// or when its first record has waited so long.
    pub linger: Duration,
    pub idempotence: Idempotence,
    /// Requests in flight to each shard. Without idempotence, more than 1 may reorder on a second try.
    pub window: usize,
    /// Batches share a request up to this size.
    pub request_bytes: usize,
    /// Records buffered and unacknowledged, in bytes, beyond which [`NativeProducer::room`] waits.
    pub buffer_bytes: usize,
}

/// A producer to one topic. Appending never waits; [`NativeProducer::room`] is where a faster caller is held back.
pub struct NativeProducer {
    shared: Rc<Shared>,
}

/// What the producer and its sender share.
pub(super) struct Shared {
    pub client: Rc<NativeClient>,
    pub options: NativeProducerOptions,
    pub topic: RefCell<NativeTopic>,
    pub account: Account,
    sealing: Sealing,
    queues: RefCell<Vec<Queue>>,
    /// Partitions that have a batch to send and were not taken up by the sender yet.
    ready: RefCell<VecDeque<usize>>,
    /// Partitions whose open batch lingers, oldest first, each with when it began; some have been sent meanwhile.
    lingering: RefCell<VecDeque<(Instant, usize)>>,
    sender: RefCell<Option<Waker>>,
}

impl Default for NativeProducerOptions {
    /// Acks all, idempotent, 64 KiB batches that linger 1 ms, five requests in flight, 32 MiB of buffer.
    fn default() -> NativeProducerOptions {
        NativeProducerOptions {
            acks: Acks::All,
            codec: Codec::None,
            batch_bytes: 64 << 10,
            linger: Duration::from_millis(1),
            idempotence: Idempotence::On,
            window: 5,
            request_bytes: 1 << 20,
            buffer_bytes: 32 << 20,
        }
    }
}

impl NativeProducer {
    /// Learns the topic, which must exist, and, if idempotent, gets a producer id.
    ///
    /// - `Err(Invalid)`: idempotence with other acks than all, or no window.
    pub async fn open(
        client: Rc<NativeClient>,
        topic: &str,
        options: NativeProducerOptions,
    ) -> Result<NativeProducer, ClientError> {
        if options.window == 0 {
            return Err(ClientError::Invalid("window: at least 1".to_owned()));
        }
        let identity = match wants_id(options.idempotence, options.acks)? {
            true => Some((client.producer_id().await?, ProducerEpoch(0))),
            false => None,
        };
        let topic = client.topic(topic).await?;
        let queues = topic.partitions.iter().map(|_| Queue::new(options.codec));
        let shared = Rc::new(Shared {
            queues: RefCell::new(queues.collect()),
            client,
            options,
            topic: RefCell::new(topic),
            account: Account::default(),
            sealing: Sealing::new(identity),
            ready: RefCell::default(),
            lingering: RefCell::default(),
            sender: RefCell::new(None),
        });
        rt::spawn(
            rt::Queue::Net,
            "native producer",
            sender::run(shared.clone()),
        );
        Ok(NativeProducer { shared })
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> u32 {
        self.shared.queues.borrow().len() as u32
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
        let shared = &*self.shared;
        shared.account.check()?;
        let queues = &mut *shared.queues.borrow_mut();
        let place = usize::try_from(partition)
            .ok()
            .filter(|at| *at < queues.len());
        let Some(place) = place else {
            return shared.topic.borrow().partition(partition).map(drop);
        };
        let queue = &mut queues[place];
        let size = BatchBuilder::record_size_max(key, value, headers);
        let batch_bytes = shared.options.batch_bytes;
        if queue.filling.is_too_full_for(size, batch_bytes) {
            shared.seal(queue, place);
        }
        let filling = &mut queue.filling;
        let begins = filling.opened_at().is_none();
        let grown = filling.append(timestamp, key, value, headers);
        shared.account.grow(grown);
        if begins {
            let began = filling.opened_at().expect("it has just been opened");
            shared.lingering.borrow_mut().push_back((began, place));
            shared.wake_sender();
        }
        Ok(())
    }

    /// Waits until the buffer has room.
    pub async fn room(&self) -> Result<(), ClientError> {
        let max = self.shared.options.buffer_bytes;
        self.shared.account.below(max).await
    }

    /// Sends everything now and waits until all of it is acknowledged.
    pub async fn flush(&self) -> Result<ProducerStats, ClientError> {
        for (place, queue) in self.shared.queues.borrow_mut().iter_mut().enumerate() {
            self.shared.seal(queue, place);
        }
        self.shared.account.below(1).await?;
        Ok(self.stats())
    }

    pub fn stats(&self) -> ProducerStats {
        self.shared.account.stats()
    }
}

impl Drop for NativeProducer {
    fn drop(&mut self) {
        self.shared.account.close();
        self.shared.wake_sender();
    }
}

impl Shared {
    fn seal(&self, queue: &mut Queue, place: usize) {
        queue.filling.seal(place as i32, &self.sealing);
        self.list(queue, place);
    }

    /// Puts the partition among those to be sent, if it has something and is not there.
    fn list(&self, queue: &mut Queue, place: usize) {
        if queue.next().is_some() && !queue.listed {
            queue.listed = true;
            self.ready.borrow_mut().push_back(place);
            self.wake_sender();
        }
    }

    /// Seals what has lingered.
    pub fn end_lingering(&self, now: Instant) {
        let queues = &mut *self.queues.borrow_mut();
        let lingering = &mut *self.lingering.borrow_mut();
        while let Some((began, place)) = lingering.front().copied() {
            let queue = &mut queues[place];
            let is_open = queue.filling.opened_at() == Some(began);
            if is_open && began + self.options.linger > now {
                return;
            }
            lingering.pop_front();
            if is_open {
                self.seal(queue, place);
            }
        }
    }

    /// When the oldest open batch will have lingered.
    pub fn linger_end(&self) -> Option<Instant> {
        let oldest = self.lingering.borrow().front().copied();
        oldest.map(|(began, _)| began + self.options.linger)
    }

    /// The partitions that have something to send, each once until [`Shared::take`] unlists it.
    pub fn take_ready(&self) -> VecDeque<usize> {
        self.ready.take()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// The next batch of a listed partition, if `room` holds it or `at_least_one` asks for it whatever its size. `None`
    /// with no room leaves the partition listed; else it is unlisted when it has nothing more to send now.
    pub fn take(&self, place: usize, room: usize, at_least_one: bool) -> Taken {
        let queue = &mut self.queues.borrow_mut()[place];
        let next = queue.next();
        if next.is_some_and(|next| next.bytes.len() > room) && !at_least_one {
            return Taken::NoRoom;
        }
        match queue.take() {
            Some(batch) => Taken::Batch {
                batch,
                more: {
                    queue.listed = queue.next().is_some();
                    queue.listed
                },
            },
            None => {
                queue.listed = false;
                Taken::Nothing
            }
        }
    }

    /// `batch` needs no more care.
    pub fn acked(&self, batch: Batch) {
        let queue = &mut self.queues.borrow_mut()[batch.partition as usize];
        queue.landed();
        self.list(queue, batch.partition as usize);
        self.account.acked(&batch);
    }

    /// Puts batches that failed back in front of their partitions, in their order. Nothing else may be in flight.
    pub fn put_back(&self, mut batches: Vec<Batch>) {
        batches.sort_by_key(|batch| batch.first_record);
        let queues = &mut *self.queues.borrow_mut();
        for batch in batches.into_iter().rev() {
            let place = batch.partition as usize;
            let queue = &mut queues[place];
            queue.landed();
            queue.filling.put_back(batch);
            self.list(queue, place);
        }
    }

    /// Lists anew what a sender that starts over had taken up and not sent.
    pub fn relist(&self, places: impl IntoIterator<Item = usize>) {
        let queues = &mut *self.queues.borrow_mut();
        for place in places {
            queues[place].listed = false;
            self.list(&mut queues[place], place);
        }
    }

    /// Keeps the sender's waker for when there is something new to do.
    pub fn park_sender(&self, waker: &Waker) {
        let mut parked = self.sender.borrow_mut();
        if !parked.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *parked = Some(waker.clone());
        }
    }

    fn wake_sender(&self) {
        if let Some(waker) = self.sender.take() {
            waker.wake();
        }
    }
}

/// What [`Shared::take`] gives.
pub(super) enum Taken {
    /// `more`: the partition stays listed, and must be asked again.
    Batch {
        batch: Batch,
        more: bool,
    },
    NoRoom,
    Nothing,
}
