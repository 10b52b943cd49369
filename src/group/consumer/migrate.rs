//! From one protocol to the other with members in the group (KIP-848, "Online migration").

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashSet;

use super::classic::{assignment_bytes, by_id};
use super::group::{Change, Classic, ConsumerGroup, Profile, Work};
use super::reconcile::{Current, Owned, plain};
use super::topics::group_hash;
use crate::group::classic::ClassicGroup;
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use crate::protocol::group_records::{GroupMetadataValue, MemberMetadata};
use crate::protocol::stored_version;
use crate::types::{Str, Timestamp};

impl ConsumerGroup {
    /// The consumer group that a classic group of consumers becomes, written out. Every member is stable with what it
    /// had, at the classic generation.
    ///
    /// - `None`: a member's metadata or assignment is not a consumer's.
    /// - A partition that two members were given stays with the first; a topic that is gone is nobody's.
    pub fn from_classic(classic: &ClassicGroup, work: &mut Work<'_>) -> Option<ConsumerGroup> {
        let epoch = classic.generation.max(0);
        let mut given = HashSet::new();
        let mut members = Vec::new();
        for (id, member) in &classic.members {
            let name = classic.protocol.as_ref();
            let (_, metadata) = name
                .and_then(|name| member.protocols.iter().find(|(own, _)| own == name))
                .or(member.protocols.first())?;
            let subscription = ConsumerProtocolSubscription::parse(metadata).ok()?;
            let assignment = ConsumerProtocolAssignment::parse(&member.assignment).ok()?;
            let mut assigned = Owned::new();
            for (topic, partitions) in by_id(&assignment.assigned_partitions, work.image) {
                for partition in partitions {
                    if given.insert((topic, partition)) {
                        assigned.entry(topic).or_default().insert(partition, epoch);
                    }
                }
            }
            let profile = Profile {
                instance_id: member.instance_id.clone(),
                rack_id: subscription.rack_id.as_ref().map(Str::detach),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topics: subscription.topics.iter().map(Str::detach).collect(),
                regex: Str::EMPTY,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                assignor: None,
                classic: Some(Classic {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            members.push((id.clone(), profile, assigned));
        }
        let mut group = ConsumerGroup::new();
        for (id, profile, _) in &members {
            group.write(work, Change::Member(id.clone(), Some(profile.clone())));
        }
        let hash = group_hash(&group.topic_names(), work.image);
        group.write(work, Change::Epoch(Some((epoch, hash))));
        for (id, _, assigned) in &members {
            group.write(work, Change::Target(id.clone(), Some(plain(assigned))));
        }
        group.write(work, Change::TargetEpoch(Some((epoch, Timestamp(0)))));
        for (id, _, assigned) in members {
            let current = Current {
                epoch,
                previous_epoch: epoch,
                assigned,
                ..Current::default()
            };
            group.write(work, Change::Current(id, Some(current)));
        }
        group.on_loaded(work);
        Some(group)
    }

    /// The record of the classic group that is left of this one without `gone`.
    pub(super) fn as_classic(&self, gone: &BTreeSet<&Str>, work: &Work<'_>) -> GroupMetadataValue {
        let rest: Vec<(&Str, &Profile, &Classic)> = self
            .members
            .iter()
            .filter(|(id, _)| !gone.contains(id))
            .filter_map(|(id, member)| {
                let classic = member.profile.classic.as_ref()?;
                Some((id, &member.profile, classic))
            })
            .collect();
        let classics: Vec<&Classic> = rest.iter().map(|(_, _, classic)| *classic).collect();
        let protocol = common_protocol(&classics);
        let members = rest.iter().map(|(id, profile, classic)| {
            let metadata = protocol
                .as_ref()
                .and_then(|protocol| metadata(classic, protocol));
            let subscription = metadata.cloned().unwrap_or_default();
            let version = stored_version(&subscription).unwrap_or(0);
            let target = self.targets.get(*id).cloned().unwrap_or_default();
            let with_epochs = |(topic, partitions): (_, BTreeSet<i32>)| {
                let partitions: BTreeMap<i32, i32> =
                    partitions.into_iter().map(|p| (p, self.epoch)).collect();
                (topic, partitions)
            };
            let target: Owned = target.into_iter().map(with_epochs).collect();
            MemberMetadata {
                member_id: (*id).clone(),
                group_instance_id: profile.instance_id.clone(),
                client_id: profile.client_id.clone(),
                client_host: profile.client_host.clone(),
                rebalance_timeout: profile.rebalance_timeout_ms,
                session_timeout: classic.session_timeout_ms,
                subscription,
                assignment: assignment_bytes(version, &target, work.image),
            }
        });
        GroupMetadataValue {
            protocol_type: Str::from("consumer"),
            generation: self.epoch,
            members: members.collect(),
            leader: rest.first().map(|(id, _, _)| (*id).clone()),
            protocol,
            current_state_timestamp: work.now.wall.0,
        }
    }
}

/// The protocol most members prefer among those that all have.
fn common_protocol(members: &[&Classic]) -> Option<Str> {
    let shared = |name: &Str| {
        members
            .iter()
            .all(|member| metadata(member, name).is_some())
    };
    let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
    for member in members {
        let names = member.protocols.iter().map(|(name, _)| name);
        if let Some(name) = names.into_iter().find(|name| shared(name)) {
            *votes.entry(name).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(name, _)| name.clone())
}

fn metadata<'a>(member: &'a Classic, protocol: &Str) -> Option<&'a Bytes> {
    let found = member.protocols.iter().find(|(name, _)| name == protocol);
    found.map(|(_, metadata)| metadata)
}
