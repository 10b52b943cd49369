//! The coordinator of one partition of `__consumer_offsets`: where requests are sent on and records are applied.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::protocol::ErrorCode;
use crate::types::{Micros, ProducerEpoch, ProducerId, Str, Token};

use super::classic::{self, ClassicGroup};
use super::consumer::{self, ConsumerGroup, Subscribers};
use super::offsets::{self, CommittedOffset, OffsetStore};
use super::timers::{Timer, Timers};
use super::{
    Caller, GroupContext, GroupOutput, GroupRecord, GroupReply, GroupRequest, GroupWrite, admin,
};

/// All groups whose names lead to one partition of `__consumer_offsets`.
///
/// It is driven by events and has no clock: whoever owns it calls [`GroupCoordinator::tick`] when
/// [`GroupCoordinator::next_deadline`] has come.
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(super) partition: i32,
    pub(super) groups: HashMap<Str, Group>,
    pub(super) offsets: OffsetStore,
    pub(super) timers: Timers,
    /// Which consumer groups read which topics.
    pub(super) subscribers: Subscribers,
    /// The group and the member of every request that waits, and of some that do no more.
    pub(super) waiting: Waiting,
    /// What the groups take, offsets aside; see [`GroupCoordinator::kept_bytes`].
    groups_bytes: usize,
}

/// Group and member by the token of a request of theirs.
pub(super) type Waiting = HashMap<Token, (Str, Str)>;

/// What a group costs beside its members and offsets, in bytes, roughly.
pub(super) const GROUP_BYTES: usize = 512;

/// A group, by the protocol that it speaks.
#[derive(Debug)]
pub(super) enum Group {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

/// Which member somebody who commits or fetches offsets claims to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) member_id: &'a Str,
    pub(super) instance_id: Option<&'a Str>,
    /// The generation of a classic group, the member epoch of a consumer group; below 0 for "not a member".
    pub(super) epoch: i32,
    pub(super) transactional: bool,
}

impl GroupCoordinator {
    /// A coordinator that knows nothing yet; it is loaded with [`GroupCoordinator::replay`] and
    /// [`GroupCoordinator::on_loaded`] before it handles requests.
    pub fn new(partition: i32) -> GroupCoordinator {
        GroupCoordinator {
            partition,
            groups: HashMap::new(),
            offsets: OffsetStore::default(),
            timers: Timers::default(),
            subscribers: Subscribers::default(),
            waiting: Waiting::new(),
            groups_bytes: 0,
        }
    }

    /// The partition of `__consumer_offsets` that it is the coordinator of.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// How many groups there are, empty ones too.
    #[cfg(test)]
    pub(super) fn groups_count(&self) -> usize {
        self.groups.len()
    }

    /// What its groups, members and offsets take in memory, in bytes, roughly.
    pub fn kept_bytes(&self) -> usize {
        self.groups_bytes + self.offsets.kept_bytes()
    }

    /// Every committed offset with its group, topic and partition: what lag is measured from.
    pub fn committed(&self) -> impl Iterator<Item = (&Str, &Str, i32, &CommittedOffset)> {
        self.offsets.committed()
    }

    /// Decides a request and applies what it decided. It may answer now or later, and answer other tokens as well.
    pub fn handle(
        &mut self,
        token: Token,
        caller: &Caller,
        request: GroupRequest,
        context: &mut GroupContext<'_>,
        out: &mut GroupOutput,
    ) {
        let answered = out.replies.len();
        match request.group().cloned() {
            Some(group) => self.at_group(&group, |coordinator| {
                coordinator.serve(token, caller, request, context, out);
            }),
            None => self.serve(token, caller, request, context, out),
        }
        self.forget_answered(&out.replies[answered..]);
    }

    fn serve(
        &mut self,
        token: Token,
        caller: &Caller,
        request: GroupRequest,
        context: &mut GroupContext<'_>,
        out: &mut GroupOutput,
    ) {
        use GroupRequest as R;
        let reply = match request {
            R::Join(request) => return classic::join(self, token, caller, request, context, out),
            R::Sync(request) => return classic::sync(self, token, request, context, out),
            R::Heartbeat(request) => {
                GroupReply::Heartbeat(classic::heartbeat(self, &request, context, out))
            }
            R::Leave(request) => {
                GroupReply::Leave(classic::leave(self, caller, request, context, out))
            }
            R::OffsetCommit(request) => {
                GroupReply::OffsetCommit(offsets::commit(self, caller, request, context, out))
            }
            R::TxnOffsetCommit(request, _) => {
                GroupReply::TxnOffsetCommit(offsets::commit_in_txn(self, request, context, out))
            }
            R::OffsetFetch(request, stable) => {
                GroupReply::OffsetFetch(offsets::fetch(self, caller, request, stable, context))
            }
            R::OffsetDelete(request) => {
                GroupReply::OffsetDelete(offsets::delete(self, request, context, out))
            }
            R::Describe(group) => GroupReply::Describe(admin::describe(self, caller, group)),
            R::List(filter) => GroupReply::List(admin::list(self, &filter)),
            R::Delete(group) => GroupReply::Delete(admin::delete(self, &group, out)),
            R::ConsumerHeartbeat(request) => {
                let reply = consumer::heartbeat(self, caller, request, context, out);
                GroupReply::ConsumerHeartbeat(reply)
            }
            R::ConsumerDescribe(group) => {
                GroupReply::ConsumerDescribe(consumer::describe(self, &group, context))
            }
        };
        out.reply(token, reply);
    }

