//! The records of the metadata log: one frozen type for each (kind, version).
//!
//! A type here is never edited: rkyv misreads another layout without noticing. A new field is a new type with the
//! next version, a row in the table at the end, and a conversion from the older one; the golden bytes in the tests
//! hold every layout still. No `usize`, no map, no float, no shared pointer.

use rkyv::{Archive, Deserialize, Serialize};

use super::frame::FrameError;

/// The cluster as such; written at format, and again in every snapshot for the counters' sake.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ClusterV1 {
    /// Stable for the cluster's life; clients read it in Metadata and DescribeCluster.
    pub cluster_id: String,
    /// The least epoch that the next broker registration may get.
    pub next_broker_epoch: i64,
}

/// The whole set of finalised features; replaces the set before it (KIP-584).
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FeaturesV1 {
    /// Grows with every change; clients take the set with the highest.
    pub epoch: i64,
    pub levels: Vec<FeatureLevelV1>,
}

#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FeatureLevelV1 {
    pub name: String,
    pub level: i16,
}

/// A broker came up and registered; replaces its registration before.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BrokerV1 {
    pub id: i32,
    /// Fences the registrations before (KIP-380).
    pub epoch: i64,
    /// Random, one for each start of the process.
    pub incarnation: [u8; 16],
    pub rack: Option<String>,
    pub endpoints: Vec<EndpointV1>,
    pub features: Vec<FeatureRangeV1>,
    /// Ids of its log directories (KIP-858).
    pub log_dirs: Vec<[u8; 16]>,
    /// A fenced broker leads nothing and is not shown to clients.
    pub fenced: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct EndpointV1 {
    pub listener: String,
    pub host: String,
    pub port: u16,
    /// Kafka's security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FeatureRangeV1 {
    pub name: String,
    pub min: i16,
    pub max: i16,
}

/// A registered broker was fenced or unfenced, or began its controlled shutdown.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BrokerChangeV1 {
    pub id: i32,
    pub epoch: i64,
    pub fenced: Option<bool>,
    pub in_controlled_shutdown: Option<bool>,
}

/// A broker was taken out of the cluster for good.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct UnregisterBrokerV1 {
    pub id: i32,
    pub epoch: i64,
}

/// A topic exists from here on, without partitions yet.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TopicV1 {
    pub name: String,
    pub id: [u8; 16],
}

/// A partition of a topic, in full. Its index is the number of partitions before it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartitionV1 {
    pub topic_id: [u8; 16],
    pub partition: i32,
    /// Brokers, the preferred leader first.
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    /// Replicas that a reassignment adds and removes; both empty when none runs (KIP-455).
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
    /// −1 when there is none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// The log directory of each replica, in `replicas`' order; empty when nobody chose (KIP-858).
    pub directories: Vec<[u8; 16]>,
}

/// What moves in a partition; `None` stays. Applying one counts the partition epoch up, and the leader epoch too
/// when it names a leader.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartitionChangeV1 {
    pub topic_id: [u8; 16],
    pub partition: i32,
    /// −1: nobody leads any more.
    pub leader: Option<i32>,
    pub isr: Option<Vec<i32>>,
    pub replicas: Option<Vec<i32>>,
    pub adding: Option<Vec<i32>>,
    pub removing: Option<Vec<i32>>,
    pub directories: Option<Vec<[u8; 16]>>,
}

/// A topic is gone with its partitions and its overrides.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RemoveTopicV1 {
    pub id: [u8; 16],
}

/// One override of one resource, set or (`None`) removed.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ConfigV1 {
    /// Kafka's resource type: 2 topic, 4 broker, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// A topic's name, a broker's id in decimal, or "" for all brokers.
    pub resource_name: String,
    pub key: String,
    pub value: Option<String>,
}

/// Producer ids below `next_producer_id` have been given out in blocks (KIP-730).
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ProducerIdsV1 {
    pub broker: i32,
    pub broker_epoch: i64,
    pub next_producer_id: i64,
}

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($frozen:ident) = ($kind:literal, $version:literal),)*) => {
        /// One change of the cluster's metadata.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum MetadataRecord {
            $($(#[$doc])* $variant($frozen),)*
        }

        $(impl From<$frozen> for MetadataRecord {
            fn from(record: $frozen) -> MetadataRecord {
                MetadataRecord::$variant(record)
            }
        })*

        impl MetadataRecord {
            /// The record's kind and the version of it that is written today.
            pub fn kind_and_version(&self) -> (u16, u16) {
                match self {
                    $(MetadataRecord::$variant(_) => ($kind, $version),)*
                }
            }

            /// The kind as people read it in a dump of the log.
            pub fn kind_name(&self) -> &'static str {
                match self {
                    $(MetadataRecord::$variant(_) => stringify!($variant),)*
                }
            }

            /// Appends the record's archive to `out`.
            pub(super) fn archive(&self, out: &mut Vec<u8>) {
                let room = std::mem::take(out);
                let written = match self {
                    $(MetadataRecord::$variant(record) => {
                        rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Failure>(record, room)
                    })*
                };
                *out = written.expect("writing to memory cannot fail");
            }

            /// Checks and reads one archive.
            ///
            /// `Err(UnknownRecord)`: a newer release wrote it. `Err(Archive)`: the bytes are not that type's.
            pub(super) fn read(kind: u16, version: u16, archive: &[u8]) -> Result<MetadataRecord, FrameError> {
                match (kind, version) {
                    $(($kind, $version) => rkyv::from_bytes::<$frozen, rkyv::rancor::Failure>(archive)
                        .map(MetadataRecord::$variant)
                        .map_err(|_| FrameError::Archive { kind, version }),)*
                    _ => Err(FrameError::UnknownRecord { kind, version }),
                }
            }
        }
    };
}

records! {
    /// The cluster's id and counters.
    Cluster(ClusterV1) = (1, 1),
    /// The finalised features.
    Features(FeaturesV1) = (2, 1),
    /// A broker's registration.
    Broker(BrokerV1) = (3, 1),
    /// A broker's fencing or controlled shutdown.
    BrokerChange(BrokerChangeV1) = (4, 1),
    /// A broker's removal.
    UnregisterBroker(UnregisterBrokerV1) = (5, 1),
    /// A topic's creation.
    Topic(TopicV1) = (6, 1),
    /// A partition's creation.
    Partition(PartitionV1) = (7, 1),
    /// A partition's change of leader, ISR, replicas.
    PartitionChange(PartitionChangeV1) = (8, 1),
    /// A topic's removal.
    RemoveTopic(RemoveTopicV1) = (9, 1),
    /// An override set or removed.
    Config(ConfigV1) = (10, 1),
    /// A block of producer ids given out.
    ProducerIds(ProducerIdsV1) = (11, 1),
}
