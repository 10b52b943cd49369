//! A classic group: its members, their protocols, and the generation they are in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::protocol::ErrorCode;
use crate::protocol::consumer_protocol::ConsumerProtocolSubscription;
use crate::protocol::group_records::{GroupMetadataValue, MemberMetadata};
use crate::protocol::join_group::JoinGroupResponseMember;
use crate::types::{Str, Token};

use super::pending::PendingIds;
use crate::group::coordinator::Claim;

/// Where a classic group stands in its rebalance.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::group) enum State {
    /// No members; offsets, perhaps.
    #[default]
    Empty,
    /// Members are awaited for the next generation.
    PreparingRebalance,
    /// The generation is begun; its leader owes the assignment.
    CompletingRebalance,
    Stable,
}

impl State {
    /// Kafka's name.
    pub(in crate::group) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The type of consumers' groups; the bytes of other types are opaque.
pub(in crate::group) const CONSUMER: &str = "consumer";

/// A group of the classic protocol.
#[derive(Default, Debug)]
pub(in crate::group) struct ClassicGroup {
    pub(in crate::group) state: State,
    /// The rebalance that is being prepared is the first of an empty group.
    pub(in crate::group) initial: bool,
    pub(in crate::group) generation: i32,
    /// `None`: nobody ever joined; its offsets are those of a "simple" consumer.
    pub(in crate::group) protocol_type: Option<Str>,
    pub(in crate::group) protocol: Option<Str>,
    pub(in crate::group) leader: Option<Str>,
    /// By member id.
    pub(in crate::group) members: BTreeMap<Str, ClassicMember>,
    /// Instance id to member id (KIP-345).
    pub(in crate::group) static_members: HashMap<Str, Str>,
    /// Ids that were given out and have not joined yet (KIP-394).
    pub(super) pending_joins: PendingIds,
    /// Members that have joined the generation and not asked for their assignment.
    pub(super) pending_syncs: BTreeSet<Str>,
    /// Members that wait for the join phase to end.
    pub(super) joining: usize,
    /// Somebody joined during the initial delay.
    pub(super) new_member_added: bool,
    /// What is left of the initial delay: of the step that runs, and after it; milliseconds.
    pub(super) initial_delay: Option<(i64, i64)>,
    /// Wall clock of the last change of state, milliseconds; `None` for a group of an old Kafka, or a simple one.
    pub(in crate::group) state_timestamp: Option<i64>,
    /// What consumers subscribe to; `None` where it cannot be known.
    pub(in crate::group) subscribed: Option<BTreeSet<Str>>,
    /// How many members support each protocol.
    supported: HashMap<Str, usize>,
    /// What members make the group keep, in bytes.
    pub(super) kept_bytes: usize,
    /// Bytes of the assignments of its last record.
    assigned_bytes: usize,
}

/// What a member costs beside what it said and was given, in bytes, roughly: its places in tables, and its deadlines.
const MEMBER_BYTES: usize = 512;
/// The same of an id that was given out.
const PENDING_ID_BYTES: usize = 384;

/// One member of a classic group.
#[derive(Clone, Default, Debug)]
pub(in crate::group) struct ClassicMember {
    pub(in crate::group) instance_id: Option<Str>,
    pub(in crate::group) client_id: Str,
    pub(in crate::group) client_host: Str,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) session_timeout_ms: i32,
    /// What it can speak, the best first: name and metadata.
    pub(in crate::group) protocols: Vec<(Str, Bytes)>,
    pub(in crate::group) assignment: Bytes,
    /// Its JoinGroup waits.
    pub(in crate::group) join: Option<Token>,
    /// Its SyncGroup waits.
    pub(in crate::group) sync: Option<Token>,
    /// It has not seen a generation yet: it does not know its id, and cannot send heartbeats.
    pub(super) is_new: bool,
}

impl ClassicMember {
    /// Its metadata for a protocol; empty where it does not support it.
    pub(in crate::group) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// What keeping it costs, in bytes, roughly.
    pub(super) fn kept_bytes(&self) -> usize {
        const FIXED: usize = 256;
        let text = self.client_id.len() + self.client_host.len();
        let instance = self.instance_id.as_ref().map_or(0, |id| id.len());
        FIXED + text + instance + protocols_bytes(&self.protocols)
    }
}

/// What keeping a member's protocols costs, in bytes, roughly.
pub(super) fn protocols_bytes(protocols: &[(Str, Bytes)]) -> usize {
    let each = |(name, metadata): &(Str, Bytes)| 64 + name.len() + metadata.len();
    protocols.iter().map(each).sum()
}

