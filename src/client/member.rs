//! One membership in a group, request by request: who decides when is [`super::GroupConsumer`].
//!
//! A member of the consumer protocol (KIP-848) joins, confirms and stays by the same heartbeat. What differs from the
//! classic protocol is kept here: an assignment that comes with a heartbeat is told as REBALANCE_IN_PROGRESS, and taken by
//! the join that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use crate::protocol::heartbeat::HeartbeatRequest;
use crate::protocol::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::protocol::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::offset_commit::OffsetCommitRequest;
use crate::protocol::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::{Offset, Str, Uuid};

use super::assignor::{Assignor, Members};
use super::cluster::{AutoCreate, Cluster};
use super::connection::{Connection, ConnectionOptions};
use super::consumer_protocol::{Subscription, decode_assignment, encode_assignment};
use super::coordinator::Coordinated;
use super::error::ClientError;
use super::groups::{OFFSET_COMMIT_BY_NAME, TopicPartition, offset_commit};

/// How a group agrees on who reads what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupProtocol {
    /// JoinGroup and SyncGroup; a member divides.
    Classic,
    /// KIP-848: the coordinator divides, and members go over one by one.
    Consumer,
}

/// Who joins what.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    pub protocol: GroupProtocol,
    pub group: String,
    pub topic: String,
    /// Of the classic protocol.
    pub assignor: Assignor,
    /// A static member's name, kept over restarts (KIP-345).
    pub instance_id: Option<String>,
    /// Without a heartbeat for so long, a member is taken for dead.
    pub session_timeout: Duration,
    /// How long members have to join a rebalance.
    pub rebalance_timeout: Duration,
}

/// What a member knows of itself.
pub(super) struct Member {
    cluster: Rc<Cluster>,
    options: MemberOptions,
    /// Of its own: a JoinGroup holds up everything behind it on its connection.
    coordinator: Option<Connection>,
    id: Str,
    /// Of the consumer protocol: the member's epoch.
    generation: i32,
    /// Of the consumer protocol: what the coordinator wants this member to read, and what it was last told it reads.
    target: BTreeSet<i32>,
    held: BTreeSet<i32>,
}

impl MemberOptions {
    /// A third of the session, so that two may be lost.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        let longest = match self.protocol {
            GroupProtocol::Classic => Duration::from_secs(3),
            // Nothing else tells a member that it shall give something up.
            GroupProtocol::Consumer => Duration::from_secs(1),
        };
        (self.session_timeout / 3).min(longest)
    }

    /// Whether members keep their partitions through a rebalance.
    pub(super) fn is_cooperative(&self) -> bool {
        self.protocol == GroupProtocol::Consumer || self.assignor.is_cooperative()
    }

    fn about(&self) -> String {
        Coordinated::Group.about(&self.group)
    }

    fn instance(&self) -> Option<Str> {
        self.instance_id.as_deref().map(Str::from)
    }
}

