//! A partition on its shard: the sans-IO core, its log, and those who wait for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Shard;
use super::append::{self, Prepared};
use super::coordinators::Hook;
use super::fetch::{
    PartitionRead, ReadData, ReadItem, ReadableBytes, WatchItem, WatchKey, Watchers,
};
use super::produce::{ProduceItem, ProduceJoin, ProduceOutcome};
use super::verification::Verifying;
use super::waiters::{Listing, Waiter, Waiters};
use crate::config::TopicConfig;
use crate::metrics::Counter;
use crate::partition::{
    Admitted, Effect, Effects, EpochError, Isolation, Partition, ProduceRefusal, SequenceError,
};
use crate::protocol::ErrorCode;
use crate::storage::{AbortedTransaction, AppendError, Log, Read, ReadError, Stamps};
use crate::types::{LeaderEpoch, Micros, Offset, Str, Timestamp, TopicId};

/// One replica that this broker leads.
pub struct Replica {
    pub topic: Str,
    pub topic_id: TopicId,
    pub partition: i32,
    pub log: Rc<Log>,
    core: RefCell<Partition>,
    config: RefCell<Rc<TopicConfig>>,
    /// Requests whose batch is appended but not committed, by ascending end offset.
    pub(super) waiters: Waiters,
    watchers: Watchers,
    /// Those who read only what is committed: woken when the last stable offset moves.
    committed_watchers: Watchers,
    /// Transactional batches whose coordinator is being asked.
    pub(super) verifying: Verifying,
    readable_bytes: ReadableBytes,
    /// What was appended for producers and read for consumers since it was opened.
    pub(super) traffic: Traffic,
    deleted: Cell<bool>,
    /// The coordinator that keeps its state here, of an internal topic's partition.
    pub(super) coordinator: RefCell<Option<Rc<dyn Hook>>>,
}

/// See [`Replica::traffic`].
#[derive(Default)]
pub(super) struct Traffic {
    pub records_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

/// What ListOffsets asks of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetQuery {
    Latest,
    Earliest,
    MaxTimestamp,
    /// A place in the remote tier, of which there is none.
    Tiered,
    /// The first record at this time or later.
    AtTime(Timestamp),
}

/// An offset with its record's time and epoch; −1 where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub epoch: LeaderEpoch,
}

impl Replica {
    pub fn new(
        topic: Str,
        topic_id: TopicId,
        partition: i32,
        log: Rc<Log>,
        core: Partition,
        config: Rc<TopicConfig>,
    ) -> Rc<Replica> {
        Rc::new(Replica {
            topic,
            topic_id,
            partition,
            log,
            core: RefCell::new(core),
            config: RefCell::new(config),
            waiters: Waiters::default(),
            watchers: Watchers::default(),
            committed_watchers: Watchers::default(),
            verifying: Verifying::default(),
            readable_bytes: ReadableBytes::default(),
            traffic: Traffic::default(),
            deleted: Cell::new(false),
            coordinator: RefCell::new(None),
        })
    }

    pub fn config(&self) -> Rc<TopicConfig> {
        self.config.borrow().clone()
    }

    pub fn set_config(&self, config: Rc<TopicConfig>) {
        self.config.replace(config);
    }

