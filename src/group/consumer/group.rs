//! A group of the consumer protocol: what is stored of it, and what follows from that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hashbrown::HashMap;

use super::assign::{Assignor, Partitions};
use super::reconcile::{Current, MemberState, Owned};
use super::subscribers::Named;
use crate::config::{BrokerConfig, GroupConfig};
use crate::metadata::{Image, ResourceKind};
use crate::protocol::ErrorCode;
use crate::types::{Micros, Now, Str, Timestamp, TopicId};

/// The stored state of a group and what is derived from it. [`ConsumerGroup::apply`] is the only mutator of both; what
/// is soft (deadlines, whether the metadata has moved) is lost with the process.
#[derive(Clone, Default, Debug)]
pub struct ConsumerGroup {
    pub(super) epoch: i32,
    /// Of the topics that were subscribed when the epoch began; see [`super::topics::group_hash`].
    pub(super) metadata_hash: i64,
    pub(super) target_epoch: i32,
    /// When the target was computed; 0 is long ago.
    pub(super) target_at: Timestamp,
    pub(super) members: BTreeMap<Str, Member>,
    /// What each member is led to. Kept apart from the members, whose records may be read later.
    pub(super) targets: BTreeMap<Str, Partitions>,
    pub(super) regexes: BTreeMap<Str, Resolved>,
    /// Assignments of members whose own record is still to come; compaction puts them in any order.
    orphans: BTreeMap<Str, Current>,
    // Derived.
    pub(super) instances: BTreeMap<Str, Str>,
    owners: HashMap<(TopicId, i32), Str>,
    /// The topics that members name.
    pub(super) named: Named,
    /// How many members have a regular expression.
    pub(super) with_regex: usize,
    /// What members, targets and expressions take in memory, in bytes, roughly.
    kept_bytes: usize,
    /// Whether its epoch was ever written.
    pub(super) stored: bool,
    // Soft.
    /// The metadata has moved since the subscriptions were last looked at.
    pub(super) stale: bool,
    /// When regular expressions were last evaluated, or began to be.
    pub(super) refreshed_at: Micros,
    /// Expressions that are to be evaluated again.
    pub(super) to_evaluate: BTreeSet<Str>,
}

/// A member: how it presented itself, and what it has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Member {
    pub profile: Profile,
    pub current: Current,
}

/// What a member said of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Profile {
    pub instance_id: Option<Str>,
    pub rack_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub topics: BTreeSet<Str>,
    /// Empty where there is none.
    pub regex: Str,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<Str>,
    /// Present while the member speaks the classic protocol.
    pub classic: Option<Classic>,
}

/// What the classic protocol adds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Classic {
    pub session_timeout_ms: i32,
    /// Names and metadata, in the member's order of preference.
    pub protocols: Vec<(Str, Bytes)>,
}

/// What a regular expression matched.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resolved {
    pub topics: BTreeSet<Str>,
    pub at: Timestamp,
}

/// One stored change of a group; `None` takes away what is named. Each is one record of `__consumer_offsets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Key 3: the group's epoch and metadata hash.
    Epoch(Option<(i32, i64)>),
    /// Key 5.
    Member(Str, Option<Profile>),
    /// Key 6: the target's epoch, and when it was computed.
    TargetEpoch(Option<(i32, Timestamp)>),
    /// Key 7.
    Target(Str, Option<Partitions>),
    /// Key 8.
    Current(Str, Option<Current>),
    /// Key 16.
    Regex(Str, Option<Resolved>),
}

/// Why a request is refused: the error and a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

impl Refused {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused {
            code,
            message: message.into(),
        }
    }
}

/// What is configured for one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub session_timeout_ms: u64,
    pub heartbeat_interval_ms: i32,
    /// Shortest time between two assignments (KIP-1263).
    pub assignment_interval_ms: i64,
    pub size_max: usize,
    pub classic_size_max: usize,
    pub assignors: Vec<Assignor>,
    pub upgrade: bool,
    pub downgrade: bool,
    pub regex_refresh_ms: u64,
}

