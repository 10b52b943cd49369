//! One coordinator: a sans-IO core over one partition, what it wants appended, and who waits for it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

use super::super::Shard;
use super::super::replica::Replica;
use super::{Armed, Coordinators, Internal, Table};
use crate::protocol::ErrorCode;
use crate::record::{BATCH_HEADER_BYTES, BatchBuilder, BatchSeal, Producer};
use crate::rt::{self, Queue, Receiver, Sender, oneshot};
use crate::types::{LeaderEpoch, Micros, Offset, ProducerEpoch, ProducerId, Str, Token};

/// A sans-IO coordinator, as its runtime drives it.
pub trait Core: Sized + 'static {
    type Request: Clone + Send + 'static;
    type Reply: Send + 'static;
    /// What is to be done elsewhere once the records of the same output are durable.
    type Job: 'static;

    /// The topic that it is kept in.
    const TOPIC: Internal;

    /// The shard's coordinators of this kind, by partition.
    fn table(coordinators: &Coordinators) -> &Table<Self>;
    /// Lent to whoever appends; empty in between.
    fn builder(coordinators: &Coordinators) -> &RefCell<BatchBuilder>;
    /// What must be at hand on the shard before any request is handled.
    ///
    /// - `Err`: it cannot be had, and no request is handled.
    fn prepare(shard: &Rc<Shard>) -> impl Future<Output = Result<(), ErrorCode>>;
    /// Whether what [`Core::prepare`] gets is at hand.
    fn is_prepared(_shard: &Shard) -> bool {
        true
    }
    /// Whom the request is about, as [`Write::about`] names them; `None`: it may be about all.
    fn about(request: &Self::Request) -> Option<&Str>;
    /// What the partition itself has to say to a request, which then does not come to the core.
    fn intercept(
        _request: &Self::Request,
        _replica: &Replica,
    ) -> Option<Result<Self::Reply, ErrorCode>> {
        None
    }
    /// Whether what is asked for may have to be appended.
    fn may_write(request: &Self::Request) -> bool;
    fn new(partition: i32, epoch: LeaderEpoch) -> Self;
    fn handle(
        &mut self,
        token: Token,
        request: Self::Request,
        place: Place<'_>,
        out: &mut Output<Self>,
    );
    /// One record of the log, while loading. `Err`: it is none of this coordinator's, and is passed over.
    fn replay(&mut self, record: Replayed) -> Result<(), String>;
    /// A transaction's end was appended to this partition, or found there while loading.
    fn on_marker(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, committed: bool);
    fn on_loaded(&mut self, place: Place<'_>, out: &mut Output<Self>);
    /// These topics have come, changed or gone.
    fn on_metadata(&mut self, _topics: &BTreeSet<Str>, _place: Place<'_>, _out: &mut Output<Self>) {
    }
    fn next_deadline(&self) -> Option<Micros>;
    fn tick(&mut self, place: Place<'_>, out: &mut Output<Self>);
    fn forget(&mut self, token: Token);
    /// The jobs of an output whose records are durable.
    fn start(this: &Rc<Coordinator<Self>>, jobs: Vec<Self::Job>);
}

/// Where a core is at work.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub shard: &'a Shard,
    /// The partition whose log holds its state.
    pub replica: &'a Replica,
}

