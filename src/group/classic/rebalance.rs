//! How a classic group goes from one generation to the next, and what happens when members fall silent.

use bytes::Bytes;

use crate::protocol::ErrorCode;
use crate::protocol::group_records::GroupMetadataValue;
use crate::protocol::join_group::JoinGroupResponse;
use crate::protocol::sync_group::SyncGroupResponse;
use crate::types::{Str, Token};

use super::group::{ClassicGroup, State};
use crate::group::coordinator::{Group, Waiting, record_bytes_max};
use crate::group::timers::{Timer, Timers};
use crate::group::{
    GroupContext, GroupCoordinator, GroupOutput, GroupRecord, GroupReply, GroupWrite,
};

/// How long a member that joins without knowing its id may wait, as in Kafka.
const NEW_MEMBER_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// One event at one classic group: the group, what it may set, and where its answers go.
pub(super) struct Step<'a, 'c> {
    pub(super) id: &'a Str,
    pub(super) group: &'a mut ClassicGroup,
    pub(super) timers: &'a mut Timers,
    pub(super) waiting: &'a mut Waiting,
    pub(super) context: &'a mut GroupContext<'c>,
    pub(super) out: &'a mut GroupOutput,
}

/// What came of storing a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    Yes,
    /// The group as a record would not fit a batch; nothing was changed.
    TooLarge,
}

/// The event's step at the group, if there is such a classic group.
pub(super) fn step<'a, 'c>(
    coordinator: &'a mut GroupCoordinator,
    id: &'a Str,
    context: &'a mut GroupContext<'c>,
    out: &'a mut GroupOutput,
) -> Option<Step<'a, 'c>> {
    let Some(Group::Classic(group)) = coordinator.groups.get_mut(id) else {
        return None;
    };
    Some(Step {
        id,
        group,
        timers: &mut coordinator.timers,
        waiting: &mut coordinator.waiting,
        context,
        out,
    })
}

/// Begins a rebalance of a group that is stable, completing one, or empty.
pub(in crate::group) fn prepare_rebalance(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    if let Some(mut step) = step(coordinator, id, context, out) {
        step.rebalance_or_complete();
    }
}

/// Members that a loaded group has get a session's time to be heard of.
pub(in crate::group) fn on_loaded(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let Some(mut step) = step(coordinator, id, context, out) else {
        return;
    };
    let members: Vec<Str> = step.group.members.keys().cloned().collect();
    for member in &members {
        step.restart_session(member);
    }
    let size_max = step.context.config.group_max_size.max(0) as usize;
    if members.len() > size_max {
        step.rebalance_or_complete();
    }
}

/// A member has committed offsets, by which it was heard of.
pub(in crate::group) fn on_commit(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    member_id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    if let Some(mut step) = step(coordinator, id, context, out) {
        step.restart_session(member_id);
    }
}

/// A member, or an id that was given out, was not heard of for its session time-out.
pub(in crate::group) fn on_session_expired(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    member_id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let Some(mut step) = step(coordinator, id, context, out) else {
        return;
    };
    if step.group.pending_joins.contains(member_id) {
        step.group.remove(member_id);
        step.complete_join_if_ready();
    } else if let Some(member) = step.group.members.get(member_id) {
        let waits = member.join.is_some() || member.sync.is_some();
        if waits && !member.is_new {
            // It waits for us, not we for it; but whoever waits can be forgotten, so the session goes on.
            step.restart_session(member_id);
        } else {
            step.remove_member(member_id);
            step.after_removal();
        }
    }
    drop_unused(coordinator, id);
}

/// The join phase has lasted its time.
pub(in crate::group) fn on_join_expired(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    if let Some(mut step) = step(coordinator, id, context, out) {
        match step.group.initial_delay.take() {
            Some(delay) => step.extend_delay_or_complete(delay),
            None => step.complete_join(),
        }
    }
    drop_unused(coordinator, id);
}

/// Members that joined the generation have not asked for their assignment.
pub(in crate::group) fn on_sync_expired(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let Some(mut step) = step(coordinator, id, context, out) else {
        return;
    };
    let owing = matches!(step.group.state, State::CompletingRebalance | State::Stable);
    let silent: Vec<Str> = step.group.pending_syncs.iter().cloned().collect();
    if owing && !silent.is_empty() {
        for member in &silent {
            step.remove_member(member);
        }
        step.prepare();
    }
}

/// Drops a group that nothing is left of: no member, no id given out, no record and no offset.
pub(super) fn drop_unused(coordinator: &mut GroupCoordinator, id: &Str) {
    let unused = match coordinator.groups.get(id) {
        Some(Group::Classic(group)) => {
            let soft_only = group.generation == 0 && group.state_timestamp.is_none();
            soft_only && group.is_empty() && group.pending_joins.is_empty()
        }
        _ => false,
    };
    let has_offsets =
        coordinator.offsets.of_group(id).is_some() || coordinator.offsets.has_pending(id);
    if unused && !has_offsets {
        coordinator.groups.remove(id);
    }
}

