//! Records on their way into batches, and what a producer answers for until they are acknowledged: the same on both wires.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use crate::record::{self, BatchBuilder, BatchSeal, Codec, Codecs, Header};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

use super::error::ClientError;
use super::producer::{Acks, Idempotence, ProducerStats};

/// One partition's records: the batch being filled and those that are full.
pub(super) struct Filling {
    open: BatchBuilder,
    /// When the open batch got its first record.
    opened_at: Option<Instant>,
    ready: VecDeque<Batch>,
    sequence_next: i32,
    /// Counted from 0 over the partition, to name records in errors.
    records: u64,
}

/// A finished batch.
pub(super) struct Batch {
    pub partition: i32,
    pub bytes: Bytes,
    pub count: i32,
    pub first_record: u64,
    /// What it counts for in the buffer.
    buffered_bytes: usize,
}

/// How batches are sealed.
pub(super) struct Sealing {
    /// Of an idempotent producer.
    identity: Option<(ProducerId, ProducerEpoch)>,
    codecs: RefCell<Codecs>,
}

/// What a producer is still to answer for, and who waits for that.
#[derive(Default)]
pub(super) struct Account {
    stats: Cell<ProducerStats>,
    buffered_bytes: Cell<usize>,
    failure: RefCell<Option<ClientError>>,
    waiters: RefCell<Vec<Waker>>,
    closed: Cell<bool>,
}

impl Sealing {
    pub fn new(identity: Option<(ProducerId, ProducerEpoch)>) -> Sealing {
        Sealing {
            identity,
            codecs: RefCell::new(Codecs::new()),
        }
    }
}

impl Filling {
    pub fn new(codec: Codec) -> Filling {
        Filling {
            open: BatchBuilder::new(codec, 0),
            opened_at: None,
            ready: VecDeque::new(),
            sequence_next: 0,
            records: 0,
        }
    }

    /// Bytes of the open batch; 0 where the next record begins one.
    pub fn open_bytes(&self) -> usize {
        match self.open.is_empty() {
            true => 0,
            false => self.open.size(),
        }
    }

    /// Whether a record of at most `size` bytes would take the open batch past `batch_bytes`.
    pub fn is_too_full_for(&self, size: usize, batch_bytes: usize) -> bool {
        !self.open.is_empty() && self.open.size() + size > batch_bytes
    }

    /// Adds a record to the open batch; returns by how many bytes it grew.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        let before = self.open_bytes();
        if before == 0 {
            self.opened_at = Some(Instant::now());
        }
        self.open.append(timestamp, key, value, headers);
        self.records += 1;
        self.open.size() - before
    }

    /// Ends the batch being filled, if it has any records; returns whether it had.
    pub fn seal(&mut self, partition: i32, sealing: &Sealing) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let count = self.open.count();
        let base_sequence = self.sequence_next;
        let seal = BatchSeal {
            producer: sealing.identity.map(|(id, epoch)| record::Producer {
                id,
                epoch,
                base_sequence,
            }),
            ..Default::default()
        };
        let batch = Batch {
            partition,
            buffered_bytes: self.open.size(),
            count,
            first_record: self.records - count as u64,
            bytes: self.open.build(&seal, &mut sealing.codecs.borrow_mut()),
        };
        // Sequences go from the largest number back to 0 (KIP-98).
        self.sequence_next = base_sequence.wrapping_add(count) & i32::MAX;
        self.ready.push_back(batch);
        self.opened_at = None;
        true
    }

    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// The next batch to send.
    pub fn front(&self) -> Option<&Batch> {
        self.ready.front()
    }

    pub fn pop(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }

    /// Puts a batch back in front: of several, the last one first.
    pub fn put_back(&mut self, batch: Batch) {
        self.ready.push_front(batch);
    }
}

impl Account {
    pub fn stats(&self) -> ProducerStats {
        self.stats.get()
    }

    /// So many bytes more are buffered.
    pub fn grow(&self, bytes: usize) {
        self.buffered_bytes.set(self.buffered_bytes.get() + bytes);
    }

    /// `batch` needs no more care.
    pub fn acked(&self, batch: &Batch) {
        let mut stats = self.stats.get();
        stats.records_acked += batch.count as u64;
        stats.batches_acked += 1;
        self.stats.set(stats);
        let left = self.buffered_bytes.get() - batch.buffered_bytes;
        self.buffered_bytes.set(left);
        self.wake();
    }

    /// The producer is gone.
    pub fn close(&self) {
        self.closed.set(true);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get() || self.failure.borrow().is_some()
    }

    /// Ends the producer: every later call fails with `error`.
    pub fn fail(&self, error: ClientError) {
        self.failure.borrow_mut().get_or_insert(error);
        self.wake();
    }

    /// `Err`: the producer has failed for good.
    pub fn check(&self) -> Result<(), ClientError> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits until less than `bytes` are buffered.
    pub async fn below(&self, bytes: usize) -> Result<(), ClientError> {
        poll_fn(|context| {
            if let Err(error) = self.check() {
                return Poll::Ready(Err(error));
            }
            if self.buffered_bytes.get() < bytes {
                return Poll::Ready(Ok(()));
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|kept| kept.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        for waiter in self.waiters.take() {
            waiter.wake();
        }
    }
}

/// Whether a producer needs an id.
///
/// - `Err(Invalid)`: idempotence with other acks than all, which no broker grants.
pub(super) fn wants_id(idempotence: Idempotence, acks: Acks) -> Result<bool, ClientError> {
    match idempotence {
        Idempotence::On if acks != Acks::All => {
            let what = "an idempotent producer needs acks all";
            Err(ClientError::Invalid(what.to_owned()))
        }
        Idempotence::On => Ok(true),
        Idempotence::Off => Ok(false),
    }
}
