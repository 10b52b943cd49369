//! The table of Kafka's APIs that are defined here: one row each.

use std::fmt;
use std::ops::RangeInclusive;

use super::message::{Message, Request};
use super::{
    add_offsets_to_txn, add_partitions_to_txn, alter_configs, alter_partition_reassignments,
    alter_replica_log_dirs, api_versions, consumer_group_describe, consumer_group_heartbeat,
    create_acls, create_partitions, create_topics, delete_acls, delete_groups, delete_records,
    delete_topics, describe_acls, describe_cluster, describe_configs, describe_groups,
    describe_log_dirs, describe_producers, describe_quorum, describe_topic_partitions,
    describe_transactions, end_txn, fetch, find_coordinator, heartbeat, incremental_alter_configs,
    init_producer_id, join_group, leave_group, list_config_resources, list_groups, list_offsets,
    list_partition_reassignments, list_transactions, metadata, offset_commit, offset_delete,
    offset_fetch, offset_for_leader_epoch, produce, sasl_authenticate, sasl_handshake, sync_group,
    txn_offset_commit, write_txn_markers,
};

macro_rules! apis {
    ($(
        $name:ident = $key:literal: $request:ty, versions $versions:expr, flexible $flexible:expr
        $(, advertised $advertised:expr)?;
    )*) => {
        /// One of Kafka's APIs. Everything that depends on the key alone is a row of this table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// Every row, by ascending key.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$name),*];

            /// The API of this number; `None` if there is no row for it.
            pub fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name, as `Produce`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }

            /// The versions that can be read and written: Kafka 4.3's.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => $versions,)*
                }
            }

            /// The versions that `ApiVersions` tells.
            pub fn advertised(self) -> RangeInclusive<i16> {
                match self {
                    $($(ApiKey::$name => $advertised,)?)*
                    _ => self.versions(),
                }
            }

            /// The first version with compact lengths and tagged fields (KIP-482); `None` if there is none.
            pub fn first_flexible(self) -> Option<i16> {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }

            /// The request's fields at `version`, as [`Message::schema`] tells them.
            pub fn request_schema(self, version: i16) -> String {
                match self {
                    $(ApiKey::$name => <$request>::schema(version),)*
                }
            }

            /// The response's fields at `version`, as [`Message::schema`] tells them.
            pub fn response_schema(self, version: i16) -> String {
                match self {
                    $(ApiKey::$name => <$request as Request>::Response::schema(version),)*
                }
            }
        }
    };
}

