//! SyncGroup, Heartbeat and LeaveGroup: the assignment goes round, members stay, members go.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::protocol::ErrorCode;
use crate::protocol::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::types::{Str, Token};

use super::group::State;
use super::rebalance::{Step, Stored, drop_unused, step};
use crate::group::consumer;
use crate::group::coordinator::{Group, code};
use crate::group::timers::Timer;
use crate::group::{Caller, GroupContext, GroupCoordinator, GroupOutput, GroupReply};

/// LeaveGroup names several members and answers each.
const LEAVE_MANY_VERSION: i16 = 3;

/// Answers a SyncGroup, at once or when the leader has handed in the assignment.
pub(in crate::group) fn sync(
    coordinator: &mut GroupCoordinator,
    token: Token,
    request: SyncGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    let error = match coordinator.groups.get_key_value(&request.group_id) {
        _ if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
        Some((id, Group::Classic(group))) if !group.is_empty() => {
            let id = id.clone();
            if let Some(mut step) = step(coordinator, &id, context, out) {
                step.sync(token, request);
            }
            return;
        }
        Some((_, Group::Consumer(group))) if !group.is_empty() => {
            return consumer::classic_sync(coordinator, token, request, context, out);
        }
        _ => ErrorCode::UnknownMemberId,
    };
    let response = SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    };
    out.reply(token, GroupReply::Sync(response));
}

/// Answers a Heartbeat: the member is alive, and is told if it must join again.
pub(in crate::group) fn heartbeat(
    coordinator: &mut GroupCoordinator,
    request: &HeartbeatRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> HeartbeatResponse {
    let result = match coordinator.groups.get_key_value(&request.group_id) {
        _ if request.group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
        Some((id, Group::Classic(_))) => {
            let id = id.clone();
            match step(coordinator, &id, context, out) {
                Some(mut step) => step.heartbeat(request),
                None => Err(ErrorCode::UnknownMemberId),
            }
        }
        Some((_, Group::Consumer(_))) => {
            return consumer::classic_heartbeat(coordinator, request, context, out);
        }
        None => Err(ErrorCode::UnknownMemberId),
    };
    HeartbeatResponse {
        error_code: code(result),
        ..HeartbeatResponse::default()
    }
}

/// Answers a LeaveGroup of one member or of several.
pub(in crate::group) fn leave(
    coordinator: &mut GroupCoordinator,
    caller: &Caller,
    mut request: LeaveGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) -> LeaveGroupResponse {
    if request.group_id.is_empty() {
        return LeaveGroupResponse {
            error_code: ErrorCode::InvalidGroupId.code(),
            ..LeaveGroupResponse::default()
        };
    }
    if caller.version < LEAVE_MANY_VERSION {
        request.members = vec![MemberIdentity {
            member_id: request.member_id.clone(),
            ..MemberIdentity::default()
        }];
    }
    let response = match coordinator.groups.get_key_value(&request.group_id) {
        Some((id, Group::Classic(_))) => {
            let id = id.clone();
            let members = match step(coordinator, &id, context, out) {
                Some(mut step) => step.leave(&request.members),
                None => Vec::new(),
            };
            drop_unused(coordinator, &id);
            LeaveGroupResponse {
                members,
                ..LeaveGroupResponse::default()
            }
        }
        Some((_, Group::Consumer(_))) => {
            consumer::classic_leave(coordinator, &request, context, out)
        }
        None => {
            let unknown = |member| left(member, Err(ErrorCode::UnknownMemberId));
            LeaveGroupResponse {
                members: request.members.iter().map(unknown).collect(),
                ..LeaveGroupResponse::default()
            }
        }
    };
    if caller.version < LEAVE_MANY_VERSION {
        // There is one member, and its error is the answer's.
        let member = response.members.first().map_or(0, |m| m.error_code);
        let error_code = match response.error_code {
            0 => member,
            error => error,
        };
        return LeaveGroupResponse {
            error_code,
            ..LeaveGroupResponse::default()
        };
    }
    response
}

/// A leaving member's row of the answer.
fn left(member: &MemberIdentity, result: Result<(), ErrorCode>) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: code(result),
    }
}

