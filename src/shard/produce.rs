//! Produce across partitions and shards: who waits for what.
//!
//! A request's batches are appended in one turn on each shard that owns some of them. What is left is to wait
//! until they are committed; a [`ProduceJoin`] counts that down and then wakes the connection, or sends the
//! outcomes home if the request came from another shard.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Shard;
use super::message::Message;
use super::verification::TxnTerms;
use crate::metrics::{Stage, Stages};
use crate::protocol::ErrorCode;
use crate::rt::Clock;
use crate::types::{Micros, Offset, ShardId, Timestamp, TopicId};

/// One partition's batch of a Produce request, on its way to its owner.
pub struct ProduceItem {
    /// Where in the request its outcome goes.
    pub index: u32,
    pub topic_id: TopicId,
    pub partition: i32,
    pub records: Bytes,
}

/// What became of one partition's batch.
#[derive(Debug)]
pub struct ProduceOutcome {
    pub error: ErrorCode,
    pub base_offset: Offset,
    /// Set where the topic stamps log append time, else −1.
    pub append_time: Timestamp,
    pub log_start: Offset,
    /// What is wrong with which records, and why; only where the error says so.
    pub fault: Option<Box<ProduceFault>>,
}

/// The details of a refused batch (KIP-467).
#[derive(Debug, Default)]
pub struct ProduceFault {
    /// Index of the record in the batch, and what is wrong with it.
    pub records: Vec<(i32, String)>,
    pub message: Option<String>,
    /// Found before the log was looked at: its start is not told.
    pub shape: bool,
    /// The leader's epoch, where the error is about leadership (KIP-951).
    pub leader_epoch: Option<i32>,
}

impl ProduceOutcome {
    pub fn refused(error: ErrorCode) -> ProduceOutcome {
        ProduceOutcome {
            error,
            base_offset: Offset(-1),
            append_time: Timestamp::NONE,
            log_start: Offset(-1),
            fault: None,
        }
    }

    pub fn refused_because(error: ErrorCode, message: impl Into<String>) -> ProduceOutcome {
        let fault = ProduceFault {
            message: Some(message.into()),
            ..ProduceFault::default()
        };
        ProduceOutcome {
            fault: Some(Box::new(fault)),
            ..ProduceOutcome::refused(error)
        }
    }
}

/// The forwarded part of a request: its batches cross to their shard once, by reference.
pub struct ProduceForward {
    pub slot: u32,
    pub sent: Micros,
    pub items: Vec<ProduceItem>,
    pub wait: Wait,
    /// Of a transactional producer.
    pub terms: Option<Box<TxnTerms>>,
}

impl Shard {
    /// Appends each item on the shard that owns it, this shard's own in this turn. `join` finishes when all outcomes
    /// are known.
    ///
    /// - `terms`: of a transactional producer, whose batches may have to wait until its coordinator was asked.
    pub fn produce(
        self: &Rc<Self>,
        items: Vec<ProduceItem>,
        terms: Option<&TxnTerms>,
        wait: Wait,
        join: &Rc<ProduceJoin>,
    ) {
        let now = self.clock.now();
        let deadline = wait.deadline(now);
        let mut abroad: Vec<(ShardId, Vec<ProduceItem>)> = Vec::new();
        let mut own_of_transaction = Vec::new();
        for item in items {
            let owner = self.owner(item.topic_id, item.partition);
            if owner == self.id {
                match terms {
                    None => self.produce_here(item, deadline, join),
                    Some(_) => own_of_transaction.push(item),
                }
                continue;
            }
            match abroad.iter_mut().find(|(to, _)| *to == owner) {
                Some((_, share)) => share.push(item),
                None => abroad.push((owner, vec![item])),
            }
        }
        for (to, items) in abroad {
            join.expect_part();
            let slot = self.produces.borrow_mut().insert(join.clone()) as u32;
            let forward = ProduceForward {
                slot,
                sent: now,
                items,
                wait,
                terms: terms.cloned().map(Box::new),
            };
            self.send(to, Message::Produce(forward));
        }
        if let Some(terms) = terms {
            self.produce_transactional(own_of_transaction, terms, wait, join);
        }
        join.part_done();
    }

    fn produce_here(
        self: &Rc<Self>,
        item: ProduceItem,
        deadline: Option<Micros>,
        join: &Rc<ProduceJoin>,
    ) {
        match self.replica(item.topic_id, item.partition) {
            Some(replica) => replica.produce(self, item, deadline, join),
            None => join.put(
                item.index,
                ProduceOutcome::refused(self.absent(item.topic_id, item.partition)),
            ),
        }
    }

