//! JoinGroup: members come, come back, and change what they can speak.

use bytes::Bytes;

use crate::metadata::validate_topic_name;
use crate::protocol::ErrorCode;
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::types::{Str, Token, Uuid};

use super::group::{ClassicGroup, ClassicMember, State, protocols_bytes};
use super::rebalance::{Step, Stored, drop_unused, step};
use crate::group::consumer;
use crate::group::coordinator::{Group, record_bytes_max};
use crate::group::timers::Timer;
use crate::group::{Caller, GroupContext, GroupCoordinator, GroupOutput, GroupReply};

/// A new member without an id is given one and told to come again (KIP-394).
const MEMBER_ID_FIRST_VERSION: i16 = 4;
/// The answer can tell a leader that came back that it need not assign (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;
/// All members together may make a group keep this many times what one record can hold.
const KEPT_FACTOR: usize = 4;

/// What a new member, and its group where that is new too, costs beside its protocols, in bytes, roughly.
const JOIN_BYTES: usize = 2048;

/// A JoinGroup, checked and copied out of its frame.
struct Joining {
    token: Token,
    version: i16,
    client_id: Str,
    client_host: Str,
    member_id: Str,
    instance_id: Option<Str>,
    protocol_type: Str,
    protocols: Vec<(Str, Bytes)>,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
}

/// Answers a JoinGroup, at once or when the generation begins.
pub(in crate::group) fn join(
    coordinator: &mut GroupCoordinator,
    token: Token,
    caller: &Caller,
    request: JoinGroupRequest,
    context: &mut GroupContext<'_>,
    out: &mut GroupOutput,
) {
    if let Err((member_id, error)) = check(&request, context) {
        return refuse(token, member_id, error, out);
    }
    let instance = request.group_instance_id.as_ref();
    if !coordinator.is_member(&request.group_id, &request.member_id, instance)
        && !context.has_room(JOIN_BYTES + protocols_bytes_of(&request))
    {
        let error = ErrorCode::CoordinatorNotAvailable;
        return refuse(token, request.member_id, error, out);
    }
    if let Some(Group::Consumer(group)) = coordinator.groups.get(&request.group_id) {
        if !group.is_empty() {
            return consumer::classic_join(coordinator, token, caller, request, context, out);
        }
        if request.member_id.is_empty() {
            // An empty group of the other protocol gives way; its offsets stay.
            let tombstones = coordinator.groups[&request.group_id].tombstones(&request.group_id);
            coordinator.write(tombstones, out);
            coordinator.groups.remove(&request.group_id);
        }
    }
    let id = match coordinator.groups.get_key_value(&request.group_id) {
        Some((id, Group::Classic(_))) => id.clone(),
        // Whoever has an id has it from a group that is gone.
        _ if !request.member_id.is_empty() => {
            return refuse(token, request.member_id, ErrorCode::UnknownMemberId, out);
        }
        _ => {
            let id = request.group_id.detach();
            let group = Group::Classic(Box::default());
            coordinator.groups.insert(id.clone(), group);
            id
        }
    };
    let joining = Joining::new(token, caller, &request);
    if let Some(mut step) = step(coordinator, &id, context, out) {
        step.join(joining);
    }
    drop_unused(coordinator, &id);
}

/// What is wrong with the request whatever the group is.
fn check(request: &JoinGroupRequest, context: &GroupContext<'_>) -> Result<(), (Str, ErrorCode)> {
    let refused = |error| Err((request.member_id.clone(), error));
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let sessions_ms =
        context.config.group_min_session_timeout_ms..=context.config.group_max_session_timeout_ms;
    if !sessions_ms.contains(&request.session_timeout_ms) {
        return refused(ErrorCode::InvalidSessionTimeout);
    }
    // Kafka's rule for instance ids is that for topics' names.
    let is_illegal = |instance: &Str| validate_topic_name(instance).is_err();
    if request.group_instance_id.as_ref().is_some_and(is_illegal) {
        return refused(ErrorCode::InvalidRequest);
    }
    if protocols_bytes_of(request) > record_bytes_max(context) {
        // Its subscription could not be stored.
        return refused(ErrorCode::InvalidRequest);
    }
    Ok(())
}

fn protocols_bytes_of(request: &JoinGroupRequest) -> usize {
    let protocols = request.protocols.iter();
    protocols
        .map(|p| 64 + p.name.len() + p.metadata.len())
        .sum()
}