impl Settings {
    /// What is in force for the group: its own overrides over the broker's values.
    pub fn of(group: &str, config: &BrokerConfig, image: &Image) -> Settings {
        let own = GroupConfig::effective(config, image.overrides(ResourceKind::Group, group));
        let named = config.group_consumer_assignors.iter();
        let mut assignors: Vec<Assignor> =
            named.filter_map(|name| Assignor::by_name(name)).collect();
        if assignors.is_empty() {
            assignors.push(Assignor::Uniform);
        }
        let positive = |ms: i32| u64::try_from(ms).unwrap_or(0);
        let policy = config.group_consumer_migration_policy;
        Settings {
            session_timeout_ms: positive(own.consumer_session_timeout_ms),
            heartbeat_interval_ms: own.consumer_heartbeat_interval_ms,
            assignment_interval_ms: own.consumer_assignment_interval_ms.into(),
            size_max: usize::try_from(config.group_consumer_max_size).unwrap_or(usize::MAX),
            classic_size_max: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            assignors,
            upgrade: policy.upgrade,
            downgrade: policy.downgrade,
            regex_refresh_ms: positive(config.group_consumer_regex_refresh_interval_ms),
        }
    }
}

/// One event's surroundings, and what comes of it.
pub struct Work<'a> {
    pub now: Now,
    pub image: &'a Image,
    pub settings: &'a Settings,
    /// Applied already, still to be appended.
    pub changes: Vec<Change>,
    pub timers: Vec<TimerChange>,
}

impl<'a> Work<'a> {
    pub fn new(now: Now, image: &'a Image, settings: &'a Settings) -> Work<'a> {
        Work {
            now,
            image,
            settings,
            changes: Vec::new(),
            timers: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, member: &Str, timer: MemberTimer, ms: u64) {
        let at = self.now.mono.plus_ms(ms);
        self.timers
            .push(TimerChange::Set(member.clone(), timer, at));
    }

    pub(super) fn set_if_none(&mut self, member: &Str, timer: MemberTimer, ms: u64) {
        let at = self.now.mono.plus_ms(ms);
        self.timers
            .push(TimerChange::SetIfNone(member.clone(), timer, at));
    }

    pub(super) fn cancel(&mut self, member: &Str, timer: MemberTimer) {
        self.timers.push(TimerChange::Cancel(member.clone(), timer));
    }

    /// The member goes, and all its deadlines with it.
    pub(super) fn cancel_all(&mut self, member: &Str) {
        self.cancel(member, MemberTimer::Session);
        self.cancel(member, MemberTimer::Rebalance);
        self.cancel(member, MemberTimer::Join);
    }
}

/// The deadlines of a member, of which each can be set once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberTimer {
    /// It has not been heard of.
    Session,
    /// It has not given back what it was asked to.
    Rebalance,
    /// A classic member has not joined, or asked for its assignment, as it was told.
    Join,
}

/// A deadline to set or to drop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TimerChange {
    Set(Str, MemberTimer, Micros),
    /// Sets it only where it is not set.
    SetIfNone(Str, MemberTimer, Micros),
    Cancel(Str, MemberTimer),
}

/// Where a group stands; the names are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Empty,
    /// A newer target is still to be computed.
    Assigning,
    /// Some member does not have yet what it shall have.
    Reconciling,
    Stable,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Assigning => "Assigning",
            Phase::Reconciling => "Reconciling",
            Phase::Stable => "Stable",
        }
    }
}

/// What a member costs beside what it said and has, in bytes, roughly: its places in tables, and its deadlines.
const MEMBER_BYTES: usize = 768;
/// A text in a list or table, beside its letters.
const TEXT_BYTES: usize = 64;
/// A partition that a member has, and the table of owners with it.
const OWNED_BYTES: usize = 144;
/// A partition of a target.
const TARGET_BYTES: usize = 16;

/// The epoch that a group has before its first subscription; the first one makes it 2, as Kafka's does.
pub(super) const EPOCH_FIRST: i32 = 1;

/// A static member that left for a while.
pub(super) const EPOCH_AWAY: i32 = -2;

impl ConsumerGroup {
    /// A group that is not yet stored.
    pub fn new() -> ConsumerGroup {
        ConsumerGroup {
            epoch: EPOCH_FIRST,
            ..ConsumerGroup::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name of the group's state.
    pub fn state(&self) -> &'static str {
        self.phase().name()
    }

    pub fn members_count(&self) -> usize {
        self.members.len()
    }

    /// Whether this is a member, or has the place of one by its instance id.
    pub fn is_member(&self, id: &str, instance: Option<&Str>) -> bool {
        self.members.contains_key(id) || instance.is_some_and(|id| self.instances.contains_key(id))
    }

    /// What its members take in memory, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub fn phase(&self) -> Phase {
        let reconciled = |member: &Member| {
            member.current.state == MemberState::Stable && member.current.epoch == self.target_epoch
        };
        if self.members.is_empty() {
            Phase::Empty
        } else if self.epoch > self.target_epoch {
            Phase::Assigning
        } else if !self.members.values().all(reconciled) {
            Phase::Reconciling
        } else {
            Phase::Stable
        }
    }

