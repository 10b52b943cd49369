//! Groups as an administrator sees them: who is there, what they have committed, and changing it.

use std::collections::BTreeMap;

use crate::protocol::ErrorCode;
use crate::protocol::consumer_group_describe::{self, ConsumerGroupDescribeRequest};
use crate::protocol::delete_groups::DeleteGroupsRequest;
use crate::protocol::describe_groups::{self, DescribeGroupsRequest};
use crate::protocol::list_groups::{ListGroupsRequest, ListedGroup};
use crate::protocol::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use crate::types::{NodeId, Offset, Str};

use super::admin::sole;
use super::cluster::Cluster;
use super::consumer_protocol::{Partitions, decode_assignment};
use super::coordinator::{ANY_VERSION, Coordinated};
use super::error::ClientError;

/// A partition by its topic's name.
pub type TopicPartition = (Str, i32);

/// Which protocol a group's members speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupKind {
    /// JoinGroup and SyncGroup.
    Classic,
    /// Heartbeats that bring assignments (KIP-848).
    Consumer,
}

/// A group and its members.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupDescription {
    pub id: Str,
    pub kind: GroupKind,
    /// Kafka's name of it, as `Stable`.
    pub state: Str,
    /// `consumer`, `connect` and the like; empty where nobody ever joined.
    pub protocol_type: Str,
    /// The assignor in use.
    pub assignor: Str,
    /// Of a group of the consumer protocol.
    pub epoch: Option<i32>,
    pub coordinator: NodeId,
    pub members: Vec<GroupMember>,
}

/// A member and what it reads.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupMember {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    /// Of a member of the consumer protocol.
    pub epoch: Option<i32>,
    /// Empty also where the group is no consumer group, and so its assignment is no list of partitions.
    pub assignment: Partitions,
}

/// What a group has committed for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    pub offset: Offset,
    pub metadata: Str,
}

impl GroupKind {
    /// Kafka's name of it, as ListGroups filters by it.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }
}

impl GroupDescription {
    /// Whether nobody reads in its name, so that its offsets may be changed by others.
    pub fn is_inactive(&self) -> bool {
        matches!(self.state.as_str(), "Empty" | "Dead")
    }
}

impl Cluster {
    /// The groups of all brokers, each with its coordinator; no filter lets all through.
    ///
    /// - Brokers too old to filter answer with all.
    pub async fn list_groups(
        &self,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<(NodeId, ListedGroup)>, ClientError> {
        let texts = |all: &[String]| all.iter().map(|one| one.as_str().into()).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
        };
        let mut found = self
            .ask_all(&request, |answer| {
                ClientError::check(answer.error_code, || "groups".to_owned(), None)?;
                Ok(answer.groups)
            })
            .await?;
        found.sort_by(|a, b| a.1.group_id.cmp(&b.1.group_id));
        Ok(found)
    }

