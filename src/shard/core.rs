//! One shard: its partitions, its store, its door to the others.

use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use slab::Slab;

use super::answers::answers;
use super::calls::{Answer, Calls};
use super::controller::Controller;
use super::coordinators::Coordinators;
use super::fetch::{Parked, PartitionRead, SentData, WatchItem, WatchKey};
use super::memory::{Budget, Measure, Warned};
use super::message::Message;
use super::moves::Moves;
use super::produce::ProduceJoin;
use super::replica::Replica;
use super::report::ListConnections;
use super::slow::SlowRing;
use super::waiters::WaitList;
use crate::config::BrokerConfig;
use crate::metadata::{Image, MetadataRecord, ProducerIdBlock, shard_of};
use crate::metrics::{Metrics, Stage, Stages};
use crate::protocol::ErrorCode;
use crate::record::Codecs;
use crate::rt::{
    self, Clock, Inbox, Mailbox, MemoryGate, Notify, Queue, RawAccepted, Receiver, Sender,
};
use crate::storage::{Committed, LogId, Store};
use crate::types::{NodeId, PartitionIndex, ShardId, TopicId};

/// A shard that is gone has taken the process with it.
pub(super) const ANSWERED: &str = "shards live as long as the process";

/// Who waits for what another shard reads, and for what that took.
type Reader = Sender<(Vec<PartitionRead<SentData>>, Stages)>;

/// Who serves a connection that came in by the listener of this number.
type Serve = Box<dyn Fn(usize, RawAccepted)>;

/// What a shard is and owns. Lives on its executor's thread and never leaves it.
pub struct Shard {
    pub id: ShardId,
    pub shards_count: u16,
    pub config: Arc<BrokerConfig>,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Compressors and buffers that checking and recompressing batches reuse.
    pub codecs: RefCell<Codecs>,
    pub(super) store: Store,
    image: RefCell<Image>,
    pub(super) replicas: RefCell<HashMap<(TopicId, i32), Rc<Replica>>>,
    pub(super) mailbox: Mailbox<Message>,
    calls: Calls,
    pub(super) produces: RefCell<Slab<Rc<ProduceJoin>>>,
    pub(super) wait_list: WaitList,
    pub(super) measures: RefCell<Vec<Measure>>,
    pub(super) budget: Budget,
    pub(super) producers_warned: Warned,
    pub(super) reads: RefCell<Slab<Reader>>,
    /// What is read for this shard's connections and not sent yet.
    pub answers: Rc<MemoryGate>,
    /// The slowest requests of this shard's connections.
    pub slow: SlowRing,
    pub(super) on_list: RefCell<Option<ListConnections>>,
    pub(super) on_turn: RefCell<Option<Box<dyn Fn()>>>,
    parked: Parked,
    /// Only on shard 0.
    pub(super) controller: RefCell<Option<Rc<Controller>>>,
    pub(super) controller_made: Notify,
    on_connection: RefCell<Option<Serve>>,
    /// Ids for new producers that this shard may give out, block by block.
    pub(super) producer_ids: RefCell<VecDeque<ProducerIdBlock>>,
    pub(super) coordinators: Coordinators,
    /// The configuration with what was set while the broker runs.
    pub(super) in_force: RefCell<Rc<BrokerConfig>>,
    pub(super) logs: RefCell<HashMap<LogId, Rc<Replica>>>,
    pub(super) moves: Moves,
    /// Partitions whose logs could not be opened: their directory is offline.
    pub(super) unopened: RefCell<HashSet<(TopicId, i32)>>,
    /// The metadata of earlier runs has been applied: partitions that come now are new.
    pub(super) is_recovered: Cell<bool>,
    next_connection: Cell<u64>,
}

impl Shard {
    pub fn new(
        id: ShardId,
        shards_count: u16,
        config: Arc<BrokerConfig>,
        clock: Clock,
        store: Store,
        mailbox: Mailbox<Message>,
        budget: Budget,
    ) -> Rc<Shard> {
        store.set_cordoned(config.cordoned_dirs());
        Rc::new(Shard {
            id,
            shards_count,
            metrics: Metrics::new(),
            codecs: RefCell::new(Codecs::new()),
            store,
            image: RefCell::new(Image::new()),
            replicas: RefCell::default(),
            mailbox,
            calls: Calls::default(),
            produces: RefCell::default(),
            wait_list: WaitList::default(),
            measures: RefCell::default(),
            budget,
            producers_warned: Warned::default(),
            reads: RefCell::default(),
            answers: answers(budget.answers()),
            slow: SlowRing::default(),
            on_list: RefCell::new(None),
            on_turn: RefCell::new(None),
            parked: Parked::default(),
            controller: RefCell::new(None),
            controller_made: Notify::default(),
            on_connection: RefCell::new(None),
            producer_ids: RefCell::default(),
            coordinators: Coordinators::new(&config, &clock, budget.groups),
            in_force: RefCell::new(Rc::new((*config).clone())),
            logs: RefCell::default(),
            moves: Moves::default(),
            unopened: RefCell::default(),
            is_recovered: Cell::new(false),
            next_connection: Cell::new(0),
            clock,
            config,
        })
    }

