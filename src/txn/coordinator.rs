//! All transactional ids of one partition of `__transaction_state`, and what drives them: requests, markers, time.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::init::fenced_code;
use super::parking::{Parking, WAIT_MS_MAX};
use super::transaction::{BUMPS_EPOCH, Decider, Next, Transaction};
use super::{
    MarkerJob, TxnContext, TxnOutput, TxnRecord, TxnReply, TxnRequest, TxnState, TxnValue,
};
use crate::config::BrokerConfig;
use crate::metadata::Image;
use crate::protocol::ErrorCode;
use crate::protocol::add_offsets_to_txn::AddOffsetsToTxnResponse;
use crate::types::{Micros, Now, ProducerEpoch, ProducerId, Str, Timestamp, Token};

/// The coordinator of one partition of `__transaction_state`; see the head of this room.
///
/// The shell gives it every record of the partition by [`replay`](Self::replay), calls
/// [`on_loaded`](Self::on_loaded) once, and from then on brings requests, written markers and the passing of time.
#[derive(Debug)]
pub struct TransactionCoordinator {
    partition: i32,
    coordinator_epoch: i32,
    pub(super) transactions: HashMap<Str, Transaction>,
    /// Ongoing transactions by the moment they time out. Those that never do are only in `transactions`.
    open: BTreeSet<(Micros, Str)>,
    /// Transactional ids at rest, by the moment they expire.
    idle: BTreeSet<(Micros, Str)>,
    parking: Parking,
    sweeps: Sweeps,
}

/// When time-outs and expiry are looked at: at whole multiples of Kafka's two intervals since loading.
#[derive(Clone, Copy, Debug)]
struct Sweeps {
    start: Micros,
    abort_us: u64,
    expiry_us: u64,
}

impl Sweeps {
    fn new(start: Micros, config: &BrokerConfig) -> Sweeps {
        let us = |ms: i32| u64::from(ms.unsigned_abs()).max(1) * 1000;
        Sweeps {
            start,
            abort_us: us(config.transaction_abort_timed_out_transaction_cleanup_interval_ms),
            expiry_us: us(config.transaction_remove_expired_transaction_cleanup_interval_ms),
        }
    }

    /// The first sweep at or after `deadline`.
    fn round(&self, deadline: Micros, interval_us: u64) -> Micros {
        let intervals = deadline.since(self.start).div_ceil(interval_us);
        Micros(
            self.start
                .0
                .saturating_add(intervals.saturating_mul(interval_us)),
        )
    }
}

/// Why a request is not done at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Error(ErrorCode),
    /// The markers of the decided transaction are not written yet.
    MarkersPending,
}

/// Transactions aborted, and as many ids forgotten, in one call of [`TransactionCoordinator::tick`].
const TICK_MAX: usize = 1000;

impl TransactionCoordinator {
    /// A coordinator that knows nothing yet.
    ///
    /// - `coordinator_epoch`: the leader epoch of the partition, which markers carry.
    pub fn new(partition: i32, coordinator_epoch: i32) -> TransactionCoordinator {
        TransactionCoordinator {
            partition,
            coordinator_epoch,
            transactions: HashMap::new(),
            open: BTreeSet::new(),
            idle: BTreeSet::new(),
            parking: Parking::default(),
            sweeps: Sweeps {
                start: Micros(0),
                abort_us: 1,
                expiry_us: 1,
            },
        }
    }

    /// The partition of `__transaction_state` it speaks for.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Takes one record of the log, in the log's order, before [`on_loaded`](Self::on_loaded).
    pub fn replay(&mut self, record: TxnRecord) {
        self.apply(&record);
    }

    /// The log is read to its end: timers begin, and decided transactions owe their markers again.
    pub fn on_loaded(&mut self, context: &mut TxnContext<'_>, out: &mut TxnOutput) {
        self.sweeps = Sweeps::new(context.now.mono, context.config);
        let mut ids: Vec<Str> = self.transactions.keys().cloned().collect();
        ids.sort_unstable();
        for id in ids {
            self.schedule(&id, context);
            let Some(transaction) = self.transactions.get(&id) else {
                continue;
            };
            if transaction.value.state.is_decided() {
                self.send_markers(&id, context, out);
            }
        }
    }

    /// Decides one request; its reply comes now, or after its transaction's markers are written, or when it has
    /// waited too long.
    ///
    /// - `version`: of the request's API, which says what the client understands.
    /// - `token`: comes back with the reply; must not be waiting already.
    pub fn handle(
        &mut self,
        token: Token,
        version: i16,
        request: TxnRequest,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        let reply = match request {
            TxnRequest::InitProducerId(request) => {
                TxnReply::InitProducerId(self.init_producer_id(version, &request, context, out))
            }
            TxnRequest::AddPartitions { .. } | TxnRequest::AddOffsets { .. } => {
                return self.handle_join(token, version, request, context, out);
            }
            TxnRequest::End(request) => TxnReply::End(self.end(version, &request, context, out)),
            TxnRequest::Describe(id) => TxnReply::Describe(self.describe(&id)),
            TxnRequest::List(filter) => TxnReply::List(self.list(&filter, context.now.wall)),
        };
        out.replies.push((token, reply));
    }