apis! {
    // Librdkafka turns compression off unless the range begins at 0 (KAFKA-18659), though 0 to 2 are gone.
    Produce = 0: produce::ProduceRequest, versions 3..=13, flexible Some(9), advertised 0..=13;
    Fetch = 1: fetch::FetchRequest, versions 4..=18, flexible Some(12);
    ListOffsets = 2: list_offsets::ListOffsetsRequest, versions 1..=11, flexible Some(6);
    Metadata = 3: metadata::MetadataRequest, versions 0..=13, flexible Some(9);
    OffsetCommit = 8: offset_commit::OffsetCommitRequest, versions 2..=10, flexible Some(8);
    OffsetFetch = 9: offset_fetch::OffsetFetchRequest, versions 1..=10, flexible Some(6);
    FindCoordinator = 10: find_coordinator::FindCoordinatorRequest, versions 0..=6, flexible Some(3);
    JoinGroup = 11: join_group::JoinGroupRequest, versions 0..=9, flexible Some(6);
    Heartbeat = 12: heartbeat::HeartbeatRequest, versions 0..=4, flexible Some(4);
    LeaveGroup = 13: leave_group::LeaveGroupRequest, versions 0..=5, flexible Some(4);
    SyncGroup = 14: sync_group::SyncGroupRequest, versions 0..=5, flexible Some(4);
    DescribeGroups = 15: describe_groups::DescribeGroupsRequest, versions 0..=6, flexible Some(5);
    ListGroups = 16: list_groups::ListGroupsRequest, versions 0..=5, flexible Some(3);
    SaslHandshake = 17: sasl_handshake::SaslHandshakeRequest, versions 0..=1, flexible None;
    ApiVersions = 18: api_versions::ApiVersionsRequest, versions 0..=4, flexible Some(3);
    CreateTopics = 19: create_topics::CreateTopicsRequest, versions 2..=7, flexible Some(5);
    DeleteTopics = 20: delete_topics::DeleteTopicsRequest, versions 1..=6, flexible Some(4);
    DeleteRecords = 21: delete_records::DeleteRecordsRequest, versions 0..=2, flexible Some(2);
    // Version 6 (two-phase commit, KIP-939) is unstable: Kafka does not offer it.
    InitProducerId = 22: init_producer_id::InitProducerIdRequest, versions 0..=5, flexible Some(2);
    OffsetForLeaderEpoch = 23: offset_for_leader_epoch::OffsetForLeaderEpochRequest, versions 2..=4, flexible Some(4);
    AddPartitionsToTxn = 24: add_partitions_to_txn::AddPartitionsToTxnRequest, versions 0..=5, flexible Some(3);
    AddOffsetsToTxn = 25: add_offsets_to_txn::AddOffsetsToTxnRequest, versions 0..=4, flexible Some(3);
    EndTxn = 26: end_txn::EndTxnRequest, versions 0..=5, flexible Some(3);
    WriteTxnMarkers = 27: write_txn_markers::WriteTxnMarkersRequest, versions 1..=2, flexible Some(1);
    TxnOffsetCommit = 28: txn_offset_commit::TxnOffsetCommitRequest, versions 0..=5, flexible Some(3);
    DescribeAcls = 29: describe_acls::DescribeAclsRequest, versions 1..=3, flexible Some(2);
    CreateAcls = 30: create_acls::CreateAclsRequest, versions 1..=3, flexible Some(2);
    DeleteAcls = 31: delete_acls::DeleteAclsRequest, versions 1..=3, flexible Some(2);
    DescribeConfigs = 32: describe_configs::DescribeConfigsRequest, versions 1..=4, flexible Some(4);
    AlterConfigs = 33: alter_configs::AlterConfigsRequest, versions 0..=2, flexible Some(2);
    AlterReplicaLogDirs = 34: alter_replica_log_dirs::AlterReplicaLogDirsRequest, versions 1..=2, flexible Some(2);
    DescribeLogDirs = 35: describe_log_dirs::DescribeLogDirsRequest, versions 1..=5, flexible Some(2);
    SaslAuthenticate = 36: sasl_authenticate::SaslAuthenticateRequest, versions 0..=2, flexible Some(2);
    CreatePartitions = 37: create_partitions::CreatePartitionsRequest, versions 0..=3, flexible Some(2);
    DeleteGroups = 42: delete_groups::DeleteGroupsRequest, versions 0..=2, flexible Some(2);
    IncrementalAlterConfigs = 44: incremental_alter_configs::IncrementalAlterConfigsRequest, versions 0..=1, flexible Some(1);
    AlterPartitionReassignments = 45: alter_partition_reassignments::AlterPartitionReassignmentsRequest, versions 0..=1, flexible Some(0);
    ListPartitionReassignments = 46: list_partition_reassignments::ListPartitionReassignmentsRequest, versions 0..=0, flexible Some(0);
    OffsetDelete = 47: offset_delete::OffsetDeleteRequest, versions 0..=0, flexible None;
    DescribeQuorum = 55: describe_quorum::DescribeQuorumRequest, versions 0..=2, flexible Some(0);
    DescribeCluster = 60: describe_cluster::DescribeClusterRequest, versions 0..=2, flexible Some(0);
    DescribeProducers = 61: describe_producers::DescribeProducersRequest, versions 0..=0, flexible Some(0);
    DescribeTransactions = 65: describe_transactions::DescribeTransactionsRequest, versions 0..=0, flexible Some(0);
    ListTransactions = 66: list_transactions::ListTransactionsRequest, versions 0..=2, flexible Some(0);
    ConsumerGroupHeartbeat = 68: consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, versions 0..=1, flexible Some(0);
    ConsumerGroupDescribe = 69: consumer_group_describe::ConsumerGroupDescribeRequest, versions 0..=1, flexible Some(0);
    ListConfigResources = 74: list_config_resources::ListConfigResourcesRequest, versions 0..=1, flexible Some(0);
    DescribeTopicPartitions = 75: describe_topic_partitions::DescribeTopicPartitionsRequest, versions 0..=0, flexible Some(0);
}

impl ApiKey {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether `version` has compact lengths and tagged fields.
    pub fn flexible(self, version: i16) -> bool {
        self.first_flexible().is_some_and(|first| version >= first)
    }

    /// Version of the header before a request of `version`: 2 has tagged fields, 1 has not.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.flexible(version) { 2 } else { 1 }
    }

    /// Version of the header before a response of `version`: 1 has tagged fields, 0 has not. That of ApiVersions
    /// never has: a client reads it before it knows what the broker speaks (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        (self != ApiKey::ApiVersions && self.flexible(version)) as i16
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_are_found_by_their_number() {
        assert!(ApiKey::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        for &key in ApiKey::ALL {
            assert_eq!(ApiKey::from_i16(key.code()), Some(key));
        }
        assert_eq!(ApiKey::from_i16(-1), None);
    }

    #[test]
    fn headers_follow_flexibility_except_for_the_answer_to_api_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    }

    #[test]
    fn produce_is_advertised_from_zero_and_read_from_three() {
        assert_eq!(ApiKey::Produce.advertised(), 0..=13);
        assert_eq!(ApiKey::Produce.versions(), 3..=13);
        assert_eq!(ApiKey::Fetch.advertised(), ApiKey::Fetch.versions());
    }
}
