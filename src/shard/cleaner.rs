//! The cleaner: one task a shard, which compacts the dirtiest of its logs, then the next, and rests when none is due.

use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashSet;

use super::Shard;
use super::replica::Replica;
use crate::config::TopicConfig;
use crate::record::BatchHeader;
use crate::rt::{self, Queue};
use crate::storage::{CompactConfig, CompactError, CompactTerms, Compacted, Dirty};
use crate::types::{ShardId, TopicId, TopicPartition};

/// Logs that the cleaner passes over.
#[derive(Default)]
struct LeftAlone {
    /// Found corrupt: until the next start, as Kafka leaves them.
    uncleanable: HashSet<(TopicId, i32)>,
    /// A round failed, on a full disk for instance: until the cleaner has rested, while others are compacted.
    failed: HashSet<(TopicId, i32)>,
}

/// What came of one look at the shard's logs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Done,
    NothingDue,
}

impl Shard {
    /// Starts the cleaner, unless `log.cleaner.enable` is off.
    pub(super) fn start_cleaner(self: &Rc<Self>) {
        if self.config.log_cleaner_enable {
            rt::spawn(Queue::Background, "cleaner", self.clone().clean());
        }
    }

    async fn clean(self: Rc<Self>) {
        let mut left_alone = LeftAlone::default();
        loop {
            if self.clean_dirtiest(&mut left_alone).await == Round::NothingDue {
                left_alone.failed.clear();
                let backoff_ms = self.broker_config().log_cleaner_backoff_ms;
                rt::sleep(Duration::from_millis(backoff_ms.max(1) as u64)).await;
            }
        }
    }

    async fn clean_dirtiest(self: &Rc<Self>, left_alone: &mut LeftAlone) -> Round {
        let Some((replica, dirty)) = self.dirtiest(left_alone).await else {
            return Round::NothingDue;
        };
        let (began, config) = (self.clock.now(), self.broker_config());
        let shards = f64::from(self.shards_count);
        let terms = CompactTerms {
            config: compact_config(&replica.config()),
            map_bytes: (config.log_cleaner_dedupe_buffer_size as f64 / shards) as usize,
            bytes_per_second: config.log_cleaner_io_max_bytes_per_second / shards,
            now: self.clock.wall(),
        };
        let is_last = |header: &BatchHeader| replica.core().producers().is_last_batch(header);
        let outcome = replica.log.compact(&dirty, &terms, &is_last).await;
        let place = format!("{}-{}", replica.topic, replica.partition);
        let log = (replica.topic_id, replica.partition);
        match outcome {
            Ok(compacted) => {
                self.metrics.cleaner_rounds.increment();
                self.metrics.cleaner_bytes_read.add(compacted.read_bytes);
                self.metrics
                    .cleaner_bytes_written
                    .add(compacted.written_bytes);
                let seconds = self.clock.now().since(began) as f64 / 1e6;
                tell(&place, &dirty, &compacted, seconds);
                self.note_cleaned(&replica).await;
                return Round::Done;
            }
            Err(CompactError::Interrupted) => {}
            Err(error @ CompactError::Corrupt { .. }) => {
                tracing::error!("{place} is not compacted until the next start: {error}");
                left_alone.uncleanable.insert(log);
            }
            Err(error) => tracing::warn!("{place} is not compacted for now: {error}"),
        }
        left_alone.failed.insert(log);
        Round::Done
    }

