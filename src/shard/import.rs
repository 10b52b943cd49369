//! Topics that Apache Kafka wrote become topics of this cluster, while no broker runs.
//!
//! Files come first, then the one entry of the metadata log that makes the topics exist: an import that was cut off has
//! changed nothing, and what it left is cleared away by the next start. Between both, every log is recovered as
//! after a crash: each batch is checked, and indexes, epochs, aborted transactions and producers are made from the batches.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::controller::Rules;
use super::partitions::{dynamic, log_config, recover};
use super::retention::expired_bytes;
use super::start::{metadata_dir, read_back};
use crate::config::{BrokerConfig, CleanupPolicy, TopicConfig};
use crate::metadata::record::ProducerIdsV1;
use crate::metadata::{
    Command, ConfigChange, Context, CreateTopics, Entry, Image, MetadataRecord, NewTopic,
    ReplicaAssignment, Reply, ResourceKind, decide, encode_entry,
};
use crate::record::Codecs;
use crate::rt::{self, Clock, Disk};
use crate::storage::{
    AdoptError, Directories, Hole, KafkaPartition, Log, MetadataLog, StorageError, Store,
    StoreConfig, Transfer, Verifier, VerifyOptions, reserve_bytes,
};
use crate::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ShardId, Str, Timestamp, TopicId, Uuid,
};

/// What to import and how.
#[derive(Clone, Debug)]
pub struct Import {
    /// Directories of partitions, of one topic or several.
    pub sources: Vec<PathBuf>,
    /// Overrides that every topic gets.
    pub configs: Vec<(String, String)>,
    pub transfer: Transfer,
    /// Kafka was killed: its newest segments may end in a torn batch.
    pub unclean: bool,
}

/// One partition as it was taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportedPartition {
    pub topic: Str,
    pub topic_id: TopicId,
    pub partition: i32,
    pub directory: PathBuf,
    pub start: Offset,
    pub end: Offset,
    pub bytes: u64,
    /// Producers whose next batch is held against the last one here.
    pub producers: usize,
    /// Transactions that nobody ended: readers of what is committed wait there until they are aborted.
    pub open_transactions: usize,
    /// What will be given up of it, and by when, by the topic's and the broker's configuration.
    pub keeping: Keeping,
}

/// How long an imported log is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    pub policy: CleanupPolicy,
    /// −1: whatever its age.
    pub retention_ms: i64,
    /// −1: whatever its size.
    pub retention_bytes: i64,
    /// Bytes of segments that have had their time already: they go soon after the broker's start.
    pub expired_bytes: u64,
}

/// Why nothing was imported.
#[derive(Debug)]
pub enum ImportError {
    /// What was asked for cannot be: which and why.
    Refused(String),
    Failed(String),
}

/// A topic being taken in.
struct Topic {
    id: TopicId,
    partitions: BTreeMap<i32, KafkaPartition>,
}

/// What the cluster knows before.
struct Known {
    /// Holds the locks.
    _directories: Directories,
    image: Image,
    /// Bytes that each directory which takes new partitions has to give, less what was given of it since.
    free: Vec<(PathBuf, u64)>,
}

impl From<StorageError> for ImportError {
    fn from(error: StorageError) -> ImportError {
        ImportError::Failed(error.to_string())
    }
}

impl From<AdoptError> for ImportError {
    fn from(error: AdoptError) -> ImportError {
        ImportError::Refused(error.to_string())
    }
}

