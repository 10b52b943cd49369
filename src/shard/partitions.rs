//! Partitions as metadata makes, changes and removes them on the shard that owns them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::Shard;
use super::markers;
use super::replica::Replica;
use crate::config::{BrokerConfig, Dynamic, TopicConfig};
use crate::metadata::{Image, MetadataRecord, ResourceKind, is_internal};
use crate::partition::{BatchFacts, MarkerFacts, Partition, ProducerTable};
use crate::record::{BatchHeader, Codecs, EndMarker, RawBatch};
use crate::storage::{
    AbortedTransaction, Log, LogConfig, StorageError, absolute_path, join_bounded,
};
use crate::types::{
    LeaderEpoch, NodeId, OffsetRange, PartitionIndex, Str, Timestamp, TopicId, TopicPartition, Uuid,
};

/// One log directory, as one shard uses it.
#[derive(Clone, Debug)]
pub struct LogDirState {
    pub path: Str,
    pub is_offline: bool,
    /// It takes no new partitions (KIP-1066).
    pub is_cordoned: bool,
    /// −1 where the file system does not say.
    pub total_bytes: i64,
    pub usable_bytes: i64,
    pub partitions: Vec<LogDirPartition>,
}

/// A log in a directory.
#[derive(Clone, Debug)]
pub struct LogDirPartition {
    pub topic: Str,
    pub partition: i32,
    pub bytes: u64,
    /// Records by which one that is moved here is behind the one that it will replace.
    pub lag: i64,
    /// It is being moved here.
    pub is_future: bool,
}

/// Logs that are opened and recovered side by side.
const OPEN_DEPTH: usize = 64;

/// Whether a partition comes with the record that makes it, or is led again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Birth {
    Now,
    Before,
}

/// What is in force for each topic that a group of metadata records touches, by name.
type Configs = RefCell<HashMap<Str, Rc<TopicConfig>>>;

/// What a group of metadata records asks of this shard.
#[derive(Default)]
struct Changes {
    added: Vec<(TopicId, i32)>,
    removed: Vec<Rc<Replica>>,
    led: Vec<(TopicId, i32)>,
    configured: HashSet<Str>,
    broker_configured: bool,
    /// Topics that came or went, or whose partitions did: groups are assigned by them.
    topics: BTreeSet<Str>,
}

impl Shard {
    /// Applies records that are committed, in order, and makes the partitions that this shard owns follow.
    pub(super) async fn apply_metadata(self: &Rc<Self>, records: &Arc<Vec<MetadataRecord>>) {
        let mut changes = Changes::default();
        for record in records.iter() {
            self.note(record, &mut changes);
            if let Err(error) = self.image_mut().apply(record) {
                // Other shards have applied it or will: going on would be two truths.
                tracing::error!("a committed metadata record does not apply: {error}");
                std::process::abort();
            }
        }
        for replica in &changes.removed {
            replica.on_deleted(self);
        }
        self.forget_cleaned(&changes.removed).await;
        for replica in changes.removed {
            self.remove(replica).await;
        }
        let configs = Configs::default();
        let opens = changes
            .added
            .into_iter()
            .map(|(topic, partition)| self.open(topic, partition, Birth::Now, &configs));
        join_bounded(opens, OPEN_DEPTH).await;
        let led = changes.led.into_iter();
        let follows =
            led.map(|(topic, partition)| self.follow_leader_epoch(topic, partition, &configs));
        join_bounded(follows, OPEN_DEPTH).await;
        self.is_recovered.set(true);
        self.reconfigure(&changes.configured, changes.broker_configured, &configs);
        if !changes.topics.is_empty() {
            self.tell_coordinators(&changes.topics);
        }
    }

