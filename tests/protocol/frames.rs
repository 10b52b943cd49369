//! The file of frames, and one entrance to all messages.

use std::fmt::Debug;

use bytes::Bytes;
use ringlog::protocol::*;

/// Kinds of entries, as `Frames.java` numbers them.
pub const REQUEST: u8 = 0;
pub const RESPONSE: u8 = 1;
pub const UNKNOWN_TAGS: u8 = 2;
pub const ERRORS: u8 = 4;
pub const SCHEMAS: u8 = 5;

/// One frame, header and body, and what it is said to be.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: i16,
    pub version: i16,
    pub kind: u8,
    pub frame: Bytes,
}

impl Entry {
    pub fn api(&self) -> ApiKey {
        ApiKey::from_i16(self.key).expect("the file holds APIs that are defined")
    }

    /// The frame decoded as what it is said to be and encoded again.
    pub fn again(&self) -> Result<Vec<u8>, DecodeError> {
        self.through(Some(self.version))
    }

    /// Only decodes.
    pub fn decode(&self) -> Result<(), DecodeError> {
        self.through(None).map(|_| ())
    }

    /// The message as `version` would send it.
    pub fn at_version(&self, version: i16) -> Result<Entry, DecodeError> {
        let frame = Bytes::from(self.through(Some(version))?);
        let kind = self.kind & RESPONSE;
        Ok(Entry {
            version,
            kind,
            frame,
            ..*self
        })
    }

    fn through(&self, to: Option<i16>) -> Result<Vec<u8>, DecodeError> {
        let request = self.kind & RESPONSE == REQUEST;
        codec(self.api())(request, self.frame.clone(), self.version, to)
    }

    /// Whether this is a frame, not a table about frames.
    pub fn is_frame(&self) -> bool {
        self.kind < ERRORS
    }

    /// Our schema of the message that an entry of kind `SCHEMAS` speaks of.
    pub fn schema(&self) -> String {
        match self.kind {
            SCHEMAS => self.api().request_schema(self.version),
            _ => self.api().response_schema(self.version),
        }
    }

    pub fn with_frame(&self, frame: Vec<u8>) -> Entry {
        Entry {
            frame: Bytes::from(frame),
            kind: self.kind & RESPONSE,
            ..*self
        }
    }
}

pub fn parse(file: &[u8]) -> Vec<Entry> {
    let mut r = Reader::new(Bytes::copy_from_slice(file));
    let mut entries = Vec::new();
    while r.remaining() > 0 {
        let (key, version, kind) = (r.i16().unwrap(), r.i16().unwrap(), r.i8().unwrap() as u8);
        let frame = r.bytes().unwrap().expect("frames are not null");
        entries.push(Entry {
            key,
            version,
            kind,
            frame,
        });
    }
    entries
}

pub fn print(entries: &[Entry]) -> Vec<u8> {
    let mut w = Writer::new();
    for entry in entries {
        w.i16(entry.key);
        w.i16(entry.version);
        w.i8(entry.kind as i8);
        w.bytes(Some(&entry.frame));
    }
    w.take().0
}

/// Decodes a whole frame at the version given and, if there is another, encodes it at that. The first argument says
/// whether it is a request.
type Through = fn(bool, Bytes, i16, Option<i16>) -> Result<Vec<u8>, DecodeError>;