impl ClassicGroup {
    pub(in crate::group) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether ids were given out whose members have not joined yet.
    pub(in crate::group) fn awaits_ids(&self) -> bool {
        !self.pending_joins.is_empty()
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader == member_id)
    }

    /// Whether consumers are its members, whose metadata can be read.
    pub(in crate::group) fn is_consumers(&self) -> bool {
        self.protocol_type
            .as_ref()
            .is_some_and(|kind| kind == CONSUMER)
    }

    /// Whether a consumer reads the topic; yes, where consumers' subscriptions cannot be known.
    pub(in crate::group) fn subscribes_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumers(),
        }
    }

    /// Whether a member with these protocols can join the others.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(Str, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let same = self
            .protocol_type
            .as_ref()
            .is_some_and(|own| own == protocol_type);
        same && protocols.iter().any(|(name, _)| self.is_candidate(name))
    }

    /// The protocol that most members like best, of those that all support; `None` without members.
    pub(super) fn select_protocol(&self) -> Option<Str> {
        let mut votes: Vec<(&Str, usize)> = Vec::new();
        for member in self.members.values() {
            let choice = member
                .protocols
                .iter()
                .map(|(name, _)| name)
                .find(|name| self.is_candidate(name))?;
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        // The first of equals, so that the same members always choose the same.
        let most = votes.iter().map(|(_, count)| *count).max()?;
        let winner = votes.iter().find(|(_, count)| *count == most)?;
        Some(winner.0.clone())
    }

    fn is_candidate(&self, protocol: &str) -> bool {
        self.supported.get(protocol) == Some(&self.members.len())
    }

    /// Takes a member in; the first makes the group's type and leads it.
    pub(super) fn insert(&mut self, id: Str, protocol_type: &Str, member: ClassicMember) {
        assert!(
            !self.members.contains_key(&id),
            "{id} is a member already and would be counted twice"
        );
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.joining += member.join.is_some() as usize;
        self.pending_joins.remove(&id);
        self.count_in(&member);
        self.members.insert(id, member);
    }

    /// Takes a member, or an id that was given out, from the group.
    pub(super) fn remove(&mut self, id: &str) -> Option<ClassicMember> {
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        let member = self.members.remove(id)?;
        self.count_out(&member);
        self.joining -= member.join.is_some() as usize;
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a member new protocols and time-outs, and the request that waits to join.
    ///
    /// Returns the request that waited before; nobody will wait for it any more.
    pub(super) fn update(
        &mut self,
        id: &str,
        protocols: Vec<(Str, Bytes)>,
        timeouts_ms: (i32, i32),
        join: Token,
    ) -> Option<Token> {
        let (id, mut member) = self.members.remove_entry(id)?;
        self.count_out(&member);
        member.protocols = protocols;
        (member.session_timeout_ms, member.rebalance_timeout_ms) = timeouts_ms;
        let waited = member.join.replace(join);
        self.joining += waited.is_none() as usize;
        self.count_in(&member);
        self.members.insert(id, member);
        waited
    }

    /// Lets a static member go on under another id and as another client, with all it has; who waits is handed back.
    pub(super) fn rename(
        &mut self,
        old: &Str,
        new: &Str,
        (client_id, client_host): (Str, Str),
    ) -> (Option<Token>, Option<Token>) {
        let mut member = self
            .members
            .remove(old)
            .expect("a static member's id leads to it");
        self.count_out(&member);
        (member.client_id, member.client_host) = (client_id, client_host);
        self.count_in(&member);
        let waited = (member.join.take(), member.sync.take());
        self.joining -= waited.0.is_some() as usize;
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), new.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.pending_syncs.remove(old);
        self.members.insert(new.clone(), member);
        waited
    }

    /// Whether every member, and nobody besides, waits for the next generation.
    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_joins.is_empty()
    }

    /// The longest rebalance time-out of its members, in milliseconds.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        let timeouts = self.members.values().map(|m| m.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0)
    }

    /// What the leader is told of the members.
    pub(super) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.clone().unwrap_or_default();
        let told = |(id, member): (&Str, &ClassicMember)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(&protocol),
        };
        self.members.iter().map(told).collect()
    }

    /// Whether this is a member, under the instance id it claims.
    pub(in crate::group) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&Str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Whether offsets may be committed by whoever claims to be this member.
    pub(in crate::group) fn check_commit(&self, claim: &Claim<'_>) -> Result<(), ErrorCode> {
        if claim.epoch < 0 && self.state == State::Empty {
            // A consumer that assigns itself, or an administrator.
            return Ok(());
        }
        if claim.epoch >= 0 || !claim.member_id.is_empty() || claim.instance_id.is_some() {
            self.check_member(claim.member_id, claim.instance_id)?;
            if claim.epoch != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !claim.transactional {
            // Old versions of TxnOffsetCommit do not tell the member; it may commit.
            return Err(ErrorCode::UnknownMemberId);
        }
        if !claim.transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// The group as it is stored, with `assignment` of each member.
    pub(super) fn to_value(
        &self,
        mut assignment: impl FnMut(&Str, &ClassicMember) -> Bytes,
    ) -> GroupMetadataValue {
        let protocol = self.protocol.clone().unwrap_or_default();
        let member = |(id, member): (&Str, &ClassicMember)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(&protocol),
            assignment: assignment(id, member),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_timestamp.unwrap_or(-1),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Makes the group what the record says. What members have that a record does not tell (all their protocols,
    /// who waits) stays with those that stay.
    pub(in crate::group) fn apply(&mut self, value: &GroupMetadataValue) {
        let kept: BTreeSet<&Str> = value.members.iter().map(|m| &m.member_id).collect();
        let gone: Vec<Str> = self
            .members
            .keys()
            .filter(|id| !kept.contains(id))
            .cloned()
            .collect();
        for id in &gone {
            self.remove(id);
        }
        let protocol = value.protocol.clone().unwrap_or_default();
        for told in &value.members {
            match self.members.get_mut(&told.member_id) {
                Some(member) => {
                    member.assignment = told.assignment.clone();
                    continue;
                }
                None => {
                    let member = member_of(told, &protocol);
                    self.insert(told.member_id.clone(), &value.protocol_type, member);
                }
            }
        }
        self.assigned_bytes = value.members.iter().map(|m| m.assignment.len()).sum();
        self.generation = value.generation;
        self.protocol_type = Some(value.protocol_type.clone()).filter(|kind| !kind.is_empty());
        self.protocol = value.protocol.clone();
        self.leader = value.leader.clone();
        self.state_timestamp = match value.current_state_timestamp {
            -1 => None,
            timestamp => Some(timestamp),
        };
        self.state = match value.members.is_empty() {
            true => State::Empty,
            false => State::Stable,
        };
        self.subscribe();
    }

    /// Reads what the members subscribe to out of their metadata.
    pub(super) fn subscribe(&mut self) {
        self.subscribed = self.subscriptions();
    }

    fn subscriptions(&self) -> Option<BTreeSet<Str>> {
        self.protocol_type.as_ref()?;
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref().filter(|_| self.is_consumers())?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            topics.extend(ConsumerProtocolSubscription::parse(&metadata).ok()?.topics);
        }
        Some(topics)
    }

    /// The member's request of this token waits no more, if it does.
    ///
    /// A member whose JoinGroup is forgotten counts as not having joined yet.
    pub(in crate::group) fn forget(&mut self, member_id: &str, token: Token) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if member.join == Some(token) {
            member.join = None;
            self.joining -= 1;
        } else if member.sync == Some(token) {
            member.sync = None;
        }
    }

    /// What its members take in memory, in bytes, roughly.
    pub(in crate::group) fn memory_bytes(&self) -> usize {
        let members = self.members.len() * MEMBER_BYTES + self.kept_bytes + self.assigned_bytes;
        members + self.pending_joins.len() * PENDING_ID_BYTES
    }

    fn count_in(&mut self, member: &ClassicMember) {
        self.kept_bytes += member.kept_bytes();
        for (name, _) in distinct(&member.protocols) {
            *self.supported.entry(name.clone()).or_default() += 1;
        }
    }

    fn count_out(&mut self, member: &ClassicMember) {
        self.kept_bytes -= member.kept_bytes();
        for (name, _) in distinct(&member.protocols) {
            if let Some(count) = self.supported.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(name);
                }
            }
        }
    }
}

/// A member's protocols; a name given twice counts once.
fn distinct(protocols: &[(Str, Bytes)]) -> impl Iterator<Item = &(Str, Bytes)> {
    let mut seen = BTreeSet::new();
    protocols.iter().filter(move |(name, _)| seen.insert(name))
}

fn member_of(told: &MemberMetadata, protocol: &Str) -> ClassicMember {
    let rebalance_timeout_ms = match told.rebalance_timeout {
        -1 => told.session_timeout,
        timeout => timeout,
    };
    ClassicMember {
        instance_id: told.group_instance_id.clone(),
        client_id: told.client_id.clone(),
        client_host: told.client_host.clone(),
        rebalance_timeout_ms,
        session_timeout_ms: told.session_timeout,
        protocols: vec![(protocol.clone(), told.subscription.clone())],
        assignment: told.assignment.clone(),
        ..ClassicMember::default()
    }
}