    /// Looks at one record before it is applied.
    fn note(&self, record: &MetadataRecord, changes: &mut Changes) {
        match record {
            MetadataRecord::Partition(record) => {
                self.note_topic(Uuid(record.topic_id), changes);
                let place = (Uuid(record.topic_id), record.partition);
                if self.is_mine(place, &record.replicas) {
                    changes.added.push(place);
                }
            }
            MetadataRecord::PartitionChange(record) => {
                changes.led.push((Uuid(record.topic_id), record.partition));
            }
            MetadataRecord::RemoveTopic(record) => {
                self.note_topic(Uuid(record.id), changes);
                let id = Uuid(record.id);
                changes.added.retain(|(topic, _)| *topic != id);
                self.unopened.borrow_mut().retain(|(topic, _)| *topic != id);
                let mut replicas = self.replicas.borrow_mut();
                changes.removed.extend(
                    replicas
                        .extract_if(|(topic, _), _| *topic == id)
                        .map(|(_, replica)| replica),
                );
            }
            MetadataRecord::Config(record) => match ResourceKind::from_i8(record.resource_type) {
                Some(ResourceKind::Topic) => {
                    changes
                        .configured
                        .insert(Str::from(record.resource_name.as_str()));
                }
                Some(ResourceKind::Broker) => {
                    changes.broker_configured = true;
                }
                // Groups look at their settings when they need them.
                _ => {}
            },
            _ => {}
        }
    }

    /// A topic's partitions are about to change, or it is about to go; it is in the image by now, and still.
    fn note_topic(&self, id: TopicId, changes: &mut Changes) {
        let image = self.image();
        let name = image.topic_by_id(id).map(|topic| &topic.name);
        if let Some(name) = name.filter(|name| !changes.topics.contains(*name)) {
            changes.topics.insert(name.clone());
        }
    }

    fn is_mine(&self, (topic, partition): (TopicId, i32), replicas: &[i32]) -> bool {
        self.owner(topic, partition) == self.id && replicas.contains(&self.node_id().0)
    }

    /// Opens a partition's log, recovers it, and takes the lead.
    async fn open(
        self: &Rc<Self>,
        topic_id: TopicId,
        partition: i32,
        birth: Birth,
        configs: &Configs,
    ) {
        let Some((name, leader_epoch)) = self.leadership(topic_id, partition) else {
            return;
        };
        let place = TopicPartition {
            topic: name.clone(),
            partition: PartitionIndex(partition),
        };
        let config = self.topic_config(&name, configs);
        let opened = async {
            let config = log_config(&config);
            let log = match self.is_recovered.get() && birth == Birth::Now {
                true => self.store.open_log(&place, topic_id, config).await?,
                false => self.store.reopen_log(&place, topic_id, config).await?,
            };
            let producers = recover(&log, &self.codecs, self.clock.wall()).await?;
            Ok::<_, StorageError>((log, producers))
        };
        match opened.await {
            Ok((log, producers)) => {
                let range = OffsetRange {
                    start: log.start_offset(),
                    end: log.end_offset(),
                };
                let core = Partition::recovered(leader_epoch, range, producers);
                let replica = Replica::new(name, topic_id, partition, log.clone(), core, config);
                self.logs.borrow_mut().insert(log.id(), replica.clone());
                self.replicas
                    .borrow_mut()
                    .insert((topic_id, partition), replica.clone());
                self.unopened.borrow_mut().remove(&(topic_id, partition));
                self.coordinate(&replica);
            }
            Err(error) => {
                tracing::error!("partition {place} is offline: {error}");
                self.on_open_failed(topic_id, partition);
            }
        }
    }

    /// The topic's name and the epoch in which this broker leads; `None` if it does not.
    fn leadership(&self, topic_id: TopicId, partition: i32) -> Option<(Str, LeaderEpoch)> {
        let image = self.image();
        let state = image.partition(topic_id, PartitionIndex(partition))?;
        (state.leader == Some(self.node_id())).then_some(())?;
        Some((
            image.topic_by_id(topic_id)?.name.clone(),
            state.leader_epoch,
        ))
    }