    /// Applies a record found in the log; records come in the log's order.
    ///
    /// - `producer`: in whose transaction it was found; it stays pending until [`GroupCoordinator::on_marker`].
    pub fn replay(&mut self, record: GroupRecord, producer: Option<(ProducerId, ProducerEpoch)>) {
        let record = record.detached();
        let group = record.group().clone();
        self.at_group(&group, |coordinator| coordinator.apply(&record, producer));
    }

    /// A transaction of this producer has ended on this partition: its marker was appended, or found in the log.
    pub fn on_marker(
        &mut self,
        producer_id: ProducerId,
        _producer_epoch: ProducerEpoch,
        committed: bool,
    ) {
        for group in self.offsets.end_transaction(producer_id, committed) {
            self.at_group(&group, |coordinator| {
                let simple = || Group::Classic(Box::default());
                coordinator
                    .groups
                    .entry(group.clone())
                    .or_insert_with(simple);
            });
        }
    }

    /// The log was read to its end: the sessions of all members begin anew, and topics that the image does not have
    /// (it must be the newest) lose their offsets.
    pub fn on_loaded(&mut self, context: &mut GroupContext<'_>, out: &mut GroupOutput) {
        for group in self.offsets.groups_without(&self.groups) {
            self.groups.insert(group, Group::Classic(Box::default()));
        }
        self.timers.clear();
        self.schedule_expiry(context);
        let groups: Vec<Str> = self.groups.keys().cloned().collect();
        for id in &groups {
            match self.groups.get(id) {
                Some(Group::Classic(_)) => classic::on_loaded(self, id, context, out),
                Some(Group::Consumer(_)) => consumer::on_loaded(self, id, context, out),
                None => {}
            }
        }
        offsets::drop_deleted_topics(self, None, context, out);
        self.measure();
    }