fn refuse(token: Token, member_id: Str, error: ErrorCode, out: &mut GroupOutput) {
    let response = JoinGroupResponse {
        error_code: error.code(),
        member_id,
        ..JoinGroupResponse::default()
    };
    out.reply(token, GroupReply::Join(response));
}

impl Joining {
    fn new(token: Token, caller: &Caller, request: &JoinGroupRequest) -> Joining {
        let protocol = |p: &crate::protocol::join_group::JoinGroupRequestProtocol| {
            (p.name.detach(), Bytes::copy_from_slice(&p.metadata))
        };
        let rebalance_timeout_ms = match request.rebalance_timeout_ms {
            ..0 => request.session_timeout_ms,
            timeout => timeout,
        };
        Joining {
            token,
            version: caller.version,
            client_id: caller.client_id.detach(),
            client_host: caller.client_host.detach(),
            member_id: request.member_id.detach(),
            instance_id: request.group_instance_id.as_ref().map(Str::detach),
            protocol_type: request.protocol_type.detach(),
            protocols: request.protocols.iter().map(protocol).collect(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms,
        }
    }

    fn timeouts_ms(&self) -> (i32, i32) {
        (self.session_timeout_ms, self.rebalance_timeout_ms)
    }

    fn into_member(self) -> (Str, ClassicMember) {
        let member = ClassicMember {
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            protocols: self.protocols,
            join: Some(self.token),
            is_new: true,
            ..ClassicMember::default()
        };
        (self.protocol_type, member)
    }
}

impl Step<'_, '_> {
    fn join(&mut self, joining: Joining) {
        let size_max = self.context.config.group_max_size.max(0) as usize;
        if !accepts(self.group, &joining.member_id, size_max) {
            if !joining.member_id.is_empty() {
                self.remove_member(&joining.member_id);
            }
            let error = ErrorCode::GroupMaxSizeReached;
            return self.refuse_join(joining.token, &Str::EMPTY, error);
        }
        let kept_max = KEPT_FACTOR * record_bytes_max(self.context);
        let adds = protocols_bytes(&joining.protocols);
        if self.group.kept_bytes + adds > kept_max {
            let error = ErrorCode::GroupMaxSizeReached;
            return self.refuse_join(joining.token, &joining.member_id, error);
        }
        if !self
            .group
            .supports(&joining.protocol_type, &joining.protocols)
        {
            let error = ErrorCode::InconsistentGroupProtocol;
            return self.refuse_join(joining.token, &joining.member_id, error);
        }
        if joining.member_id.is_empty() {
            self.join_new(joining);
        } else if self.group.pending_joins.contains(&joining.member_id) {
            let member_id = joining.member_id.clone();
            self.add_member(member_id, joining);
        } else {
            self.join_again(joining);
        }
    }

    /// A member that has no id yet.
    fn join_new(&mut self, joining: Joining) {
        let prefix = joining.instance_id.as_ref().unwrap_or(&joining.client_id);
        let member_id = Str::from(format!("{prefix}-{}", hyphenated((self.context.new_id)())));
        if let Some(instance) = &joining.instance_id {
            match self.group.static_members.get(instance).cloned() {
                Some(old) => self.replace_static(old, member_id, joining),
                None => self.add_member(member_id, joining),
            }
        } else if joining.version >= MEMBER_ID_FIRST_VERSION {
            if let Some(oldest) = self.group.pending_joins.insert(member_id.clone()) {
                self.cancel_session(&oldest);
            }
            let session = Timer::Session(self.id.clone(), member_id.clone());
            self.set_timer(session, joining.session_timeout_ms);
            self.refuse_join(joining.token, &member_id, ErrorCode::MemberIdRequired);
        } else {
            self.add_member(member_id, joining);
        }
    }

    fn add_member(&mut self, member_id: Str, joining: Joining) {
        if self.group.state == State::PreparingRebalance && self.group.initial {
            self.group.new_member_added = true;
        }
        self.waits(joining.token, &member_id);
        let (protocol_type, member) = joining.into_member();
        self.group.insert(member_id.clone(), &protocol_type, member);
        self.start_new_session(&member_id);
        self.rebalance_or_complete();
    }