    /// Follows a change of leader. A partition that nobody led, because its log was offline, is opened when it is led again.
    async fn follow_leader_epoch(
        self: &Rc<Self>,
        topic_id: TopicId,
        partition: i32,
        configs: &Configs,
    ) {
        let Some((_, epoch)) = self.leadership(topic_id, partition) else {
            return;
        };
        match self.replica(topic_id, partition) {
            Some(replica) => replica.on_leader_epoch(epoch),
            None if self.owner(topic_id, partition) == self.id => {
                self.open(topic_id, partition, Birth::Before, configs).await;
            }
            None => {}
        }
    }

    async fn remove(self: &Rc<Self>, replica: Rc<Replica>) {
        self.logs.borrow_mut().remove(&replica.log.id());
        if let Err(error) = self.store.delete(&replica.log).await {
            tracing::error!("deleting {}-{}: {error}", replica.topic, replica.partition);
        }
    }

    /// What is in force for a topic now; made once for all its partitions.
    fn topic_config(&self, name: &Str, configs: &Configs) -> Rc<TopicConfig> {
        if let Some(config) = configs.borrow().get(name) {
            return config.clone();
        }
        let image = self.image();
        let dynamic = dynamic(&image, self.node_id());
        let overrides = image.overrides(ResourceKind::Topic, name);
        let mut config = TopicConfig::effective(&self.config, dynamic, overrides);
        // What coordinators have answered is on stable storage, whatever the brokers' default.
        config.write_caching &= !is_internal(name);
        let config = Rc::new(config);
        configs.borrow_mut().insert(name.clone(), config.clone());
        config
    }

    /// The broker's configuration with what was set while it runs.
    pub fn broker_config(&self) -> Rc<BrokerConfig> {
        self.in_force.borrow().clone()
    }

    fn reconfigure(&self, topics: &HashSet<Str>, broker: bool, configs: &Configs) {
        if broker {
            let image = self.image();
            let dynamic = dynamic(&image, self.node_id());
            self.in_force
                .replace(Rc::new(self.config.with_dynamic(dynamic)));
            self.store
                .set_cordoned(self.in_force.borrow().cordoned_dirs());
            self.throttle_moves();
        }
        if !broker && topics.is_empty() {
            return;
        }
        for replica in self.replicas.borrow().values() {
            if broker || topics.contains(&replica.topic) {
                let config = self.topic_config(&replica.topic, configs);
                replica.log.set_config(log_config(&config));
                replica.set_config(config);
            }
        }
    }

    /// Removes directories of topics that were deleted while this broker was down. Once, by shard 0, when all shards
    /// have opened theirs.
    pub(super) async fn delete_strays(&self) {
        let mut wanted = HashSet::new();
        {
            let image = self.image();
            for topic in image.topics() {
                let own = |replicas: &[NodeId]| replicas.contains(&self.node_id());
                let held = topic.partitions().filter(|(_, state)| own(&state.replicas));
                wanted.extend(held.map(|(index, _)| format!("{}-{index}", topic.name)));
            }
        }
        match self.store.delete_strays(|name| wanted.contains(name)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!("removed {count} directories of deleted topics"),
            Err(error) => tracing::error!("removing directories of deleted topics: {error}"),
        }
    }

    /// This shard's part of the log directories.
    pub async fn describe_log_dirs(&self) -> Vec<LogDirState> {
        let mut states: Vec<LogDirState> = self
            .store
            .directories()
            .await
            .into_iter()
            .enumerate()
            .map(|(i, info)| LogDirState {
                path: Str::from(absolute_path(&info.path).to_string_lossy().into_owned()),
                is_offline: info.offline,
                is_cordoned: self.store.is_cordoned(i),
                total_bytes: info.space.map_or(-1, |space| space.total_bytes as i64),
                usable_bytes: info.space.map_or(-1, |space| space.available_bytes as i64),
                partitions: Vec::new(),
            })
            .collect();
        for replica in self.replicas.borrow().values() {
            let directory = self.store.directory_of(&replica.log);
            states[directory].partitions.push(LogDirPartition {
                topic: replica.topic.clone(),
                partition: replica.partition,
                bytes: replica.log.size(),
                lag: 0,
                is_future: false,
            });
        }
        for moving in self.moves.all() {
            let replica = &moving.replica;
            if self.store.directory_of(&replica.log) == moving.directory {
                continue;
            }
            states[moving.directory].partitions.push(LogDirPartition {
                topic: replica.topic.clone(),
                partition: replica.partition,
                bytes: moving.progress.bytes(),
                lag: (replica.log.end_offset().0 - moving.progress.offset().0).max(0),
                is_future: true,
            });
        }
        states
    }
}

