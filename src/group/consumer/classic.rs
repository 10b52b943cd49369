//! Members of the classic protocol inside a consumer group: their requests, served from the member's assignment.
//!
//! The classic generation is the member epoch. A heartbeat answers REBALANCE_IN_PROGRESS where the member has a step to
//! take; it then joins with what it owns, and gets what it may own now from SyncGroup (KIP-848, "Upgrade").

use std::collections::BTreeSet;

use bytes::Bytes;

use super::assign::Partitions;
use super::group::{Change, Classic, ConsumerGroup, Member, MemberTimer, Profile, Refused, Work};
use super::heartbeat::{PROFILE_BYTES_MAX, full};
use super::leave::{Fate, Rebalance};
use super::reconcile::{MemberState, Owned};
use super::topics::Subscriptions;
use crate::group::Caller;
use crate::group::classic::CONSUMER;
use crate::metadata::Image;
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartitions,
};
use crate::protocol::heartbeat::HeartbeatRequest;
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::protocol::{ErrorCode, Stored, stored_version};
use crate::types::Str;

impl ConsumerGroup {
    /// A classic member joins, or joins again to be led a step on.
    ///
    /// - `new_id`: its id where the request has none.
    /// - The group must not be empty, or it would be a classic group's to begin.
    /// - `Err`: nothing was changed. MEMBER_ID_REQUIRED comes with the id as its message (KIP-394).
    pub fn classic_join(
        &mut self,
        new_id: &Str,
        caller: &Caller,
        request: &JoinGroupRequest,
        work: &mut Work<'_>,
    ) -> Result<(JoinGroupResponse, Fate), Refused> {
        let unknown = request.member_id.is_empty();
        let id = if unknown { new_id } else { &request.member_id };
        if self.members.len() >= work.settings.size_max && !self.members.contains_key(id) {
            return Err(full(work.settings));
        }
        self.check_protocols(id, request)?;
        let instance = request.group_instance_id.as_ref();
        if unknown && instance.is_none() && caller.version >= 4 {
            return Err(Refused::new(ErrorCode::MemberIdRequired, id.to_string()));
        }
        let subscription = subscription_of(request)?;
        let replaced = match instance.map(|instance| (instance, self.instances.get(instance))) {
            None | Some((_, None)) if unknown || instance.is_none() => None,
            Some((_, Some(old))) if unknown => Some(old.clone()),
            Some((instance, _)) => self.owner_of(id, instance).map(|_| None)?,
            None => None,
        };
        let id = &id.detach();
        // A static member of the new protocol that comes back as a classic one may be the last to do so.
        let before = instance.and_then(|instance| self.instances.get(instance));
        let before = before.and_then(|owner| self.members.get(owner));
        let returns = before.is_some_and(|member| member.profile.classic.is_none());
        if let Some(old) = replaced {
            self.replace(&old, id, work);
        }
        let joins = !self.members.contains_key(id);
        let empty = Profile::default();
        let before = self
            .members
            .get(id)
            .map_or(&empty, |member| &member.profile);
        let profile = classic_profile(before, caller, request, &subscription);
        let same = before.topics == profile.topics && before.regex == profile.regex;
        let differs = joins || *before != profile;
        if differs {
            self.write(work, Change::Member(id.clone(), Some(profile)));
        }
        let subscriptions = match same {
            true => Subscriptions::Unchanged,
            false => Subscriptions::Changed,
        };
        self.refresh(subscriptions, work);
        let downgrades = returns && self.would_downgrade(&BTreeSet::new(), work.settings);
        if !downgrades {
            self.assign_if_due(work);
        }
        // As a classic group it assigns by itself, where the target is not of these subscriptions.
        let rebalance = match downgrades && self.target_epoch < self.epoch {
            true => Rebalance::Needed,
            false => Rebalance::Spared,
        };
        if rebalance == Rebalance::Spared {
            let owned = by_id(&subscription.owned_partitions, work.image);
            self.reconcile(id, Some(&owned), work);
        }
        let member = &self.members[id];
        let response = JoinGroupResponse {
            member_id: id.clone(),
            generation_id: member.current.epoch,
            protocol_type: Some(Str::from(CONSUMER)),
            protocol_name: first_protocol(member).map(|(name, _)| name.clone()),
            ..JoinGroupResponse::default()
        };
        if downgrades {
            let fate = self.downgrade(&BTreeSet::new(), rebalance, work);
            return Ok((response, fate));
        }
        self.classic_is_alive(id, work);
        let timeout = u64::try_from(request.rebalance_timeout_ms).unwrap_or(0);
        let timeout = timeout.max(u64::try_from(request.session_timeout_ms).unwrap_or(0));
        work.set(id, MemberTimer::Join, timeout);
        Ok((response, Fate::Stays))
    }

