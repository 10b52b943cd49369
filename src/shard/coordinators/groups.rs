//! Group coordinators as their runtime drives them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::Shard;
use super::super::replica::Replica;
use super::coordinator::{Coordinator, Core, Output, Place, Replayed, Write};
use super::{Coordinators, Internal, Table};
use crate::group::{
    Caller, Census, CommittedOffset, GroupContext, GroupCoordinator, GroupOutput, GroupRecord,
    GroupReply, GroupRequest, GroupWrite, InTransaction,
};
use crate::protocol::ErrorCode;
use crate::record::BatchBuilder;
use crate::types::{LeaderEpoch, Micros, ProducerEpoch, ProducerId, Str, Token, Uuid};

/// The groups of one partition of `__consumer_offsets`.
pub struct Groups {
    core: GroupCoordinator,
    /// What they take of the shard's memory for groups; nothing before they are loaded.
    kept: Option<Kept>,
}

/// Bytes counted in a shard's sum; taken out of it when dropped.
struct Kept {
    sum: Rc<Cell<usize>>,
    bytes: usize,
}

impl Kept {
    fn set(&mut self, bytes: usize) {
        self.sum.set(self.sum.get() + bytes - self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Groups have nothing to do elsewhere.
pub enum NoJob {}

impl Groups {
    /// What there is of them.
    pub fn census(&self) -> Census {
        self.core.census()
    }

    /// Group, topic, partition and offset of everything that is committed.
    pub fn committed(&self) -> Vec<(Str, Str, i32, i64)> {
        let committed = self.core.committed();
        let row = |(group, topic, partition, offset): (&Str, &Str, _, &CommittedOffset)| {
            (group.clone(), topic.clone(), partition, offset.offset)
        };
        committed.map(row).collect()
    }

    fn drive(
        &mut self,
        Place { shard, replica }: Place<'_>,
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
                room_bytes: shard.coordinators.groups_room(),
                refused: Cell::new(0),
                batch_bytes_max: replica.config().max_message_bytes as usize,
                new_id: &mut Uuid::random,
            };
            work(&mut self.core, &mut context, &mut decided);
            shard.refused_groups(context.refused.get());
        }
        let sum = &shard.coordinators.groups_bytes;
        let kept = self.kept.get_or_insert_with(|| Kept {
            sum: sum.clone(),
            bytes: 0,
        });
        kept.set(self.core.kept_bytes());
        out.writes.extend(decided.writes.iter().map(encoded));
        out.replies.extend(decided.replies);
    }
}

fn encoded(write: &GroupWrite) -> Write {
    // Names outlive the frames that they may have come with.
    let mut about: Vec<Str> = Vec::new();
    for record in &write.records {
        if about.last() != Some(record.group()) {
            about.push(record.group().detach());
        }
    }
    Write {
        records: write.records.iter().map(GroupRecord::encode).collect(),
        producer: write.producer,
        about,
    }
}

impl Core for Groups {
    type Request = (Caller, GroupRequest);
    type Reply = GroupReply;
    type Job = NoJob;
    const TOPIC: Internal = Internal::Offsets;

    fn table(coordinators: &Coordinators) -> &Table<Groups> {
        &coordinators.groups
    }

    fn builder(coordinators: &Coordinators) -> &RefCell<BatchBuilder> {
        &coordinators.groups_builder
    }

    async fn prepare(_shard: &Rc<Shard>) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn about((_, request): &(Caller, GroupRequest)) -> Option<&Str> {
        request.group()
    }

    /// Offsets are committed only in a transaction whose marker will come here: one that is open in this partition, or that
    /// its coordinator was asked for while nothing ended it (KIP-890).
    fn intercept(
        (_, request): &(Caller, GroupRequest),
        replica: &Replica,
    ) -> Option<Result<GroupReply, ErrorCode>> {
        let GroupRequest::TxnOffsetCommit(request, in_transaction) = request else {
            return None;
        };
        let core = replica.core();
        let producers = core.producers();
        let (id, epoch) = (
            ProducerId(request.producer_id),
            ProducerEpoch(request.producer_epoch),
        );
        if producers.epoch_of(id).is_some_and(|known| known > epoch) {
            return Some(Err(ErrorCode::InvalidProducerEpoch));
        }
        if producers.has_open_transaction(id, epoch) {
            return None;
        }
        let end = producers.end_of(id);
        match in_transaction {
            InTransaction::Taken => None,
            InTransaction::Confirmed(then) if *then == end => None,
            InTransaction::Confirmed(_) => Some(Err(ErrorCode::InvalidTxnState)),
            InTransaction::Unasked => Some(Ok(GroupReply::Unconfirmed(end))),
        }
    }

    fn may_write((_, request): &(Caller, GroupRequest)) -> bool {
        request.may_write()
    }

    fn new(partition: i32, _epoch: LeaderEpoch) -> Groups {
        Groups {
            core: GroupCoordinator::new(partition),
            kept: None,
        }
    }

    fn handle(
        &mut self,
        token: Token,
        (caller, request): (Caller, GroupRequest),
        place: Place<'_>,
        out: &mut Output<Groups>,
    ) {
        self.drive(place, out, |core, context, out| {
            core.handle(token, &caller, request, context, out);
        });
    }

    fn replay(&mut self, record: Replayed) -> Result<(), String> {
        let decoded = GroupRecord::decode(&record.key, record.value.as_ref());
        let decoded = decoded.map_err(|error| error.to_string())?;
        let decoded = decoded.ok_or("a kind of record that is not known here")?;
        self.core.replay(decoded, record.producer);
        Ok(())
    }

    fn on_marker(&mut self, producer_id: ProducerId, epoch: ProducerEpoch, committed: bool) {
        self.core.on_marker(producer_id, epoch, committed);
    }

    fn on_loaded(&mut self, place: Place<'_>, out: &mut Output<Groups>) {
        self.drive(place, out, GroupCoordinator::on_loaded);
    }

    fn on_metadata(&mut self, topics: &BTreeSet<Str>, place: Place<'_>, out: &mut Output<Groups>) {
        self.drive(place, out, |core, context, out| {
            core.on_metadata(topics, context, out);
        });
    }

    fn next_deadline(&self) -> Option<Micros> {
        self.core.next_deadline()
    }

    fn tick(&mut self, place: Place<'_>, out: &mut Output<Groups>) {
        self.drive(place, out, GroupCoordinator::tick);
    }

    fn forget(&mut self, token: Token) {
        self.core.forget(token);
    }

    fn start(_this: &Rc<Coordinator<Groups>>, jobs: Vec<NoJob>) {
        assert!(jobs.is_empty(), "groups have nothing to do elsewhere");
    }
}