    /// The log that is due and has the largest dirty part. Forgets uncleanable logs that are gone, and counts the others.
    async fn dirtiest(&self, left_alone: &mut LeftAlone) -> Option<(Rc<Replica>, Dirty)> {
        let LeftAlone {
            uncleanable,
            failed,
        } = left_alone;
        let replicas = self.all_replicas();
        let now = self.clock.wall();
        let (mut largest, mut uncleanable_bytes) = (0.0_f64, 0);
        uncleanable.retain(|(topic, partition)| self.replica(*topic, *partition).is_some());
        let mut chosen: Option<(Rc<Replica>, Dirty)> = None;
        for replica in replicas {
            rt::yield_if_needed().await;
            let config = replica.config();
            let place = (replica.topic_id, replica.partition);
            if !config.cleanup_policy.compact {
                continue;
            }
            let stable = replica.core().last_stable_offset();
            let config = compact_config(&config);
            let Some(dirty) = replica.log.dirty(stable, &config, now) else {
                continue;
            };
            if uncleanable.contains(&place) {
                uncleanable_bytes += dirty.dirty_bytes;
                continue;
            }
            if failed.contains(&place) {
                continue;
            }
            largest = largest.max(dirty.ratio());
            let is_dirtier = |(_, than): &(Rc<Replica>, Dirty)| dirty.ratio() > than.ratio();
            if dirty.is_due(&config) && chosen.as_ref().is_none_or(is_dirtier) {
                chosen = Some((replica, dirty));
            }
        }
        let percent = (largest * 100.0).round() as i64;
        let metrics = &self.metrics;
        metrics.cleaner_dirty_percent.set(percent);
        let count = uncleanable.len() as i64;
        metrics.cleaner_uncleanable_partitions.set(count);
        metrics
            .cleaner_uncleanable_bytes
            .set(uncleanable_bytes as i64);
        chosen
    }

    /// Shard 0 keeps the file of each directory that says up to where its logs are clean.
    pub(super) async fn note_cleaned(self: &Rc<Self>, replica: &Replica) {
        // Or it would be noted again after it was forgotten.
        if replica.is_deleted() {
            return;
        }
        let directory = replica.log.directory().to_owned();
        let partition = replica.log.partition().clone();
        let first_dirty = replica.log.first_dirty();
        let noted = self.call(ShardId(0), move |shard: Rc<Shard>| async move {
            let noted = shard
                .store
                .note_cleaned(&directory, &partition, first_dirty);
            noted.await.map_err(|error| error.to_string())
        });
        if let Err(error) = noted.await {
            tracing::warn!("cleaner-offset-checkpoint: {error}");
        }
    }

    /// Topics were deleted: those of their names begin anew. Before their directories go, so that no crash leaves what was
    /// noted of the one to the other.
    pub(super) async fn forget_cleaned(self: &Rc<Self>, replicas: &[Rc<Replica>]) {
        let partitions = replicas.iter().map(|r| r.log.partition().clone());
        let partitions: Vec<TopicPartition> = partitions.collect();
        if partitions.is_empty() {
            return;
        }
        let forgotten = self.call(ShardId(0), move |shard: Rc<Shard>| async move {
            let forgotten = shard.store.forget_cleaned(&partitions);
            forgotten.await.map_err(|error| error.to_string())
        });
        if let Err(error) = forgotten.await {
            tracing::warn!("cleaner-offset-checkpoint: {error}");
        }
    }
}

fn compact_config(config: &TopicConfig) -> CompactConfig {
    CompactConfig {
        dirty_ratio_min: config.min_cleanable_dirty_ratio,
        lag_ms_min: config.min_compaction_lag_ms,
        lag_ms_max: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
    }
}

fn tell(place: &str, dirty: &Dirty, compacted: &Compacted, seconds: f64) {
    let Compacted {
        end,
        keys,
        bytes_before,
        bytes_after,
        segments_before,
        segments_after,
        ..
    } = compacted;
    let ratio = dirty.ratio();
    tracing::info!(
        "{place} compacted up to offset {end}: {bytes_before} bytes in {segments_before} segments became {bytes_after} in \
         {segments_after}; {keys} keys in {} dirty bytes (ratio {ratio:.2}), {seconds:.2} s",
        dirty.dirty_bytes
    );
    if compacted.keyless > 0 {
        tracing::warn!(
            "{place}: {} records without a key were dropped",
            compacted.keyless
        );
    }
}
