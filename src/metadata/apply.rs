//! How each record changes the image. Nothing else changes it.

use std::fmt;

use smallvec::SmallVec;

use super::image::{
    Broker, Endpoint, FeatureRange, Image, Overrides, Partition, Reassignment, ResourceKind, Topic,
};
use super::record::{
    BrokerChangeV1, BrokerV1, ClusterV1, ConfigV1, EndpointV1, FeatureRangeV1, FeaturesV1,
    MetadataRecord, PartitionChangeV1, PartitionV1, ProducerIdsV1, RemoveTopicV1, TopicV1,
    UnregisterBrokerV1,
};
use super::topic_name;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionIndex, Str, TopicId, Uuid};

/// A record that cannot follow what was applied before it: the log is corrupt or of another cluster. The record
/// changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplyError {
    /// The image is of another cluster.
    OtherCluster,
    /// The set of features is older than the image's.
    FeaturesEpoch(i64),
    UnknownBroker(NodeId),
    /// The epoch is not the registration's, or not above those given before.
    BrokerEpoch(NodeId, i64),
    UnknownTopic(TopicId),
    /// The id or the name is taken.
    TopicExists(TopicId),
    UnknownPartition(TopicId, PartitionIndex),
    /// The partition is not the next one of its topic.
    PartitionOrder(TopicId, PartitionIndex),
    /// Replicas are none or doubled, the ISR is not among them, or the leader is not in the ISR.
    Replicas(TopicId, PartitionIndex),
    ResourceType(i8),
    /// An override of a topic that does not exist.
    NoSuchTopic,
    /// The block of producer ids goes backwards.
    ProducerIds(i64),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::OtherCluster => f.write_str("the record is of another cluster"),
            ApplyError::FeaturesEpoch(epoch) => {
                write!(f, "features of epoch {epoch} are older than the image's")
            }
            ApplyError::UnknownBroker(id) => write!(f, "broker {id} is not registered"),
            ApplyError::BrokerEpoch(id, epoch) => {
                write!(f, "epoch {epoch} does not fit broker {id}")
            }
            ApplyError::UnknownTopic(id) => write!(f, "topic {id} does not exist"),
            ApplyError::TopicExists(id) => write!(f, "topic {id} or its name exists already"),
            ApplyError::UnknownPartition(id, index) => {
                write!(f, "partition {index} of topic {id} does not exist")
            }
            ApplyError::PartitionOrder(id, index) => {
                write!(f, "partition {index} is not the next of topic {id}")
            }
            ApplyError::Replicas(id, index) => {
                write!(
                    f,
                    "replicas, ISR and leader of partition {index} of topic {id} disagree"
                )
            }
            ApplyError::ResourceType(code) => write!(f, "resource type {code} is unknown"),
            ApplyError::NoSuchTopic => {
                f.write_str("the override is of a topic that does not exist")
            }
            ApplyError::ProducerIds(next) => {
                write!(f, "producer ids were given out beyond {next} already")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl Image {
    /// Applies one committed record, the only way an image changes. Costs what the record holds, not what the
    /// cluster does.
    ///
    /// `Err`: the record cannot follow those before it, and changed nothing. It is never met in what
    /// [`decide`](super::decide) made for this image, so the shell that meets it must stop.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Cluster(record) => self.apply_cluster(record),
            MetadataRecord::Features(record) => self.apply_features(record),
            MetadataRecord::Broker(record) => self.apply_broker(record),
            MetadataRecord::BrokerChange(record) => self.apply_broker_change(record),
            MetadataRecord::UnregisterBroker(record) => self.apply_unregister(record),
            MetadataRecord::Topic(record) => self.apply_topic(record),
            MetadataRecord::Partition(record) => self.apply_partition(record),
            MetadataRecord::PartitionChange(record) => self.apply_partition_change(record),
            MetadataRecord::RemoveTopic(record) => self.apply_remove_topic(record),
            MetadataRecord::Config(record) => self.apply_config(record),
            MetadataRecord::ProducerIds(record) => self.apply_producer_ids(record),
        }
    }

    fn apply_cluster(&mut self, record: &ClusterV1) -> Result<(), ApplyError> {
        if self
            .cluster_id
            .as_ref()
            .is_some_and(|own| **own != *record.cluster_id)
        {
            return Err(ApplyError::OtherCluster);
        }
        self.cluster_id = Some(Str::from(&*record.cluster_id));
        self.next_broker_epoch = self.next_broker_epoch.max(record.next_broker_epoch);
        Ok(())
    }

    fn apply_features(&mut self, record: &FeaturesV1) -> Result<(), ApplyError> {
        if record.epoch <= self.features_epoch {
            return Err(ApplyError::FeaturesEpoch(record.epoch));
        }
        self.features_epoch = record.epoch;
        self.features = record
            .levels
            .iter()
            .map(|feature| (Str::from(&*feature.name), feature.level))
            .collect();
        Ok(())
    }

    fn apply_broker(&mut self, record: &BrokerV1) -> Result<(), ApplyError> {
        let broker = Broker::from_record(record);
        let known = self.brokers.get(&broker.id);
        let stale = known.is_some_and(|known| broker.epoch <= known.epoch);
        if stale || record.epoch < 0 || record.epoch == i64::MAX {
            return Err(ApplyError::BrokerEpoch(broker.id, record.epoch));
        }
        self.next_broker_epoch = self.next_broker_epoch.max(record.epoch + 1);
        self.brokers.insert(broker.id, broker);
        Ok(())
    }

    fn apply_broker_change(&mut self, record: &BrokerChangeV1) -> Result<(), ApplyError> {
        let broker = self.registered(NodeId(record.id), record.epoch)?;
        broker.fenced = record.fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown = record
            .in_controlled_shutdown
            .unwrap_or(broker.in_controlled_shutdown);
        Ok(())
    }

    fn apply_unregister(&mut self, record: &UnregisterBrokerV1) -> Result<(), ApplyError> {
        let id = self.registered(NodeId(record.id), record.epoch)?.id;
        self.brokers.remove(&id);
        Ok(())
    }

    fn apply_topic(&mut self, record: &TopicV1) -> Result<(), ApplyError> {
        let (id, name) = (Uuid(record.id), Str::from(&*record.name));
        if id.is_zero() || self.topics.contains_key(&id) || self.names.contains_key(&name) {
            return Err(ApplyError::TopicExists(id));
        }
        if let Some(key) = topic_name::collision_key(&name) {
            let alike = self.alike.entry(Str::from(&*key)).or_default();
            alike.insert(name.clone());
        }
        self.names.insert(name.clone(), id);
        let topic = Topic {
            name,
            id,
            partitions: Vec::new(),
        };
        self.topics.insert(id, topic);
        Ok(())
    }

    fn apply_partition(&mut self, record: &PartitionV1) -> Result<(), ApplyError> {
        let (id, index) = (Uuid(record.topic_id), PartitionIndex(record.partition));
        let topic = self
            .topics
            .get_mut(&id)
            .ok_or(ApplyError::UnknownTopic(id))?;
        if usize::try_from(record.partition) != Ok(topic.partitions.len()) {
            return Err(ApplyError::PartitionOrder(id, index));
        }
        let partition = Partition::from_record(record);
        if !partition.is_consistent() {
            return Err(ApplyError::Replicas(id, index));
        }
        topic.partitions.push(partition);
        self.partitions_count += 1;
        Ok(())
    }

    fn apply_partition_change(&mut self, record: &PartitionChangeV1) -> Result<(), ApplyError> {
        let (id, index) = (Uuid(record.topic_id), PartitionIndex(record.partition));
        let partition = usize::try_from(record.partition)
            .ok()
            .and_then(|at| self.topics.get_mut(&id)?.partitions.get_mut(at))
            .ok_or(ApplyError::UnknownPartition(id, index))?;
        let changed = partition
            .changed(record)
            .filter(Partition::is_consistent)
            .ok_or(ApplyError::Replicas(id, index))?;
        *partition = changed;
        Ok(())
    }

    fn apply_remove_topic(&mut self, record: &RemoveTopicV1) -> Result<(), ApplyError> {
        let id = Uuid(record.id);
        let topic = self
            .topics
            .remove(&id)
            .ok_or(ApplyError::UnknownTopic(id))?;
        self.names.remove(&topic.name);
        self.partitions_count -= topic.partitions.len();
        if let Some(key) = topic_name::collision_key(&topic.name)
            && let Some(alike) = self.alike.get_mut(&*key)
        {
            alike.remove(&topic.name);
            if alike.is_empty() {
                self.alike.remove(&*key);
            }
        }
        if let Some(by_name) = self.overrides.get_mut(&ResourceKind::Topic) {
            by_name.remove(&topic.name);
            if by_name.is_empty() {
                self.overrides.remove(&ResourceKind::Topic);
            }
        }
        Ok(())
    }

    fn apply_config(&mut self, record: &ConfigV1) -> Result<(), ApplyError> {
        let kind = ResourceKind::from_i8(record.resource_type)
            .ok_or(ApplyError::ResourceType(record.resource_type))?;
        if kind == ResourceKind::Topic && !self.names.contains_key(&*record.resource_name) {
            return Err(ApplyError::NoSuchTopic);
        }
        let by_name = self.overrides.entry(kind).or_default();
        let name = Str::from(&*record.resource_name);
        let overrides: &mut Overrides = by_name.entry(name).or_default();
        match &record.value {
            Some(value) => {
                overrides.insert(Str::from(&*record.key), Str::from(&**value));
            }
            None => {
                overrides.remove(&*record.key);
            }
        }
        // A resource without overrides leaves no trace, or an image would differ from the one its snapshot makes.
        if overrides.is_empty() {
            by_name.remove(&*record.resource_name);
        }
        if by_name.is_empty() {
            self.overrides.remove(&kind);
        }
        Ok(())
    }

    fn apply_producer_ids(&mut self, record: &ProducerIdsV1) -> Result<(), ApplyError> {
        if record.next_producer_id < self.next_producer_id().0 {
            return Err(ApplyError::ProducerIds(record.next_producer_id));
        }
        self.producer_ids = Some(record.clone());
        Ok(())
    }

    fn registered(&mut self, id: NodeId, epoch: i64) -> Result<&mut Broker, ApplyError> {
        let broker = self
            .brokers
            .get_mut(&id)
            .ok_or(ApplyError::UnknownBroker(id))?;
        if broker.epoch.0 != epoch {
            return Err(ApplyError::BrokerEpoch(id, epoch));
        }
        Ok(broker)
    }
}