    /// Whether a member asks for the topic, by name or by an expression that matches it.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        self.named.contains(topic) || self.regexes.values().any(|r| r.topics.contains(topic))
    }

    /// Changes what is stored, and what follows from it. Records of a log come in any order that compaction leaves.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Epoch(Some((epoch, hash))) => {
                self.epoch = *epoch;
                self.metadata_hash = *hash;
                self.stored = true;
            }
            Change::Epoch(None) => self.stored = false,
            Change::Member(id, Some(profile)) => self.put_profile(id, profile),
            Change::Member(id, None) => self.remove(id),
            Change::TargetEpoch(target) => {
                (self.target_epoch, self.target_at) = target.unwrap_or((0, Timestamp(0)));
            }
            Change::Target(id, target) => {
                let after = target.as_ref().map_or(0, target_bytes);
                let before = match target {
                    Some(target) => self.targets.insert(id.clone(), target.clone()),
                    None => self.targets.remove(id),
                };
                self.keeps(before.as_ref().map_or(0, target_bytes), after);
            }
            Change::Current(id, current) => self.put_current(id, current.as_ref()),
            Change::Regex(regex, resolved) => {
                let bytes = |resolved: &Resolved| regex.len() + resolved.bytes();
                let after = resolved.as_ref().map_or(0, bytes);
                let before = match resolved {
                    Some(resolved) => self.regexes.insert(regex.clone(), resolved.clone()),
                    None => self.regexes.remove(regex),
                };
                self.keeps(before.as_ref().map_or(0, bytes), after);
            }
        }
    }

    pub(super) fn write(&mut self, work: &mut Work<'_>, change: Change) {
        self.apply(&change);
        work.changes.push(change);
    }

    fn keeps(&mut self, before: usize, after: usize) {
        self.kept_bytes = self.kept_bytes + after - before;
    }

    fn put_profile(&mut self, id: &Str, profile: &Profile) {
        let nothing = BTreeSet::new();
        let old = self.members.get(id);
        let before = old.map_or(0, |member| member.profile.bytes());
        let topics = old.map_or(&nothing, |member| &member.profile.topics);
        self.named.change(topics, &profile.topics);
        self.keeps(before, profile.bytes());
        let old = self.members.get(id);
        self.with_regex -= usize::from(old.is_some_and(|m| !m.profile.regex.is_empty()));
        self.with_regex += usize::from(!profile.regex.is_empty());
        let instance = old.and_then(|member| member.profile.instance_id.clone());
        if instance != profile.instance_id {
            self.forget_instance(instance, id);
        }
        if let Some(instance) = &profile.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        match self.members.get_mut(id) {
            Some(member) => member.profile = profile.clone(),
            None => {
                let member = Member {
                    profile: profile.clone(),
                    current: Current::default(),
                };
                self.members.insert(id.clone(), member);
                if let Some(current) = self.orphans.remove(id) {
                    self.keeps(current_bytes(&current), 0);
                    self.put_current(id, Some(&current));
                }
            }
        }
    }

    fn remove(&mut self, id: &Str) {
        if let Some(orphan) = self.orphans.remove(id) {
            self.keeps(current_bytes(&orphan), 0);
        }
        self.put_current(id, None);
        if let Some(member) = self.members.remove(id) {
            self.named.change(&member.profile.topics, &BTreeSet::new());
            self.with_regex -= usize::from(!member.profile.regex.is_empty());
            self.keeps(member.profile.bytes(), 0);
            self.forget_instance(member.profile.instance_id, id);
        }
    }

    fn forget_instance(&mut self, instance: Option<Str>, id: &Str) {
        if let Some(instance) = instance
            && self.instances.get(&instance) == Some(id)
        {
            self.instances.remove(&instance);
        }
    }

    fn put_current(&mut self, id: &Str, current: Option<&Current>) {
        let Some(member) = self.members.get_mut(id) else {
            let before = match current {
                Some(current) => self.orphans.insert(id.clone(), current.clone()),
                None => self.orphans.remove(id),
            };
            let bytes = |current: Option<&Current>| current.map_or(0, current_bytes);
            return self.keeps(bytes(before.as_ref()), bytes(current));
        };
        for key in held(&member.current) {
            // Another may have it by now, where an older record of that one was compacted away.
            if self.owners.get(&key) == Some(id) {
                self.owners.remove(&key);
            }
        }
        let before = current_bytes(&member.current);
        member.current = current.cloned().unwrap_or_default();
        let after = current_bytes(&member.current);
        for key in held(&member.current) {
            self.owners.insert(key, id.clone());
        }
        self.keeps(before, after);
    }

    /// Who has the partition, or has still to give it back.
    pub fn owner(&self, topic: TopicId, partition: i32) -> Option<&Str> {
        self.owners.get(&(topic, partition))
    }

    /// The records that take away all there is of the group, the group's own last.
    pub fn tombstone_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let currents = self.members.keys().chain(self.orphans.keys());
        changes.extend(currents.map(|id| Change::Current(id.clone(), None)));
        let targets: BTreeSet<&Str> = self.members.keys().chain(self.targets.keys()).collect();
        changes.extend(
            targets
                .into_iter()
                .map(|id| Change::Target(id.clone(), None)),
        );
        changes.push(Change::TargetEpoch(None));
        let members = self.members.keys();
        changes.extend(members.map(|id| Change::Member(id.clone(), None)));
        let regexes = self.regexes.keys();
        changes.extend(regexes.map(|regex| Change::Regex(regex.clone(), None)));
        changes.push(Change::Epoch(None));
        changes
    }

    /// Whether offsets may be committed by whoever says it is this member.
    ///
    /// - `epoch`: of the request; below 0 with an empty member id it is not a member's commit, and good only while the
    ///   group is empty.
    /// - `version`: of the request, for a plain commit; `None` within a transaction.
    /// - `Err`: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNSUPPORTED_VERSION, or ILLEGAL_GENERATION to
    ///   a classic member.
    pub fn may_commit(
        &self,
        id: &str,
        instance: Option<&Str>,
        epoch: i32,
        version: Option<i16>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        // A transaction's commit need not name a member (KIP-447).
        if version.is_none() && epoch == -1 && id.is_empty() && instance.is_none() {
            return Ok(());
        }
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(member) if *member != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        let classic = member.profile.classic.is_some();
        if !classic && version.is_some_and(|version| version < 9) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        match classic {
            true if epoch != member.current.epoch => Err(ErrorCode::IllegalGeneration),
            false if epoch > member.current.epoch || epoch < 0 => Err(ErrorCode::StaleMemberEpoch),
            _ => Ok(()),
        }
    }

    /// Whether the member, which passed [`ConsumerGroup::may_commit`], may commit for this partition: an older epoch
    /// is good for what it has had since (KIP-1251).
    pub fn may_commit_partition(
        &self,
        id: &str,
        epoch: i32,
        topic: TopicId,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get(id) else {
            return Ok(());
        };
        if epoch == member.current.epoch {
            return Ok(());
        }
        let since = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        let since = since(&member.current.assigned).or_else(|| since(&member.current.revoking));
        match since {
            Some(since) if since <= epoch => Ok(()),
            _ => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// Whether offsets may be fetched by whoever says it is this member; no member at all may.
    pub fn check_fetch(&self, id: Option<&Str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(id) = id.filter(|id| !id.is_empty() || epoch >= 0) else {
            return if epoch < 0 {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        };
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        match (epoch == member.current.epoch, &member.profile.classic) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(ErrorCode::IllegalGeneration),
            (false, None) => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}

impl Profile {
    /// What it takes in memory, with what a member costs besides, in bytes, roughly.
    fn bytes(&self) -> usize {
        let text = |text: &Option<Str>| text.as_ref().map_or(0, |text| text.len());
        let topics = self.topics.iter().map(|topic| topic.len() + TEXT_BYTES);
        let classic = self.classic.iter().flat_map(|classic| &classic.protocols);
        let protocols = classic.map(|(name, metadata)| name.len() + metadata.len() + TEXT_BYTES);
        let texts = text(&self.instance_id) + text(&self.rack_id) + text(&self.assignor);
        let client = self.client_id.len() + self.client_host.len() + self.regex.len();
        MEMBER_BYTES + texts + client + topics.sum::<usize>() + protocols.sum::<usize>()
    }
}

impl Resolved {
    fn bytes(&self) -> usize {
        let topics = self.topics.iter().map(|topic| topic.len() + TEXT_BYTES);
        topics.sum()
    }
}

fn target_bytes(target: &Partitions) -> usize {
    let topics = target.values();
    topics
        .map(|partitions| TEXT_BYTES + TARGET_BYTES * partitions.len())
        .sum()
}

fn current_bytes(current: &Current) -> usize {
    let topics = current.assigned.values().chain(current.revoking.values());
    topics
        .map(|partitions| TEXT_BYTES + OWNED_BYTES * partitions.len())
        .sum()
}

fn held(current: &Current) -> impl Iterator<Item = (TopicId, i32)> + '_ {
    let both = current.assigned.iter().chain(&current.revoking);
    both.flat_map(|(topic, of_topic)| of_topic.keys().map(|partition| (*topic, *partition)))
}