    /// Requests that would begin a transaction wait while the last one's markers are being written.
    fn handle_join(
        &mut self,
        token: Token,
        version: i16,
        request: TxnRequest,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        match self.join(version, &request, context, out) {
            Ok(reply) => out.replies.push((token, reply)),
            Err(id) if self.parking.has_room(&id) => {
                let deadline = context.now.mono.plus_ms(WAIT_MS_MAX);
                self.parking.park(token, id, version, request, deadline);
            }
            Err(_) => {
                let reply = refused(version, &request, ErrorCode::ConcurrentTransactions);
                out.replies.push((token, reply));
            }
        }
    }

    /// Every marker of a job is written, or its partition is gone. Of a job that another decision has overtaken
    /// nothing happens.
    pub fn on_markers_written(
        &mut self,
        transactional_id: &Str,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        let Some(transaction) = self.transactions.get(transactional_id.as_str()) else {
            return;
        };
        let value = &transaction.value;
        if (value.producer_id, value.producer_epoch) == (producer_id, producer_epoch) {
            self.complete(transactional_id, context, out);
        }
    }

    /// When [`tick`](Self::tick) has something to do next; `None` while nothing lasts, waits or expires.
    pub fn next_deadline(&self) -> Option<Micros> {
        let first = |set: &BTreeSet<(Micros, Str)>, interval_us| {
            let (deadline, _) = set.first()?;
            Some(self.sweeps.round(*deadline, interval_us))
        };
        let open = first(&self.open, self.sweeps.abort_us);
        let idle = first(&self.idle, self.sweeps.expiry_us);
        [open, idle, self.parking.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Aborts and fences what has timed out, forgets ids that nobody uses, and answers whoever has waited too long.
    ///
    /// Does a bounded amount of work; if more is due, [`next_deadline`](Self::next_deadline) is still in the past.
    pub fn tick(&mut self, context: &mut TxnContext<'_>, out: &mut TxnOutput) {
        let now = context.now.mono;
        while let Some((token, waiting)) = self.parking.overdue(now) {
            let error = ErrorCode::ConcurrentTransactions;
            let reply = refused(waiting.version, &waiting.request, error);
            out.replies.push((token, reply));
        }
        for _ in 0..TICK_MAX {
            let due = first_due(&self.open, now, |at| {
                self.sweeps.round(at, self.sweeps.abort_us)
            });
            let Some(id) = due else { break };
            self.abort_and_fence(&id, context, out);
        }
        for _ in 0..TICK_MAX {
            let due = first_due(&self.idle, now, |at| {
                self.sweeps.round(at, self.sweeps.expiry_us)
            });
            let Some(id) = due else { break };
            self.expire(&id, out);
        }
    }

    /// Whoever waits by this token is gone and needs no answer.
    pub fn forget(&mut self, token: Token) {
        self.parking.forget(token);
    }

    /// When the open transaction began that is open the longest, decided ones with markers due included.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        let open = |state: TxnState| state == TxnState::Ongoing || state.is_decided();
        let transactions = self.transactions.values();
        let starts = transactions.filter(|transaction| open(transaction.value.state));
        starts.map(|transaction| transaction.value.start).min()
    }

    /// How many transactional ids are remembered.
    pub fn transactions_count(&self) -> usize {
        self.transactions.len()
    }

    /// Decides an open transaction against its producer, who cannot write any more.
    pub(super) fn abort_and_fence(
        &mut self,
        id: &Str,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        self.decide(id, false, Decider::Coordinator, context, out);
    }

    /// Records a decision; its markers are due, and where there are none it is complete.
    pub(super) fn decide(
        &mut self,
        id: &Str,
        committed: bool,
        decider: Decider,
        context: &mut TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        let transaction = self.known(id);
        let new_producer_id = &mut *context.new_producer_id;
        let next = transaction.decided(committed, decider, new_producer_id, context.now.wall);
        self.change(id, next, context, out);
        self.send_markers(id, context, out);
    }

    fn send_markers(&mut self, id: &Str, context: &mut TxnContext<'_>, out: &mut TxnOutput) {
        let transaction = self.known(id);
        let value = &transaction.value;
        if value.partitions.is_empty() {
            return self.complete(id, context, out);
        }
        // At the highest epoch there was none above the records' left to take.
        let raised = value.client_version >= BUMPS_EPOCH && value.producer_epoch.0 < i16::MAX;
        out.markers.push(MarkerJob {
            transactional_id: transaction.id.clone(),
            producer_id: value.producer_id,
            producer_epoch: value.producer_epoch,
            coordinator_epoch: self.coordinator_epoch,
            committed: value.state == TxnState::PrepareCommit,
            partitions: value.partitions.clone(),
            transaction_version: if raised { BUMPS_EPOCH } else { 0 },
        });
    }

    fn complete(&mut self, id: &Str, context: &mut TxnContext<'_>, out: &mut TxnOutput) {
        let Some(next) = self.known(id).completed(context.now.wall) else {
            return;
        };
        self.change(id, next, context, out);
        for (token, waiting) in self.parking.released(id) {
            self.handle(token, waiting.version, waiting.request, context, out);
        }
    }

    fn expire(&mut self, id: &Str, out: &mut TxnOutput) {
        self.unschedule(id);
        let record = TxnRecord {
            transactional_id: id.clone(),
            value: None,
        };
        self.apply(&record);
        out.records.push(record);
    }

    /// Records what an id has become, and what goes with it in memory.
    pub(super) fn change(
        &mut self,
        id: &Str,
        next: Next,
        context: &TxnContext<'_>,
        out: &mut TxnOutput,
    ) {
        let known = self.transactions.get(id.as_str());
        let id = known.map_or_else(|| id.detach(), |transaction| transaction.id.clone());
        let mut value = next.value;
        value.version = value_version(context.image, &value);
        let record = TxnRecord {
            transactional_id: id.clone(),
            value: Some(value),
        };
        self.unschedule(&id);
        self.apply(&record);
        let transaction = self.transactions.get_mut(id.as_str());
        transaction.expect("just applied").last_epoch = next.last_epoch;
        self.schedule(&id, context);
        out.records.push(record);
    }

    /// The only mutator of what is persisted.
    fn apply(&mut self, record: &TxnRecord) {
        let id = &record.transactional_id;
        let Some(value) = &record.value else {
            self.transactions.remove(id.as_str());
            return;
        };
        match self.transactions.get_mut(id.as_str()) {
            Some(transaction) => {
                transaction.value = value.clone();
                transaction.last_epoch = ProducerEpoch::NONE;
            }
            None => {
                let transaction = Transaction {
                    id: id.clone(),
                    value: value.clone(),
                    last_epoch: ProducerEpoch::NONE,
                    timer: None,
                };
                self.transactions.insert(id.clone(), transaction);
            }
        }
    }

    /// Sets the timer that an id's state asks for; its old one is gone already.
    fn schedule(&mut self, id: &Str, context: &TxnContext<'_>) {
        let Some(transaction) = self.transactions.get_mut(id.as_str()) else {
            return;
        };
        let value = &transaction.value;
        let (set, from, ms) = match value.state {
            // As Kafka has it, such a time-out is none: the transaction is somebody else's to end (KIP-939).
            TxnState::Ongoing if value.timeout_ms == i32::MAX => return,
            TxnState::Ongoing => (&mut self.open, value.start, value.timeout_ms),
            state if state.is_at_rest() => {
                let expiration_ms = context.config.transactional_id_expiration_ms;
                (&mut self.idle, value.last_update, expiration_ms)
            }
            _ => return,
        };
        let deadline = mono_after(context.now, from, ms);
        transaction.timer = Some(deadline);
        set.insert((deadline, transaction.id.clone()));
    }

    fn unschedule(&mut self, id: &Str) {
        let Some(transaction) = self.transactions.get_mut(id.as_str()) else {
            return;
        };
        let Some(deadline) = transaction.timer.take() else {
            return;
        };
        let entry = (deadline, transaction.id.clone());
        let held = self.open.remove(&entry) || self.idle.remove(&entry);
        assert!(held, "a timer that is set stands in one of the sets");
    }

    pub(super) fn known(&self, id: &Str) -> &Transaction {
        let transaction = self.transactions.get(id.as_str());
        transaction.expect("the caller has looked it up")
    }
}

/// The moment on the monotonic clock that is `ms` after `from` on the wall clock, not before now.
fn mono_after(now: Now, from: Timestamp, ms: i32) -> Micros {
    let due = from.0.saturating_add(i64::from(ms));
    let left = due.saturating_sub(now.wall.0);
    // Whatever a log or a jumping clock says of the past, what begins now lasts no longer than it may.
    let left = left.clamp(0, i64::from(ms.max(0)));
    now.mono.plus_ms(left.unsigned_abs())
}

fn first_due(
    set: &BTreeSet<(Micros, Str)>,
    now: Micros,
    round: impl Fn(Micros) -> Micros,
) -> Option<Str> {
    let (deadline, id) = set.first()?;
    (round(*deadline) <= now).then(|| id.clone())
}

/// The version to write a value in: what the finalised `transaction.version` asks for, but never one that would lose
/// which version of transactions the client speaks.
fn value_version(image: &Image, value: &TxnValue) -> i16 {
    let mut features = image.features();
    let level = features.find(|(name, _)| **name == "transaction.version");
    let finalised = level.is_some_and(|(_, level)| level >= 1);
    i16::from(finalised || value.client_version > 0)
}

/// The answer to a request that joins a transaction and may not.
pub(super) fn refused(version: i16, request: &TxnRequest, error: ErrorCode) -> TxnReply {
    let error = fenced_code(error, version, 2);
    match request {
        TxnRequest::AddPartitions { partitions, .. } => {
            let row = |(topic, index): &(Str, i32)| (topic.clone(), *index, error);
            TxnReply::AddPartitions(partitions.iter().map(row).collect())
        }
        _ => TxnReply::AddOffsets(AddOffsetsToTxnResponse {
            error_code: error.code(),
            ..Default::default()
        }),
    }
}