impl Broker {
    fn from_record(record: &BrokerV1) -> Broker {
        let endpoint = |endpoint: &EndpointV1| Endpoint {
            listener: Str::from(&*endpoint.listener),
            host: Str::from(&*endpoint.host),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |feature: &FeatureRangeV1| FeatureRange {
            name: Str::from(&*feature.name),
            min: feature.min,
            max: feature.max,
        };
        Broker {
            id: NodeId(record.id),
            epoch: BrokerEpoch(record.epoch),
            incarnation: Uuid(record.incarnation),
            rack: record.rack.as_deref().map(Str::from),
            endpoints: record.endpoints.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            log_dirs: record.log_dirs.iter().copied().map(Uuid).collect(),
            fenced: record.fenced,
            in_controlled_shutdown: false,
        }
    }
}

impl Partition {
    fn from_record(record: &PartitionV1) -> Partition {
        Partition {
            replicas: nodes(&record.replicas),
            isr: nodes(&record.isr),
            leader: leader(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            reassignment: reassignment(
                nodes(&record.adding).to_vec(),
                nodes(&record.removing).to_vec(),
            ),
            directories: record.directories.iter().copied().map(Uuid).collect(),
        }
    }

    /// The partition after a change; `None` when an epoch would overflow.
    fn changed(&self, change: &PartitionChangeV1) -> Option<Partition> {
        let mut next = self.clone();
        next.partition_epoch = next.partition_epoch.checked_add(1)?;
        if let Some(id) = change.leader {
            next.leader = leader(id);
            next.leader_epoch = LeaderEpoch(next.leader_epoch.0.checked_add(1)?);
        }
        if let Some(isr) = &change.isr {
            next.isr = nodes(isr);
        }
        if let Some(replicas) = &change.replicas {
            next.replicas = nodes(replicas);
        }
        if let Some(directories) = &change.directories {
            next.directories = directories.iter().copied().map(Uuid).collect();
        }
        let (mut adding, mut removing) = next
            .reassignment
            .take()
            .map_or_else(Default::default, |running| {
                (running.adding, running.removing)
            });
        if let Some(ids) = &change.adding {
            adding = nodes(ids).to_vec();
        }
        if let Some(ids) = &change.removing {
            removing = nodes(ids).to_vec();
        }
        next.reassignment = reassignment(adding, removing);
        Some(next)
    }

    /// Whether replicas, ISR and leader can belong together.
    pub(super) fn is_consistent(&self) -> bool {
        let unique = |ids: &[NodeId]| (1..ids.len()).all(|at| !ids[..at].contains(&ids[at]));
        !self.replicas.is_empty()
            && unique(&self.replicas)
            && unique(&self.isr)
            && self.isr.iter().all(|id| self.replicas.contains(id))
            && self.leader.is_none_or(|leader| self.isr.contains(&leader))
            && self.leader_epoch.0 >= 0
            && self.partition_epoch >= 0
            && (self.directories.is_empty() || self.directories.len() == self.replicas.len())
    }
}

fn nodes(ids: &[i32]) -> SmallVec<[NodeId; 3]> {
    ids.iter().copied().map(NodeId).collect()
}

fn leader(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn reassignment(adding: Vec<NodeId>, removing: Vec<NodeId>) -> Option<Box<Reassignment>> {
    let runs = !adding.is_empty() || !removing.is_empty();
    runs.then(|| Box::new(Reassignment { adding, removing }))
}