impl Step<'_, '_> {
    /// Begins a rebalance where one can begin; else ends the join phase if nobody is awaited any more.
    pub(super) fn rebalance_or_complete(&mut self) {
        match self.group.state {
            State::PreparingRebalance => self.complete_join_if_ready(),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(),
        }
    }

    /// What a member's going means for the others.
    pub(super) fn after_removal(&mut self) {
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare(),
            State::PreparingRebalance => self.complete_join_if_ready(),
            State::Empty => {}
        }
    }

    /// Begins a rebalance: who waits for an assignment is sent to join again, and all others are awaited.
    pub(super) fn prepare(&mut self) {
        if self.group.state == State::CompletingRebalance {
            self.fail_syncs(ErrorCode::RebalanceInProgress);
        }
        self.timers.cancel(&Timer::Sync(self.id.clone()));
        let initial = self.group.state == State::Empty;
        self.group.initial = initial;
        self.set_state(State::PreparingRebalance);
        if initial {
            // The members of a new group come one after the other: better one rebalance than many.
            let delay_ms = i64::from(self.context.config.group_initial_rebalance_delay_ms).max(0);
            let timeout_ms = i64::from(self.group.rebalance_timeout_ms());
            let remaining_ms = (timeout_ms - delay_ms).max(0);
            self.group.new_member_added = false;
            self.start_delay(delay_ms, remaining_ms);
        } else if self.group.has_all_joined() {
            self.complete_join();
        } else {
            self.await_members();
        }
    }

    /// Ends the join phase if it runs and nobody is awaited; an initial delay runs its time.
    pub(super) fn complete_join_if_ready(&mut self) {
        let preparing = self.group.state == State::PreparingRebalance;
        if preparing && !self.group.initial && self.group.has_all_joined() {
            self.complete_join();
        }
    }

    /// Ends the join phase: who has not come is out (static members only when their session ends), and the next
    /// generation begins with those who have.
    fn complete_join(&mut self) {
        self.timers.cancel(&Timer::Join(self.id.clone()));
        if self.group.state != State::PreparingRebalance {
            return;
        }
        let missing: Vec<Str> = self
            .group
            .members
            .iter()
            .filter(|(_, member)| member.join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for member in &missing {
            self.remove_member(member);
        }
        if !self.elect_leader() && !self.group.is_empty() {
            // Only silent static members are left; their sessions will end one by one.
            return self.await_members();
        }
        self.group.initial = false;
        self.group.generation = self.group.generation.checked_add(1).unwrap_or(1);
        self.group.pending_syncs.clear();
        self.group.protocol = self.group.select_protocol();
        if self.group.is_empty() {
            self.group.leader = None;
            self.set_state(State::Empty);
            let value = self.group.to_value(|_, _| Bytes::new());
            self.store(value);
        } else {
            self.set_state(State::CompletingRebalance);
            self.group.subscribe();
            self.answer_joins();
        }
    }

    /// Tells everyone of the generation that has begun, and awaits their SyncGroups.
    fn answer_joins(&mut self) {
        let ids: Vec<Str> = self.group.members.keys().cloned().collect();
        for id in &ids {
            let members = match self.group.is_leader(id) {
                true => self.group.members_for_leader(),
                false => Vec::new(),
            };
            let response = JoinGroupResponse {
                members,
                ..self.joined(id)
            };
            if let Some(member) = self.group.members.get_mut(id) {
                member.is_new = false;
                if let Some(token) = member.join.take() {
                    self.group.joining -= 1;
                    self.out.reply(token, GroupReply::Join(response));
                }
            }
            self.restart_session(id);
            self.group.pending_syncs.insert(id.clone());
        }
        let timeout_ms = self.group.rebalance_timeout_ms();
        self.set_timer(Timer::Sync(self.id.clone()), timeout_ms);
    }

    /// The generation as a member is told of it, without the others.
    pub(super) fn joined(&self, member_id: &Str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.group.generation,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            leader: self.group.leader.clone().unwrap_or_default(),
            member_id: member_id.clone(),
            ..JoinGroupResponse::default()
        }
    }

    /// Whether a member that has joined leads, after a silent leader was replaced by one that has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &Str| {
            let member = self.group.members.get(id);
            member.is_some_and(|member| member.join.is_some())
        };
        let Some(leader) = &self.group.leader else {
            return false;
        };
        if has_joined(leader) {
            return true;
        }
        let next = self.group.members.keys().find(|id| has_joined(id)).cloned();
        let found = next.is_some();
        if found {
            self.group.leader = next;
        }
        found
    }

    /// One step of the initial delay is over: another follows if somebody came meanwhile and time is left.
    fn extend_delay_or_complete(&mut self, (delay_ms, remaining_ms): (i64, i64)) {
        if !self.group.new_member_added || remaining_ms == 0 {
            return self.complete_join();
        }
        self.group.new_member_added = false;
        let step_ms = i64::from(self.context.config.group_initial_rebalance_delay_ms).max(0);
        self.start_delay(step_ms.min(remaining_ms), (remaining_ms - delay_ms).max(0));
    }

    fn start_delay(&mut self, delay_ms: i64, remaining_ms: i64) {
        self.group.initial_delay = Some((delay_ms, remaining_ms));
        let at = self.context.now.mono.plus_ms(delay_ms.unsigned_abs());
        self.timers.set(Timer::Join(self.id.clone()), at);
    }

    fn await_members(&mut self) {
        let timeout_ms = self.group.rebalance_timeout_ms();
        self.set_timer(Timer::Join(self.id.clone()), timeout_ms);
    }

    /// A request of the member waits now.
    pub(super) fn waits(&mut self, token: Token, member_id: &Str) {
        let who = (self.id.clone(), member_id.clone());
        self.waiting.insert(token, who);
    }

    /// Takes a member out; a JoinGroup or SyncGroup that waits learns that it is unknown.
    pub(super) fn remove_member(&mut self, member_id: &Str) {
        self.cancel_session(member_id);
        let Some(member) = self.group.remove(member_id) else {
            return;
        };
        if let Some(token) = member.join {
            self.refuse_join(token, &Str::EMPTY, ErrorCode::UnknownMemberId);
        }
        if let Some(token) = member.sync {
            self.refuse_sync(token, ErrorCode::UnknownMemberId);
        }
    }

    /// Has the group stored as `value` says, which then is what it is.
    pub(super) fn store(&mut self, value: GroupMetadataValue) -> Stored {
        let texts = |text: &Option<Str>| text.as_ref().map_or(0, |text| text.len());
        let member_bytes: usize = value
            .members
            .iter()
            .map(|m| {
                let names = m.member_id.len() + m.client_id.len() + m.client_host.len();
                32 + names + texts(&m.group_instance_id) + m.subscription.len() + m.assignment.len()
            })
            .sum();
        let names = value.protocol_type.len() + texts(&value.protocol) + texts(&value.leader);
        if 64 + 2 * self.id.len() + names + member_bytes > record_bytes_max(self.context) {
            return Stored::TooLarge;
        }
        self.group.apply(&value);
        let record = GroupRecord::Classic {
            group: self.id.clone(),
            value: Some(value),
        };
        self.out.writes.push(GroupWrite {
            records: vec![record],
            producer: None,
        });
        Stored::Yes
    }

    /// Answers everyone who waits for an assignment with an error; nobody has an assignment any more.
    pub(super) fn fail_syncs(&mut self, error: ErrorCode) {
        let mut waiting: Vec<(Str, Token)> = Vec::new();
        for (id, member) in &mut self.group.members {
            member.assignment = Bytes::new();
            waiting.extend(member.sync.take().map(|token| (id.clone(), token)));
        }
        for (id, token) in waiting {
            self.refuse_sync(token, error);
            self.restart_session(&id);
        }
    }

    pub(super) fn refuse_sync(&mut self, token: Token, error: ErrorCode) {
        let response = SyncGroupResponse {
            error_code: error.code(),
            ..SyncGroupResponse::default()
        };
        self.out.reply(token, GroupReply::Sync(response));
    }

    pub(super) fn refuse_join(&mut self, token: Token, member_id: &Str, error: ErrorCode) {
        let response = JoinGroupResponse {
            error_code: error.code(),
            member_id: member_id.clone(),
            ..JoinGroupResponse::default()
        };
        self.out.reply(token, GroupReply::Join(response));
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.group.state = state;
        self.group.state_timestamp = Some(self.context.now.wall.0);
    }

    /// The member was heard of: its session begins anew.
    pub(super) fn restart_session(&mut self, member_id: &Str) {
        let Some(member) = self.group.members.get(member_id) else {
            return;
        };
        let timeout_ms = member.session_timeout_ms;
        self.set_timer(
            Timer::Session(self.id.clone(), member_id.clone()),
            timeout_ms,
        );
    }

    /// A member that cannot be heard of, because it does not know its id yet, gets longer.
    pub(super) fn start_new_session(&mut self, member_id: &Str) {
        let at = self.context.now.mono.plus_ms(NEW_MEMBER_TIMEOUT_MS);
        let timer = Timer::Session(self.id.clone(), member_id.clone());
        self.timers.set(timer, at);
    }

    pub(super) fn cancel_session(&mut self, member_id: &Str) {
        let timer = Timer::Session(self.id.clone(), member_id.clone());
        self.timers.cancel(&timer);
    }

    pub(super) fn set_timer(&mut self, timer: Timer, timeout_ms: i32) {
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
        let at = self.context.now.mono.plus_ms(timeout_ms);
        self.timers.set(timer, at);
    }
}
