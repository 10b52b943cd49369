//! One record of `__consumer_offsets`: what a coordinator writes, and all it needs to come back.

use bytes::Bytes;

use crate::protocol::group_records::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, GroupItemKey, GroupKey, GroupMetadataValue,
    OffsetCommitKey, OffsetCommitValue,
};
use crate::protocol::{DecodeError, Stored, stored_version};
use crate::types::Str;

/// A record by what it says; a value of `None` is a tombstone: what the key names is gone.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRecord {
    /// Keys 0 and 1: a committed offset.
    Offset {
        group: Str,
        topic: Str,
        partition: i32,
        value: Option<OffsetCommitValue>,
    },
    /// Key 2: a classic group, whole.
    Classic {
        group: Str,
        value: Option<GroupMetadataValue>,
    },
    /// Key 3: a consumer group's epoch.
    ConsumerEpoch {
        group: Str,
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// Key 4, of Kafka 4.0 and older; read, and written only as a tombstone.
    ConsumerTopics {
        group: Str,
        value: Option<ConsumerGroupPartitionMetadataValue>,
    },
    /// Key 5: a member and its subscription.
    ConsumerMember {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupMemberMetadataValue>,
    },
    /// Key 6: the epoch of the target assignment.
    ConsumerTarget {
        group: Str,
        value: Option<ConsumerGroupTargetAssignmentMetadataValue>,
    },
    /// Key 7: what a member shall own.
    ConsumerTargetMember {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupTargetAssignmentMemberValue>,
    },
    /// Key 8: what a member owns.
    ConsumerCurrentMember {
        group: Str,
        member: Str,
        value: Option<ConsumerGroupCurrentMemberAssignmentValue>,
    },
    /// Key 16: what a regular expression matched.
    ConsumerRegex {
        group: Str,
        regex: Str,
        value: Option<ConsumerGroupRegularExpressionValue>,
    },
}

/// The value versions written: the newest that Kafka's tools and Burrow both read. Kafka 4.3 writes offsets in v4, with
/// the topic's id, which Burrow passes over; here the id is found again in the image when the log is loaded.
const OFFSET_VERSION: i16 = 3;
const OFFSET_VERSION_EXPIRING: i16 = 1;
const CLASSIC_VERSION: i16 = 3;

impl GroupRecord {
    /// The record's key and value as they are stored.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            GroupRecord::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                let key = OffsetCommitKey {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                };
                let version = |value: &OffsetCommitValue| match value.expire_timestamp {
                    -1 => OFFSET_VERSION,
                    _ => OFFSET_VERSION_EXPIRING,
                };
                let value = value.as_ref().map(|v| v.encode_stored(version(v)));
                (key.encode_stored(1), value)
            }
            GroupRecord::Classic { group, value } => {
                (group_key(group, 2), stored(value, CLASSIC_VERSION))
            }
            GroupRecord::ConsumerEpoch { group, value } => (group_key(group, 3), stored(value, 0)),
            GroupRecord::ConsumerTopics { group, value } => (group_key(group, 4), stored(value, 0)),
            GroupRecord::ConsumerMember {
                group,
                member,
                value,
            } => (item_key(group, member, 5), stored(value, 0)),
            GroupRecord::ConsumerTarget { group, value } => (group_key(group, 6), stored(value, 0)),
            GroupRecord::ConsumerTargetMember {
                group,
                member,
                value,
            } => (item_key(group, member, 7), stored(value, 0)),
            GroupRecord::ConsumerCurrentMember {
                group,
                member,
                value,
            } => (item_key(group, member, 8), stored(value, 0)),
            GroupRecord::ConsumerRegex {
                group,
                regex,
                value,
            } => (item_key(group, regex, 16), stored(value, 0)),
        }
    }

    /// Reads a record back.
    ///
    /// - `Ok(None)`: a kind of key not known here (share and streams groups, a newer Kafka); it is passed over.
    /// - `Err`: the bytes are not what their key says.
    /// - Texts and bytes share the batch they were read from.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        let kind = stored_version(key)?;
        let record = match kind {
            0 | 1 => {
                let key = OffsetCommitKey::decode_stored(key)?;
                GroupRecord::Offset {
                    group: key.group,
                    topic: key.topic,
                    partition: key.partition,
                    value: read(value)?,
                }
            }
            2 | 3 | 4 | 6 => {
                let group = GroupKey::decode_stored(key)?.group;
                match kind {
                    2 => GroupRecord::Classic {
                        group,
                        value: read(value)?,
                    },
                    3 => GroupRecord::ConsumerEpoch {
                        group,
                        value: read(value)?,
                    },
                    4 => GroupRecord::ConsumerTopics {
                        group,
                        value: read(value)?,
                    },
                    _ => GroupRecord::ConsumerTarget {
                        group,
                        value: read(value)?,
                    },
                }
            }
            5 | 7 | 8 | 16 => {
                let GroupItemKey { group, item } = GroupItemKey::decode_stored(key)?;
                match kind {
                    5 => GroupRecord::ConsumerMember {
                        group,
                        member: item,
                        value: read(value)?,
                    },
                    7 => GroupRecord::ConsumerTargetMember {
                        group,
                        member: item,
                        value: read(value)?,
                    },
                    8 => GroupRecord::ConsumerCurrentMember {
                        group,
                        member: item,
                        value: read(value)?,
                    },
                    _ => GroupRecord::ConsumerRegex {
                        group,
                        regex: item,
                        value: read(value)?,
                    },
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }

    /// The same in memory of its own, letting go of the batch it was read from.
    pub fn detached(&self) -> GroupRecord {
        if let GroupRecord::Offset {
            group,
            topic,
            partition,
            value,
        } = self
        {
            // By hand: there may be a million of them, and the topic's id must survive.
            return GroupRecord::Offset {
                group: group.detach(),
                topic: topic.detach(),
                partition: *partition,
                value: value.as_ref().map(|value| OffsetCommitValue {
                    metadata: value.metadata.detach(),
                    ..value.clone()
                }),
            };
        }
        let (key, value) = self.encode();
        let read = GroupRecord::decode(&key, value.as_ref());
        read.ok()
            .flatten()
            .expect("what was just encoded decodes again")
    }

    /// The group that the record is of.
    pub fn group(&self) -> &Str {
        match self {
            GroupRecord::Offset { group, .. }
            | GroupRecord::Classic { group, .. }
            | GroupRecord::ConsumerEpoch { group, .. }
            | GroupRecord::ConsumerTopics { group, .. }
            | GroupRecord::ConsumerMember { group, .. }
            | GroupRecord::ConsumerTarget { group, .. }
            | GroupRecord::ConsumerTargetMember { group, .. }
            | GroupRecord::ConsumerCurrentMember { group, .. }
            | GroupRecord::ConsumerRegex { group, .. } => group,
        }
    }
}

fn group_key(group: &Str, kind: i16) -> Bytes {
    GroupKey {
        group: group.clone(),
    }
    .encode_stored(kind)
}

fn item_key(group: &Str, item: &Str, kind: i16) -> Bytes {
    GroupItemKey {
        group: group.clone(),
        item: item.clone(),
    }
    .encode_stored(kind)
}

fn stored<T: Stored>(value: &Option<T>, version: i16) -> Option<Bytes> {
    value.as_ref().map(|value| value.encode_stored(version))
}

fn read<T: Stored>(value: Option<&Bytes>) -> Result<Option<T>, DecodeError> {
    value.map(T::decode_stored).transpose()
}