/// Takes partitions of Kafka's into the log directories that `config` names.
///
/// - No broker may run on them; one must have run before, so that they belong to a cluster.
/// - `progress`: called with bytes as they are checked and as they are brought over, each counted once for both.
pub fn import(
    config: &BrokerConfig,
    import: &Import,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<ImportedPartition>, ImportError> {
    let topics = look(import)?;
    let holes = check_sources(&topics, import, progress)?;
    let mut known = local(prepare(config))?;
    let records = decide_topics(config, &known.image, &topics, import)?;
    let overrides = TopicOverrides::of(&records);
    for (name, topic) in &topics {
        for partition in topic.partitions.values() {
            let directory = known.roomiest(partition)?;
            partition
                .take_into(
                    &directory,
                    topic.id,
                    import.transfer,
                    &holes[&partition.path],
                    progress,
                )
                .map_err(|error| ImportError::Failed(format!("{name}: {error}")))?;
        }
    }
    // The directories are looked at anew, with what lies in them now.
    drop(known);
    local(adopt(config, topics, records, overrides))
}

fn local<T>(work: impl Future<Output = Result<T, ImportError>>) -> Result<T, ImportError> {
    match rt::run_local(work) {
        Ok(outcome) => outcome,
        Err(error) => Err(ImportError::Failed(error.to_string())),
    }
}

/// The topics that the sources are partitions of.
fn look(import: &Import) -> Result<BTreeMap<String, Topic>, ImportError> {
    let refused = |why: String| Err(ImportError::Refused(why));
    let mut topics: BTreeMap<String, (Option<TopicId>, Topic)> = BTreeMap::new();
    for source in &import.sources {
        let partition = KafkaPartition::look(source, import.unclean)?;
        let (name, index) = (
            partition.place.topic.to_string(),
            partition.place.partition.0,
        );
        let fresh = || {
            let topic = Topic {
                id: partition.topic_id.unwrap_or_else(Uuid::random),
                partitions: BTreeMap::new(),
            };
            (partition.topic_id, topic)
        };
        let (stated, topic) = topics.entry(name.clone()).or_insert_with(fresh);
        if *stated != partition.topic_id {
            return refused(format!(
                "{}: its topic id is not that of the other partitions of {name}",
                source.display()
            ));
        }
        if let Some(twice) = topic.partitions.insert(index, partition) {
            return refused(format!("partition {} is given twice", twice.place));
        }
    }
    for (name, (_, topic)) in &topics {
        for partition in topic.partitions.values() {
            let others = partition.others_beside()?;
            let left_out = others
                .iter()
                .find(|(index, _)| !topic.partitions.contains_key(&index.0));
            if let Some((_, path)) = left_out {
                return refused(format!(
                    "{}: lies beside the other partitions of {name}, and was not given; a topic is imported whole",
                    path.display()
                ));
            }
        }
        let missing = (0..)
            .zip(topic.partitions.keys())
            .find(|(want, have)| want != *have);
        if let Some((missing, _)) = missing {
            return refused(format!(
                "{name}: partition {missing} is missing; a topic's partitions are dense from 0"
            ));
        }
    }
    Ok(topics
        .into_iter()
        .map(|(name, (_, topic))| (name, topic))
        .collect())
}

/// Reads every batch where it lies: nothing that is damaged is taken in. Returns where compaction has left no batch
/// between segments.
fn check_sources(
    topics: &BTreeMap<String, Topic>,
    import: &Import,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<PathBuf, Vec<Hole>>, ImportError> {
    let mut holes = BTreeMap::new();
    let mut verifier = Verifier::new(VerifyOptions::default(), &import.sources, progress);
    for partition in topics.values().flat_map(|topic| topic.partitions.values()) {
        let report = verifier.verify(&partition.path);
        let report = report.map_err(|error| ImportError::Refused(error.to_string()))?;
        let faults = report
            .partitions
            .iter()
            .flat_map(|partition| &partition.faults.list);
        if let Some(fault) = faults.into_iter().find(|fault| !fault.mends) {
            let at = fault
                .position
                .map_or(String::new(), |at| format!(" at byte {at}"));
            return Err(ImportError::Refused(format!(
                "{}{at}: {}; `ringlog log verify` tells all that is damaged",
                fault.file.display(),
                fault.what
            )));
        }
        let found = report
            .partitions
            .iter()
            .flat_map(|partition| &partition.holes);
        holes.insert(partition.path.clone(), found.copied().collect());
    }
    Ok(holes)
}

/// Locks the directories and reads what the cluster knows.
async fn prepare(config: &BrokerConfig) -> Result<Known, ImportError> {
    let (directories, _, image, _) = open(config).await?;
    directories.keep_clean(&Disk::Ring).await?;
    let mut free = Vec::new();
    let in_force = config.with_dynamic(dynamic(&image, NodeId(config.node_id)));
    let taking = directories.ids().zip(in_force.cordoned_dirs());
    let taking = taking.filter(|(_, is_cordoned)| !is_cordoned);
    for ((path, _), _) in taking {
        let space = Disk::Ring
            .space(path)
            .await
            .map_err(|error| ImportError::Failed(format!("{}: {error}", path.display())))?;
        // The broker would refuse appends at once.
        let kept = reserve_bytes(space);
        let given = space.available_bytes.saturating_sub(kept);
        free.push((path.to_owned(), given));
    }
    Ok(Known {
        _directories: directories,
        image,
        free,
    })
}

async fn open(
    config: &BrokerConfig,
) -> Result<(Directories, MetadataLog, Image, Offset), ImportError> {
    let node = NodeId(config.node_id);
    let first = &config.data_dirs()[0];
    if !first.join("metadata").exists() {
        return Err(ImportError::Refused(format!(
            "{}: no broker has run on this directory; start one once, and stop it",
            first.display()
        )));
    }
    let directories = Directories::prepare(&Disk::Ring, config.data_dirs(), node, None).await?;
    let dir = metadata_dir(&directories);
    let (log, recovered) = MetadataLog::open(&Disk::Ring, &dir).await?;
    let read = read_back(recovered.snapshot.as_deref(), &recovered.entries);
    let (records, next_offset, _) = read.map_err(ImportError::Failed)?;
    let mut image = Image::new();
    apply(&mut image, &records)?;
    Ok((directories, log, image, next_offset))
}

fn apply(image: &mut Image, records: &[MetadataRecord]) -> Result<(), ImportError> {
    let outcome = records.iter().try_for_each(|record| image.apply(record));
    outcome.map_err(|error| ImportError::Failed(error.to_string()))
}

/// The records that make the topics, decided as if a client had asked for them, with Kafka's ids.
fn decide_topics(
    config: &BrokerConfig,
    image: &Image,
    topics: &BTreeMap<String, Topic>,
    import: &Import,
) -> Result<Vec<MetadataRecord>, ImportError> {
    let node = NodeId(config.node_id);
    let rules = Rules {
        config,
        image,
        working: vec![true; config.data_dirs().len()],
    };
    let mut all = Vec::new();
    for (name, topic) in topics {
        if let Some(other) = image.topic_by_id(topic.id) {
            return Err(ImportError::Refused(format!(
                "{name}: its topic id {} belongs to topic {} already",
                topic.id, other.name
            )));
        }
        let assignment = |&index: &i32| ReplicaAssignment {
            partition: PartitionIndex(index),
            replicas: vec![node],
        };
        let config_of = |(key, value): &(String, String)| ConfigChange {
            key: Str::from(key.as_str()),
            value: Some(Str::from(value.as_str())),
        };
        let command = Command::CreateTopics(CreateTopics {
            topics: vec![NewTopic {
                name: Str::from(name.as_str()),
                partitions: -1,
                replication_factor: -1,
                assignments: topic.partitions.keys().map(assignment).collect(),
                configs: import.configs.iter().map(config_of).collect(),
            }],
            validate_only: false,
        });
        let mut context = Context {
            node,
            default_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor as i16,
            rules: &rules,
            new_id: &mut || topic.id,
        };
        let decision = decide(image, &command, &mut context);
        let Reply::CreateTopics(rows) = decision.reply else {
            unreachable!("a reply is of its command's kind")
        };
        for row in rows {
            if let Err(error) = row.result {
                return Err(ImportError::Refused(format!("{name}: {error}")));
            }
        }
        all.extend(decision.records);
    }
    Ok(all)
}

/// The overrides among records, by topic.
struct TopicOverrides(BTreeMap<String, crate::metadata::Overrides>);

impl TopicOverrides {
    fn of(records: &[MetadataRecord]) -> TopicOverrides {
        let mut all: BTreeMap<String, crate::metadata::Overrides> = BTreeMap::new();
        for record in records {
            if let MetadataRecord::Config(record) = record
                && record.resource_type == ResourceKind::Topic as i8
                && let Some(value) = &record.value
            {
                let overrides = all.entry(record.resource_name.clone()).or_default();
                overrides.insert(Str::from(record.key.as_str()), Str::from(value.as_str()));
            }
        }
        TopicOverrides(all)
    }

    /// What is in force for a topic.
    fn effective(&self, config: &BrokerConfig, image: &Image, topic: &str) -> TopicConfig {
        let none = crate::metadata::Overrides::default();
        let overrides = self.0.get(topic).unwrap_or(&none);
        let dynamic = dynamic(image, NodeId(config.node_id));
        TopicConfig::effective(config, dynamic, overrides)
    }
}

impl Known {
    /// The directory with the most free space, of those that are not cordoned; it must have room for the partition.
    fn roomiest(&mut self, partition: &KafkaPartition) -> Result<PathBuf, ImportError> {
        match self.free.iter_mut().max_by_key(|(_, free)| *free) {
            Some((path, free)) if *free > partition.bytes => {
                *free -= partition.bytes;
                Ok(path.clone())
            }
            most => Err(ImportError::Refused(format!(
                "no log directory that takes partitions has room for {} ({} bytes, and {} may be taken)",
                partition.place,
                partition.bytes,
                most.map_or(0, |(_, free)| *free)
            ))),
        }
    }
}

/// Recovers what was brought in, and has the metadata know it.
async fn adopt(
    config: &BrokerConfig,
    topics: BTreeMap<String, Topic>,
    mut records: Vec<MetadataRecord>,
    overrides: TopicOverrides,
) -> Result<Vec<ImportedPartition>, ImportError> {
    let (directories, log, image, next_offset) = open(config).await?;
    let sizes = StoreConfig {
        shard: ShardId(0),
        cache_bytes: 64 << 20,
        open_files_max: 256,
        journal_bytes: 0,
        ..StoreConfig::default()
    };
    directories.keep_clean(&Disk::Ring).await?;
    let store = Store::open(Disk::Ring, &directories, sizes, Clock::Real);
    let codecs = RefCell::new(Codecs::new());
    let mut imported = Vec::new();
    let mut ids = BTreeSet::new();
    let mut epochs: BTreeMap<(TopicId, i32), LeaderEpoch> = BTreeMap::new();
    for (name, topic) in &topics {
        let config = overrides.effective(config, &image, name);
        for (&index, partition) in &topic.partitions {
            let log = store
                .open_log(&partition.place, topic.id, log_config(&config))
                .await?;
            let producers = recover(&log, &codecs, Clock::Real.wall()).await?;
            ids.extend(producers.iter().map(|(id, _)| id));
            log.write_snapshot(log.end_offset(), &producers.copied().encode_file())
                .await?;
            store.finish_segments(&log).await?;
            let newest = log.latest_epoch().unwrap_or(LeaderEpoch::NONE);
            epochs.insert((topic.id, index), newest.max(partition.leader_epoch));
            imported.push(ImportedPartition {
                topic: Str::from(name.as_str()),
                topic_id: topic.id,
                partition: index,
                directory: log.directory().to_owned(),
                start: log.start_offset(),
                end: log.end_offset(),
                bytes: log.size(),
                producers: producers.len(),
                open_transactions: producers.open_transactions(),
                keeping: keeping(&log, &config, Clock::Real.wall()),
            });
        }
    }
    store.close().await?;
    // The next leader's epoch must be above every one that wrote here.
    for record in &mut records {
        if let MetadataRecord::Partition(record) = record {
            let newest = epochs.get(&(Uuid(record.topic_id), record.partition));
            record.leader_epoch = newest.map_or(0, |epoch| epoch.0 + 1).max(0);
        }
    }
    if let Some(newest) = ids.last().filter(|id| **id >= image.next_producer_id()) {
        // Nobody else may be given an id that a producer of these logs has.
        let node = NodeId(config.node_id);
        records.push(MetadataRecord::from(ProducerIdsV1 {
            broker: node.0,
            broker_epoch: image.broker(node).map_or(-1, |broker| broker.epoch.0),
            next_producer_id: newest.0 + 1,
        }));
    }
    commit(&log, image, next_offset, records).await?;
    Ok(imported)
}

fn keeping(log: &Log, config: &TopicConfig, now: Timestamp) -> Keeping {
    Keeping {
        policy: config.cleanup_policy,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        expired_bytes: expired_bytes(log, config, now),
    }
}

async fn commit(
    log: &MetadataLog,
    mut image: Image,
    offset: Offset,
    records: Vec<MetadataRecord>,
) -> Result<(), ImportError> {
    // What cannot be applied must not get into the log.
    apply(&mut image, &records)?;
    let entry = Entry {
        offset,
        epoch: 1,
        timestamp: Clock::Real.wall(),
        records,
    };
    let bytes = encode_entry(&entry).map_err(|error| ImportError::Failed(error.to_string()))?;
    log.append(&bytes).await?;
    Ok(())
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ImportError::Refused(why) | ImportError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ImportError {}