    /// The joined member asks what it owns.
    pub fn classic_sync(
        &mut self,
        request: &SyncGroupRequest,
        work: &mut Work<'_>,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let (id, member) =
            self.classic_member(&request.member_id, request.group_instance_id.as_ref())?;
        let id = &id.clone();
        let (epoch, state) = (member.current.epoch, member.current.state);
        if epoch != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        let (protocol, metadata) = first_protocol(member).ok_or(ErrorCode::UnknownMemberId)?;
        let kind = request.protocol_type.as_ref();
        let name = request.protocol_name.as_ref();
        if kind.is_some_and(|kind| kind != CONSUMER) || name.is_some_and(|name| name != protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.target_epoch > epoch && state != MemberState::UnrevokedPartitions {
            self.expect_join(id, work);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let version = stored_version(metadata).unwrap_or(0);
        let assignment = assignment_bytes(version, &member.current.assigned, work.image);
        let response = SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        };
        work.cancel(id, MemberTimer::Join);
        self.classic_is_alive(id, work);
        Ok(response)
    }

    /// The member is alive; `Err(RebalanceInProgress)` tells it to join again.
    pub fn classic_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        work: &mut Work<'_>,
    ) -> Result<(), ErrorCode> {
        let (id, member) =
            self.classic_member(&request.member_id, request.group_instance_id.as_ref())?;
        let id = &id.clone();
        if member.current.epoch != request.generation_id {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.classic_is_alive(id, work);
        self.refresh(Subscriptions::Unchanged, work);
        self.assign_if_due(work);
        let member = &self.members[id];
        let step = member.current.epoch < self.target_epoch
            || member.current.state == MemberState::UnrevokedPartitions
            || (member.current.state == MemberState::UnreleasedPartitions && self.may_go_on(id));
        if step {
            self.expect_join(id, work);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Members leave, be they of the classic protocol or removed by an administrator (KIP-345).
    pub fn classic_leave(
        &mut self,
        request: &LeaveGroupRequest,
        work: &mut Work<'_>,
    ) -> (LeaveGroupResponse, Fate) {
        let mut response = LeaveGroupResponse::default();
        let mut gone: BTreeSet<Str> = BTreeSet::new();
        for row in &request.members {
            let found = self.leaver(&row.member_id, row.group_instance_id.as_ref());
            let code = found.as_ref().err().map_or(0, |code| code.code());
            gone.extend(found);
            response.members.push(MemberResponse {
                member_id: row.member_id.clone(),
                group_instance_id: row.group_instance_id.clone(),
                error_code: code,
            });
        }
        if gone.is_empty() {
            return (response, Fate::Stays);
        }
        let gone: Vec<Str> = gone.into_iter().collect();
        (response, self.fence(&gone, work))
    }

    fn leaver(&self, id: &Str, instance: Option<&Str>) -> Result<Str, ErrorCode> {
        match instance.map(|instance| self.instances.get(instance)) {
            Some(None) => Err(ErrorCode::UnknownMemberId),
            Some(Some(owner)) if !id.is_empty() && owner != id => Err(ErrorCode::FencedInstanceId),
            Some(Some(owner)) => Ok(owner.clone()),
            None => {
                let known = self.members.get_key_value(id);
                known
                    .map(|(id, _)| id.clone())
                    .ok_or(ErrorCode::UnknownMemberId)
            }
        }
    }

    /// The member and its own id, if it speaks the classic protocol and nobody has taken its instance id.
    fn classic_member(
        &self,
        id: &Str,
        instance: Option<&Str>,
    ) -> Result<(&Str, &Member), ErrorCode> {
        if let Some(instance) = instance {
            self.owner_of(id, instance)
                .map_err(|refused| refused.code)?;
        }
        let found = self.members.get_key_value(id);
        found
            .filter(|(_, member)| member.profile.classic.is_some())
            .ok_or(ErrorCode::UnknownMemberId)
    }

    fn classic_is_alive(&self, id: &Str, work: &mut Work<'_>) {
        let classic = self.members[id].profile.classic.as_ref();
        let session = classic.map_or(0, |classic| classic.session_timeout_ms);
        work.set(
            id,
            MemberTimer::Session,
            u64::try_from(session).unwrap_or(0),
        );
    }

    /// The member was told to join; it has its rebalance time-out to do so, counted from the first time.
    fn expect_join(&self, id: &Str, work: &mut Work<'_>) {
        let timeout = self.members[id].profile.rebalance_timeout_ms;
        work.set_if_none(id, MemberTimer::Join, u64::try_from(timeout).unwrap_or(0));
    }

    /// Whether nothing that the member waits for is held by another any more.
    fn may_go_on(&self, id: &Str) -> bool {
        let targets = self.targets.get(id).into_iter().flatten();
        let mut partitions =
            targets.flat_map(|(topic, of_topic)| of_topic.iter().map(|p| (*topic, *p)));
        partitions.all(|(topic, partition)| {
            let owner = self.owner(topic, partition);
            owner.is_none_or(|owner| owner == id)
        })
    }

    /// A member can join those that speak the classic protocol already where they have a protocol in common.
    fn check_protocols(&self, id: &Str, request: &JoinGroupRequest) -> Result<(), Refused> {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let classics: Vec<&Classic> = others
            .filter_map(|(_, member)| member.profile.classic.as_ref())
            .collect();
        let has = |classic: &&Classic, name: &Str| classic.protocols.iter().any(|(n, _)| n == name);
        let shared = |name: &Str| classics.iter().all(|classic| has(classic, name));
        let fits = request
            .protocols
            .iter()
            .any(|protocol| shared(&protocol.name));
        if request.protocol_type == CONSUMER && fits {
            return Ok(());
        }
        let message = "The member's protocols do not fit those of the group.";
        Err(Refused::new(ErrorCode::InconsistentGroupProtocol, message))
    }
}

fn subscription_of(request: &JoinGroupRequest) -> Result<ConsumerProtocolSubscription, Refused> {
    let bytes: usize = request
        .protocols
        .iter()
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum();
    if bytes > PROFILE_BYTES_MAX {
        let message = "The member's metadata is too large.";
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let first = request.protocols.first();
    let metadata = first.map_or(Bytes::new(), |protocol| protocol.metadata.clone());
    ConsumerProtocolSubscription::parse(&metadata).map_err(|_| {
        let message = "The member's metadata is no subscription.";
        Refused::new(ErrorCode::InconsistentGroupProtocol, message)
    })
}

fn classic_profile(
    before: &Profile,
    caller: &Caller,
    request: &JoinGroupRequest,
    subscription: &ConsumerProtocolSubscription,
) -> Profile {
    let own = |new: &Option<Str>, old: &Option<Str>| new.as_ref().or(old.as_ref()).map(Str::detach);
    let protocol = |name: &Str, metadata: &Bytes| (name.detach(), Bytes::copy_from_slice(metadata));
    Profile {
        instance_id: own(&request.group_instance_id, &before.instance_id),
        rack_id: own(&subscription.rack_id, &before.rack_id),
        client_id: caller.client_id.detach(),
        client_host: caller.client_host.detach(),
        topics: subscription.topics.iter().map(Str::detach).collect(),
        regex: Str::EMPTY,
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => request.session_timeout_ms,
            timeout => timeout,
        },
        assignor: before.assignor.clone(),
        classic: Some(Classic {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request
                .protocols
                .iter()
                .map(|p| protocol(&p.name, &p.metadata))
                .collect(),
        }),
    }
}

fn first_protocol(member: &Member) -> Option<&(Str, Bytes)> {
    member.profile.classic.as_ref()?.protocols.first()
}

/// Partitions by topic id; what does not exist is left out.
pub(super) fn by_id(topics: &[TopicPartitions], image: &Image) -> Partitions {
    let mut result = Partitions::new();
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        if let Some(known) = image.topic(&topic.topic) {
            let of_topic = result.entry(known.id).or_default();
            of_topic.extend(topic.partitions.iter().copied());
        }
    }
    result
}

/// An assignment in the bytes of the consumers' own protocol; topics that are gone are left out.
pub(super) fn assignment_bytes(version: i16, assigned: &Owned, image: &Image) -> Bytes {
    let mut assigned_partitions = Vec::new();
    for (topic, partitions) in assigned {
        if let Some(topic) = image.topic_by_id(*topic) {
            assigned_partitions.push(TopicPartitions {
                topic: topic.name.clone(),
                partitions: partitions.keys().copied().collect(),
            });
        }
    }
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions,
        user_data: None,
    };
    let (low, high) = ConsumerProtocolAssignment::VERSIONS;
    assignment.encode_stored(version.clamp(low, high))
}
