//! The coordinator's side of consumer groups: which group, whether it may be begun or migrated, and what of the
//! decision is to be appended, timed and answered.

use hashbrown::HashMap;

use super::group::{Change, ConsumerGroup, MemberTimer, Refused, Settings, TimerChange, Work};
use super::heartbeat::{check_heartbeat, profile_bytes};
use super::leave::{Fate, Rebalance};
use super::subscribers::Subscribers;
use crate::group::classic::{self, ClassicGroup};
use crate::group::coordinator::{Claim, Group, record_bytes_max};
use crate::group::timers::Timer;
use crate::group::{
    Caller, GroupContext, GroupCoordinator, GroupOutput, GroupRecord, GroupReply, GroupWrite,
};
use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_describe::DescribedGroup;
use crate::protocol::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::types::{Str, Token, TopicId};

impl ConsumerGroup {
    /// As [`ConsumerGroup::may_commit`]; `version` is the request's.
    pub(in crate::group) fn check_commit(
        &self,
        claim: &Claim<'_>,
        version: i16,
    ) -> Result<(), ErrorCode> {
        let version = (!claim.transactional).then_some(version);
        self.may_commit(claim.member_id, claim.instance_id, claim.epoch, version)
    }

    /// As [`ConsumerGroup::may_commit_partition`].
    pub(in crate::group) fn check_commit_partition(
        &self,
        claim: &Claim<'_>,
        topic: TopicId,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        self.may_commit_partition(claim.member_id, claim.epoch, topic, partition)
    }

    /// The records that take the group away.
    pub(in crate::group) fn tombstones(&self, group: &Str) -> Vec<GroupRecord> {
        let changes = self.tombstone_changes();
        changes
            .into_iter()
            .map(|change| change.into_record(group))
            .collect()
    }
}

/// Changes a consumer group as the record says; `groups` is where the group is, or comes to be. A classic group of
/// the same name gives way: its tombstone was compacted away, or it is only offsets.
pub(in crate::group) fn apply(
    groups: &mut HashMap<Str, Group>,
    subscribers: &mut Subscribers,
    record: &GroupRecord,
) {
    let Some(change) = Change::from_record(record) else {
        return;
    };
    let id = record.group();
    if change == Change::Epoch(None) {
        if let Some(Group::Consumer(group)) = groups.get(id) {
            subscribers.forget(id, group);
            groups.remove(id);
        }
        return;
    }
    match groups.get_mut(id) {
        Some(Group::Consumer(group)) => {
            group.apply(&change);
            subscribers.note(id, group);
        }
        _ if change.is_tombstone() => {}
        _ => {
            let mut group = ConsumerGroup::new();
            group.apply(&change);
            subscribers.note(id, &mut group);
            groups.insert(id.clone(), Group::Consumer(Box::new(group)));
        }
    }
}

