//! Changes of a consumer group as records of `__consumer_offsets`, and back.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::Partitions;
use super::group::{Change, Classic, Profile, Resolved};
use super::reconcile::{Current, MemberState, Owned};
use crate::group::GroupRecord;
use crate::protocol::group_records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, OwnedPartitions, TargetPartitions,
};
use crate::types::{Str, Timestamp};

impl Change {
    /// Whether it takes something away.
    pub fn is_tombstone(&self) -> bool {
        matches!(
            self,
            Change::Epoch(None)
                | Change::Member(_, None)
                | Change::TargetEpoch(None)
                | Change::Target(_, None)
                | Change::Current(_, None)
                | Change::Regex(_, None)
        )
    }

    /// The record of this change in the group named `group`.
    pub fn into_record(self, group: &Str) -> GroupRecord {
        let group = group.clone();
        match self {
            Change::Epoch(value) => GroupRecord::ConsumerEpoch {
                group,
                value: value.map(|(epoch, metadata_hash)| ConsumerGroupMetadataValue {
                    epoch,
                    metadata_hash,
                }),
            },
            Change::Member(member, value) => GroupRecord::ConsumerMember {
                group,
                member,
                value: value.map(Profile::into_value),
            },
            Change::TargetEpoch(value) => GroupRecord::ConsumerTarget {
                group,
                value: value.map(|(epoch, at)| ConsumerGroupTargetAssignmentMetadataValue {
                    assignment_epoch: epoch,
                    assignment_timestamp: at.0,
                }),
            },
            Change::Target(member, value) => GroupRecord::ConsumerTargetMember {
                group,
                member,
                value: value.map(|target| ConsumerGroupTargetAssignmentMemberValue {
                    topic_partitions: target
                        .into_iter()
                        .map(|(topic_id, partitions)| TargetPartitions {
                            topic_id,
                            partitions: partitions.into_iter().collect(),
                        })
                        .collect(),
                }),
            },
            Change::Current(member, value) => GroupRecord::ConsumerCurrentMember {
                group,
                member,
                value: value.map(Current::into_value),
            },
            Change::Regex(regex, value) => GroupRecord::ConsumerRegex {
                group,
                regex,
                value: value.map(|resolved| ConsumerGroupRegularExpressionValue {
                    topics: resolved.topics.into_iter().collect(),
                    // Of no metadata: whoever takes the log over evaluates the expression again.
                    version: 0,
                    timestamp: resolved.at.0,
                }),
            },
        }
    }

    /// The change that a record of a consumer group is; `None` for other records. Key 4 says nothing any more.
    pub fn from_record(record: &GroupRecord) -> Option<Change> {
        Some(match record {
            GroupRecord::ConsumerEpoch { value, .. } => {
                let value = value.as_ref();
                Change::Epoch(value.map(|value| (value.epoch, value.metadata_hash)))
            }
            GroupRecord::ConsumerMember { member, value, .. } => {
                Change::Member(member.clone(), value.as_ref().map(Profile::from_value))
            }
            GroupRecord::ConsumerTarget { value, .. } => {
                let value = value.as_ref();
                let pair = value.map(|v| (v.assignment_epoch, Timestamp(v.assignment_timestamp)));
                Change::TargetEpoch(pair)
            }
            GroupRecord::ConsumerTargetMember { member, value, .. } => {
                let target = |value: &ConsumerGroupTargetAssignmentMemberValue| {
                    let mut target = Partitions::new();
                    for topic in &value.topic_partitions {
                        let of_topic = target.entry(topic.topic_id).or_default();
                        of_topic.extend(topic.partitions.iter().copied());
                    }
                    target.retain(|_, partitions| !partitions.is_empty());
                    target
                };
                Change::Target(member.clone(), value.as_ref().map(target))
            }
            GroupRecord::ConsumerCurrentMember { member, value, .. } => {
                Change::Current(member.clone(), value.as_ref().map(Current::from_value))
            }
            GroupRecord::ConsumerRegex { regex, value, .. } => {
                let resolved = |value: &ConsumerGroupRegularExpressionValue| Resolved {
                    topics: value.topics.iter().cloned().collect(),
                    at: Timestamp(value.timestamp),
                };
                Change::Regex(regex.clone(), value.as_ref().map(resolved))
            }
            _ => return None,
        })
    }
}

impl Profile {
    fn into_value(self) -> ConsumerGroupMemberMetadataValue {
        let classic = self.classic.map(|classic| ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic
                .protocols
                .into_iter()
                .map(|(name, metadata)| ClassicProtocol { name, metadata })
                .collect(),
        });
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id,
            rack_id: self.rack_id,
            client_id: self.client_id,
            client_host: self.client_host,
            subscribed_topic_names: self.topics.into_iter().collect(),
            // Kafka writes "no expression" as an empty one.
            subscribed_topic_regex: Some(self.regex),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor,
            classic_member_metadata: classic,
        }
    }

    fn from_value(value: &ConsumerGroupMemberMetadataValue) -> Profile {
        let classic = value.classic_member_metadata.as_ref();
        Profile {
            instance_id: value.instance_id.clone(),
            rack_id: value.rack_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            topics: value
                .subscribed_topic_names
                .iter()
                .cloned()
                .collect::<BTreeSet<Str>>(),
            regex: value.subscribed_topic_regex.clone().unwrap_or(Str::EMPTY),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            assignor: value.server_assignor.clone(),
            classic: classic.map(|classic| Classic {
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic
                    .supported_protocols
                    .iter()
                    .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
                    .collect(),
            }),
        }
    }
}

impl Current {
    fn into_value(self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state as i8,
            assigned_partitions: owned_value(self.assigned),
            partitions_pending_revocation: owned_value(self.revoking),
        }
    }

    fn from_value(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Current {
        let epoch = value.member_epoch;
        Current {
            epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_i8(value.state),
            assigned: owned(&value.assigned_partitions, epoch),
            revoking: owned(&value.partitions_pending_revocation, epoch),
        }
    }
}

fn owned_value(owned: Owned) -> Vec<OwnedPartitions> {
    owned
        .into_iter()
        .map(|(topic_id, of_topic)| OwnedPartitions {
            topic_id,
            partitions: of_topic.keys().copied().collect(),
            assignment_epochs: Some(of_topic.into_values().collect()),
        })
        .collect()
}

/// Records of Kafka 4.2 and older have no epochs: then it is the member's.
fn owned(value: &[OwnedPartitions], epoch: i32) -> Owned {
    let mut result = Owned::new();
    for topic in value.iter().filter(|topic| !topic.partitions.is_empty()) {
        let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
        let since = epochs.iter().copied().chain(std::iter::repeat(epoch));
        let of_topic: &mut BTreeMap<i32, i32> = result.entry(topic.topic_id).or_default();
        of_topic.extend(topic.partitions.iter().copied().zip(since));
    }
    result
}
