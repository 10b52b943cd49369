//! A shard's start: the metadata is recovered on shard 0 and given to all, partitions open, then it is ready.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::controller::Controller;
use super::memory::Budget;
use super::message::Message;
use crate::config::BrokerConfig;
use crate::metadata::{
    Bootstrap, Command, ConfigEdit, ConfigOp, EditedResource, Image, IncrementalAlterConfigs,
    MetadataRecord, Registration, Reply, ResourceKind, Supersede, decode_entry, decode_snapshot,
};
use crate::rt::{self, Clock, Disk, Queue, Seat};
use crate::storage::{Directories, MetadataLog, StorageError, Store, StoreConfig};
use crate::types::{Offset, ShardId, Str};

/// What a shard is made from.
pub struct Opened {
    pub config: Arc<BrokerConfig>,
    pub directories: Directories,
    pub seat: Seat<Message>,
    pub shards_count: u16,
    /// This shard's share.
    pub cache_bytes: usize,
    pub groups_bytes: usize,
    pub open_files_max: usize,
}

/// Makes the shard and starts its tasks. Its partitions come with the metadata.
pub fn open(opened: Opened) -> Rc<Shard> {
    let (mailbox, inbox) = opened.seat.join();
    let id = mailbox.shard();
    let config = StoreConfig {
        shard: id,
        cache_bytes: opened.cache_bytes,
        open_files_max: opened.open_files_max,
        ..StoreConfig::default()
    };
    let store = Store::open(Disk::Ring, &opened.directories, config, Clock::Real);
    let shard = Shard::new(
        id,
        opened.shards_count,
        opened.config,
        Clock::Real,
        store,
        mailbox,
        Budget {
            cache: opened.cache_bytes,
            groups: opened.groups_bytes,
        },
    );
    let metrics = &shard.metrics;
    metrics.memory_budget_cache.set(opened.cache_bytes as i64);
    metrics.memory_budget_groups.set(opened.groups_bytes as i64);
    let answers = shard.budget.answers() as i64;
    metrics.memory_budget_answers.set(answers);
    let producers = shard.budget.producers() as i64;
    metrics.memory_budget_producers.set(producers);
    shard.start(inbox);
    let checkpoints = shard.clone();
    rt::spawn(Queue::Background, "checkpoints", async move {
        checkpoints.run_checkpoints().await;
    });
    rt::spawn(Queue::Background, "memory", shard.clone().keep_memory());
    rt::spawn(
        Queue::Background,
        "retention",
        shard.clone().run_retention(),
    );
    shard.start_cleaner();
    shard
}

impl Shard {
    /// On shard 0: recovers the metadata, formats the cluster if there is none, registers this broker, and has every
    /// shard open its partitions.
    pub async fn start_controller(
        self: &Rc<Self>,
        directories: &Directories,
        registration: impl FnOnce(Str) -> Registration,
    ) -> Result<(), StorageError> {
        assert_eq!(self.id, ShardId(0), "the controller lives on shard 0");
        let (log, recovered) = MetadataLog::open(&Disk::Ring, &metadata_dir(directories)).await?;
        let read = read_back(recovered.snapshot.as_deref(), &recovered.entries);
        let corrupt = |why| StorageError::Corrupt {
            path: metadata_dir(directories),
            why,
        };
        let (records, next_offset, entries_count) = read.map_err(corrupt)?;
        let records = Arc::new(records);
        self.apply_metadata(&records).await;
        self.broadcast_metadata(records).await;
        let controller = Controller::new(log, next_offset, entries_count);
        controller.start(self);
        self.controller.replace(Some(controller));
        self.controller_made.notify_all();
        let known = self.image().cluster_id().cloned();
        let is_new = known.is_none();
        let cluster_id = known
            .clone()
            .unwrap_or_else(|| directories.cluster_id().clone());
        let registration = registration(cluster_id.clone());
        let levels = features(&registration);
        let command = match known {
            Some(_) => Command::RegisterBroker(registration, Supersede::Any),
            None => Command::Bootstrap(Bootstrap {
                cluster_id,
                features: levels.clone(),
                broker: registration,
            }),
        };
        let reply = self.propose(command).await;
        let (Reply::Bootstrap(result) | Reply::RegisterBroker(result)) = reply else {
            unreachable!("a reply is of its command's kind")
        };
        result.map_err(|error| corrupt(error.to_string()))?;
        if is_new {
            self.propose(cluster_defaults(&self.config)).await;
        }
        self.propose(Command::FinalizeFeatures(levels)).await;
        self.delete_strays().await;
        self.call_all(|shard| async move { shard.resume_moves().await })
            .await;
        Ok(())
    }

    /// Makes everything durable and marks the directories clean. Nothing is served after.
    pub async fn close(&self) {
        let replicas = self.all_replicas();
        // Parked requests are answered by this commit before their snapshots are taken.
        let committed = self.store.commit().await;
        self.on_committed(committed);
        for replica in &replicas {
            if replica.log.untold_bytes() > 0 && !replica.note_producers() {
                replica.write_producers().await;
            }
        }
        if let Err(error) = self.store.close().await {
            tracing::error!("closing the log: {error}");
        }
    }
}

/// The metadata log lies beside the partitions of the first directory.
pub(super) fn metadata_dir(directories: &Directories) -> PathBuf {
    let (first, _) = directories
        .ids()
        .next()
        .expect("a broker has a log directory");
    first.join("metadata")
}

/// What Kafka, too, writes into a new cluster: the minimum of in-sync replicas as a default of the whole cluster, so that
/// it does not depend on which broker is asked (KIP-966).
fn cluster_defaults(config: &BrokerConfig) -> Command {
    let edit = ConfigEdit {
        key: Str::from_static("min.insync.replicas"),
        op: ConfigOp::Set as i8,
        value: Some(Str::from(config.min_insync_replicas.to_string())),
    };
    Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources: vec![EditedResource {
            resource_type: ResourceKind::Broker as i8,
            name: Str::EMPTY,
            edits: vec![edit],
        }],
        validate_only: false,
    })
}

/// The features a cluster runs at where nobody chose: the highest levels this broker knows.
fn features(registration: &Registration) -> Vec<(Str, i16)> {
    registration
        .features
        .iter()
        .map(|feature| (feature.name.clone(), feature.max))
        .collect()
}

/// The image's records, the next entry's offset, and how many entries follow the snapshot.
pub(super) fn read_back(
    snapshot: Option<&[u8]>,
    entries: &[Vec<u8>],
) -> Result<(Vec<MetadataRecord>, Offset, u64), String> {
    let mut image = Image::new();
    let mut next_offset = Offset::ZERO;
    let mut apply = |records: &[MetadataRecord]| -> Result<(), String> {
        for record in records {
            image.apply(record).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    if let Some(bytes) = snapshot {
        let snapshot = decode_snapshot(bytes).map_err(|error| error.to_string())?;
        next_offset = snapshot.last_offset.plus(1);
        apply(&snapshot.records)?;
    }
    let mut count = 0;
    for bytes in entries {
        let (entry, _) = decode_entry(bytes).map_err(|error| error.to_string())?;
        if entry.offset < next_offset {
            continue;
        }
        if entry.offset != next_offset {
            return Err(format!(
                "entry {} follows entry {}",
                entry.offset,
                next_offset.0 - 1
            ));
        }
        apply(&entry.records)?;
        next_offset = next_offset.plus(1);
        count += 1;
    }
    Ok((image.to_records(), next_offset, count))
}