    /// Looks at the core; the borrow must not be held across an await.
    pub fn core(&self) -> std::cell::Ref<'_, Partition> {
        self.core.borrow()
    }

    pub(super) fn core_mut(&self) -> std::cell::RefMut<'_, Partition> {
        self.core.borrow_mut()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.get()
    }

    /// Checks, admits and appends one batch, in this turn.
    ///
    /// What is to be told goes to `join`: at once if the batch was refused or nobody waits, else when it is committed.
    ///
    /// - `deadline`: as [`Wait::deadline`](super::produce::Wait) gives it; `None`, nobody waits.
    pub fn produce(
        &self,
        shard: &Shard,
        item: ProduceItem,
        deadline: Option<Micros>,
        join: &Rc<ProduceJoin>,
    ) {
        self.produce_batch(shard, item, false, deadline, join);
    }

    /// [`Replica::produce`] for a producer that may bump its epoch with every transaction.
    pub(super) fn produce_batch(
        &self,
        shard: &Shard,
        item: ProduceItem,
        bumps_epoch: bool,
        deadline: Option<Micros>,
        join: &Rc<ProduceJoin>,
    ) {
        let index = item.index;
        match self.append(shard, item, bumps_epoch) {
            Err(outcome) => join.put(index, self.with_log_start(outcome)),
            Ok((outcome, end)) => {
                let committed = end <= self.core.borrow().high_watermark();
                if committed || deadline.is_none() {
                    join.put(index, outcome);
                } else {
                    join.expect_part();
                    let waiter = Waiter {
                        end,
                        join: join.clone(),
                        index,
                        outcome,
                        deadline,
                    };
                    self.park(shard, waiter);
                }
            }
        }
    }

    /// Kafka tells the log's start with those refusals that are about the batch, not about the partition.
    pub(super) fn with_log_start(&self, outcome: ProduceOutcome) -> ProduceOutcome {
        let log_start = match outcome.error {
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError => outcome.log_start,
            _ if outcome.fault.as_ref().is_some_and(|fault| fault.shape) => outcome.log_start,
            _ => self.core.borrow().log_start(),
        };
        ProduceOutcome {
            log_start,
            ..outcome
        }
    }

    /// The outcome to tell, and the offset that must be committed before it is true.
    fn append(
        &self,
        shard: &Shard,
        item: ProduceItem,
        bumps_epoch: bool,
    ) -> Result<(ProduceOutcome, Offset), ProduceOutcome> {
        let config = self.config.borrow().clone();
        let now = shard.clock.wall();
        let Prepared {
            batch,
            mut facts,
            restamp,
            append_time,
        } = append::prepare(shard, item.records, &config, now)?;
        facts.bumps_epoch = bumps_epoch && facts.is_transactional;
        let admitted = self.core.borrow().admit(&facts).map_err(refused)?;
        let log_start = self.core.borrow().log_start();
        let base_offset = match admitted {
            Admitted::Append { base_offset } => base_offset,
            Admitted::Duplicate {
                base_offset,
                timestamp,
            } => {
                let outcome = accepted(base_offset, timestamp, log_start);
                return Ok((outcome, base_offset.plus(facts.count as i64)));
            }
        };
        let epoch = self.core.borrow().leader_epoch();
        let stamps = Stamps {
            base_offset,
            epoch,
            restamp,
        };
        self.log
            .append_stamped(&batch, stamps, now)
            .map_err(append_failed)?;
        let range = self.core.borrow_mut().on_appended(&facts, now);
        self.count_appended(batch.size());
        self.traffic.records_in.add(range.count() as u64);
        self.traffic.bytes_in.add(batch.size() as u64);
        shard.metrics.records_in.add(range.count() as u64);
        shard.metrics.produce_bytes_in.add(batch.size() as u64);
        shard.metrics.batches_in.increment();
        shard.metrics.append_batch_size.record(batch.size() as u64);
        if config.write_caching {
            self.commit_from_memory(shard, &config);
        }
        Ok((accepted(base_offset, append_time, log_start), range.end))
    }

    pub(super) fn count_appended(&self, bytes: usize) {
        let end = self.core.borrow().log_end();
        self.readable_bytes.on_appended(end, bytes);
    }

    /// Under write caching a batch counts as committed at once, but for every `flush.messages` records.
    pub(super) fn commit_from_memory(&self, shard: &Shard, config: &TopicConfig) {
        if self.core.borrow().unflushed() < config.flush_messages {
            let mut effects = Effects::new();
            self.core.borrow_mut().on_cached(&mut effects);
            self.carry_out(shard, &effects);
        }
    }

    pub(super) fn park(&self, shard: &Shard, waiter: Waiter) {
        if self.waiters.park(waiter) == Listing::Due {
            shard.wait_list.add(self.topic_id, self.partition);
        }
    }

    /// The flusher made everything below `end` durable.
    pub fn on_durable(&self, shard: &Shard, end: Offset) {
        let mut effects = Effects::new();
        self.core.borrow_mut().on_durable(end, &mut effects);
        self.carry_out(shard, &effects);
    }

    /// A write or a sync of this log failed.
    pub fn on_storage_failed(&self, shard: &Shard) {
        let mut effects = Effects::new();
        self.core.borrow_mut().on_storage_failed(&mut effects);
        self.carry_out(shard, &effects);
    }

    /// The topic was deleted: whoever waits is told that it is unknown.
    pub fn on_deleted(&self, shard: &Shard) {
        self.deleted.set(true);
        self.fail_waiters(shard, ErrorCode::UnknownTopicOrPartition);
    }

    fn carry_out(&self, shard: &Shard, effects: &Effects) {
        for effect in effects {
            match *effect {
                Effect::WakeProducers(end) => {
                    self.waiters.wake(end);
                    if let Some(coordinator) = self.hooked() {
                        coordinator.on_committed(end);
                    }
                }
                Effect::WakeReaders(end) => {
                    let readable = self.readable_bytes.on_readable(end);
                    self.watchers.fire(readable, |key| shard.wake_fetch(key));
                }
                Effect::WakeCommittedReaders(stable) => self.wake_committed(shard, stable),
                Effect::FailWaiters => self.fail_waiters(shard, ErrorCode::KafkaStorageError),
            }
        }
    }

    fn fail_waiters(&self, shard: &Shard, error: ErrorCode) {
        self.waiters.refuse(error);
        self.verifying.fail(error);
        self.watchers.fire_all(|key| shard.wake_fetch(key));
        self.committed_watchers
            .fire_all(|key| shard.wake_fetch(key));
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.close();
        }
    }

    /// The last stable offset moved. Where nothing is open, what was appended says how much there is to read; else it is
    /// less, and not known, so that everyone looks.
    fn wake_committed(&self, shard: &Shard, stable: Offset) {
        let watchers = &self.committed_watchers;
        match stable == self.core.borrow().high_watermark() {
            true => watchers.fire(self.readable_bytes.count(), |key| shard.wake_fetch(key)),
            false => watchers.fire_all(|key| shard.wake_fetch(key)),
        }
    }

    /// Fires when `need` more bytes may be read here, or at once if more than the reader has seen can be read now.
    pub fn watch(&self, shard: &Shard, key: WatchKey, need: u64, item: &WatchItem) {
        let core = self.core.borrow();
        if core.read_bound(item.seen, item.isolation).upper != item.seen
            || core.is_offline()
            || self.deleted.get()
        {
            shard.wake_fetch(key);
            return;
        }
        let readable = self.readable_bytes.count();
        if item.isolation == Isolation::ReadCommitted {
            // What an open transaction has written already counts when it ends: any end may bring enough.
            let is_stable = core.last_stable_offset() == core.high_watermark();
            let need = if is_stable { need } else { 0 };
            self.committed_watchers.watch(key, need, readable);
        } else {
            self.watchers.watch(key, need, readable);
        }
    }

    pub fn unwatch(&self, key: WatchKey) {
        self.watchers.unwatch(key);
        self.committed_watchers.unwatch(key);
    }

    /// Checks that this is the leader the caller believes in.
    pub fn check_epoch(&self, current: LeaderEpoch) -> Result<(), ErrorCode> {
        let core = self.core.borrow();
        if core.is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        core.check_epoch(current).map_err(|error| match error {
            EpochError::Fenced => ErrorCode::FencedLeaderEpoch,
            EpochError::Unknown => ErrorCode::UnknownLeaderEpoch,
        })
    }

    /// Reads for Fetch. `at_least_one`: the first batch comes whole, however large (KIP-74).
    pub async fn read(
        &self,
        item: &ReadItem,
        isolation: Isolation,
        max_bytes: usize,
        at_least_one: bool,
    ) -> PartitionRead {
        if let Err(error) = self.check_epoch(item.current_epoch) {
            let leader_epoch = self.core.borrow().leader_epoch();
            return PartitionRead {
                leader_epoch,
                ..PartitionRead::failed(item.index, error)
            };
        }
        let bound = self.core.borrow().read_bound(item.offset, isolation);
        if let Some(answer) = self.diverging(item) {
            return answer;
        }
        if !bound.in_range {
            return PartitionRead::failed(item.index, ErrorCode::OffsetOutOfRange);
        }
        let mut data = ReadData::Empty;
        let mut aborted = Vec::new();
        let max_bytes = max_bytes.min(item.max_bytes);
        // Where nothing may come, the device need not be asked where it would begin.
        if item.offset < bound.upper && (max_bytes > 0 || at_least_one) {
            let read = match self
                .log
                .try_read(item.offset, bound.upper, max_bytes, at_least_one)
            {
                Ok(Err(_missing)) => {
                    self.log
                        .read(item.offset, bound.upper, max_bytes, at_least_one)
                        .await
                }
                Ok(Ok(read)) => Ok(read),
                Err(error) => Err(error),
            };
            match read {
                Ok(read) if read.bytes > 0 => {
                    if isolation == Isolation::ReadCommitted {
                        let found = self.aborted(item.offset, bound.upper, &read).await;
                        aborted = match found {
                            Ok(found) => found,
                            Err(error) => {
                                return PartitionRead::failed(item.index, read_failed(error));
                            }
                        };
                    }
                    self.traffic.bytes_out.add(read.bytes as u64);
                    data = ReadData::of(read.slices);
                }
                Ok(_) => {}
                Err(error) => return PartitionRead::failed(item.index, read_failed(error)),
            }
        }
        PartitionRead {
            aborted,
            data,
            ..self.told(item.index)
        }
    }

    /// The aborted transactions that overlap what was read from `from` on, below `upper`.
    async fn aborted(
        &self,
        from: Offset,
        upper: Offset,
        read: &Read,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut aborted = self.log.aborted_transactions(from, upper).await?;
        if !aborted.is_empty() {
            let end = read.end_offset();
            aborted.retain(|aborted| aborted.first_offset < end);
        }
        Ok(aborted)
    }

    /// What every answer of this partition tells of it.
    fn told(&self, index: u32) -> PartitionRead {
        let core = self.core.borrow();
        PartitionRead {
            index,
            error: ErrorCode::None,
            high_watermark: core.high_watermark(),
            last_stable_offset: core.last_stable_offset(),
            log_start: core.log_start(),
            diverging: None,
            leader_epoch: core.leader_epoch(),
            aborted: Vec::new(),
            data: ReadData::Empty,
        }
    }

    /// The reader's last epoch ends before its fetch offset here: it must truncate first (KIP-595).
    fn diverging(&self, item: &ReadItem) -> Option<PartitionRead> {
        if item.last_fetched_epoch < LeaderEpoch(0) {
            return None;
        }
        let (epoch, end) = self.epoch_end(item.last_fetched_epoch);
        if end < Offset::ZERO {
            return Some(PartitionRead::failed(
                item.index,
                ErrorCode::OffsetOutOfRange,
            ));
        }
        let diverges = epoch < item.last_fetched_epoch || end < item.offset;
        diverges.then(|| PartitionRead {
            diverging: Some((epoch, end)),
            ..self.told(item.index)
        })
    }

    /// Moves the log's start (DeleteRecords). Returns the new low watermark.
    ///
    /// - `to`: −1 is the high watermark.
    /// - `Err(PolicyViolation)`: the topic is only compacted. `Err(OffsetOutOfRange)`: negative, or above the high watermark.
    pub async fn delete_records(&self, shard: &Shard, to: Offset) -> Result<Offset, ErrorCode> {
        let policy = self.config.borrow().cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = self.core.borrow().high_watermark();
        let to = if to == Offset(-1) { high_watermark } else { to };
        if to < Offset(0) || to > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if to > self.core.borrow().log_start() {
            self.log
                .set_start_offset(to)
                .await
                .map_err(|_| ErrorCode::KafkaStorageError)?;
            self.on_log_start(shard, to);
        }
        Ok(self.core.borrow().log_start())
    }

    /// The log's start moved: who waits below it has to know, and it may be past what an open transaction held back.
    pub(super) fn on_log_start(&self, shard: &Shard, start: Offset) {
        self.core.borrow_mut().on_log_start(start);
        for watchers in [&self.watchers, &self.committed_watchers] {
            watchers.fire_all(|key| shard.wake_fetch(key));
        }
    }

    /// Where an epoch ends here (KIP-101); (−1, −1) if it is not known.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let core = self.core.borrow();
        // The current epoch has begun with its leader, even if no record carries it yet.
        match epoch == core.leader_epoch() {
            true => (epoch, core.log_end()),
            false => self.log.epoch_end(epoch),
        }
    }

    /// A new leader epoch begins, and this broker leads still.
    pub fn on_leader_epoch(&self, epoch: LeaderEpoch) {
        self.core.borrow_mut().on_leader_epoch(epoch);
    }

    /// An offset by what ListOffsets asks for; none found is offset −1 without an error.
    pub async fn find_offset(
        &self,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<FoundOffset, ErrorCode> {
        let upper = self.core.borrow().read_bound(Offset::ZERO, isolation).upper;
        let at = |offset: Offset, epoch: Option<LeaderEpoch>| FoundOffset {
            offset,
            timestamp: Timestamp::NONE,
            epoch: epoch.unwrap_or(LeaderEpoch::NONE),
        };
        let found = match query {
            OffsetQuery::Latest => return Ok(at(upper, Some(self.core.borrow().leader_epoch()))),
            OffsetQuery::Earliest => {
                let start = self.core.borrow().log_start();
                let epoch = self.log.epoch_of(start);
                return Ok(at(start, epoch.or(Some(self.core.borrow().leader_epoch()))));
            }
            OffsetQuery::Tiered => return Ok(at(Offset(-1), None)),
            OffsetQuery::MaxTimestamp => self.log.max_timestamp(upper).await,
            OffsetQuery::AtTime(time) => self.log.offset_for_timestamp(time, upper).await,
        };
        match found {
            Ok(Some(found)) => Ok(FoundOffset {
                offset: found.offset,
                timestamp: found.timestamp,
                epoch: found.epoch,
            }),
            Ok(None) => Ok(at(Offset(-1), None)),
            Err(error) => Err(read_failed(error)),
        }
    }
}