fn codec(key: ApiKey) -> Through {
    macro_rules! apis {
        ($($key:ident: $room:ident::$request:ident,)*) => {
            match key {
                $(ApiKey::$key => through::<$room::$request>,)*
            }
        };
    }
    // The compiler holds this list to the table.
    apis! {
        Produce: produce::ProduceRequest,
        Fetch: fetch::FetchRequest,
        ListOffsets: list_offsets::ListOffsetsRequest,
        Metadata: metadata::MetadataRequest,
        OffsetCommit: offset_commit::OffsetCommitRequest,
        OffsetFetch: offset_fetch::OffsetFetchRequest,
        FindCoordinator: find_coordinator::FindCoordinatorRequest,
        JoinGroup: join_group::JoinGroupRequest,
        Heartbeat: heartbeat::HeartbeatRequest,
        LeaveGroup: leave_group::LeaveGroupRequest,
        SyncGroup: sync_group::SyncGroupRequest,
        DescribeGroups: describe_groups::DescribeGroupsRequest,
        ListGroups: list_groups::ListGroupsRequest,
        SaslHandshake: sasl_handshake::SaslHandshakeRequest,
        ApiVersions: api_versions::ApiVersionsRequest,
        CreateTopics: create_topics::CreateTopicsRequest,
        DeleteTopics: delete_topics::DeleteTopicsRequest,
        DeleteRecords: delete_records::DeleteRecordsRequest,
        InitProducerId: init_producer_id::InitProducerIdRequest,
        OffsetForLeaderEpoch: offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        AddPartitionsToTxn: add_partitions_to_txn::AddPartitionsToTxnRequest,
        AddOffsetsToTxn: add_offsets_to_txn::AddOffsetsToTxnRequest,
        EndTxn: end_txn::EndTxnRequest,
        WriteTxnMarkers: write_txn_markers::WriteTxnMarkersRequest,
        TxnOffsetCommit: txn_offset_commit::TxnOffsetCommitRequest,
        DescribeAcls: describe_acls::DescribeAclsRequest,
        CreateAcls: create_acls::CreateAclsRequest,
        DeleteAcls: delete_acls::DeleteAclsRequest,
        DescribeConfigs: describe_configs::DescribeConfigsRequest,
        AlterConfigs: alter_configs::AlterConfigsRequest,
        AlterReplicaLogDirs: alter_replica_log_dirs::AlterReplicaLogDirsRequest,
        DescribeLogDirs: describe_log_dirs::DescribeLogDirsRequest,
        SaslAuthenticate: sasl_authenticate::SaslAuthenticateRequest,
        CreatePartitions: create_partitions::CreatePartitionsRequest,
        DeleteGroups: delete_groups::DeleteGroupsRequest,
        IncrementalAlterConfigs: incremental_alter_configs::IncrementalAlterConfigsRequest,
        AlterPartitionReassignments: alter_partition_reassignments::AlterPartitionReassignmentsRequest,
        ListPartitionReassignments: list_partition_reassignments::ListPartitionReassignmentsRequest,
        OffsetDelete: offset_delete::OffsetDeleteRequest,
        DescribeQuorum: describe_quorum::DescribeQuorumRequest,
        DescribeCluster: describe_cluster::DescribeClusterRequest,
        DescribeProducers: describe_producers::DescribeProducersRequest,
        DescribeTransactions: describe_transactions::DescribeTransactionsRequest,
        ListTransactions: list_transactions::ListTransactionsRequest,
        ConsumerGroupHeartbeat: consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribe: consumer_group_describe::ConsumerGroupDescribeRequest,
        ListConfigResources: list_config_resources::ListConfigResourcesRequest,
        DescribeTopicPartitions: describe_topic_partitions::DescribeTopicPartitionsRequest,
    }
}

fn through<R>(
    request: bool,
    frame: Bytes,
    from: i16,
    to: Option<i16>,
) -> Result<Vec<u8>, DecodeError>
where
    R: Request + Debug + PartialEq,
    R::Response: Debug + PartialEq,
{
    let mut r = Reader::new(frame);
    let mut w = Writer::new();
    if request {
        let mut header = RequestHeader::decode(&mut r)?;
        let body = R::decode(&mut r, from)?;
        r.finish()?;
        if let Some(version) = to {
            // A mutated header may name anything; its length was read for what it names.
            if (header.api_key, header.api_version) == (R::KEY.code(), from) {
                header.api_version = version;
            }
            header.encode(&mut w);
            body.encode(&mut w, version);
        }
    } else {
        let header = ResponseHeader::decode(&mut r, R::KEY.response_header_version(from))?;
        let body = R::Response::decode(&mut r, from)?;
        r.finish()?;
        if let Some(version) = to {
            header.encode(&mut w, R::KEY.response_header_version(version));
            body.encode(&mut w, version);
        }
    }
    Ok(w.take().0)
}
