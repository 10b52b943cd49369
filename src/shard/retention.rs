//! Retention on its shard: partition by partition, what has had its time is given up, and it is told why.

use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::replica::Replica;
use crate::config::TopicConfig;
use crate::partition::{Expired, LogBounds, RetentionPolicy, SegmentFacts, Share, expired};
use crate::rt;
use crate::storage::{Deleted, Log, SegmentInfo, StorageError};
use crate::types::Timestamp;

/// Longest wait at once, whatever the interval is.
const WAIT_MAX_MS: i64 = 24 * 3600 * 1000;

impl Shard {
    /// Round by round, for as long as the shard lives; the first one `log.initial.task.delay.ms` after the start.
    pub(super) async fn run_retention(self: Rc<Self>) {
        let mut wait_ms = self.config.log_initial_task_delay_ms;
        loop {
            pause(wait_ms).await;
            self.retain().await;
            wait_ms = self.config.log_retention_check_interval_ms;
        }
    }

    /// One round over this shard's partitions, one after the other.
    async fn retain(&self) {
        let replicas = self.all_replicas();
        for replica in replicas {
            match replica.retain(self).await {
                // The directory failed, or the shard is being closed: both are told where they happen.
                Ok(()) | Err(StorageError::Offline) => {}
                Err(error) => {
                    tracing::error!(
                        "{}-{}: retention: {error}",
                        replica.topic,
                        replica.partition
                    );
                }
            }
            rt::yield_now().await;
        }
    }
}

impl Replica {
    /// Gives up the segments that have had their time, as Kafka does (`UnifiedLog.deleteOldSegments`).
    ///
    /// Where all of the log has, its active segment is closed and goes too: the log is empty then and goes on at its end.
    async fn retain(&self, shard: &Shard) -> Result<(), StorageError> {
        if self.is_deleted() || self.core().is_offline() {
            return Ok(());
        }
        let now = shard.clock.wall();
        let config = self.config();
        let Some(found) = self.expired(&config, now) else {
            return Ok(());
        };
        if found.active {
            // In one turn with the decision: what is appended from here on lies in the next segment.
            self.log.roll(now);
        }
        // What the producers of these segments wrote last is known only from the snapshot when the batches are gone.
        let taken = self.take_producers();
        if !taken.producers.is_empty() {
            let (offset, told_bytes) = (taken.offset, taken.told_bytes);
            let producers = taken.encode().await;
            let written = self
                .log
                .write_snapshot_synced(offset, told_bytes, &producers);
            match written.await {
                // Room comes first: without the snapshot, a crash before the next one forgets these producers.
                Err(error) if error.is_full() => {}
                outcome => outcome?,
            }
        }
        let deleted = self.log.delete_segments(found.end).await?;
        if self.is_deleted() {
            return Ok(());
        }
        self.on_log_start(shard, deleted.start);
        let metrics = &shard.metrics;
        metrics.segments_deleted.add(deleted.segments as u64);
        metrics.segment_bytes_deleted.add(deleted.bytes);
        if deleted.segments > 0 {
            self.tell(&found, deleted, &config);
        }
        Ok(())
    }

    fn expired(&self, config: &TopicConfig, now: Timestamp) -> Option<Expired> {
        let core = self.core();
        let bounds = LogBounds {
            start: core.log_start(),
            high_watermark: core.high_watermark(),
            end: core.log_end(),
        };
        expired(&segments(&self.log), bounds, policy(config), now)
    }

    /// One line for a partition and round.
    fn tell(&self, found: &Expired, deleted: Deleted, config: &TopicConfig) {
        let reasons = [
            (found.by_start, "below the log's start".to_owned()),
            (
                found.by_size,
                format!("over retention.bytes={}", config.retention_bytes),
            ),
            (
                found.by_time,
                format!("older than retention.ms={}", config.retention_ms),
            ),
        ];
        let given = reasons.iter().filter(|(share, _)| share.segments > 0);
        let given: Vec<String> = given
            .map(|(Share { segments, bytes }, why)| format!("{segments} ({bytes} bytes) {why}"))
            .collect();
        tracing::info!(
            "{}-{}: deleted {} segments of {} bytes, due: {}; the log is {}..{} and {} bytes",
            self.topic,
            self.partition,
            deleted.segments,
            deleted.bytes,
            given.join(", "),
            deleted.start,
            self.log.end_offset(),
            self.log.size(),
        );
    }
}

/// Bytes of a log that have had their time, though nothing of it was given up yet.
pub(super) fn expired_bytes(log: &Log, config: &TopicConfig, now: Timestamp) -> u64 {
    let bounds = LogBounds {
        start: log.start_offset(),
        high_watermark: log.end_offset(),
        end: log.end_offset(),
    };
    let found = expired(&segments(log), bounds, policy(config), now);
    found.map_or(0, |found| found.by_size.bytes + found.by_time.bytes)
}

fn policy(config: &TopicConfig) -> RetentionPolicy {
    RetentionPolicy {
        delete: config.cleanup_policy.delete,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
    }
}

fn segments(log: &Log) -> Vec<SegmentFacts> {
    log.segments().iter().map(facts).collect()
}

fn facts(segment: &SegmentInfo) -> SegmentFacts {
    SegmentFacts {
        base: segment.base,
        size: segment.size,
        newest: segment.newest,
    }
}

async fn pause(ms: i64) {
    let mut left = ms.max(0);
    while left > 0 {
        let now = left.min(WAIT_MAX_MS);
        rt::sleep(Duration::from_millis(now as u64)).await;
        left -= now;
    }
}