impl Member {
    pub fn new(cluster: Rc<Cluster>, options: MemberOptions) -> Member {
        Member {
            cluster,
            options,
            coordinator: None,
            id: Str::EMPTY,
            generation: -1,
            target: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// The group forgot this member, or went on without it.
    pub fn forget_generation(&mut self, why: Option<ErrorCode>) {
        self.generation = -1;
        if why == Some(ErrorCode::UnknownMemberId) {
            self.id = Str::EMPTY;
        }
    }

    /// Asks for the coordinator again next time.
    pub fn forget_coordinator(&mut self) {
        self.coordinator = None;
    }

    /// Joins and returns the partitions that this member shall read now.
    ///
    /// - `owned`: what it reads already, as cooperative members tell.
    /// - `Err(Server)` of `REBALANCE_IN_PROGRESS`: the group changed again meanwhile, join again.
    pub async fn join(&mut self, owned: &BTreeSet<i32>) -> Result<BTreeSet<i32>, ClientError> {
        if self.options.protocol == GroupProtocol::Consumer {
            self.held = owned.clone();
            self.beat().await?;
            self.held = self.target.clone();
            return Ok(self.target.clone());
        }
        let joined = self.join_group(owned).await?;
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let assignments = match leads {
            true => self.divide(&joined).await?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest {
            group_id: self.options.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.options.instance(),
            protocol_type: Some(PROTOCOL_TYPE),
            protocol_name: Some(self.options.assignor.name().into()),
            assignments,
        };
        let answer = self.coordinator().await?.call(&request).await?;
        self.check(answer.error_code)?;
        let mut assigned = decode_assignment(&answer.assignment).map_err(|error| {
            let what = format!("the leader's assignment cannot be read: {error}");
            ClientError::Invalid(format!("{}: {what}", self.options.about()))
        })?;
        let ours = assigned.remove(self.options.topic.as_str());
        Ok(ours.unwrap_or_default().into_iter().collect())
    }

    async fn join_group(
        &mut self,
        owned: &BTreeSet<i32>,
    ) -> Result<JoinGroupResponse, ClientError> {
        // A new member is given an id first, and then asked to join with it (KIP-394).
        loop {
            let request = self.join_request(owned);
            let answer = self.coordinator().await?.call(&request).await?;
            if answer.error_code == ErrorCode::MemberIdRequired.code() && self.id.is_empty() {
                self.id = answer.member_id.detach();
                continue;
            }
            self.check(answer.error_code)?;
            self.id = answer.member_id.detach();
            self.generation = answer.generation_id;
            return Ok(answer);
        }
    }

    fn join_request(&self, owned: &BTreeSet<i32>) -> JoinGroupRequest {
        let topic = Str::from(self.options.topic.as_str());
        let mut subscription = Subscription {
            topics: vec![topic.clone()],
            generation: self.generation,
            ..Default::default()
        };
        if self.options.assignor.is_cooperative() && !owned.is_empty() {
            let owned = owned.iter().copied().collect();
            subscription.owned.insert(topic, owned);
        }
        let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        JoinGroupRequest {
            group_id: self.options.group.as_str().into(),
            session_timeout_ms: ms(self.options.session_timeout),
            rebalance_timeout_ms: ms(self.options.rebalance_timeout),
            member_id: self.id.clone(),
            group_instance_id: self.options.instance(),
            protocol_type: PROTOCOL_TYPE,
            protocols: vec![JoinGroupRequestProtocol {
                name: self.options.assignor.name().into(),
                metadata: subscription.encode(),
            }],
            reason: None,
        }
    }

    /// The leader's part: who reads what.
    async fn divide(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut members = Members::new();
        for member in &joined.members {
            // A member whose words cannot be read wants nothing.
            let subscription = Subscription::decode(&member.metadata).unwrap_or_default();
            members.insert(member.member_id.detach(), subscription);
        }
        let topics = members.values().flat_map(|member| &member.topics);
        let topics: BTreeSet<&Str> = topics.collect();
        let names: Vec<&str> = topics.iter().map(|topic| topic.as_str()).collect();
        self.cluster
            .metadata(Some(&names), AutoCreate::Forbid)
            .await?;
        let counts: BTreeMap<Str, i32> = {
            let topology = self.cluster.topology();
            let known = topics.iter().filter_map(|name| topology.topic(name));
            known
                .map(|topic| (topic.name.clone(), topic.partitions.len() as i32))
                .collect()
        };
        let divided = self.options.assignor.assign(&members, &counts).into_iter();
        let rows = divided.map(|(member_id, partitions)| SyncGroupRequestAssignment {
            member_id,
            assignment: encode_assignment(&partitions),
        });
        Ok(rows.collect())
    }

    /// Says that the member is alive.
    ///
    /// - `Err(Server)` of `REBALANCE_IN_PROGRESS`: it is time to join again.
    pub async fn heartbeat(&mut self) -> Result<(), ClientError> {
        if self.options.protocol == GroupProtocol::Consumer {
            self.beat().await?;
            return match self.target == self.held {
                true => Ok(()),
                false => self.check(ErrorCode::RebalanceInProgress.code()),
            };
        }
        let request = HeartbeatRequest {
            group_id: self.options.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.options.instance(),
        };
        let answer = self.coordinator().await?.call(&request).await?;
        self.check(answer.error_code)
    }

    /// The consumer protocol's one request: joins if the member is not in the group, else says what it reads.
    async fn beat(&mut self) -> Result<(), ClientError> {
        if self.id.is_empty() {
            self.id = uuid::Uuid::new_v4().to_string().into();
        }
        let joins = self.generation <= 0;
        if joins {
            self.generation = 0;
            self.held.clear();
            self.target.clear();
        }
        let topic = self.topic_id().await?;
        let mut request = self.beat_request(self.generation);
        let rows = (!self.held.is_empty()).then(|| TopicPartitions {
            topic_id: topic,
            partitions: self.held.iter().copied().collect(),
        });
        request.topic_partitions = Some(rows.into_iter().collect());
        if joins {
            let timeout_ms = self.options.rebalance_timeout.as_millis();
            request.rebalance_timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
            request.subscribed_topic_names = Some(vec![self.options.topic.as_str().into()]);
        }
        let answer = self.coordinator().await?.call(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::check(answer.error_code, || self.options.about(), message)?;
        self.generation = answer.member_epoch;
        if let Some(id) = answer.member_id.filter(|id| !id.is_empty()) {
            self.id = id.detach();
        }
        if let Some(assignment) = answer.assignment {
            let ours = assignment.topic_partitions.into_iter();
            let ours = ours.filter(|row| row.topic_id == topic);
            self.target = ours.flat_map(|row| row.partitions).collect();
        }
        Ok(())
    }

    fn beat_request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.options.group.as_str().into(),
            member_id: self.id.clone(),
            member_epoch: epoch,
            instance_id: self.options.instance(),
            ..Default::default()
        }
    }

    async fn topic_id(&self) -> Result<Uuid, ClientError> {
        let name = &self.options.topic;
        let topic = self.cluster.topic(name, AutoCreate::Forbid).await?;
        Ok(topic.id)
    }

    /// Commits offsets in this member's name; all are refused for the same reason, if any is.
    pub async fn commit(
        &mut self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ClientError> {
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.options.instance(),
            ..offset_commit(&self.options.group, offsets)
        };
        let coordinator = self.coordinator().await?;
        let version = coordinator.version::<OffsetCommitRequest>()?;
        let version = version.min(OFFSET_COMMIT_BY_NAME);
        let answer = coordinator.call_at(&request, version).await?;
        let mut rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
        rows.try_for_each(|row| self.check(row.error_code))
    }

    /// Leaves the group; a static member does not, so that it finds its place again.
    pub async fn leave(&mut self) -> Result<(), ClientError> {
        if self.options.instance_id.is_some() || self.id.is_empty() {
            return Ok(());
        }
        if self.options.protocol == GroupProtocol::Consumer {
            let request = self.beat_request(-1);
            let answer = self.coordinator().await?.call(&request).await?;
            return self.check(answer.error_code);
        }
        let request = LeaveGroupRequest {
            group_id: self.options.group.as_str().into(),
            member_id: self.id.clone(),
            members: vec![MemberIdentity {
                member_id: self.id.clone(),
                group_instance_id: None,
                reason: None,
            }],
        };
        let answer = self.coordinator().await?.call(&request).await?;
        self.check(answer.error_code)?;
        let mut rows = answer.members.iter();
        rows.try_for_each(|row| self.check(row.error_code))
    }

    async fn coordinator(&mut self) -> Result<Connection, ClientError> {
        if let Some(open) = self.coordinator.as_ref().filter(|c| c.is_open()) {
            return Ok(open.clone());
        }
        let group = &self.options.group;
        let node = self
            .cluster
            .find_coordinator(Coordinated::Group, group)
            .await?;
        let address = self.cluster.address(node)?;
        let usual = &self.cluster.options().connection;
        let options = ConnectionOptions {
            // A JoinGroup waits for the slowest member.
            request_timeout: usual.request_timeout + self.options.rebalance_timeout,
            ..usual.clone()
        };
        let connection = Connection::open(&address, &options).await?;
        self.coordinator = Some(connection.clone());
        Ok(connection)
    }

    fn check(&self, code: i16) -> Result<(), ClientError> {
        ClientError::check(code, || self.options.about(), None)
    }
}

/// What consumers of any kind call themselves.
const PROTOCOL_TYPE: Str = Str::from_static("consumer");
