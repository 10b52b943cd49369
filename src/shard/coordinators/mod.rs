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
mod load;
mod markers;
mod partition;
mod requests;
mod transactions;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

pub use self::coordinator::Hook;
use self::coordinator::{Coordinator, Core};
use self::groups::Groups;
pub use self::internal::Internal;
use self::markers::Markers;
use self::transactions::Transactions;
use super::Shard;
use super::replica::Replica;
use crate::config::BrokerConfig;
use crate::group::{Caller, GroupRequest};
use crate::record::{BatchBuilder, Codec};
use crate::rt::{self, Clock, Queue, Signal, Wheel};
use crate::types::{Micros, Now, ShardId, Str, Token};

/// What the coordinators of one shard share.
pub struct Coordinators {
    groups: Table<Groups>,
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

/// Memory taken ahead for a batch of coordinators' records.
const BATCH_CAPACITY: usize = 16 << 10;

impl Coordinators {
    pub fn new(config: &BrokerConfig, clock: &Clock) -> Coordinators {
        let builder = |codec| RefCell::new(BatchBuilder::new(codec, BATCH_CAPACITY));
        Coordinators {
            groups: RefCell::default(),
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

    /// Topics, partitions or groups' settings changed.
    pub(super) fn tell_coordinators(&self) {
        let groups = all(&self.coordinators.groups);
        groups
            .iter()
            .for_each(|coordinator| coordinator.on_metadata());
    }

    /// The settings of these groups changed.
    pub(super) fn tell_groups_configured(&self, names: &HashSet<Str>) {
        for name in names {
            let Some((_, partition)) = self.coordinator_place(Internal::Offsets, name) else {
                return;
            };
            let coordinator = self.coordinators.groups.borrow().get(&partition).cloned();
            if let Some(coordinator) = coordinator {
                let token = self.coordinators.token(self.id);
                let request = GroupRequest::ConfigChanged(name.clone());
                // Nobody waits for the answer; a coordinator that still loads will see the settings as they are then.
                drop(coordinator.submit(token, (Caller::default(), request)));
            }
        }
    }

    /// Counts what the shard's coordinators hold.
    pub(super) fn measure_coordinators(&self) {
        let groups = all(&self.coordinators.groups);
        let counts = groups.iter().map(|groups| groups.measure(Groups::count));
        self.metrics.groups.set(counts.sum());
        let transactions = all(&self.coordinators.transactions);
        let counts = transactions
            .iter()
            .map(|ids| ids.measure(Transactions::count));
        self.metrics.transactional_ids.set(counts.sum());
        let now = self.clock.wall();
        let open = transactions
            .iter()
            .map(|ids| ids.measure(|ids| ids.oldest_open_ms(now)));
        self.metrics
            .transaction_open_ms
            .set(open.max().unwrap_or(0));
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

/// `offsets.topic.compression.codec`, by Kafka's numbers.
fn offsets_codec(config: &BrokerConfig) -> Codec {
    match config.offsets_topic_compression_codec {
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        4 => Codec::Zstd,
        _ => Codec::None,
    }
}

/// The coordinators of a table, so that nothing is borrowed while they are called.
fn all<C: Core>(table: &Table<C>) -> Vec<Rc<Coordinator<C>>> {
    table.borrow().values().cloned().collect()
}

/// A shard's coordinators of one kind, by partition.
type Table<C> = RefCell<HashMap<i32, Rc<Coordinator<C>>>>;