    /// A member that has an id, from this group it says.
    fn join_again(&mut self, joining: Joining) {
        let Joining {
            member_id, token, ..
        } = &joining;
        let checked = self
            .group
            .check_member(member_id, joining.instance_id.as_ref());
        if let Err(error) = checked {
            return self.refuse_join(*token, member_id, error);
        }
        let member = &self.group.members[member_id];
        let unchanged = member.protocols == joining.protocols;
        let is_leader = self.group.is_leader(member_id);
        match self.group.state {
            // It did not hear of the generation that has begun.
            State::CompletingRebalance if unchanged => {
                let members = match is_leader {
                    true => self.group.members_for_leader(),
                    false => Vec::new(),
                };
                let response = JoinGroupResponse {
                    members,
                    ..self.joined(member_id)
                };
                self.out.reply(*token, GroupReply::Join(response));
            }
            // A follower that has nothing new to say; its leader would ask for a rebalance by this.
            State::Stable if unchanged && !is_leader => {
                let response = self.joined(member_id);
                self.out.reply(*token, GroupReply::Join(response));
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update_member(joining);
                self.rebalance_or_complete();
            }
            State::Empty => self.refuse_join(*token, member_id, ErrorCode::UnknownMemberId),
        }
    }

    /// What the member says replaces what it said; a JoinGroup of its that waits is sent to try again.
    fn update_member(&mut self, joining: Joining) {
        let timeouts_ms = joining.timeouts_ms();
        let Joining {
            token,
            member_id,
            protocols,
            ..
        } = joining;
        self.waits(token, &member_id);
        let waited = self.group.update(&member_id, protocols, timeouts_ms, token);
        if let Some(waited) = waited {
            self.refuse_join(waited, &member_id, ErrorCode::RebalanceInProgress);
        }
    }

    /// A static member has come back, as another process perhaps: it takes its place, and the older is fenced.
    fn replace_static(&mut self, old: Str, new: Str, joining: Joining) {
        let leader_before = self.group.leader.clone().unwrap_or_default();
        let client = (joining.client_id.clone(), joining.client_host.clone());
        let (join, sync) = self.group.rename(&old, &new, client);
        self.cancel_session(&old);
        if let Some(token) = join {
            self.refuse_join(token, &old, ErrorCode::FencedInstanceId);
        }
        if let Some(token) = sync {
            self.refuse_sync(token, ErrorCode::FencedInstanceId);
        }
        let version = joining.version;
        let joining = Joining {
            member_id: new.clone(),
            ..joining
        };
        self.update_member(joining);
        self.restart_session(&new);
        match self.group.state {
            State::Stable if self.group.select_protocol() == self.group.protocol => {
                self.resume_static(new, leader_before, version);
            }
            // The leader may be assigning for the older id.
            State::CompletingRebalance | State::Stable => self.prepare(),
            State::PreparingRebalance => self.complete_join_if_ready(),
            State::Empty => unreachable!("an empty group has no static members"),
        }
    }

    /// The group stays as it is but for the member's id, which is stored.
    fn resume_static(&mut self, member_id: Str, leader_before: Str, version: i16) {
        let value = self.group.to_value(|_, member| member.assignment.clone());
        if self.store(value) == Stored::TooLarge {
            return self.prepare();
        }
        let is_leader = self.group.is_leader(&member_id);
        let joined = self.joined(&member_id);
        let response = match version >= SKIP_ASSIGNMENT_VERSION {
            true => JoinGroupResponse {
                members: match is_leader {
                    true => self.group.members_for_leader(),
                    false => Vec::new(),
                },
                skip_assignment: is_leader,
                ..joined
            },
            // It cannot be told that it need not assign, so it must not learn that it leads.
            false => JoinGroupResponse {
                leader: leader_before,
                ..joined
            },
        };
        let member = self.group.members.get_mut(&member_id);
        if let Some(token) = member.and_then(|member| member.join.take()) {
            self.group.joining -= 1;
            self.out.reply(token, GroupReply::Join(response));
        }
    }
}

/// Whether the group has room: for whoever is in already, and for others below the limit.
fn accepts(group: &ClassicGroup, member_id: &str, size_max: usize) -> bool {
    let member = group.members.get(member_id);
    match group.state {
        State::Empty => true,
        // Those that wait are counted, so that the last to come of a group grown too large are out.
        State::PreparingRebalance => {
            member.is_some_and(|member| member.join.is_some()) || group.joining < size_max
        }
        State::CompletingRebalance | State::Stable => {
            member.is_some() || group.members.len() < size_max
        }
    }
}

/// An id as Java prints a UUID.
fn hyphenated(id: Uuid) -> String {
    let value = u128::from_be_bytes(id.0);
    let digits = format!("{value:032x}");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}