/// A record as it lies in the log.
pub struct Replayed {
    pub key: Bytes,
    pub value: Option<Bytes>,
    /// Of a transactional batch.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

/// Records that go into the log together, encoded.
pub struct Write {
    /// Key, and value or tombstone.
    pub records: Vec<(Bytes, Option<Bytes>)>,
    /// Of a transactional batch.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
    /// Whom the records are about: groups, or transactional ids.
    pub about: Vec<Str>,
}

/// What a core decided, in order.
pub struct Output<C: Core> {
    pub writes: Vec<Write>,
    pub replies: Vec<(Token, C::Reply)>,
    pub jobs: Vec<C::Job>,
}

impl<C: Core> Default for Output<C> {
    fn default() -> Output<C> {
        Output {
            writes: Vec::new(),
            replies: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

/// Replies and jobs that wait until the log is durable up to `end`.
struct Held<C: Core> {
    end: Offset,
    /// Nobody waits any longer (`offsets.commit.timeout.ms`).
    deadline: Micros,
    replies: Vec<(Token, C::Reply)>,
    jobs: Vec<C::Job>,
}

impl<C: Core> Held<C> {
    fn new(end: Offset, deadline: Micros) -> Held<C> {
        Held {
            end,
            deadline,
            replies: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

enum Stage<C> {
    /// The log is being replayed.
    Loading,
    Active(C),
    /// The partition is gone or its directory failed.
    Gone,
}

/// Who waits for an answer, and whom the question was about.
struct Waiting<R> {
    sender: Sender<Result<R, ErrorCode>>,
    about: Option<Str>,
}

/// One partition's coordinator. Lives on the shard that owns the partition.
pub struct Coordinator<C: Core> {
    pub partition: i32,
    pub(super) shard: Rc<Shard>,
    pub(super) replica: Rc<Replica>,
    stage: RefCell<Stage<C>>,
    waiting: RefCell<HashMap<Token, Waiting<C::Reply>>>,
    /// What was decided in this turn and is not appended yet.
    unsent: RefCell<Output<C>>,
    held: RefCell<VecDeque<Held<C>>>,
    /// Where the last records about somebody end, of those that are not durable; what is not here may be told at once.
    undurable: RefCell<HashMap<Str, Offset>>,
    /// Everybody is concerned by what lies below: a transaction's marker, what was there when the log was loaded.
    undurable_all: Cell<Offset>,
    queued: Cell<bool>,
    armed: Cell<Armed>,
}

/// What the partition, the timer and the flush task tell a coordinator of any kind.
pub trait Hook {
    /// Appends what was decided so far.
    fn flush(self: Rc<Self>);
    fn on_timer(self: Rc<Self>);
    /// Everything below `high` is committed.
    fn on_committed(self: Rc<Self>, high: Offset);
    /// The partition was deleted, its log directory failed, or the broker stops.
    fn close(self: Rc<Self>);
    /// A transaction's marker is the newest batch of the log.
    fn on_marker(self: Rc<Self>, producer_id: ProducerId, epoch: ProducerEpoch, committed: bool);
}

/// After a refused append, so that a full disk is not met by reading all of the log again and again.
const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// What could not be had for a deadline is asked for again after this.
const PREPARE_AGAIN: Duration = Duration::from_secs(1);

impl<C: Core> Coordinator<C> {
    /// Makes the coordinator of a partition that was opened, and begins to load it.
    pub fn open(shard: &Rc<Shard>, replica: &Rc<Replica>) {
        let coordinator = Rc::new(Coordinator {
            partition: replica.partition,
            shard: shard.clone(),
            replica: replica.clone(),
            stage: RefCell::new(Stage::Loading),
            waiting: RefCell::default(),
            unsent: RefCell::default(),
            held: RefCell::default(),
            undurable: RefCell::default(),
            undurable_all: Cell::new(Offset::ZERO),
            queued: Cell::new(false),
            armed: Cell::new(None),
        });
        replica.hook(coordinator.clone());
        let table = C::table(&shard.coordinators);
        table
            .borrow_mut()
            .insert(replica.partition, coordinator.clone());
        coordinator.begin_loading(Duration::ZERO);
    }

    /// Hands a request to the core. The answer comes when what it says is durable.
    ///
    /// `Err`: COORDINATOR_LOAD_IN_PROGRESS or NOT_COORDINATOR, or COORDINATOR_NOT_AVAILABLE while the disk is full and the
    /// request may have to be stored; nothing was done.
    pub fn submit(
        self: &Rc<Self>,
        token: Token,
        request: C::Request,
    ) -> Result<Receiver<Result<C::Reply, ErrorCode>>, ErrorCode> {
        let receiver = {
            let mut stage = self.stage.borrow_mut();
            let core = match &mut *stage {
                Stage::Loading => return Err(ErrorCode::CoordinatorLoadInProgress),
                Stage::Gone => return Err(ErrorCode::NotCoordinator),
                Stage::Active(core) => core,
            };
            if C::may_write(&request) && !self.is_writable() {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
            let (sender, receiver) = oneshot();
            if let Some(answer) = C::intercept(&request, &self.replica) {
                let _ = sender.send(Ok(answer?));
                return Ok(receiver);
            }
            // The name outlives the request's frame.
            let about = C::about(&request).map(Str::detach);
            let waiting = Waiting { sender, about };
            self.waiting.borrow_mut().insert(token, waiting);
            let place = self.place();
            core.handle(token, request, place, &mut self.unsent.borrow_mut());
            receiver
        };
        self.after();
        Ok(receiver)
    }

    /// Who waited for this request is gone.
    pub fn forget(self: &Rc<Self>, token: Token) {
        if self.waiting.borrow_mut().remove(&token).is_some() {
            self.with_core(|core, _, _| core.forget(token));
        }
    }

    pub fn on_metadata(self: &Rc<Self>, topics: &BTreeSet<Str>) {
        self.with_core(|core, place, out| core.on_metadata(topics, place, out));
    }

    /// Whether the log takes appends. What is decided while it does not would have to be thrown away with everything else
    /// the core knows.
    fn is_writable(&self) -> bool {
        self.replica.log.check_append().is_ok()
    }

    fn place(&self) -> Place<'_> {
        Place {
            shard: &self.shard,
            replica: &self.replica,
        }
    }

    /// Has the core look at something, and carries out what it decides. Nothing happens while it is not loaded.
    pub fn with_core(self: &Rc<Self>, work: impl FnOnce(&mut C, Place<'_>, &mut Output<C>)) {
        {
            let mut stage = self.stage.borrow_mut();
            let Stage::Active(core) = &mut *stage else {
                return;
            };
            work(core, self.place(), &mut self.unsent.borrow_mut());
        }
        self.after();
    }

    /// Looks at the core; `None` while it is not loaded.
    pub fn look<T>(&self, look: impl FnOnce(&C) -> T) -> Option<T> {
        match &*self.stage.borrow() {
            Stage::Active(core) => Some(look(core)),
            Stage::Loading | Stage::Gone => None,
        }
    }

    /// The log is replayed: requests are taken from now on.
    pub(super) fn on_loaded(self: &Rc<Self>, core: C) {
        self.undurable_all.set(self.replica.core().log_end());
        self.stage.replace(Stage::Active(core));
        self.shard.metrics.coordinators_loaded.increment();
        self.with_core(|core, place, out| core.on_loaded(place, out));
    }

    /// Whether a loader still has something to do.
    pub(super) fn is_loading(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Loading)
    }

    /// After every call of the core: has its decisions appended when the turn is over, at once if there is nothing to
    /// append, and keeps its next deadline on the wheel.
    fn after(self: &Rc<Self>) {
        let nothing_to_append = self.unsent.borrow().writes.is_empty() && !self.queued.get();
        if nothing_to_append {
            self.clone().flush();
        } else if !self.queued.replace(true) {
            self.shard
                .coordinators
                .dirty
                .borrow_mut()
                .push(self.clone());
            self.shard.coordinators.flush.set();
        }
        self.arm();
    }

    /// Keeps the wheel at or before the core's next deadline. A timer that fires too early looks again, so a deadline
    /// that moves on with every heartbeat costs nothing.
    fn arm(self: &Rc<Self>) {
        let due = match &*self.stage.borrow() {
            Stage::Active(core) => core.next_deadline(),
            Stage::Loading | Stage::Gone => None,
        };
        let held = self.held.borrow();
        let waits = held.iter().find(|held| !held.replies.is_empty());
        let overdue = waits.map(|held| held.deadline);
        let Some(due) = due.into_iter().chain(overdue).min() else {
            return;
        };
        drop(held);
        let wheel = &self.shard.coordinators.wheel;
        match self.armed.get() {
            Some((at, _)) if at <= due => {}
            armed => {
                if let Some((_, key)) = armed {
                    wheel.cancel(key);
                }
                self.armed.set(Some((due, wheel.insert(due, self.clone()))));
            }
        }
    }

    /// Whether an answer tells what is not durable yet: records of this turn or of earlier ones about the same group, or
    /// transactional id.
    fn must_wait(&self, token: Token, end: Offset, high: Offset) -> bool {
        if end <= high {
            return false;
        }
        let waiting = self.waiting.borrow();
        let about = waiting
            .get(&token)
            .and_then(|waiting| waiting.about.as_ref());
        let undurable = self.undurable.borrow();
        match about {
            Some(about) => self.undurable_all.get() > high || undurable.contains_key(about),
            None => true,
        }
    }

    /// Answers whoever has waited too long for the disk. What is decided stands, and jobs begin when its records are durable.
    fn give_up_held(&self, now: Micros) {
        let mut overdue = Vec::new();
        for held in self.held.borrow_mut().iter_mut() {
            if held.deadline > now {
                break;
            }
            overdue.append(&mut held.replies);
        }
        let mut held = self.held.borrow_mut();
        held.retain(|held| !held.replies.is_empty() || !held.jobs.is_empty());
        drop(held);
        self.answer_all(&overdue, ErrorCode::CoordinatorNotAvailable);
    }

    /// Lets answers go and begins the work that their records have promised.
    fn release(self: &Rc<Self>, held: Held<C>) {
        let mut waiting = self.waiting.borrow_mut();
        for (token, reply) in held.replies {
            if let Some(waiting) = waiting.remove(&token) {
                // Whoever is gone has been forgotten, or will be.
                let _ = waiting.sender.send(Ok(reply));
            }
        }
        drop(waiting);
        if !held.jobs.is_empty() {
            C::start(self, held.jobs);
        }
    }

    fn answer_all(&self, replies: &[(Token, C::Reply)], error: ErrorCode) {
        let mut waiting = self.waiting.borrow_mut();
        for (token, _) in replies {
            if let Some(waiting) = waiting.remove(token) {
                let _ = waiting.sender.send(Err(error));
            }
        }
    }

    /// Throws the core away: whoever waits is told `error`.
    fn fall(&self, error: ErrorCode, next: Stage<C>) {
        if let Stage::Active(_) = self.stage.replace(next) {
            self.shard.metrics.coordinators_loaded.decrement();
        }
        self.unsent.take();
        self.held.take();
        self.undurable.take();
        if let Some((_, key)) = self.armed.take() {
            self.shard.coordinators.wheel.cancel(key);
        }
        for (_, waiting) in self.waiting.take() {
            let _ = waiting.sender.send(Err(error));
        }
    }

    /// Appends records in the order in which they were decided. Plain ones become one batch as long as it is not too
    /// large; those of a producer's transaction become batches of that producer.
    ///
    /// - `Err(MessageTooLarge)`: one of the records does not fit a batch by itself, and none was appended.
    fn append(&self, writes: &[Write]) -> Result<(), ErrorCode> {
        let bytes_max = self.replica.config().max_message_bytes as usize;
        let records = writes.iter().flat_map(|write| &write.records);
        let alone = |(key, value): &(Bytes, Option<Bytes>)| {
            BATCH_HEADER_BYTES + BatchBuilder::record_size_max(Some(key), value.as_deref(), &[])
        };
        if records.map(alone).any(|bytes| bytes > bytes_max) {
            return Err(ErrorCode::MessageTooLarge);
        }
        let mut builder = C::builder(&self.shard.coordinators).borrow_mut();
        let result = self.append_with(&mut builder, writes);
        builder.clear();
        result
    }

    fn append_with(&self, builder: &mut BatchBuilder, writes: &[Write]) -> Result<(), ErrorCode> {
        let bytes_max = self.replica.config().max_message_bytes as usize;
        let now = self.shard.clock.wall();
        let mut producer = None;
        for write in writes {
            if write.producer != producer {
                self.seal(builder, producer)?;
                producer = write.producer;
            }
            for (key, value) in &write.records {
                let value = value.as_deref();
                let more = BatchBuilder::record_size_max(Some(key), value, &[]);
                if !builder.is_empty() && builder.size() + more > bytes_max {
                    self.seal(builder, producer)?;
                }
                builder.append(now, Some(key), value, &[]);
            }
        }
        self.seal(builder, producer)
    }

    fn seal(
        &self,
        builder: &mut BatchBuilder,
        producer: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(), ErrorCode> {
        if builder.is_empty() {
            return Ok(());
        }
        let seal = BatchSeal {
            producer: producer.map(|(id, epoch)| Producer {
                id,
                epoch,
                base_sequence: NO_SEQUENCE,
            }),
            is_transactional: producer.is_some(),
            ..BatchSeal::default()
        };
        let batch = builder.build(&seal, &mut self.shard.codecs.borrow_mut());
        self.replica.append_own(&self.shard, batch)
    }
}

/// A coordinator's batch stands in no producer's sequence.
const NO_SEQUENCE: i32 = -1;

impl<C: Core> Hook for Coordinator<C> {
    fn flush(self: Rc<Self>) {
        self.queued.set(false);
        let out = self.unsent.take();
        if out.writes.is_empty() && out.replies.is_empty() && out.jobs.is_empty() {
            return;
        }
        if let Err(error) = self.append(&out.writes) {
            let (topic, partition) = (C::TOPIC.name(), self.partition);
            tracing::warn!(
                "{topic}-{partition}: an append was refused ({error}); its state is loaded again"
            );
            if error == ErrorCode::MessageTooLarge {
                // As in Kafka: trying again would not help whoever asked for it.
                self.answer_all(&out.replies, ErrorCode::UnknownServerError);
            }
            self.fall(ErrorCode::CoordinatorNotAvailable, Stage::Loading);
            self.begin_loading(RELOAD_AFTER);
            return;
        }
        let (end, high) = {
            let core = self.replica.core();
            (core.log_end(), core.high_watermark())
        };
        if end > high {
            let mut undurable = self.undurable.borrow_mut();
            let about = out.writes.into_iter().flat_map(|write| write.about);
            undurable.extend(about.map(|about| (about, end)));
        }
        let timeout_ms = self.shard.config.offsets_commit_timeout_ms;
        let deadline = self
            .shard
            .clock
            .now()
            .plus_ms(timeout_ms.unsigned_abs().into());
        let (mut now, mut later) = (Held::new(end, deadline), Held::new(end, deadline));
        for (token, reply) in out.replies {
            let held = match self.must_wait(token, end, high) {
                true => &mut later,
                false => &mut now,
            };
            held.replies.push((token, reply));
        }
        match end <= high && self.held.borrow().is_empty() {
            true => now.jobs = out.jobs,
            false => later.jobs = out.jobs,
        }
        if !later.replies.is_empty() || !later.jobs.is_empty() {
            self.held.borrow_mut().push_back(later);
            self.arm();
        }
        self.release(now);
    }

    fn on_timer(self: Rc<Self>) {
        self.armed.set(None);
        let now = self.shard.clock.now();
        self.give_up_held(now);
        let due = match &*self.stage.borrow() {
            Stage::Active(core) => core.next_deadline().is_some_and(|due| due <= now),
            Stage::Loading | Stage::Gone => false,
        };
        if !due {
            self.arm();
        } else if !self.is_writable() {
            // Nobody loses a session, or a transaction, to a full disk.
            let again = now.plus_ms(PREPARE_AGAIN.as_millis() as u64);
            let key = self.shard.coordinators.wheel.insert(again, self.clone());
            self.armed.set(Some((again, key)));
        } else if C::is_prepared(&self.shard) {
            self.with_core(|core, place, out| core.tick(place, out));
        } else {
            rt::spawn(Queue::Net, "coordinator", async move {
                match C::prepare(&self.shard).await {
                    Ok(()) => self.on_timer(),
                    Err(_) => {
                        rt::sleep(PREPARE_AGAIN).await;
                        self.arm();
                    }
                }
            });
        }
    }

    fn on_committed(self: Rc<Self>, high: Offset) {
        self.undurable.borrow_mut().retain(|_, end| *end > high);
        loop {
            let held = {
                let mut held = self.held.borrow_mut();
                match held.front() {
                    Some(front) if front.end <= high => held.pop_front().expect("it has a front"),
                    _ => return,
                }
            };
            self.release(held);
        }
    }

    fn close(self: Rc<Self>) {
        self.fall(ErrorCode::NotCoordinator, Stage::Gone);
        let mut table = C::table(&self.shard.coordinators).borrow_mut();
        if table
            .get(&self.partition)
            .is_some_and(|other| Rc::ptr_eq(other, &self))
        {
            table.remove(&self.partition);
        }
    }

    fn on_marker(self: Rc<Self>, producer_id: ProducerId, epoch: ProducerEpoch, committed: bool) {
        self.undurable_all.set(self.replica.core().log_end());
        self.with_core(|core, _, _| core.on_marker(producer_id, epoch, committed));
    }
}