    pub(super) fn on_produce(self: &Rc<Self>, home: ShardId, forward: ProduceForward) {
        let join = ProduceJoin::forwarded(forward.items.len(), home, forward.slot, self.clone());
        let now = self.clock.now();
        match forward.terms {
            None => {
                let deadline = forward.wait.deadline(now);
                for item in forward.items {
                    self.produce_here(item, deadline, &join);
                }
            }
            Some(terms) => {
                self.produce_transactional(forward.items, &terms, forward.wait, &join);
            }
        }
        let mut stages = Stages::default();
        stages.add(Stage::Mailbox, now.since(forward.sent));
        stages.add(Stage::Work, self.clock.now().since(now));
        join.join_stages(&stages);
        join.part_done();
    }

    /// - `stages`: of the part, without the way home, which began at `sent`.
    pub(super) fn on_produce_done(
        &self,
        slot: u32,
        (sent, mut stages): (Micros, Stages),
        outcomes: Vec<(u32, ProduceOutcome)>,
    ) {
        let join = self.produces.borrow_mut().remove(slot as usize);
        stages.add(Stage::Mailbox, self.clock.now().since(sent));
        join.join_stages(&stages);
        for (index, outcome) in outcomes {
            join.put(index, outcome);
        }
        join.part_done();
    }
}

/// Whether the answer waits until the batch is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// acks=0: nobody reads the answer.
    No,
    /// acks=1 and acks=all: at most this many milliseconds.
    Committed { timeout_ms: i32 },
}

/// Counts down what a request, or its part on one shard, still waits for.
pub struct ProduceJoin {
    remaining: Cell<u32>,
    outcomes: RefCell<Vec<(u32, ProduceOutcome)>>,
    /// What the parts on other shards took.
    stages: Cell<Stages>,
    /// When the last outcome was known, where somebody asks.
    done_at: Cell<Micros>,
    clock: Option<Clock>,
    then: Then,
}

enum Then {
    Wake(Cell<Option<Waker>>),
    Send {
        home: ShardId,
        slot: u32,
        shard: Rc<Shard>,
    },
}

impl ProduceJoin {
    /// The join of the connection that asked.
    pub fn local(capacity: usize) -> Rc<ProduceJoin> {
        ProduceJoin::new(capacity, None, Then::Wake(Cell::new(None)))
    }

    /// [`ProduceJoin::local`] that notes when it was done.
    pub fn timed(capacity: usize, clock: &Clock) -> Rc<ProduceJoin> {
        let clock = Some(clock.clone());
        ProduceJoin::new(capacity, clock, Then::Wake(Cell::new(None)))
    }

    /// The join of a part that came from shard `home`.
    pub fn forwarded(
        capacity: usize,
        home: ShardId,
        slot: u32,
        shard: Rc<Shard>,
    ) -> Rc<ProduceJoin> {
        ProduceJoin::new(capacity, None, Then::Send { home, slot, shard })
    }

    fn new(capacity: usize, clock: Option<Clock>, then: Then) -> Rc<ProduceJoin> {
        // One count is held by whoever starts the parts, so that none of them can finish the whole too early.
        let outcomes = RefCell::new(Vec::with_capacity(capacity));
        Rc::new(ProduceJoin {
            remaining: Cell::new(1),
            outcomes,
            stages: Cell::default(),
            done_at: Cell::default(),
            clock,
            then,
        })
    }

    /// One more part is on its way.
    pub fn expect_part(&self) {
        self.remaining.set(self.remaining.get() + 1);
    }

    /// An outcome is known; parts are counted apart.
    pub fn put(&self, index: u32, outcome: ProduceOutcome) {
        self.outcomes.borrow_mut().push((index, outcome));
    }

    /// A part is finished, its outcomes put.
    pub fn part_done(&self) {
        let remaining = self.remaining.get() - 1;
        self.remaining.set(remaining);
        if remaining > 0 {
            return;
        }
        match &self.then {
            Then::Wake(waker) => {
                if let Some(clock) = &self.clock {
                    self.done_at.set(clock.now());
                }
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
            Then::Send { home, slot, shard } => {
                let outcomes = self.outcomes.take();
                shard.send(
                    *home,
                    Message::ProduceDone {
                        slot: *slot,
                        sent: shard.clock.now(),
                        stages: self.stages.get(),
                        outcomes,
                    },
                );
            }
        }
    }

    /// The outcomes, in the order in which they became known, each with its index in the request.
    pub fn take_outcomes(&self) -> Vec<(u32, ProduceOutcome)> {
        self.outcomes.take()
    }

    fn join_stages(&self, part: &Stages) {
        let mut stages = self.stages.get();
        stages.join(part);
        self.stages.set(stages);
    }

    /// What the slowest part on another shard took on its way and there, and when the last outcome was known.
    pub fn times(&self) -> (Stages, Micros) {
        (self.stages.get(), self.done_at.get())
    }

    pub fn is_done(&self) -> bool {
        self.remaining.get() == 0
    }
}

/// Waits for a [`ProduceJoin::local`] to finish.
pub struct Joined(pub Rc<ProduceJoin>);

impl Future for Joined {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_done() {
            return Poll::Ready(());
        }
        if let Then::Wake(waker) = &self.0.then {
            waker.set(Some(context.waker().clone()));
        }
        Poll::Pending
    }
}