impl Step<'_, '_> {
    fn sync(&mut self, token: Token, request: SyncGroupRequest) {
        if let Err(error) = self.check_sync(&request) {
            return self.refuse_sync(token, error);
        }
        match self.group.state {
            State::Empty => self.refuse_sync(token, ErrorCode::UnknownMemberId),
            State::PreparingRebalance => self.refuse_sync(token, ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                self.synced(&request.member_id);
                let member = self.group.members.get_mut(&request.member_id);
                let waited = member.and_then(|member| member.sync.replace(token));
                self.waits(token, &request.member_id.detach());
                if let Some(waited) = waited {
                    self.refuse_sync(waited, ErrorCode::RebalanceInProgress);
                }
                if self.group.is_leader(&request.member_id) {
                    self.assign(request);
                }
            }
            State::Stable => {
                self.synced(&request.member_id);
                self.answer_sync(&request.member_id, token);
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_ref();
        self.group.check_member(&request.member_id, instance)?;
        if request.generation_id != self.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |told: &Option<Str>, own: &Option<Str>| told.is_some() && own.is_some() && told != own;
        if differs(&request.protocol_type, &self.group.protocol_type)
            || differs(&request.protocol_name, &self.group.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// The leader has handed in the assignment: it is stored, and goes to everyone who waits. A member that it left
    /// out has none.
    fn assign(&mut self, request: SyncGroupRequest) {
        let mut given: HashMap<Str, Bytes> = HashMap::new();
        for assignment in request.assignments {
            if self.group.members.contains_key(&assignment.member_id) {
                let bytes = Bytes::copy_from_slice(&assignment.assignment);
                given.insert(assignment.member_id, bytes);
            }
        }
        let value = self
            .group
            .to_value(|id, _| given.remove(id).unwrap_or_default());
        if self.store(value) == Stored::TooLarge {
            self.fail_syncs(ErrorCode::UnknownServerError);
            return self.prepare();
        }
        let mut waiting: Vec<(Str, Token)> = Vec::new();
        for (id, member) in &mut self.group.members {
            waiting.extend(member.sync.take().map(|token| (id.clone(), token)));
        }
        for (id, token) in waiting {
            self.answer_sync(&id, token);
            self.restart_session(&id);
        }
    }

    fn answer_sync(&mut self, member_id: &str, token: Token) {
        let member = self.group.members.get(member_id);
        let response = SyncGroupResponse {
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            assignment: member.map_or_else(Bytes::new, |member| member.assignment.clone()),
            ..SyncGroupResponse::default()
        };
        self.out.reply(token, GroupReply::Sync(response));
    }

    /// The member has asked for its assignment; once all have, nobody is awaited any more.
    fn synced(&mut self, member_id: &Str) {
        self.group.pending_syncs.remove(member_id);
        if self.group.pending_syncs.is_empty() {
            self.timers.cancel(&Timer::Sync(self.id.clone()));
        }
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_ref();
        self.group.check_member(&request.member_id, instance)?;
        if request.generation_id != self.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.restart_session(&request.member_id.clone());
        match self.group.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn leave(&mut self, members: &[MemberIdentity]) -> Vec<MemberResponse> {
        let mut responses = Vec::with_capacity(members.len());
        let mut any_left = false;
        for member in members {
            let result = self.leave_one(member);
            any_left |= result.is_ok();
            responses.push(left(member, result));
        }
        if any_left {
            self.after_removal();
        }
        responses
    }

    fn leave_one(&mut self, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance = member.group_instance_id.as_ref();
        let id = if member.member_id.is_empty() {
            // An administrator removes a static member by its instance.
            let current = instance.and_then(|instance| self.group.static_members.get(instance));
            current.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.group.pending_joins.contains(&member.member_id) {
                self.group.check_member(&member.member_id, instance)?;
            }
            member.member_id.clone()
        };
        self.remove_member(&id);
        Ok(())
    }
}