    /// When [`GroupCoordinator::tick`] is to be called next.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.timers.next()
    }

    /// Does what is due: sessions and phases that timed out, offsets that expired.
    pub fn tick(&mut self, context: &mut GroupContext<'_>, out: &mut GroupOutput) {
        let answered = out.replies.len();
        while let Some(timer) = self.timers.pop_due(context.now.mono) {
            match timer.group().cloned() {
                Some(group) => self.at_group(&group, |coordinator| {
                    coordinator.on_timer(timer, context, out);
                }),
                None => {
                    offsets::expire(self, context, out);
                    self.schedule_expiry(context);
                    self.measure();
                }
            }
        }
        self.forget_answered(&out.replies[answered..]);
    }

    fn on_timer(&mut self, timer: Timer, context: &mut GroupContext<'_>, out: &mut GroupOutput) {
        match timer {
            Timer::Expiry => unreachable!("expiry is of no one group"),
            Timer::Session(group, member) => {
                classic::on_session_expired(self, &group, &member, context, out);
            }
            Timer::Join(group) => classic::on_join_expired(self, &group, context, out),
            Timer::Sync(group) => classic::on_sync_expired(self, &group, context, out),
            timer @ (Timer::ConsumerSession(..)
            | Timer::ConsumerRebalance(..)
            | Timer::ConsumerJoin(..)) => consumer::on_timer(self, timer, context, out),
        }
    }

    /// These topics have come, changed or gone: offsets of those that are gone go too, and the groups that read them look
    /// at their subscriptions with their next heartbeat. Costs nothing to other groups, but those with an expression.
    pub fn on_metadata(
        &mut self,
        topics: &BTreeSet<Str>,
        context: &mut GroupContext<'_>,
        out: &mut GroupOutput,
    ) {
        offsets::drop_deleted_topics(self, Some(topics), context, out);
        for id in self.subscribers.of(topics) {
            if let Some(Group::Consumer(group)) = self.groups.get_mut(&id) {
                group.on_metadata();
            }
        }
    }

    /// Whoever waited for this token is gone; it will not be answered. Its member stays until its session ends.
    pub fn forget(&mut self, token: Token) {
        let Some((group, member)) = self.waiting.remove(&token) else {
            return;
        };
        if let Some(Group::Classic(group)) = self.groups.get_mut(&group) {
            group.forget(&member, token);
        }
    }

    /// Whether this is a member of the group, of either protocol, also by its instance id.
    pub(super) fn is_member(&self, group: &str, member: &str, instance: Option<&Str>) -> bool {
        match self.groups.get(group) {
            Some(Group::Classic(group)) => {
                group.members.contains_key(member)
                    || instance.is_some_and(|id| group.static_members.contains_key(id))
            }
            Some(Group::Consumer(group)) => group.is_member(member, instance),
            None => false,
        }
    }

    /// Lets something happen that concerns no other group's memory, and keeps count of it.
    fn at_group(&mut self, id: &Str, event: impl FnOnce(&mut GroupCoordinator)) {
        let before = self.group_bytes(id);
        event(self);
        let after = self.group_bytes(id);
        self.groups_bytes = self.groups_bytes + after - before;
    }

    fn group_bytes(&self, id: &Str) -> usize {
        self.groups.get(id).map_or(0, |group| group.kept_bytes(id))
    }

    /// Counts anew what the groups take.
    fn measure(&mut self) {
        self.groups_bytes = self.measured_bytes();
    }

    /// What is counted event by event is what there is.
    #[cfg(test)]
    pub(super) fn check_count(&self) {
        assert_eq!(self.groups_bytes, self.measured_bytes());
        assert_eq!(self.offsets.kept_bytes(), self.offsets.measured_bytes());
    }

    fn measured_bytes(&self) -> usize {
        let groups = self.groups.iter();
        groups.map(|(id, group)| group.kept_bytes(id)).sum()
    }

    fn forget_answered(&mut self, replies: &[(Token, GroupReply)]) {
        if self.waiting.is_empty() {
            return;
        }
        for (token, _) in replies {
            self.waiting.remove(token);
        }
    }

    /// Applies records and has them appended as plain ones.
    pub(super) fn write(&mut self, records: Vec<GroupRecord>, out: &mut GroupOutput) {
        self.write_in(None, records, out);
    }

    /// Applies records and has them appended, in a producer's transaction where one is given.
    pub(super) fn write_in(
        &mut self,
        producer: Option<(ProducerId, ProducerEpoch)>,
        records: Vec<GroupRecord>,
        out: &mut GroupOutput,
    ) {
        if records.is_empty() {
            return;
        }
        for record in &records {
            self.apply(record, producer);
        }
        out.writes.push(GroupWrite { records, producer });
    }

    /// The only thing that changes what is stored.
    fn apply(&mut self, record: &GroupRecord, producer: Option<(ProducerId, ProducerEpoch)>) {
        match record {
            GroupRecord::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                if value.is_some() && !self.groups.contains_key(group) {
                    let simple = Group::Classic(Box::default());
                    self.groups.insert(group.clone(), simple);
                }
                let producer = producer.map(|(id, _)| id);
                self.offsets
                    .apply(group, topic, *partition, value.as_ref(), producer);
            }
            GroupRecord::Classic { group, value } => match value {
                Some(value) => self.classic_or_new(group).apply(value),
                None => {
                    if let Some(Group::Classic(_)) = self.groups.get(group) {
                        self.groups.remove(group);
                    }
                }
            },
            record => consumer::apply(&mut self.groups, &mut self.subscribers, record),
        }
    }

    /// The classic group of this name; a group of the other kind gives way to it.
    fn classic_or_new(&mut self, id: &Str) -> &mut ClassicGroup {
        if let Some(Group::Consumer(group)) = self.groups.get(id) {
            self.subscribers.forget(id, group);
        }
        if !matches!(self.groups.get(id), Some(Group::Classic(_))) {
            self.groups
                .insert(id.clone(), Group::Classic(Box::default()));
        }
        match self.groups.get_mut(id) {
            Some(Group::Classic(group)) => group,
            _ => unreachable!("a classic group was just put there"),
        }
    }

    fn schedule_expiry(&mut self, context: &GroupContext<'_>) {
        let interval_ms = context.config.offsets_retention_check_interval_ms.max(1);
        let at = context.now.mono.plus_ms(interval_ms.unsigned_abs());
        self.timers.set(Timer::Expiry, at);
    }
}

impl Group {
    /// What it takes in memory without its offsets, in bytes, roughly.
    fn kept_bytes(&self, id: &Str) -> usize {
        let members = match self {
            Group::Classic(group) => group.memory_bytes(),
            Group::Consumer(group) => group.memory_bytes(),
        };
        GROUP_BYTES + id.len() + members
    }

    /// Whether somebody reads the topic, or might.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.subscribes_to(topic),
            Group::Consumer(group) => group.subscribes_to(topic),
        }
    }

    /// The records that take the group away, its offsets aside.
    pub(super) fn tombstones(&self, id: &Str) -> Vec<GroupRecord> {
        match self {
            Group::Classic(_) => vec![GroupRecord::Classic {
                group: id.clone(),
                value: None,
            }],
            Group::Consumer(group) => group.tombstones(id),
        }
    }
}

/// The largest key and value together that surely fit one batch: what the partition takes less what frames them.
pub(super) fn record_bytes_max(context: &GroupContext<'_>) -> usize {
    const FRAMING_BYTES: usize = 512;
    context.batch_bytes_max.saturating_sub(FRAMING_BYTES)
}

/// An error's number, as messages carry it.
pub(super) fn code(result: Result<(), ErrorCode>) -> i16 {
    result.err().unwrap_or(ErrorCode::None).code()
}
