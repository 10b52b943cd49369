//! Transaction coordinators as their runtime drives them.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use super::super::Shard;
use super::coordinator::{Coordinator, Core, Output, Place, Replayed, Write};
use super::{Coordinators, Internal, Table};
use crate::protocol::ErrorCode;
use crate::record::BatchBuilder;
use crate::txn::{
    MarkerJob, TransactionCoordinator, TxnContext, TxnOutput, TxnRecord, TxnReply, TxnRequest,
};
use crate::types::{LeaderEpoch, Micros, ProducerEpoch, ProducerId, Str, Timestamp, Token};

/// The transactional ids of one partition of `__transaction_state`.
pub struct Transactions(TransactionCoordinator);

/// Producer ids at hand before a coordinator is asked anything: as many as one sweep of time-outs may take, where every
/// transaction has used up its epochs.
const PRODUCER_IDS_AT_HAND: i32 = 1000;

impl Transactions {
    /// How many transactional ids are remembered.
    pub fn count(&self) -> i64 {
        self.0.transactions_count() as i64
    }

    /// How long the oldest open transaction is open, in milliseconds; 0 if none is.
    pub fn oldest_open_ms(&self, now: Timestamp) -> i64 {
        self.0
            .oldest_open()
            .map_or(0, |start| (now.0 - start.0).max(0))
    }

    /// Every marker of a job is written.
    pub fn on_markers_written(coordinator: &Rc<Coordinator<Transactions>>, job: &MarkerJob) {
        let (id, epoch) = (job.producer_id, job.producer_epoch);
        coordinator.with_core(|core, place, out| {
            core.drive(place, out, |core, context, out| {
                core.on_markers_written(&job.transactional_id, id, epoch, context, out);
            });
        });
    }

    fn drive(
        &mut self,
        Place { shard, replica }: Place<'_>,
        out: &mut Output<Transactions>,
        work: impl FnOnce(&mut TransactionCoordinator, &mut TxnContext<'_>, &mut TxnOutput),
    ) {
        let mut decided = TxnOutput::default();
        {
            let image = shard.image();
            let config = shard.broker_config();
            let mut new_producer_id = || {
                let id = shard.take_producer_id();
                id.expect("ids are reserved before a coordinator is asked")
            };
            let mut context = TxnContext {
                now: shard.now(),
                image: &image,
                config: &config,
                batch_bytes_max: replica.config().max_message_bytes as usize,
                new_producer_id: &mut new_producer_id,
            };
            work(&mut self.0, &mut context, &mut decided);
        }
        if !decided.records.is_empty() {
            let records = decided.records.iter().map(encoded).collect();
            let about = decided.records.iter();
            out.writes.push(Write {
                records,
                producer: None,
                about: about
                    .map(|record| record.transactional_id.clone())
                    .collect(),
            });
        }
        out.replies.extend(decided.replies);
        out.jobs.extend(decided.markers);
    }
}

fn encoded(record: &TxnRecord) -> (Bytes, Option<Bytes>) {
    let (key, value) = record.encode();
    (Bytes::from(key), value.map(Bytes::from))
}

impl Core for Transactions {
    type Request = (i16, TxnRequest);
    type Reply = TxnReply;
    type Job = MarkerJob;
    const TOPIC: Internal = Internal::Transactions;

    fn table(coordinators: &Coordinators) -> &Table<Transactions> {
        &coordinators.transactions
    }

    fn builder(coordinators: &Coordinators) -> &RefCell<BatchBuilder> {
        &coordinators.transactions_builder
    }

    async fn prepare(shard: &Rc<Shard>) -> Result<(), ErrorCode> {
        let reserved = shard.reserve_producer_ids(PRODUCER_IDS_AT_HAND).await;
        reserved.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    fn is_prepared(shard: &Shard) -> bool {
        shard.producer_ids_at_hand() >= PRODUCER_IDS_AT_HAND
    }

    fn about((_, request): &(i16, TxnRequest)) -> Option<&Str> {
        request.transactional_id()
    }

    fn may_write((_, request): &(i16, TxnRequest)) -> bool {
        request.may_write()
    }

    fn new(partition: i32, epoch: LeaderEpoch) -> Transactions {
        Transactions(TransactionCoordinator::new(partition, epoch.0))
    }

    fn handle(
        &mut self,
        token: Token,
        (version, request): (i16, TxnRequest),
        place: Place<'_>,
        out: &mut Output<Transactions>,
    ) {
        self.drive(place, out, |core, context, out| {
            core.handle(token, version, request, context, out);
        });
    }

    fn replay(&mut self, record: Replayed) -> Result<(), String> {
        let decoded = TxnRecord::decode(Some(record.key), record.value);
        let decoded = decoded.map_err(|error| error.to_string())?;
        self.0.replay(decoded.ok_or("a record of a newer version")?);
        Ok(())
    }

    fn on_marker(&mut self, _producer_id: ProducerId, _epoch: ProducerEpoch, _committed: bool) {}

    fn on_loaded(&mut self, place: Place<'_>, out: &mut Output<Transactions>) {
        self.drive(place, out, TransactionCoordinator::on_loaded);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.0.next_deadline()
    }

    fn tick(&mut self, place: Place<'_>, out: &mut Output<Transactions>) {
        self.drive(place, out, TransactionCoordinator::tick);
    }

    fn forget(&mut self, token: Token) {
        self.0.forget(token);
    }

    fn start(this: &Rc<Coordinator<Transactions>>, jobs: Vec<MarkerJob>) {
        this.shard.coordinators.markers.take(this, jobs);
    }
}
