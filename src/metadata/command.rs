//! What can be asked of the controller, what it answers, and where each command is decided.

use super::error::ApiError;
use super::image::{Endpoint, FeatureRange, Image, Overrides, ResourceKind};
use super::record::MetadataRecord;
use super::{brokers, configs, leaders, partitions, reassignments, topics};
use crate::types::{BrokerEpoch, NodeId, PartitionIndex, ProducerId, Str, TopicId, Uuid};

/// A change that somebody asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    Bootstrap(Bootstrap),
    RegisterBroker(Registration, Supersede),
    CreateTopics(CreateTopics),
    DeleteTopics(DeleteTopics),
    CreatePartitions(CreatePartitions),
    AlterPartitionReassignments(AlterPartitionReassignments),
    AlterConfigs(AlterConfigs),
    IncrementalAlterConfigs(IncrementalAlterConfigs),
    AllocateProducerIds(AllocateProducerIds),
    /// Features that have no level yet get theirs: of a cluster that was formatted by an older broker.
    FinalizeFeatures(Vec<(Str, i16)>),
    /// A broker's logs of these partitions are offline: it cannot lead them.
    ReplicasFailed(NodeId, Vec<(TopicId, PartitionIndex)>),
}

/// The answer to the command of the same name. Rows are in the request's order; a name given twice has one row.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Bootstrap(Result<BrokerEpoch, ApiError>),
    RegisterBroker(Result<BrokerEpoch, ApiError>),
    CreateTopics(Vec<TopicRow<TopicCreated>>),
    DeleteTopics(Vec<DeletedTopic>),
    CreatePartitions(Vec<TopicRow<()>>),
    /// A row for each partition.
    AlterPartitionReassignments(Vec<TopicRow<()>>),
    AlterConfigs(Vec<ConfigRow>),
    IncrementalAlterConfigs(Vec<ConfigRow>),
    AllocateProducerIds(Result<ProducerIdBlock, ApiError>),
    FinalizeFeatures,
    ReplicasFailed,
}

/// What a command comes to: records for one log entry, and the reply that may leave once they are committed.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// Empty when nothing changes; the reply may then leave at once.
    pub records: Vec<MetadataRecord>,
    pub reply: Reply,
}

/// What a decision needs and may not fetch itself.
pub struct Context<'a> {
    /// The broker that took the request; it answers only for its own configuration (as Kafka's).
    pub node: NodeId,
    /// `num.partitions`: what −1 partitions mean.
    pub default_partitions: i32,
    /// `default.replication.factor`: what −1 replicas mean.
    pub default_replication_factor: i16,
    pub rules: &'a dyn ConfigRules,
    /// A fresh random id, never zero, at each call ([`Uuid::random`]; a seeded one in tests).
    pub new_id: &'a mut dyn FnMut() -> Uuid,
}

/// What configuration keys allow; the shell lends the config room's knowledge. Errors are Kafka's words.
pub trait ConfigRules {
    /// Whether `value` may be an override of `key` for a resource of this kind and name.
    fn check(&self, kind: ResourceKind, name: &str, key: &str, value: &str) -> Result<(), String>;

    /// The list that `key` holds after `op`; `current` is the override so far, `None` where the default holds.
    ///
    /// `Err`: the key is not a list.
    fn combine(
        &self,
        kind: ResourceKind,
        key: &str,
        op: ListOp,
        current: Option<&str>,
        value: &str,
    ) -> Result<String, String>;

    /// Whether a broker takes no new replicas, for all its log directories are cordoned (KIP-1066).
    fn is_cordoned(&self, _broker: NodeId) -> bool {
        false
    }

    /// Whether the overrides of one resource go together, each being allowed by itself.
    fn check_together(&self, _kind: ResourceKind, _overrides: &Overrides) -> Result<(), String> {
        Ok(())
    }
}

/// Formats a cluster: its id, its features and its first broker, in one entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Bootstrap {
    pub cluster_id: Str,
    pub features: Vec<(Str, i16)>,
    pub broker: Registration,
}

/// What a broker says of itself when it starts.
#[derive(Clone, PartialEq, Debug)]
pub struct Registration {
    pub cluster_id: Str,
    pub id: NodeId,
    /// Random, one for each start of the process.
    pub incarnation: Uuid,
    pub rack: Option<Str>,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub log_dirs: Vec<Uuid>,
    /// Fenced until it has caught up with the log; a broker that is its own controller has, and says `false`.
    pub fenced: bool,
}

/// Whose place a registration may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supersede {
    /// Only a fenced one's: another process with this id may be alive.
    Fenced,
    /// Anyone's: the shell knows that the older process is gone (its directory lock, its session).
    Any,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    /// Answers as if, and changes nothing.
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Default, Debug)]
pub struct NewTopic {
    pub name: Str,
    /// −1: the default; must be −1 with `assignments`.
    pub partitions: i32,
    /// −1: the default; must be −1 with `assignments`.
    pub replication_factor: i16,
    /// Empty: placed by the controller.
    pub assignments: Vec<ReplicaAssignment>,
    pub configs: Vec<ConfigChange>,
}

/// Where one partition's replicas shall be, the preferred leader first.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaAssignment {
    pub partition: PartitionIndex,
    pub replicas: Vec<NodeId>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DeleteTopics {
    pub topics: Vec<TopicTarget>,
}

/// A topic by its name or by its id; exactly one is to be given, the other `None` and zero.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicTarget {
    pub name: Option<Str>,
    pub id: TopicId,
}

