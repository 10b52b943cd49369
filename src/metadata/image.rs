//! The cluster as the applied records have made it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::record::{
    BrokerV1, ClusterV1, ConfigV1, EndpointV1, FeatureLevelV1, FeatureRangeV1, FeaturesV1,
    MetadataRecord, PartitionV1, ProducerIdsV1, TopicV1,
};
use super::topic_name;
use crate::types::{
    BrokerEpoch, LeaderEpoch, NodeId, PartitionIndex, ProducerId, Str, TopicId, Uuid,
};

/// Everything the cluster agrees on, at one offset of the metadata log. Each shard has its own.
///
/// Look-ups by topic id cost one hash, by name one tree walk and one hash; nothing here scans the cluster but the
/// iterators that say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    pub(super) cluster_id: Option<Str>,
    pub(super) features: BTreeMap<Str, i16>,
    pub(super) features_epoch: i64,
    pub(super) brokers: BTreeMap<NodeId, Broker>,
    pub(super) next_broker_epoch: i64,
    pub(super) topics: HashMap<TopicId, Topic>,
    pub(super) names: BTreeMap<Str, TopicId>,
    /// Names that differ only in '.' and '_', by what they share.
    pub(super) alike: HashMap<Str, BTreeSet<Str>>,
    pub(super) partitions_count: usize,
    pub(super) overrides: BTreeMap<ResourceKind, BTreeMap<Str, Overrides>>,
    pub(super) producer_ids: Option<ProducerIdsV1>,
}

/// The overrides of one resource: key to value, sorted.
pub type Overrides = BTreeMap<Str, Str>;

static NO_OVERRIDES: Overrides = BTreeMap::new();

/// What overrides can be attached to, with Kafka's resource type codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i8)]
pub enum ResourceKind {
    Topic = 2,
    /// A broker by its id in decimal, or all of them by "".
    Broker = 4,
    /// A telemetry subscription (KIP-714).
    ClientMetrics = 16,
    /// A group's own settings (KIP-848).
    Group = 32,
}

impl ResourceKind {
    /// `None` for a type that has no overrides in the metadata log; broker loggers (8) have none.
    pub fn from_i8(code: i8) -> Option<ResourceKind> {
        match code {
            2 => Some(ResourceKind::Topic),
            4 => Some(ResourceKind::Broker),
            16 => Some(ResourceKind::ClientMetrics),
            32 => Some(ResourceKind::Group),
            _ => None,
        }
    }
}

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    pub id: NodeId,
    pub epoch: BrokerEpoch,
    pub incarnation: Uuid,
    pub rack: Option<Str>,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub log_dirs: Vec<Uuid>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
}

/// Where a broker's listener is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    pub listener: Str,
    pub host: Str,
    pub port: u16,
    /// Kafka's security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a broker can run at, both ends included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureRange {
    pub name: Str,
    pub min: i16,
    pub max: i16,
}

/// A topic and its partitions, dense from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: Str,
    pub id: TopicId,
    pub(super) partitions: Vec<Partition>,
}

/// Who holds and who leads one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The preferred leader first.
    pub replicas: SmallVec<[NodeId; 3]>,
    pub isr: SmallVec<[NodeId; 3]>,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    /// Counts every change of this partition (KIP-497).
    pub partition_epoch: i32,
    pub reassignment: Option<Box<Reassignment>>,
    /// The log directory of each replica, in `replicas`' order; empty when nobody chose.
    pub directories: Vec<Uuid>,
}

/// A running reassignment (KIP-455).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassignment {
    pub adding: Vec<NodeId>,
    pub removing: Vec<NodeId>,
}

impl Default for Image {
    fn default() -> Image {
        Image::new()
    }
}

impl Image {
    /// The cluster before its first record.
    pub fn new() -> Image {
        Image {
            cluster_id: None,
            features: BTreeMap::new(),
            features_epoch: -1,
            brokers: BTreeMap::new(),
            next_broker_epoch: 0,
            topics: HashMap::new(),
            names: BTreeMap::new(),
            alike: HashMap::new(),
            partitions_count: 0,
            overrides: BTreeMap::new(),
            producer_ids: None,
        }
    }

    /// `None` until the cluster is formatted.
    pub fn cluster_id(&self) -> Option<&Str> {
        self.cluster_id.as_ref()
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.names.get(name)?)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    pub fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&Partition> {
        self.topics.get(&id)?.partition(index)
    }

