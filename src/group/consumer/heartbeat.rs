//! ConsumerGroupHeartbeat: joining, staying, changing one's mind, and being told what to own.

use std::collections::BTreeSet;

use super::assign::{Assignor, Partitions};
use super::group::{
    Change, ConsumerGroup, EPOCH_AWAY, Member, MemberTimer, Profile, Refused, Settings, Work,
};
use super::reconcile::{Current, Goal, MemberState, is_subset, plain};
use super::regex::TopicPattern;
use super::topics::Subscriptions;
use crate::group::Caller;
use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_heartbeat::{
    AssignedTopicPartitions, Assignment, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::types::{Str, TopicId};

/// Most bytes of one member's subscription and names: its record must fit a batch with room to spare.
pub const PROFILE_BYTES_MAX: usize = 512 * 1024;

/// Most partitions one member may say it owns: the record of so many would not fit a batch.
pub const OWNED_MAX: usize = 250_000;

/// How a member that heartbeats stands to the group.
pub(super) enum Admitted {
    Known,
    New,
    /// It takes the place of the static member of this id.
    Replaces(Str),
}

/// What must hold of a request whatever group it is for; the version is the caller's.
pub fn check_heartbeat(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    assignors: &[Assignor],
) -> Result<(), Refused> {
    let invalid = |message: &str| Err(Refused::new(ErrorCode::InvalidRequest, message));
    let blank = |text: &Str| text.trim_matches(|c| c <= ' ').is_empty();
    let empty = |text: &Option<Str>| text.as_ref().is_some_and(blank);
    // From version 1 on the member makes its own id (KIP-1082).
    if blank(&request.member_id) && (version >= 1 || request.member_epoch != 0) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request
            .topic_partitions
            .as_ref()
            .is_none_or(|some| !some.is_empty()) =>
        {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none()
            && request.subscribed_topic_regex.is_none() =>
        {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        EPOCH_AWAY if request.instance_id.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        ..EPOCH_AWAY => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(name) = &request.server_assignor
        && !assignors.iter().any(|assignor| *name == *assignor.name())
    {
        let names: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
        let names = names.join(", ");
        let message =
            format!("ServerAssignor {name} is not supported. Supported assignors: {names}.");
        return Err(Refused::new(ErrorCode::UnsupportedAssignor, message));
    }
    if profile_bytes(request) > PROFILE_BYTES_MAX {
        return invalid("The subscription is too large.");
    }
    let owned = request.topic_partitions.iter().flatten();
    if owned.map(|topic| topic.partitions.len() + 1).sum::<usize>() > OWNED_MAX {
        return invalid("More partitions are claimed than a member can own.");
    }
    Ok(())
}

/// The bytes of what a member says of itself, roughly as in its record.
pub(super) fn profile_bytes(request: &ConsumerGroupHeartbeatRequest) -> usize {
    let names = request.subscribed_topic_names.iter().flatten();
    let texts = [
        &request.instance_id,
        &request.rack_id,
        &request.subscribed_topic_regex,
    ];
    let texts = texts.into_iter().flatten().map(|text| text.len());
    names.map(|name| name.len() + 4).sum::<usize>() + texts.sum::<usize>()
}

impl ConsumerGroup {
    /// A heartbeat of a member that joins (epoch 0) or is there; the request has passed [`check_heartbeat`].
    ///
    /// - `id`: the member's, or a new one where it has none yet.
    /// - `Err`: nothing was changed. FENCED_MEMBER_EPOCH: it must join again; UNKNOWN_MEMBER_ID, UNRELEASED_INSTANCE_ID,
    ///   FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED, INVALID_REGULAR_EXPRESSION.
    /// - Source: KIP-848, "Consumer Group Heartbeat API".
    pub fn heartbeat(
        &mut self,
        id: &Str,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
        work: &mut Work<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refused> {
        let owned = request.topic_partitions.as_deref().map(partitions_of);
        let admitted = self.admit(id, request, owned.as_ref(), work.settings)?;
        self.check_regex(request.subscribed_topic_regex.as_ref())?;
        let id = &id.detach();
        if let Admitted::Replaces(old) = &admitted {
            self.replace(old, id, work);
        }
        let joins = matches!(admitted, Admitted::New);
        let empty = Profile::default();
        let before = self
            .members
            .get(id)
            .map_or(&empty, |member| &member.profile);
        let changed = changed_profile(before, caller, request);
        let mut subscriptions = Subscriptions::Unchanged;
        if let Some(profile) = changed.or_else(|| joins.then(Profile::default)) {
            if before.topics != profile.topics || before.regex != profile.regex {
                subscriptions = Subscriptions::Changed;
            }
            self.write(work, Change::Member(id.clone(), Some(profile)));
        }
        self.refresh(subscriptions, work);
        self.assign_if_due(work);
        let reassigned = self.reconcile(id, owned.as_ref(), work);
        work.set(id, MemberTimer::Session, work.settings.session_timeout_ms);
        let member = self.members.get(id).expect("it was admitted");
        let asked =
            request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
        let full = request.rebalance_timeout_ms != -1 && asked && owned.is_some();
        let tell = request.member_epoch == 0 || full || reassigned;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: member.current.epoch,
            heartbeat_interval_ms: work.settings.heartbeat_interval_ms,
            assignment: tell.then(|| assignment_of(&plain(&member.current.assigned))),
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    fn admit(
        &self,
        id: &Str,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Partitions>,
        settings: &Settings,
    ) -> Result<Admitted, Refused> {
        let joins = request.member_epoch == 0;
        let known = self.members.get(id);
        let replaced = match &request.instance_id {
            None => None,
            Some(instance) => self.static_member(id, instance, joins)?,
        };
        if let Some(old) = replaced {
            return Ok(Admitted::Replaces(old.clone()));
        }
        let Some(member) = known else {
            if !joins {
                return Err(self.unknown(id, &request.group_id));
            }
            if self.members.len() >= settings.size_max {
                return Err(full(settings));
            }
            return Ok(Admitted::New);
        };
        if !joins {
            check_epoch(&member.current, request.member_epoch, owned)?;
        }
        if member.current.state == MemberState::Unknown
            && owned.is_none_or(|owned| !owned.is_empty())
        {
            let message = "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.";
            return Err(Refused::new(ErrorCode::FencedMemberEpoch, message));
        }
        Ok(Admitted::Known)
    }

    /// Checks who has the instance id. `Some` is the member that is away and whose place the caller takes.
    fn static_member(
        &self,
        id: &Str,
        instance: &Str,
        joins: bool,
    ) -> Result<Option<&Str>, Refused> {
        let owner = self.instances.get(instance);
        if !joins {
            return self.owner_of(id, instance).map(|_| None);
        }
        let Some(owner) = owner else {
            return Ok(None);
        };
        let member = &self.members[owner];
        if member.current.epoch != EPOCH_AWAY {
            let message = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by {owner} member."
            );
            return Err(Refused::new(ErrorCode::UnreleasedInstanceId, message));
        }
        Ok(Some(owner))
    }

    /// The static member of the instance, which must be this one.
    pub(super) fn owner_of(&self, id: &str, instance: &Str) -> Result<&Member, Refused> {
        let Some(owner) = self.instances.get(instance) else {
            let message = format!("Instance id {instance} is unknown.");
            return Err(Refused::new(ErrorCode::UnknownMemberId, message));
        };
        if *owner != *id {
            let message = format!(
                "Static member {id} with instance id {instance} was fenced by member {owner}."
            );
            return Err(Refused::new(ErrorCode::FencedInstanceId, message));
        }
        Ok(&self.members[owner])
    }

    pub(super) fn unknown(&self, id: &str, group: &str) -> Refused {
        let message = format!("Member {id} is not a member of group {group}.");
        Refused::new(ErrorCode::UnknownMemberId, message)
    }

    /// A new expression must compile; one that some member uses has.
    fn check_regex(&self, regex: Option<&Str>) -> Result<(), Refused> {
        let Some(regex) = regex.filter(|regex| !regex.is_empty()) else {
            return Ok(());
        };
        if self.regexes.contains_key(regex) {
            return Ok(());
        }
        let shown: String = regex.chars().take(200).collect();
        TopicPattern::new(regex).map(drop).map_err(|why| {
            let message =
                format!("SubscribedTopicRegex `{shown}` is not a valid regular expression: {why}.");
            Refused::new(ErrorCode::InvalidRegularExpression, message)
        })
    }

    /// The static member `old` becomes `new`, with all it had; its epoch begins anew.
    pub(super) fn replace(&mut self, old: &Str, new: &Str, work: &mut Work<'_>) {
        let Member { profile, current } = self.members[old].clone();
        let target = self.targets.get(old).cloned();
        self.take_away(old, work);
        self.write(work, Change::Member(new.clone(), Some(profile)));
        self.write(
            work,
            Change::Target(new.clone(), Some(target.unwrap_or_default())),
        );
        let current = Current {
            epoch: 0,
            previous_epoch: 0,
            ..current
        };
        self.write(work, Change::Current(new.clone(), Some(current)));
    }

    /// Drops a member and its deadlines.
    pub(super) fn take_away(&mut self, id: &Str, work: &mut Work<'_>) {
        self.write(work, Change::Current(id.clone(), None));
        self.write(work, Change::Target(id.clone(), None));
        self.write(work, Change::Member(id.clone(), None));
        work.cancel_all(id);
    }

    /// Leads the member a step on. Whether it may use other partitions than before.
    pub(super) fn reconcile(
        &mut self,
        id: &Str,
        owned: Option<&Partitions>,
        work: &mut Work<'_>,
    ) -> bool {
        let member = self.members.get(id).expect("it was admitted");
        let pending = self.epoch > self.target_epoch;
        let current = &member.current;
        if current.state == MemberState::Stable && current.epoch == self.target_epoch && !pending {
            return false;
        }
        let nothing = Partitions::new();
        let subscribed: Option<BTreeSet<TopicId>> =
            pending.then(|| self.topic_ids(&member.profile, work.image));
        let goal = Goal {
            target: self.targets.get(id).unwrap_or(&nothing),
            epoch: self.target_epoch,
            subscribed: subscribed.as_ref(),
        };
        let free = |topic, partition| {
            let owner = self.owner(topic, partition);
            owner.is_none_or(|owner| owner == id)
        };
        let next = current
            .step(&goal, owned, &free)
            .expect("an unknown state was refused");
        if next == *current {
            return false;
        }
        let reassigned = plain(&next.assigned) != plain(&current.assigned);
        let classic = member.profile.classic.is_some();
        let timeout = u64::try_from(member.profile.rebalance_timeout_ms).unwrap_or(0);
        let state = next.state;
        self.write(work, Change::Current(id.clone(), Some(next)));
        match state {
            MemberState::UnrevokedPartitions if !classic => {
                work.set(id, MemberTimer::Rebalance, timeout);
            }
            _ => work.cancel(id, MemberTimer::Rebalance),
        }
        reassigned
    }
}

/// A member may be at its present epoch, or, where it missed the answer, at the one before.
fn check_epoch(current: &Current, said: i32, owned: Option<&Partitions>) -> Result<(), Refused> {
    let known = current.epoch;
    let than = match said.cmp(&known) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "greater",
        std::cmp::Ordering::Less
            if said == current.previous_epoch && is_subset(owned, &current.assigned) =>
        {
            return Ok(());
        }
        std::cmp::Ordering::Less => "smaller",
    };
    let message = format!(
        "The consumer group member has a {than} member epoch ({said}) than the one known by the group coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refused::new(ErrorCode::FencedMemberEpoch, message))
}

pub(super) fn full(settings: &Settings) -> Refused {
    let message = format!(
        "The consumer group has reached its maximum capacity of {} members.",
        settings.size_max
    );
    Refused::new(ErrorCode::GroupMaxSizeReached, message)
}

/// The profile with what the request brings; `None` where that is nothing new.
fn changed_profile(
    before: &Profile,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> Option<Profile> {
    let differs = |new: &Option<Str>, old: &Option<Str>| new.is_some() && new != old;
    let names = request.subscribed_topic_names.as_ref();
    let names: Option<BTreeSet<&Str>> = names.map(|names| names.iter().collect());
    let new_names = names.filter(|names| !names.iter().copied().eq(before.topics.iter()));
    let regex = request.subscribed_topic_regex.as_ref();
    let new_regex = regex.filter(|regex| **regex != before.regex);
    let timeout = request.rebalance_timeout_ms;
    let new_timeout = (timeout != -1 && timeout != before.rebalance_timeout_ms).then_some(timeout);
    let same = !differs(&request.instance_id, &before.instance_id)
        && !differs(&request.rack_id, &before.rack_id)
        && !differs(&request.server_assignor, &before.assignor)
        && new_names.is_none()
        && new_regex.is_none()
        && new_timeout.is_none()
        && caller.client_id == before.client_id
        && caller.client_host == before.client_host
        && before.classic.is_none();
    if same {
        return None;
    }
    let own = |new: &Option<Str>, old: &Option<Str>| new.as_ref().or(old.as_ref()).map(Str::detach);
    Some(Profile {
        instance_id: own(&request.instance_id, &before.instance_id),
        rack_id: own(&request.rack_id, &before.rack_id),
        client_id: caller.client_id.detach(),
        client_host: caller.client_host.detach(),
        topics: match new_names {
            Some(names) => names.into_iter().map(Str::detach).collect(),
            None => before.topics.clone(),
        },
        regex: new_regex.unwrap_or(&before.regex).detach(),
        rebalance_timeout_ms: new_timeout.unwrap_or(before.rebalance_timeout_ms),
        assignor: own(&request.server_assignor, &before.assignor),
        classic: None,
    })
}

pub(super) fn partitions_of(topics: &[TopicPartitions]) -> Partitions {
    let mut result = Partitions::new();
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let of_topic = result.entry(topic.topic_id).or_default();
        of_topic.extend(topic.partitions.iter().copied());
    }
    result
}

fn assignment_of(partitions: &Partitions) -> Assignment {
    let topics = partitions
        .iter()
        .map(|(topic_id, partitions)| AssignedTopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
        });
    Assignment {
        topic_partitions: topics.collect(),
    }
}
