//! The producers of a partition on their shard: noted on disk, and forgotten in time, in turns that others do not notice.

use std::sync::Arc;

use super::replica::Replica;
use crate::partition::{CopiedProducers, EncodedProducers};
use crate::rt;
use crate::types::{Offset, ProducerId, Timestamp};

impl Replica {
    /// Has the next checkpoint of the store tell of the producers, if they are few. `false`: they are many.
    pub fn note_producers(&self) -> bool {
        let core = self.core();
        let producers = core.producers();
        if producers.len() > NOTED_PRODUCERS_MAX {
            return false;
        }
        self.log.note_producers(core.log_end(), producers.noted());
        true
    }

    /// Notes the producers in a file of their own. Returns its bytes.
    pub async fn write_producers(&self) -> u64 {
        let taken = self.take_producers();
        let (offset, told_bytes) = (taken.offset, taken.told_bytes);
        let producers = taken.encode().await;
        let written = self.log.write_told_snapshot(offset, told_bytes, &producers);
        if let Err(error) = written.await {
            tracing::error!(
                "{}-{}: producer snapshot: {error}",
                self.topic,
                self.partition
            );
        }
        (producers.state.len() + producers.kafka_rows.len()) as u64
    }

    /// The producers as they are now, and what they are told of.
    pub(super) fn take_producers(&self) -> TakenProducers {
        let core = self.core();
        TakenProducers {
            offset: core.log_end(),
            told_bytes: self.log.untold_bytes(),
            producers: core.producers().copied(),
        }
    }

    /// Forgets producers that have been silent too long, in turns. Returns how many.
    pub async fn expire_producers(&self, now: Timestamp, expiration_ms: i64) -> usize {
        let (mut count, mut next) = (0, Some(ProducerId(i64::MIN)));
        while let Some(from) = next {
            let expired = self.core_mut().expire_producers(from, now, expiration_ms);
            (count, next) = (count + expired.0, expired.1);
            rt::yield_if_needed().await;
        }
        self.verifying.expire(now, expiration_ms);
        count
    }
}

/// A partition's producers at one moment.
pub(super) struct TakenProducers {
    /// Where the log ended.
    pub offset: Offset,
    /// What was appended by then and no snapshot tells of.
    pub told_bytes: u64,
    pub producers: CopiedProducers,
}

impl TakenProducers {
    /// Their bytes; of many, made beside the shard.
    pub async fn encode(self) -> EncodedProducers {
        if self.producers.len() <= ENCODED_AT_ONCE {
            return self.producers.encode_file();
        }
        let producers = Arc::new(self.producers);
        let there = producers.clone();
        let encoded = rt::blocking(move || there.encode_file()).await;
        // Without a thread to be had it takes a long turn.
        encoded.unwrap_or_else(|_| producers.encode_file())
    }
}

/// Producers that are encoded in a turn of the shard.
const ENCODED_AT_ONCE: usize = 1_000;

/// Producers whose state a checkpoint of all logs has room for.
const NOTED_PRODUCERS_MAX: usize = 32;
