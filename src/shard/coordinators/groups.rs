//! Group coordinators as their runtime drives them.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::Shard;
use super::super::replica::Replica;
use super::coordinator::{Coordinator, Core, Output, Replayed, Write};
use super::{Coordinators, Table};
use crate::group::{
    Caller, GroupContext, GroupCoordinator, GroupOutput, GroupRecord, GroupReply, GroupRequest,
    GroupWrite, ReplayAt,
};
use crate::protocol::ErrorCode;
use crate::record::BatchBuilder;
use crate::types::{LeaderEpoch, Micros, ProducerEpoch, ProducerId, Token, Uuid};

/// The groups of one partition of `__consumer_offsets`.
pub struct Groups(GroupCoordinator);

/// Groups have nothing to do elsewhere.
pub enum NoJob {}

impl Groups {
    /// How many groups there are, empty ones too.
    pub fn count(&self) -> i64 {
        self.0.groups_count() as i64
    }

    fn drive(
        &mut self,
        shard: &Shard,
        out: &mut Output<Groups>,
        work: impl FnOnce(&mut GroupCoordinator, &mut GroupContext<'_>, &mut GroupOutput),
    ) {
        let mut decided = GroupOutput::default();
        {
            let image = shard.image();
            let config = shard.broker_config();
            let mut context = GroupContext {
                now: shard.now(),
                image: &image,
                config: &config,
                new_id: &mut Uuid::random,
            };
            work(&mut self.0, &mut context, &mut decided);
        }
        out.writes.extend(decided.writes.iter().map(encoded));
        out.replies.extend(decided.replies);
    }
}

fn encoded(write: &GroupWrite) -> Write {
    Write {
        records: write.records.iter().map(GroupRecord::encode).collect(),
        producer: write.producer,
    }
}

impl Core for Groups {
    type Request = (Caller, GroupRequest);
    type Reply = GroupReply;
    type Job = NoJob;
    const TOPIC: &'static str = "__consumer_offsets";

    fn table(coordinators: &Coordinators) -> &Table<Groups> {
        &coordinators.groups
    }

    fn builder(coordinators: &Coordinators) -> &RefCell<BatchBuilder> {
        &coordinators.groups_builder
    }

    async fn prepare(_shard: &Rc<Shard>) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// A producer whose transaction was ended with a higher epoch may not add to it: no marker would come.
    fn refuse((_, request): &(Caller, GroupRequest), replica: &Replica) -> Option<ErrorCode> {
        let GroupRequest::TxnOffsetCommit(request) = request else {
            return None;
        };
        let core = replica.core();
        let known = core.producers().epoch_of(ProducerId(request.producer_id))?;
        (known.0 > request.producer_epoch).then_some(ErrorCode::InvalidProducerEpoch)
    }

    fn new(partition: i32, _epoch: LeaderEpoch) -> Groups {
        Groups(GroupCoordinator::new(partition))
    }

    fn handle(
        &mut self,
        token: Token,
        (caller, request): (Caller, GroupRequest),
        shard: &Shard,
        out: &mut Output<Groups>,
    ) {
        self.drive(shard, out, |core, context, out| {
            core.handle(token, &caller, request, context, out);
        });
    }

    fn replay(&mut self, record: Replayed) -> Result<(), String> {
        let decoded = GroupRecord::decode(&record.key, record.value.as_ref());
        let decoded = decoded.map_err(|error| error.to_string())?;
        let decoded = decoded.ok_or("a kind of record that is not known here")?;
        let at = ReplayAt {
            offset: record.offset,
            timestamp: record.timestamp,
            producer: record.producer,
        };
        self.0.replay(decoded, at);
        Ok(())
    }

    fn on_marker(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, committed: bool) {
        self.0.on_marker(producer_id, epoch, committed);
    }

    fn on_loaded(&mut self, shard: &Shard, out: &mut Output<Groups>) {
        self.drive(shard, out, GroupCoordinator::on_loaded);
    }

    fn on_metadata(&mut self, shard: &Shard, out: &mut Output<Groups>) {
        self.drive(shard, out, GroupCoordinator::on_metadata);
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.0.next_deadline()
    }

    fn tick(&mut self, shard: &Shard, out: &mut Output<Groups>) {
        self.drive(shard, out, GroupCoordinator::tick);
    }

    fn forget(&mut self, token: Token) {
        self.0.forget(token);
    }

    fn start(_this: &Rc<Coordinator<Groups>>, jobs: Vec<NoJob>) {
        assert!(jobs.is_empty(), "groups have nothing to do elsewhere");
    }
}