/// Finds the log's end and the producers that wrote it: the newest snapshot, and every batch after it. The aborted
/// transactions found on the way go back to the log, which indexes them.
///
/// A batch found in the log is taken as seen now: its record times may be old, and a retry of it must be recognised.
pub(super) async fn recover(
    log: &Rc<Log>,
    codecs: &RefCell<Codecs>,
    now: Timestamp,
) -> Result<ProducerTable, StorageError> {
    let found = RefCell::new((ProducerTable::default(), Vec::new()));
    loop {
        if let Some((_, bytes)) = log.latest_snapshot().await? {
            match ProducerTable::from_noted(&bytes) {
                Ok(table) => found.borrow_mut().0 = table,
                Err(_) => tracing::warn!(
                    "{}: a producer snapshot is not readable and is passed over",
                    log.partition()
                ),
            }
        }
        let on_batch = |batch: &RawBatch<'_>| {
            let (producers, aborted) = &mut *found.borrow_mut();
            aborted.extend(replay(batch, producers, codecs, now));
        };
        match log.recover(on_batch).await {
            Err(StorageError::SnapshotAhead) => found.take(),
            Err(error) => return Err(error),
            Ok(_) => break,
        };
    }
    let (producers, aborted) = found.into_inner();
    log.restore_aborted(&aborted);
    Ok(producers)
}

/// Takes a batch of the log in. Returns the transaction that it aborted.
fn replay(
    batch: &RawBatch<'_>,
    producers: &mut ProducerTable,
    codecs: &RefCell<Codecs>,
    now: Timestamp,
) -> Option<AbortedTransaction> {
    let header = batch.header;
    if header.producer_id().0 < 0 {
        return None;
    }
    if !header.is_control() {
        producers.on_appended(&facts(header), header.base_offset(), now);
        return None;
    }
    let marker = EndMarker::of(batch.bytes, &mut codecs.borrow_mut())?;
    let facts = MarkerFacts {
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        coordinator_epoch: marker.coordinator_epoch,
        committed: marker.committed,
        timestamp: header.max_timestamp(),
    };
    let ended = producers.on_marker(&facts, header.base_offset(), now)?;
    markers::aborted(ended)
}

/// The broker keys that were set while the cluster runs, as they count for one broker.
pub fn dynamic(image: &Image, node: NodeId) -> Dynamic<'_> {
    Dynamic {
        broker: image.overrides(ResourceKind::Broker, &node.to_string()),
        cluster: image.overrides(ResourceKind::Broker, ""),
    }
}

pub(super) fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes as u32,
        segment_ms: segment_ms(config),
        segment_jitter_ms: config.segment_jitter_ms,
        file_delete_delay_ms: config.file_delete_delay_ms,
        index_interval_bytes: config.index_interval_bytes as u32,
        index_bytes: config.segment_index_bytes as u32,
        preallocate: config.preallocate,
    }
}

/// Only rolled segments are compacted: one rolls in time for `max.compaction.lag.ms` (KIP-354).
fn segment_ms(config: &TopicConfig) -> i64 {
    match config.cleanup_policy.compact {
        true => config.segment_ms.min(config.max_compaction_lag_ms),
        false => config.segment_ms,
    }
}

fn facts(header: &BatchHeader) -> BatchFacts {
    BatchFacts {
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        base_sequence: header.base_sequence(),
        count: header.last_offset_delta() + 1,
        max_timestamp: header.max_timestamp(),
        is_transactional: header.is_transactional(),
        bumps_epoch: false,
    }
}