/// Serves ConsumerGroupHeartbeat: joining, staying and leaving.
pub(in crate::group) fn heartbeat(
    coordinator: &mut GroupCoordinator,
    caller: &Caller,
    request: ConsumerGroupHeartbeatRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> ConsumerGroupHeartbeatResponse {
    let settings = Settings::of(&request.group_id, context.config, context.image);
    let checked = check_heartbeat(&request, caller.version, &settings.assignors)
        .and_then(|()| check_room(coordinator, &request, context));
    let answer = checked.and_then(|()| match request.member_epoch {
        ..0 => leave(coordinator, &request, &settings, context, out),
        0 => join(coordinator, caller, &request, &settings, context, out),
        _ => stay(coordinator, caller, &request, &settings, context, out),
    });
    answer.unwrap_or_else(|refused| ConsumerGroupHeartbeatResponse {
        error_code: refused.code.code(),
        error_message: Some(Str::from(refused.message)),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

/// What a new member, and its group where that is new too, costs beside what it says, in bytes, roughly.
const JOIN_BYTES: usize = 2048;

/// Whether what the member says can be stored, and, where it is new, kept.
fn check_room(
    coordinator: &GroupCoordinator,
    request: &ConsumerGroupHeartbeatRequest,
    context: &GroupContext<'_>,
) -> Result<(), Refused> {
    let bytes = profile_bytes(request);
    if bytes > record_bytes_max(context) {
        let message = "The subscription does not fit the topic that groups are stored in.";
        return Err(Refused::new(ErrorCode::UnknownServerError, message));
    }
    let instance = request.instance_id.as_ref();
    let joins = request.member_epoch == 0
        && !coordinator.is_member(&request.group_id, &request.member_id, instance);
    if joins && !context.has_room(JOIN_BYTES + bytes) {
        let message = "The memory for groups is used up (memory.group.ratio).";
        return Err(Refused::new(ErrorCode::CoordinatorNotAvailable, message));
    }
    Ok(())
}

fn not_found(message: String) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, message)
}

fn not_consumers(id: &Str) -> Refused {
    not_found(format!("Group {id} is not a consumer group."))
}

fn leave(
    coordinator: &mut GroupCoordinator,
    request: &ConsumerGroupHeartbeatRequest,
    settings: &Settings,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
    let id = &request.group_id;
    let group = match coordinator.groups.get_mut(id) {
        Some(Group::Consumer(group)) => group,
        Some(Group::Classic(_)) => return Err(not_consumers(id)),
        None => return Err(not_found(format!("Group {id} not found."))),
    };
    let mut work = Work::new(context.now, context.image, settings);
    let (response, fate) = group.leave(request, &mut work)?;
    let Work {
        changes, timers, ..
    } = work;
    finish(coordinator, id, (changes, timers), out);
    settle(coordinator, id, fate, context, out);
    Ok(response)
}

fn stay(
    coordinator: &mut GroupCoordinator,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    settings: &Settings,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
    let id = &request.group_id;
    let group = match coordinator.groups.get_mut(id) {
        Some(Group::Consumer(group)) => group,
        Some(Group::Classic(_)) => return Err(not_consumers(id)),
        None => return Err(not_found(format!("Consumer group {id} not found."))),
    };
    let mut work = Work::new(context.now, context.image, settings);
    let response = group.heartbeat(&request.member_id, caller, request, &mut work)?;
    let Work {
        changes, timers, ..
    } = work;
    finish(coordinator, id, (changes, timers), out);
    Ok(response)
}

/// A member joins; it may begin the group, or make a classic group a consumer group.
fn join(
    coordinator: &mut GroupCoordinator,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
    settings: &Settings,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
    let member = match request.member_id.is_empty() {
        true => Str::from((context.new_id)().to_string()),
        false => request.member_id.clone(),
    };
    let id = request.group_id.detach();
    let mut work = Work::new(context.now, context.image, settings);
    let begun = match coordinator.groups.get_mut(&id) {
        Some(Group::Consumer(group)) => {
            let response = group.heartbeat(&member, caller, request, &mut work)?;
            let Work {
                changes, timers, ..
            } = work;
            finish(coordinator, &id, (changes, timers), out);
            return Ok(response);
        }
        Some(Group::Classic(classic)) if !classic.is_empty() => {
            may_upgrade(&id, classic, settings)?;
            ConsumerGroup::from_classic(classic, &mut work).ok_or_else(|| not_consumers(&id))?
        }
        _ => ConsumerGroup::new(),
    };
    // Nothing of the group that was there is touched before the join is sure to succeed.
    let mut group = begun;
    let response = group.heartbeat(&member, caller, request, &mut work)?;
    let Work {
        changes, timers, ..
    } = work;
    if let Some(Group::Classic(classic)) = coordinator.groups.get_mut(&id) {
        let stored = classic.protocol_type.is_some();
        end_classic(classic, out);
        cancel_classic(coordinator, &id);
        if stored {
            let tombstone = GroupRecord::Classic {
                group: id.clone(),
                value: None,
            };
            coordinator.write(vec![tombstone], out);
        }
    }
    coordinator
        .groups
        .insert(id.clone(), Group::Consumer(Box::new(group)));
    finish(coordinator, &id, (changes, timers), out);
    Ok(response)
}

/// Whether a classic group with members may become a consumer group (`group.consumer.migration.policy`).
fn may_upgrade(id: &Str, classic: &ClassicGroup, settings: &Settings) -> Result<(), Refused> {
    let why = if !settings.upgrade {
        "the online upgrade is disabled"
    } else if !classic.is_consumers() {
        "the group does not use the consumer embedded protocol"
    } else if classic.members.len() >= settings.size_max {
        "the group is too large"
    } else {
        return Ok(());
    };
    let message = format!("Cannot upgrade classic group {id} to consumer group because {why}.");
    Err(not_found(message))
}

/// Whoever waits for the classic group is told to join again; it will find the consumer group.
fn end_classic(classic: &mut ClassicGroup, out: &mut GroupOutput) {
    let code = ErrorCode::RebalanceInProgress.code();
    for (member_id, member) in &mut classic.members {
        if let Some(token) = member.join.take() {
            let response = JoinGroupResponse {
                error_code: code,
                member_id: member_id.clone(),
                ..JoinGroupResponse::default()
            };
            out.reply(token, GroupReply::Join(response));
        }
        if let Some(token) = member.sync.take() {
            let response = SyncGroupResponse {
                error_code: code,
                ..SyncGroupResponse::default()
            };
            out.reply(token, GroupReply::Sync(response));
        }
    }
}

fn cancel_classic(coordinator: &mut GroupCoordinator, id: &Str) {
    let Some(Group::Classic(classic)) = coordinator.groups.get(id) else {
        return;
    };
    for member in classic.members.keys() {
        let timer = Timer::Session(id.clone(), member.clone());
        coordinator.timers.cancel(&timer);
    }
    coordinator.timers.cancel(&Timer::Join(id.clone()));
    coordinator.timers.cancel(&Timer::Sync(id.clone()));
}

/// Appends what was applied, and sets deadlines.
fn finish(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    (changes, timers): (Vec<Change>, Vec<TimerChange>),
    out: &mut GroupOutput,
) {
    // Deadlines outlive the request that the name may have come with.
    let own = coordinator.groups.get_key_value(id);
    let id = &own.map_or_else(|| id.detach(), |(id, _)| id.clone());
    if let Some(Group::Consumer(group)) = coordinator.groups.get_mut(id) {
        coordinator.subscribers.note(id, group);
    }
    let named = |member: Str, timer: MemberTimer| match timer {
        MemberTimer::Session => Timer::ConsumerSession(id.clone(), member),
        MemberTimer::Rebalance => Timer::ConsumerRebalance(id.clone(), member),
        MemberTimer::Join => Timer::ConsumerJoin(id.clone(), member),
    };
    let records: Vec<GroupRecord> = changes
        .into_iter()
        .map(|change| change.into_record(id))
        .collect();
    if !records.is_empty() {
        out.writes.push(GroupWrite {
            records,
            producer: None,
        });
    }
    for change in timers {
        match change {
            TimerChange::Set(member, timer, at) => coordinator.timers.set(named(member, timer), at),
            TimerChange::SetIfNone(member, timer, at) => {
                let timer = named(member, timer);
                if coordinator.timers.get(&timer).is_none() {
                    coordinator.timers.set(timer, at);
                }
            }
            TimerChange::Cancel(member, timer) => {
                coordinator.timers.cancel(&named(member, timer));
            }
        }
    }
}

/// Where only classic members are left, the group goes on as a classic one, and rebalances where it must.
fn settle(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    fate: Fate,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let Fate::Downgraded(value, rebalance) = fate else {
        return;
    };
    if let Some(Group::Consumer(group)) = coordinator.groups.get(id) {
        coordinator.subscribers.forget(id, group);
    }
    coordinator.groups.remove(id);
    let record = GroupRecord::Classic {
        group: id.clone(),
        value: Some(value),
    };
    coordinator.write(vec![record], out);
    classic::on_loaded(coordinator, id, context, out);
    if rebalance == Rebalance::Needed {
        classic::prepare_rebalance(coordinator, id, context, out);
    }
}

/// Serves ConsumerGroupDescribe.
pub(in crate::group) fn describe(
    coordinator: &GroupCoordinator,
    group: &Str,
    context: &GroupContext<'_>,
) -> DescribedGroup {
    let refused = match coordinator.groups.get(group) {
        Some(Group::Consumer(consumer)) => {
            let settings = Settings::of(group, context.config, context.image);
            return consumer.describe(group, &settings.assignors, context.image);
        }
        Some(Group::Classic(_)) => not_consumers(group),
        None if group.is_empty() => {
            Refused::new(ErrorCode::InvalidGroupId, "The group has no name.")
        }
        None => not_found(format!("Group {group} not found.")),
    };
    DescribedGroup {
        group_id: group.clone(),
        error_code: refused.code.code(),
        error_message: Some(Str::from(refused.message)),
        ..DescribedGroup::default()
    }
}

/// Serves JoinGroup to a consumer group. One without members gives way to a classic group.
pub(in crate::group) fn classic_join(
    coordinator: &mut GroupCoordinator,
    token: Token,
    caller: &Caller,
    request: JoinGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let id = request.group_id.detach();
    let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&id) else {
        return;
    };
    if group.is_empty() {
        let tombstones = group.tombstones(&id);
        coordinator.write(tombstones, out);
        return classic::join(coordinator, token, caller, request, context, out);
    }
    let settings = Settings::of(&id, context.config, context.image);
    let new_id = Str::from((context.new_id)().to_string());
    let mut work = Work::new(context.now, context.image, &settings);
    let result = group.classic_join(&new_id, caller, &request, &mut work);
    let Work {
        changes, timers, ..
    } = work;
    let (response, fate) = result.unwrap_or_else(|refused| {
        let member_id = match refused.code {
            ErrorCode::MemberIdRequired => new_id,
            _ => request.member_id.clone(),
        };
        let response = JoinGroupResponse {
            error_code: refused.code.code(),
            member_id,
            ..JoinGroupResponse::default()
        };
        (response, Fate::Stays)
    });
    finish(coordinator, &id, (changes, timers), out);
    out.reply(token, GroupReply::Join(response));
    settle(coordinator, &id, fate, context, out);
}

/// Serves SyncGroup to a consumer group.
pub(in crate::group) fn classic_sync(
    coordinator: &mut GroupCoordinator,
    token: Token,
    request: SyncGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let response = with_group(
        coordinator,
        &request.group_id,
        context,
        out,
        |group, work| group.classic_sync(&request, work),
    );
    let response = response
        .unwrap_or(Err(ErrorCode::UnknownMemberId))
        .unwrap_or_else(|code| SyncGroupResponse {
            error_code: code.code(),
            ..SyncGroupResponse::default()
        });
    out.reply(token, GroupReply::Sync(response));
}

/// Serves Heartbeat to a consumer group.
pub(in crate::group) fn classic_heartbeat(
    coordinator: &mut GroupCoordinator,
    request: &HeartbeatRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> HeartbeatResponse {
    let result = with_group(
        coordinator,
        &request.group_id,
        context,
        out,
        |group, work| group.classic_heartbeat(request, work),
    );
    let code = result.unwrap_or(Err(ErrorCode::UnknownMemberId)).err();
    HeartbeatResponse {
        error_code: code.unwrap_or(ErrorCode::None).code(),
        ..HeartbeatResponse::default()
    }
}

/// Serves LeaveGroup to a consumer group.
pub(in crate::group) fn classic_leave(
    coordinator: &mut GroupCoordinator,
    request: &LeaveGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> LeaveGroupResponse {
    let result = with_group(
        coordinator,
        &request.group_id,
        context,
        out,
        |group, work| group.classic_leave(request, work),
    );
    let Some((response, fate)) = result else {
        return LeaveGroupResponse {
            error_code: ErrorCode::UnknownMemberId.code(),
            ..LeaveGroupResponse::default()
        };
    };
    settle(coordinator, &request.group_id.detach(), fate, context, out);
    response
}

/// A deadline of a consumer group's member has come.
pub(in crate::group) fn on_timer(
    coordinator: &mut GroupCoordinator,
    timer: Timer,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let (id, member, kind) = match timer {
        Timer::ConsumerSession(id, member) => (id, member, MemberTimer::Session),
        Timer::ConsumerRebalance(id, member) => (id, member, MemberTimer::Rebalance),
        Timer::ConsumerJoin(id, member) => (id, member, MemberTimer::Join),
        _ => return,
    };
    let fate = with_group(coordinator, &id, context, out, |group, work| {
        group.on_timer(&member, kind, work)
    });
    settle(coordinator, &id, fate.unwrap_or(Fate::Stays), context, out);
}

/// The group was read from the log.
pub(in crate::group) fn on_loaded(
    coordinator: &mut GroupCoordinator,
    group: &Str,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    with_group(coordinator, group, context, out, ConsumerGroup::on_loaded);
}

/// Lets `what` happen to the consumer group, if there is one, and appends what comes of it.
fn with_group<T>(
    coordinator: &mut GroupCoordinator,
    id: &Str,
    context: &GroupContext<'_>,
    out: &mut GroupOutput,
    what: impl FnOnce(&mut ConsumerGroup, &mut Work<'_>) -> T,
) -> Option<T> {
    let Some(Group::Consumer(group)) = coordinator.groups.get_mut(id) else {
        return None;
    };
    let settings = Settings::of(id, context.config, context.image);
    let mut work = Work::new(context.now, context.image, &settings);
    let result = what(group, &mut work);
    let Work {
        changes, timers, ..
    } = work;
    finish(coordinator, &id.detach(), (changes, timers), out);
    Some(result)
}
