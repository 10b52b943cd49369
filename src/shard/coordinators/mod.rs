//! Coordinators of groups and transactions: one for each partition of the internal topics, on the shard that owns it.
//!
//! A request finds its partition by Kafka's hash, crosses to the owner ([`requests`]), and is handed to the sans-IO core
//! there ([`coordinator`]): `decide → append → hold the replies until durable`. Loading ([`load`]) is the same core fed
//! with the log. What a core decides about other partitions, a transaction's markers, is carried out by [`markers`].
//!
//! All coordinators of a shard share one timer wheel and one flush task: a coordinator with nothing to do costs nothing.

mod coordinator;
mod groups;
mod internal;
mod lag;
mod load;
mod markers;
mod partition;
mod requests;
mod transactions;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use hashbrown::HashMap;

pub use self::coordinator::Hook;
use self::coordinator::{Coordinator, Core};
use self::groups::Groups;
pub use self::internal::Internal;
use self::markers::Markers;
use self::transactions::Transactions;
use super::Shard;
use super::replica::Replica;
use crate::config::BrokerConfig;
use crate::group::Census;
use crate::record::{BatchBuilder, Codec};
use crate::rt::{self, Clock, Queue, Signal, Wheel};
use crate::types::{Micros, Now, ShardId, Str, Token};

/// What the coordinators of one shard share.
pub struct Coordinators {
    groups: Table<Groups>,
    /// What all groups of the shard take in memory, in bytes, roughly; and what they may.
    groups_bytes: Rc<Cell<usize>>,
    groups_bytes_max: usize,
    /// When the log was last told that groups are refused.
    groups_warned: Cell<Option<Micros>>,
    transactions: Table<Transactions>,
    /// Deadlines of all of them.
    wheel: Wheel<Rc<dyn Hook>>,
    /// Those that have something to append when this turn is over.
    dirty: RefCell<Vec<Rc<dyn Hook>>>,
    flush: Signal,
    groups_builder: RefCell<BatchBuilder>,
    transactions_builder: RefCell<BatchBuilder>,
    markers: Rc<Markers>,
    next_token: Cell<u64>,
    started: Cell<bool>,
}

/// Microseconds between two lines of the log about groups that are refused.
const WARN_EVERY_US: u64 = 60_000_000;

/// Memory taken ahead for a batch of coordinators' records.
const BATCH_CAPACITY: usize = 16 << 10;

impl Coordinators {
    /// - `groups_bytes_max`: what groups of this shard may take.
    pub fn new(config: &BrokerConfig, clock: &Clock, groups_bytes_max: usize) -> Coordinators {
        let builder = |codec| RefCell::new(BatchBuilder::new(codec, BATCH_CAPACITY));
        Coordinators {
            groups: RefCell::default(),
            groups_bytes: Rc::default(),
            groups_bytes_max,
            groups_warned: Cell::new(None),
            transactions: RefCell::default(),
            wheel: Wheel::new(clock.now()),
            dirty: RefCell::default(),
            flush: Signal::default(),
            groups_builder: builder(offsets_codec(config)),
            transactions_builder: builder(Codec::None),
            markers: Markers::new(),
            next_token: Cell::new(0),
            started: Cell::new(false),
        }
    }

    /// Bytes that groups may still take.
    fn groups_room(&self) -> usize {
        self.groups_bytes_max
            .saturating_sub(self.groups_bytes.get())
    }

    /// A name for one waiting request, unique in this process.
    fn token(&self, home: ShardId) -> Token {
        let number = self.next_token.get();
        self.next_token.set(number + 1);
        Token(u64::from(home.0) << 48 | number)
    }
}

impl Shard {
    /// A partition was opened here: if it is of an internal topic, its coordinator begins to load.
    pub(super) fn coordinate(self: &Rc<Self>, replica: &Rc<Replica>) {
        let Some(internal) = Internal::of(&replica.topic) else {
            return;
        };
        self.start_coordinators();
        match internal {
            Internal::Offsets => Coordinator::<Groups>::open(self, replica),
            Internal::Transactions => Coordinator::<Transactions>::open(self, replica),
        }
    }