    /// Starts the mailbox loop and the flusher.
    pub fn start(self: &Rc<Self>, inbox: Inbox<Message>) {
        rt::spawn(Queue::Net, "mailbox", self.clone().receive(inbox));
        rt::spawn(Queue::Storage, "flusher", self.clone().flush());
        self.watch_directories();
        let timeouts = self.clone().time_out_produces();
        rt::spawn(Queue::Net, "produce timeouts", timeouts);
        rt::spawn(Queue::Net, "timer lateness", self.clone().watch_timers());
    }

    /// Who serves connections that arrive here.
    pub fn serve_connections(&self, serve: impl Fn(usize, RawAccepted) + 'static) {
        self.on_connection.replace(Some(Box::new(serve)));
    }

    /// A number for a new connection, unique on this shard.
    pub fn connection_number(&self) -> u64 {
        self.next_connection.replace(self.next_connection.get() + 1)
    }

    /// The metadata as this shard has applied it; the borrow must not be held across an await.
    pub fn image(&self) -> Ref<'_, Image> {
        self.image.borrow()
    }

    pub(super) fn image_mut(&self) -> std::cell::RefMut<'_, Image> {
        self.image.borrow_mut()
    }

    pub fn node_id(&self) -> NodeId {
        NodeId(self.config.node_id)
    }

    /// The shard that owns a partition.
    pub fn owner(&self, topic_id: TopicId, partition: i32) -> ShardId {
        shard_of(topic_id, PartitionIndex(partition), self.shards_count)
    }

    /// A partition that this shard owns; `None` if it does not exist (yet).
    pub fn replica(&self, topic_id: TopicId, partition: i32) -> Option<Rc<Replica>> {
        self.replicas.borrow().get(&(topic_id, partition)).cloned()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn send(&self, to: ShardId, message: Message) {
        self.mailbox.send(to, message);
    }

    /// Runs `work` on shard `to` and brings its answer home. For everything but the data path.
    pub async fn call<T, F, W>(self: &Rc<Self>, to: ShardId, work: W) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<Shard>) -> F + Send + 'static,
    {
        if to == self.id {
            return work(self.clone()).await;
        }
        self.call_abroad(to, work).await
    }

    /// Sends the call now; the future is only the wait for its answer.
    fn call_abroad<T, F, W>(&self, to: ShardId, work: W) -> impl Future<Output = T> + use<T, F, W>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<Shard>) -> F + Send + 'static,
    {
        let (slot, reply) = self.calls.open();
        let work: super::message::CallWork = Box::new(move |shard| {
            let future = work(shard);
            Box::pin(async move { Box::new(future.await) as Answer })
        });
        self.send(to, Message::Call { slot, work });
        async move {
            *reply
                .await
                .expect(ANSWERED)
                .downcast::<T>()
                .expect("a call answers with its own type")
        }
    }

    /// Runs `work` on another shard and waits for nothing.
    pub(super) fn tell<W>(&self, to: ShardId, work: W)
    where
        W: FnOnce(Rc<Shard>) + Send + 'static,
    {
        drop(self.call_abroad(to, move |shard| async move { work(shard) }));
    }

    /// Runs `work` on every shard at once. The answers come in the shards' order.
    pub async fn call_all<T, F, W>(self: &Rc<Self>, work: W) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<Shard>) -> F + Clone + Send + 'static,
    {
        let abroad: Vec<_> = self
            .shards()
            .map(|to| (to != self.id).then(|| self.call_abroad(to, work.clone())))
            .collect();
        let mut answers = Vec::with_capacity(abroad.len());
        for call in abroad {
            answers.push(match call {
                Some(call) => call.await,
                None => (work.clone())(self.clone()).await,
            });
        }
        answers
    }

    /// Runs `work` for each item on the shard that owns its partition, one message a shard. The answers come in
    /// the items' order.
    ///
    /// - `None`: the partition does not exist on its shard.
    pub async fn on_owners<A, T, F, W>(
        self: &Rc<Self>,
        items: Vec<(TopicId, i32, A)>,
        work: W,
    ) -> Vec<Option<T>>
    where
        A: Send + 'static,
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: Fn(Rc<Shard>, Rc<Replica>, A) -> F + Clone + Send + 'static,
    {
        let mut answers: Vec<Option<T>> = Vec::new();
        answers.resize_with(items.len(), || None);
        let mut shares: Vec<Vec<(usize, TopicId, i32, A)>> = Vec::new();
        shares.resize_with(self.shards_count as usize, Vec::new);
        for (index, (topic_id, partition, argument)) in items.into_iter().enumerate() {
            let owner = self.owner(topic_id, partition);
            shares[owner.index()].push((index, topic_id, partition, argument));
        }
        let mut calls = Vec::new();
        let mut own = Vec::new();
        for (to, share) in self.shards().zip(shares) {
            if to == self.id {
                own = share;
            } else if !share.is_empty() {
                let work = work.clone();
                calls.push(self.call_abroad(to, move |shard| on_replicas(shard, share, work)));
            }
        }
        let mut found = on_replicas(self.clone(), own, work).await;
        for call in calls {
            found.extend(call.await);
        }
        for (index, answer) in found {
            answers[index] = answer;
        }
        answers
    }

    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards_count).map(ShardId)
    }

    /// Parks a connection's Fetch until one of the partitions may have `need` bytes more.
    pub fn watch(self: &Rc<Self>, connection: u64, need: u64, items: &[WatchItem]) -> Receiver<()> {
        let reply = self.parked.park(connection);
        let key = WatchKey {
            home: self.id,
            connection,
        };
        for (to, items) in self.by_owner(items) {
            match to == self.id {
                true => self.on_watch(key, need, &items),
                false => self.send(to, Message::Watch { key, need, items }),
            }
        }
        reply
    }

    /// The connection's Fetch waits no more; what it watches may fire into the void once.
    pub fn park_ended(&self, connection: u64) {
        self.parked.unpark(connection);
    }

    /// The connection is gone: takes its watches out of all partitions.
    pub fn unwatch(self: &Rc<Self>, connection: u64, items: &[WatchItem]) {
        self.parked.unpark(connection);
        let key = WatchKey {
            home: self.id,
            connection,
        };
        for (to, items) in self.by_owner(items) {
            match to == self.id {
                true => self.on_unwatch(key, &items),
                false => self.send(to, Message::Unwatch { key, items }),
            }
        }
    }

    /// Tells a parked Fetch, here or on another shard, that there may be more to read.
    pub(super) fn wake_fetch(&self, key: WatchKey) {
        match key.home == self.id {
            true => self.parked.wake(key.connection),
            false => self.send(
                key.home,
                Message::WatchFired {
                    connection: key.connection,
                },
            ),
        }
    }

    fn by_owner(&self, items: &[WatchItem]) -> Vec<(ShardId, Vec<WatchItem>)> {
        let mut shares: Vec<(ShardId, Vec<WatchItem>)> = Vec::new();
        for item in items {
            let owner = self.owner(item.topic_id, item.partition);
            match shares.iter_mut().find(|(to, _)| *to == owner) {
                Some((_, share)) => share.push(item.clone()),
                None => shares.push((owner, vec![item.clone()])),
            }
        }
        shares
    }

    fn on_watch(&self, key: WatchKey, need: u64, items: &[WatchItem]) {
        for item in items {
            match self.replica(item.topic_id, item.partition) {
                Some(replica) => replica.watch(self, key, need, item),
                None => self.wake_fetch(key),
            }
        }
    }

    fn on_unwatch(&self, key: WatchKey, items: &[WatchItem]) {
        for item in items {
            if let Some(replica) = self.replica(item.topic_id, item.partition) {
                replica.unwatch(key);
            }
        }
    }

    async fn receive(self: Rc<Self>, inbox: Inbox<Message>) {
        loop {
            let (from, message) = inbox.recv().await;
            self.on_message(from, message);
        }
    }

    fn on_message(self: &Rc<Self>, from: ShardId, message: Message) {
        match message {
            Message::Produce(forward) => self.on_produce(from, forward),
            Message::ProduceDone {
                slot,
                sent,
                stages,
                outcomes,
            } => self.on_produce_done(slot, (sent, stages), outcomes),
            Message::Read {
                slot,
                sent,
                request,
            } => {
                let read = self.clone().on_read(from, (slot, sent), request);
                rt::spawn(Queue::Net, "read", read);
            }
            Message::ReadDone {
                slot,
                sent,
                mut stages,
                results,
            } => {
                stages.add(Stage::Mailbox, self.clock.now().since(sent));
                let reader = self.reads.borrow_mut().remove(slot as usize);
                // Who asked may have gone away meanwhile, and its results with it.
                let _ = reader.send((results, stages));
            }
            Message::Watch { key, need, items } => self.on_watch(key, need, &items),
            Message::Unwatch { key, items } => self.on_unwatch(key, &items),
            Message::WatchFired { connection } => self.parked.wake(connection),
            Message::Metadata { slot, records } => {
                rt::spawn(
                    Queue::Net,
                    "metadata",
                    self.clone().on_metadata(from, slot, records),
                );
            }
            Message::Call { slot, work } => {
                let shard = self.clone();
                let future = work(self.clone());
                rt::spawn(Queue::Net, "call", async move {
                    let value = future.await;
                    shard.send(from, Message::Answer { slot, value });
                });
            }
            Message::Answer { slot, value } => self.calls.answer(slot, value),
            Message::Connection { listener, accepted } => self.connection(listener, accepted),
        }
    }

    /// A connection to serve here. Before the server is up, or after it went down, it is closed.
    pub fn connection(&self, listener: usize, accepted: RawAccepted) {
        if let Some(serve) = &*self.on_connection.borrow() {
            serve(listener, accepted);
        }
    }

    async fn on_metadata(
        self: Rc<Self>,
        from: ShardId,
        slot: u32,
        records: Arc<Vec<MetadataRecord>>,
    ) {
        self.apply_metadata(&records).await;
        self.send(
            from,
            Message::Answer {
                slot,
                value: Box::new(()),
            },
        );
    }

    /// Has all other shards apply `records`; returns when they have.
    pub(super) async fn broadcast_metadata(&self, records: Arc<Vec<MetadataRecord>>) {
        let replies: Vec<_> = self
            .shards()
            .filter(|to| *to != self.id)
            .map(|to| {
                let (slot, reply) = self.calls.open();
                self.send(
                    to,
                    Message::Metadata {
                        slot,
                        records: records.clone(),
                    },
                );
                reply
            })
            .collect();
        for reply in replies {
            reply.await.expect(ANSWERED);
        }
    }

    /// Makes dirty logs durable, round by round, for as long as the shard lives.
    async fn flush(self: Rc<Self>) {
        loop {
            self.store.dirty().await;
            let started = self.clock.now();
            let written = self.store.written_bytes();
            let committed = self.store.commit().await;
            let metrics = &self.metrics;
            metrics.commit_rounds.increment();
            metrics
                .commit_round_time
                .record(self.clock.now().since(started));
            metrics
                .commit_round_logs
                .record(committed.logs.len() as u64);
            metrics
                .commit_round_bytes
                .record(self.store.written_bytes() - written);
            self.on_committed(committed);
        }
    }

    /// Tells the partitions of a round's logs how far they are durable, or that they failed.
    pub(super) fn on_committed(&self, committed: Committed) {
        for (id, end) in committed.logs {
            if let Some(replica) = self.replica_of(id) {
                replica.on_durable(self, end);
            }
        }
        for (id, error) in committed.failed {
            // A full disk loses nothing: the log stays dirty, and its batches become durable when there is room. Its
            // producers are told not to count on it; one that sends again is known by its sequence.
            if error.is_full() {
                if let Some(replica) = self.replica_of(id) {
                    replica.waiters.refuse(ErrorCode::KafkaStorageError);
                }
                continue;
            }
            if let Some(replica) = self.replica_of(id) {
                tracing::error!("{}-{}: {error}", replica.topic, replica.partition);
                replica.on_storage_failed(self);
            }
        }
    }

    fn replica_of(&self, id: LogId) -> Option<Rc<Replica>> {
        self.logs.borrow().get(&id).cloned()
    }
}

/// Runs `work` on those of a share's partitions that exist here, all in turn.
async fn on_replicas<A, T, F, W>(
    shard: Rc<Shard>,
    share: Vec<(usize, TopicId, i32, A)>,
    work: W,
) -> Vec<(usize, Option<T>)>
where
    F: Future<Output = T>,
    W: Fn(Rc<Shard>, Rc<Replica>, A) -> F,
{
    let mut answers = Vec::with_capacity(share.len());
    for (index, topic_id, partition, argument) in share {
        let answer = match shard.replica(topic_id, partition) {
            Some(replica) => Some(work(shard.clone(), replica, argument).await),
            None => None,
        };
        answers.push((index, answer));
    }
    answers
}