    /// Every topic, sorted by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.names.values().map(|id| self.named(id))
    }

    /// The topics from `name` on, sorted; where a paged answer goes on (DescribeTopicPartitions).
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Topic> {
        let range = (Bound::Included(name), Bound::Unbounded);
        self.names
            .range::<str, _>(range)
            .map(|(_, id)| self.named(id))
    }

    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// Partitions of all topics together.
    pub fn partitions_count(&self) -> usize {
        self.partitions_count
    }

    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// Every registered broker, fenced ones too, by id.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &Broker> {
        self.brokers.values()
    }

    /// The overrides of a resource; empty if it has none or does not exist.
    pub fn overrides(&self, kind: ResourceKind, name: &str) -> &Overrides {
        self.overrides
            .get(&kind)
            .and_then(|by_name| by_name.get(name))
            .unwrap_or(&NO_OVERRIDES)
    }

    /// The names of the resources of a kind that have overrides, sorted (ListConfigResources).
    pub fn overridden(&self, kind: ResourceKind) -> impl Iterator<Item = &Str> {
        self.overrides
            .get(&kind)
            .into_iter()
            .flat_map(|by_name| by_name.keys())
    }

    /// The finalised features and their levels, by name.
    pub fn features(&self) -> impl ExactSizeIterator<Item = (&Str, i16)> {
        self.features.iter().map(|(name, level)| (name, *level))
    }

    /// −1 until a set was finalised.
    pub fn features_epoch(&self) -> i64 {
        self.features_epoch
    }

    /// The first producer id that is in no block yet.
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(
            self.producer_ids
                .as_ref()
                .map_or(0, |ids| ids.next_producer_id),
        )
    }

    /// The image as records: applied to an empty image they make this one. The same image gives the same records.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::with_capacity(16 + self.topics.len() + self.partitions_count);
        if let Some(cluster_id) = &self.cluster_id {
            let record = ClusterV1 {
                cluster_id: cluster_id.to_string(),
                next_broker_epoch: self.next_broker_epoch,
            };
            records.push(record.into());
        }
        if self.features_epoch >= 0 {
            let level = |(name, level): (&Str, i16)| FeatureLevelV1 {
                name: name.to_string(),
                level,
            };
            let record = FeaturesV1 {
                epoch: self.features_epoch,
                levels: self.features().map(level).collect(),
            };
            records.push(record.into());
        }
        for broker in self.brokers.values() {
            broker.to_records(&mut records);
        }
        for topic in self.topics() {
            topic.to_records(&mut records);
        }
        self.overrides_to_records(&mut records);
        records.extend(self.producer_ids.clone().map(MetadataRecord::from));
        records
    }

    fn overrides_to_records(&self, records: &mut Vec<MetadataRecord>) {
        for (kind, by_name) in &self.overrides {
            for (name, overrides) in by_name {
                for (key, value) in overrides {
                    let record = ConfigV1 {
                        resource_type: *kind as i8,
                        resource_name: name.to_string(),
                        key: key.to_string(),
                        value: Some(value.to_string()),
                    };
                    records.push(record.into());
                }
            }
        }
    }

    /// An existing topic whose metrics a topic `name` could not be told apart from.
    pub(super) fn colliding(&self, name: &str) -> Option<&Str> {
        let key = topic_name::collision_key(name)?;
        let key: &str = key.borrow();
        self.alike.get(key)?.iter().find(|other| **other != *name)
    }

    fn named(&self, id: &TopicId) -> &Topic {
        self.topics.get(id).expect("a name leads to its topic")
    }
}

impl Topic {
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    pub fn partitions_count(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions with their indexes, from 0.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = (PartitionIndex, &Partition)> {
        let numbered = |(index, partition)| (PartitionIndex(index as i32), partition);
        self.partitions.iter().enumerate().map(numbered)
    }

    /// Whether it is one of the brokers' own topics.
    pub fn is_internal(&self) -> bool {
        topic_name::is_internal(&self.name)
    }

    fn to_records(&self, records: &mut Vec<MetadataRecord>) {
        let topic = TopicV1 {
            name: self.name.to_string(),
            id: self.id.0,
        };
        records.push(topic.into());
        for (index, partition) in self.partitions() {
            records.push(partition.to_record(self.id, index).into());
        }
    }
}

impl Partition {
    pub(super) fn to_record(&self, topic_id: TopicId, index: PartitionIndex) -> PartitionV1 {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        let running = self.reassignment.as_deref();
        PartitionV1 {
            topic_id: topic_id.0,
            partition: index.0,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            adding: running.map_or_else(Vec::new, |r| ids(&r.adding)),
            removing: running.map_or_else(Vec::new, |r| ids(&r.removing)),
            leader: self.leader.map_or(-1, |leader| leader.0),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: self.directories.iter().map(|id| id.0).collect(),
        }
    }
}

impl Broker {
    /// Whether it may lead and be placed on.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    fn to_records(&self, records: &mut Vec<MetadataRecord>) {
        let registration = BrokerV1 {
            id: self.id.0,
            epoch: self.epoch.0,
            incarnation: self.incarnation.0,
            rack: self.rack.as_ref().map(Str::to_string),
            endpoints: self.endpoints.iter().map(Endpoint::to_record).collect(),
            features: self.features.iter().map(FeatureRange::to_record).collect(),
            log_dirs: self.log_dirs.iter().map(|id| id.0).collect(),
            fenced: self.fenced,
        };
        records.push(registration.into());
        if self.in_controlled_shutdown {
            let change = super::record::BrokerChangeV1 {
                id: self.id.0,
                epoch: self.epoch.0,
                fenced: None,
                in_controlled_shutdown: Some(true),
            };
            records.push(change.into());
        }
    }
}

impl Endpoint {
    pub(super) fn to_record(&self) -> EndpointV1 {
        EndpointV1 {
            listener: self.listener.to_string(),
            host: self.host.to_string(),
            port: self.port,
            security_protocol: self.security_protocol,
        }
    }
}

impl FeatureRange {
    pub(super) fn to_record(&self) -> FeatureRangeV1 {
        FeatureRangeV1 {
            name: self.name.to_string(),
            min: self.min,
            max: self.max,
        }
    }
}