    /// The tasks of the shard's coordinators, with the first of them.
    fn start_coordinators(self: &Rc<Self>) {
        if self.coordinators.started.replace(true) {
            return;
        }
        let shard = self.clone();
        rt::spawn(Queue::Net, "coordinator timers", async move {
            let clock = shard.clock.clone();
            shard
                .coordinators
                .wheel
                .run(&clock, |due| due.on_timer())
                .await;
        });
        let shard = self.clone();
        rt::spawn(Queue::Net, "coordinator appends", async move {
            loop {
                shard.coordinators.flush.wait().await;
                let dirty = shard.coordinators.dirty.take();
                dirty
                    .into_iter()
                    .for_each(|coordinator| coordinator.flush());
            }
        });
        markers::start(self);
    }

    /// These topics came, went, or have other partitions.
    pub(super) fn tell_coordinators(&self, topics: &BTreeSet<Str>) {
        let groups = all(&self.coordinators.groups);
        groups
            .iter()
            .for_each(|coordinator| coordinator.on_metadata(topics));
    }

    /// So many groups, members or offsets were refused for want of memory.
    fn refused_groups(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.groups_refused.add(count);
        let now = self.clock.now();
        let warned = &self.coordinators.groups_warned;
        if warned.get().is_none_or(|at| now.since(at) >= WARN_EVERY_US) {
            warned.set(Some(now));
            let bytes = self.coordinators.groups_bytes.get();
            tracing::warn!(
                "new groups, members and offsets are refused: groups take {bytes} bytes on shard {}, as much as they may \
                 (memory.group.ratio)",
                self.id
            );
        }
    }

    /// Counts what the shard's coordinators hold.
    pub(super) fn measure_coordinators(&self) {
        let metrics = &self.metrics;
        let mut census = Census::default();
        for groups in all(&self.coordinators.groups) {
            if let Some(counted) = groups.look(Groups::census) {
                census.add(&counted);
            }
        }
        let [empty, preparing, completing, stable] = census.classic;
        metrics.groups_classic_empty.set(empty as i64);
        metrics.groups_classic_preparing.set(preparing as i64);
        metrics.groups_classic_completing.set(completing as i64);
        metrics.groups_classic_stable.set(stable as i64);
        let [empty, assigning, reconciling, stable] = census.consumer;
        metrics.groups_consumer_empty.set(empty as i64);
        metrics.groups_consumer_assigning.set(assigning as i64);
        metrics.groups_consumer_reconciling.set(reconciling as i64);
        metrics.groups_consumer_stable.set(stable as i64);
        let members = (census.classic_members, census.consumer_members);
        metrics.group_members_classic.set(members.0 as i64);
        metrics.group_members_consumer.set(members.1 as i64);
        metrics.group_offsets.set(census.offsets as i64);
        metrics.group_memory.set(census.bytes as i64);
        metrics.memory_groups.set(census.bytes as i64);
        let now = self.clock.wall();
        let (mut ids, mut open_ms) = (0, 0);
        for transactions in all(&self.coordinators.transactions) {
            let looked = transactions.look(|t| (t.count(), t.oldest_open_ms(now)));
            let (count, oldest_ms) = looked.unwrap_or_default();
            ids += count;
            open_ms = open_ms.max(oldest_ms);
        }
        metrics.transactional_ids.set(ids);
        metrics.transaction_open.set(open_ms.saturating_mul(1000));
    }

    /// The broker stops: whoever waits for a coordinator is told to look for it elsewhere.
    pub fn close_coordinators(&self) {
        let groups = all(&self.coordinators.groups);
        groups
            .into_iter()
            .for_each(|coordinator| coordinator.close());
        let transactions = all(&self.coordinators.transactions);
        transactions
            .into_iter()
            .for_each(|coordinator| coordinator.close());
    }

    fn now(&self) -> Now {
        Now {
            wall: self.clock.wall(),
            mono: self.clock.now(),
        }
    }
}

/// A deadline that is set on the wheel.
type Armed = Option<(Micros, rt::TimerKey)>;

/// `offsets.topic.compression.codec`, by the numbers that batches have them by.
fn offsets_codec(config: &BrokerConfig) -> Codec {
    let id = u8::try_from(config.offsets_topic_compression_codec);
    id.ok().and_then(Codec::from_id).unwrap_or_default()
}

/// The coordinators of a table, so that nothing is borrowed while they are called.
fn all<C: Core>(table: &Table<C>) -> Vec<Rc<Coordinator<C>>> {
    table.borrow().values().cloned().collect()
}

/// A shard's coordinators of one kind, by partition.
type Table<C> = RefCell<HashMap<i32, Rc<Coordinator<C>>>>;