    /// A group with its members, whichever protocol they speak.
    ///
    /// - `Err(Server)` of `GROUP_ID_NOT_FOUND`: there is no group of that name, or it is neither classic nor consumer.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        match self.describe_consumer_group(group).await {
            Err(ClientError::Unsupported { .. }) => {}
            Err(error) if is_other_kind(&error) => {}
            done => return done,
        }
        self.describe_classic_group(group).await
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.into()],
            include_authorized_operations: false,
        };
        let key = (Coordinated::Group, group);
        let row = self
            .ask_coordinator(key, &request, ANY_VERSION, |answer| {
                let row = sole(answer.groups, &about(group))?;
                let message = row.error_message.as_deref();
                ClientError::check(row.error_code, || about(group), message)?;
                Ok(row)
            })
            .await?;
        let members = row.members.iter().map(GroupMember::of_consumer).collect();
        Ok(GroupDescription {
            id: row.group_id.detach(),
            kind: GroupKind::Consumer,
            state: row.group_state.detach(),
            protocol_type: Str::from_static("consumer"),
            assignor: row.assignor_name.detach(),
            epoch: Some(row.group_epoch),
            coordinator: self.find_coordinator(key.0, key.1).await?,
            members,
        })
    }

    async fn describe_classic_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            include_authorized_operations: false,
        };
        let key = (Coordinated::Group, group);
        let row = self
            .ask_coordinator(key, &request, ANY_VERSION, |answer| {
                let row = sole(answer.groups, &about(group))?;
                let message = row.error_message.as_deref();
                ClientError::check(row.error_code, || about(group), message)?;
                // Before version 6 a group that does not exist is a dead one, without an error.
                if row.group_state == "Dead" {
                    let code = ErrorCode::GroupIdNotFound.code();
                    ClientError::check(code, || about(group), None)?;
                }
                Ok(row)
            })
            .await?;
        let consumers = row.protocol_type == "consumer";
        let members = row.members.iter();
        Ok(GroupDescription {
            id: row.group_id.detach(),
            kind: GroupKind::Classic,
            state: row.group_state.detach(),
            protocol_type: row.protocol_type.detach(),
            assignor: row.protocol_data.detach(),
            epoch: None,
            coordinator: self.find_coordinator(key.0, key.1).await?,
            members: members
                .map(|member| GroupMember::of_classic(member, consumers))
                .collect(),
        })
    }

    /// What a group has committed: for all partitions (`None`) or some. A partition without a commit is left out, and
    /// a group that does not exist has none.
    pub async fn committed(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
        let topics = partitions.map(by_topic);
        let old = topics.iter().flatten();
        let old = old.map(|(name, indexes)| OffsetFetchRequestTopic {
            name: name.clone(),
            partition_indexes: indexes.clone(),
        });
        let new = topics.iter().flatten();
        let new = new.map(|(name, indexes)| OffsetFetchRequestTopics {
            name: name.clone(),
            partition_indexes: indexes.clone(),
            ..Default::default()
        });
        let request = OffsetFetchRequest {
            group_id: group.into(),
            topics: topics.is_some().then(|| old.collect()),
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.into(),
                topics: topics.is_some().then(|| new.collect()),
                ..Default::default()
            }],
            require_stable: false,
        };
        let key = (Coordinated::Group, group);
        self.ask_coordinator(key, &request, OFFSET_FETCH_BY_NAME, |answer| {
            ClientError::check(answer.error_code, || about(group), None)?;
            let mut found = BTreeMap::new();
            let mut take =
                |topic: &Str, index: i32, offset: i64, metadata: Option<Str>, code: i16| {
                    ClientError::check(
                        code,
                        || format!("{} of partition {topic}-{index}", about(group)),
                        None,
                    )?;
                    if offset >= 0 {
                        let committed = Committed {
                            offset: Offset(offset),
                            metadata: metadata.unwrap_or_default().detach(),
                        };
                        found.insert((topic.detach(), index), committed);
                    }
                    Ok(())
                };
            for topic in answer.topics {
                for p in topic.partitions {
                    take(
                        &topic.name,
                        p.partition_index,
                        p.committed_offset,
                        p.metadata,
                        p.error_code,
                    )?;
                }
            }
            for row in answer.groups {
                ClientError::check(row.error_code, || about(group), None)?;
                for topic in row.topics {
                    for p in topic.partitions {
                        take(
                            &topic.name,
                            p.partition_index,
                            p.committed_offset,
                            p.metadata,
                            p.error_code,
                        )?;
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// Commits offsets in the name of a group that has no members; each partition's outcome.
    pub async fn commit_for(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientError>>, ClientError> {
        let request = offset_commit(group, offsets);
        let key = (Coordinated::Group, group);
        self.ask_coordinator(key, &request, OFFSET_COMMIT_BY_NAME, |answer| {
            let mut outcome = BTreeMap::new();
            for topic in answer.topics {
                for p in topic.partitions {
                    let about = || format!("partition {}-{}", topic.name, p.partition_index);
                    let done = ClientError::check(p.error_code, about, None);
                    // While the coordinator moves or loads, every row says so.
                    if let Err(error) = &done
                        && is_coordinators(error)
                    {
                        return Err(error.clone());
                    }
                    outcome.insert((topic.name.detach(), p.partition_index), done);
                }
            }
            Ok(outcome)
        })
        .await
    }

    /// Deletes a group without members, and its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest {
            groups_names: vec![group.into()],
        };
        let key = (Coordinated::Group, group);
        self.ask_coordinator(key, &request, ANY_VERSION, |answer| {
            let row = sole(answer.results, &about(group))?;
            ClientError::check(row.error_code, || about(group), None)
        })
        .await
    }
}

impl GroupMember {
    fn of_consumer(member: &consumer_group_describe::Member) -> GroupMember {
        let assigned = member.assignment.topic_partitions.iter();
        GroupMember {
            id: member.member_id.detach(),
            instance_id: member.instance_id.as_ref().map(Str::detach),
            client_id: member.client_id.detach(),
            client_host: member.client_host.detach(),
            epoch: Some(member.member_epoch),
            assignment: assigned
                .map(|topic| (topic.topic_name.detach(), topic.partitions.clone()))
                .collect(),
        }
    }

    fn of_classic(member: &describe_groups::DescribedGroupMember, consumer: bool) -> GroupMember {
        let assignment = consumer.then(|| decode_assignment(&member.member_assignment));
        GroupMember {
            id: member.member_id.detach(),
            instance_id: member.group_instance_id.as_ref().map(Str::detach),
            client_id: member.client_id.detach(),
            client_host: member.client_host.detach(),
            epoch: None,
            // What members write is theirs: bytes that are no assignment are shown as none.
            assignment: assignment.and_then(Result::ok).unwrap_or_default(),
        }
    }
}

/// A commit of someone who is no member; a member fills in who it is.
pub(super) fn offset_commit(
    group: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((name, partition_index), offset) in offsets {
        if topics.last().is_none_or(|topic| topic.name != *name) {
            topics.push(OffsetCommitRequestTopic {
                name: name.clone(),
                ..Default::default()
            });
        }
        let topic = topics.last_mut().expect("pushed above");
        topic.partitions.push(OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: offset.0,
            committed_metadata: Some(Str::EMPTY),
            ..Default::default()
        });
    }
    OffsetCommitRequest {
        group_id: group.into(),
        topics,
        ..Default::default()
    }
}

/// Partitions gathered by topic.
pub(super) fn by_topic(partitions: &[TopicPartition]) -> Partitions {
    let mut found = Partitions::new();
    for (topic, index) in partitions {
        found.entry(topic.clone()).or_default().push(*index);
    }
    found
}

fn is_other_kind(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)
    )
}

fn is_coordinators(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
        )
    )
}

fn about(group: &str) -> String {
    Coordinated::Group.about(group)
}

/// From version 10 on, topics are named by id only: names tell more to a person.
const OFFSET_FETCH_BY_NAME: i16 = 9;
pub(super) const OFFSET_COMMIT_BY_NAME: i16 = 9;
