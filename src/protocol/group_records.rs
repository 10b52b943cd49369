//! The records of `__consumer_offsets`, as Kafka 4.3 stores them: keys and values of groups and their offsets.
//!
//! A key's version says what the record is: 0 and 1 an offset · 2 a classic group · 3 to 8 and 16 a group of the
//! consumer protocol (KIP-848; 4 is of Kafka 4.0 and older and only read).

use bytes::Bytes;

use crate::types::{Str, Uuid};

use super::message::message;
use super::stored::stored;

message! {
    /// Keys 0 and 1.
    OffsetCommitKey {
        group: Str,
        topic: Str,
        partition: i32,
    }

    /// v1 expiry of its own · v3 leader epoch · v4 flexible, topic id.
    OffsetCommitValue {
        offset: i64,
        leader_epoch: i32 [3..] = -1,
        metadata: Str,
        commit_timestamp: i64,
        expire_timestamp: i64 [1..=1] = -1,
        topic_id: Uuid [4.., tag 0],
    }

    /// Keys 2, 3, 4 and 6.
    GroupKey {
        group: Str,
    }

    /// Keys 5, 7 and 8: a member; key 16: a regular expression.
    GroupItemKey {
        group: Str,
        item: Str,
    }

    /// Key 2. v1 rebalance time-out · v2 time of the last change · v3 static members · v4 flexible.
    GroupMetadataValue {
        protocol_type: Str,
        generation: i32,
        protocol: Option<Str>,
        leader: Option<Str>,
        current_state_timestamp: i64 [2..] = -1,
        members: Vec<MemberMetadata>,
    }

    MemberMetadata {
        member_id: Str,
        group_instance_id: Option<Str> [3..],
        client_id: Str,
        client_host: Str,
        rebalance_timeout: i32 [1..] = -1,
        session_timeout: i32,
        subscription: Bytes,
        assignment: Bytes,
    }

    /// Key 3.
    ConsumerGroupMetadataValue {
        epoch: i32,
        /// Of the subscribed topics and their partitions and racks (KIP-1101).
        metadata_hash: i64 [0.., tag 0],
    }

    /// Key 4: superseded by the hash above.
    ConsumerGroupPartitionMetadataValue {
        topics: Vec<TopicMetadata>,
    }

    TopicMetadata {
        topic_id: Uuid,
        topic_name: Str,
        num_partitions: i32,
        partition_metadata: Vec<PartitionRacks>,
    }

    PartitionRacks {
        partition: i32,
        racks: Vec<Str>,
    }

    /// Key 5.
    ConsumerGroupMemberMetadataValue {
        instance_id: Option<Str>,
        rack_id: Option<Str>,
        client_id: Str,
        client_host: Str,
        subscribed_topic_names: Vec<Str>,
        subscribed_topic_regex: Option<Str>,
        rebalance_timeout_ms: i32 = -1,
        server_assignor: Option<Str>,
        /// Present while the member speaks the classic protocol.
        classic_member_metadata: Option<ClassicMemberMetadata> [0.., tag 0],
    }

    ClassicMemberMetadata {
        session_timeout_ms: i32,
        supported_protocols: Vec<ClassicProtocol>,
    }

    ClassicProtocol {
        name: Str,
        metadata: Bytes,
    }

    /// Key 6.
    ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32,
        /// When it was computed (KIP-1263).
        assignment_timestamp: i64 [0.., tag 0],
    }

    /// Key 7.
    ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TargetPartitions>,
    }

    TargetPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }

    /// Key 8.
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: i32,
        previous_member_epoch: i32,
        state: i8,
        assigned_partitions: Vec<OwnedPartitions>,
        partitions_pending_revocation: Vec<OwnedPartitions>,
    }

    OwnedPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
        /// The epoch at which each was assigned, in `partitions`' order; it fences commits of zombies.
        assignment_epochs: Option<Vec<i32>> [0.., tag 0],
    }

    /// Key 16: the topics that a regular expression matched.
    ConsumerGroupRegularExpressionValue {
        topics: Vec<Str>,
        /// Of the metadata it was evaluated against.
        version: i64,
        timestamp: i64,
    }
}

stored! {
    OffsetCommitValue: 0..=4, flexible 4;
    GroupMetadataValue: 0..=4, flexible 4;
    ConsumerGroupMetadataValue: 0..=0, flexible 0;
    ConsumerGroupPartitionMetadataValue: 0..=0, flexible 0;
    ConsumerGroupMemberMetadataValue: 0..=0, flexible 0;
    ConsumerGroupTargetAssignmentMetadataValue: 0..=0, flexible 0;
    ConsumerGroupTargetAssignmentMemberValue: 0..=0, flexible 0;
    ConsumerGroupCurrentMemberAssignmentValue: 0..=0, flexible 0;
    ConsumerGroupRegularExpressionValue: 0..=0, flexible 0;
    // A key's version is its kind: the same few fields under several of them.
    OffsetCommitKey: 0..=1;
    GroupKey: 2..=6;
    GroupItemKey: 5..=16;
}