#[derive(Clone, PartialEq, Debug)]
pub struct CreatePartitions {
    pub topics: Vec<NewPartitions>,
    /// Answers as if, and changes nothing.
    pub validate_only: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct NewPartitions {
    pub name: Str,
    /// How many there shall be in all.
    pub count: i32,
    /// The replicas of each partition that is added, in order; `None`: placed by the controller.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Changes on which brokers partitions are (KIP-455).
#[derive(Clone, PartialEq, Debug)]
pub struct AlterPartitionReassignments {
    pub partitions: Vec<NewReplicas>,
    /// Whether a partition may get more or fewer replicas than it has (KIP-860).
    pub allow_factor_change: bool,
}

/// Where one partition's replicas shall be, the preferred leader first.
#[derive(Clone, PartialEq, Debug)]
pub struct NewReplicas {
    pub topic: Str,
    pub partition: PartitionIndex,
    /// `None`: gives up what is under way.
    pub replicas: Option<Vec<NodeId>>,
}

/// Replaces all overrides of the resources: what is not named goes back to its default.
#[derive(Clone, PartialEq, Debug)]
pub struct AlterConfigs {
    pub resources: Vec<EditedResource<ConfigChange>>,
    /// Answers as if, and changes nothing.
    pub validate_only: bool,
}

/// Changes only the overrides that are named (KIP-339).
#[derive(Clone, PartialEq, Debug)]
pub struct IncrementalAlterConfigs {
    pub resources: Vec<EditedResource<ConfigEdit>>,
    /// Answers as if, and changes nothing.
    pub validate_only: bool,
}

/// A resource and what shall happen to its overrides.
#[derive(Clone, PartialEq, Debug)]
pub struct EditedResource<E> {
    /// Kafka's code, unchecked; see [`ResourceKind`].
    pub resource_type: i8,
    pub name: Str,
    pub edits: Vec<E>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ConfigChange {
    pub key: Str,
    pub value: Option<Str>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ConfigEdit {
    pub key: Str,
    /// Kafka's code, unchecked; see [`ConfigOp`].
    pub op: i8,
    pub value: Option<Str>,
}

/// What IncrementalAlterConfigs can do to a key, with Kafka's codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum ConfigOp {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl ConfigOp {
    pub fn from_i8(code: i8) -> Option<ConfigOp> {
        match code {
            0 => Some(ConfigOp::Set),
            1 => Some(ConfigOp::Delete),
            2 => Some(ConfigOp::Append),
            3 => Some(ConfigOp::Subtract),
            _ => None,
        }
    }
}

/// What can be done to a list's members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListOp {
    Append,
    Subtract,
}

/// A block of producer ids for one broker to give out (KIP-730).
#[derive(Clone, PartialEq, Debug)]
pub struct AllocateProducerIds {
    pub broker: NodeId,
    pub broker_epoch: BrokerEpoch,
}

/// Ids from `first` on, `count` of them, that nobody else gives out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub count: i32,
}

/// One topic's part of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicRow<T> {
    pub name: Str,
    pub result: Result<T, ApiError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicCreated {
    /// Of a validated topic: an id that it will not get.
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
}

/// Name and id as far as they are known.
#[derive(Clone, PartialEq, Debug)]
pub struct DeletedTopic {
    pub name: Option<Str>,
    pub id: TopicId,
    pub result: Result<(), ApiError>,
}

/// One resource's part of an answer.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigRow {
    pub resource_type: i8,
    pub name: Str,
    pub result: Result<(), ApiError>,
}

/// Decides one command against an image that has applied all that was proposed before.
///
/// - Changes nothing; the records, applied in order to `image`, all succeed and are to be committed together.
/// - Faults are in the reply, in Kafka's codes and words; a row that is refused adds no record.
/// - Source: the answers of Kafka 4.3's controller to each fault.
pub fn decide(image: &Image, command: &Command, context: &mut Context<'_>) -> Decision {
    let mut records = Vec::new();
    let out = &mut records;
    let reply = match command {
        Command::Bootstrap(command) => Reply::Bootstrap(brokers::bootstrap(image, command, out)),
        Command::RegisterBroker(broker, supersede) => {
            Reply::RegisterBroker(brokers::register(image, broker, *supersede, out))
        }
        Command::CreateTopics(command) => {
            Reply::CreateTopics(topics::create(image, command, context, out))
        }
        Command::DeleteTopics(command) => Reply::DeleteTopics(topics::delete(image, command, out)),
        Command::CreatePartitions(command) => {
            Reply::CreatePartitions(partitions::create(image, command, context, out))
        }
        Command::AlterPartitionReassignments(command) => {
            Reply::AlterPartitionReassignments(reassignments::alter(image, command, out))
        }
        Command::AlterConfigs(command) => {
            Reply::AlterConfigs(configs::replace(image, command, context, out))
        }
        Command::IncrementalAlterConfigs(command) => {
            Reply::IncrementalAlterConfigs(configs::edit(image, command, context, out))
        }
        Command::AllocateProducerIds(command) => {
            Reply::AllocateProducerIds(brokers::allocate_producer_ids(image, command, out))
        }
        Command::FinalizeFeatures(levels) => {
            brokers::finalize_features(image, levels, out);
            Reply::FinalizeFeatures
        }
        Command::ReplicasFailed(broker, partitions) => {
            leaders::replicas_failed(image, *broker, partitions, out);
            Reply::ReplicasFailed
        }
    };
    Decision { records, reply }
}