pub(super) fn accepted(
    base_offset: Offset,
    append_time: Timestamp,
    log_start: Offset,
) -> ProduceOutcome {
    ProduceOutcome {
        error: ErrorCode::None,
        base_offset,
        append_time,
        log_start,
        fault: None,
    }
}

fn refused(refusal: ProduceRefusal) -> ProduceOutcome {
    match refusal {
        ProduceRefusal::Sequence(SequenceError::StaleEpoch { current }) => {
            let message = format!("the producer's epoch is older than the last seen, {current}");
            ProduceOutcome::refused_because(ErrorCode::InvalidProducerEpoch, message)
        }
        ProduceRefusal::Sequence(SequenceError::OutOfOrder { expected }) => {
            let message = format!("the batch's first sequence is not the one expected, {expected}");
            ProduceOutcome::refused_because(ErrorCode::OutOfOrderSequenceNumber, message)
        }
        ProduceRefusal::Sequence(SequenceError::InTransaction) => {
            let message = "the producer has a transaction open here and this batch is not of it";
            ProduceOutcome::refused_because(ErrorCode::InvalidTxnState, message)
        }
        ProduceRefusal::Offline => ProduceOutcome::refused(ErrorCode::KafkaStorageError),
    }
}

pub(super) fn append_failed(error: AppendError) -> ProduceOutcome {
    let why = match error {
        AppendError::Full => "the log directory has no room left",
        AppendError::Offline => "the log directory is offline",
    };
    ProduceOutcome::refused_because(ErrorCode::KafkaStorageError, why)
}

fn read_failed(error: ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Offline => ErrorCode::KafkaStorageError,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
    }
}
