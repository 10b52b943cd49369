//! Checkpoints: how far the logs are durable and who produced to them, noted on disk so that a start after a crash has
//! little to read, however large the logs are.

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::replica::Replica;
use crate::rt;

/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// One is due after this time
const EVERY_US: u64 = 60_000_000;
/// or so many bytes of appends, which a start would have to read again,
const EVERY_BYTES: u64 = 256 << 20;
/// but none sooner than after so many times what the last one took.
const REST: u64 = 3;

/// Bytes that a start may have to read of the logs of a shard that have many producers.
const UNTOLD_MAX: u64 = 256 << 20;
/// Of what was appended, the part that may be spent on noting many producers.
const SPENT_PART: u64 = 4;

/// When the last checkpoint was, and what it took.
#[derive(Clone, Copy, Debug)]
struct Last {
    took_us: u64,
    /// All that had been appended by then.
    appended: u64,
}

impl Last {
    fn is_due(&self, rested_us: u64, appended: u64) -> bool {
        let is_much = appended - self.appended >= EVERY_BYTES;
        rested_us >= EVERY_US || (is_much && rested_us >= self.took_us * REST)
    }
}

impl Shard {
    /// For ever: a checkpoint whenever one is due. Now and then, producers that are silent are forgotten.
    pub(super) async fn run_checkpoints(&self) {
        let (mut ended, mut expired) = (self.clock.now(), self.clock.now());
        let mut last = Last {
            took_us: 0,
            appended: 0,
        };
        loop {
            rt::sleep(LOOK_EVERY).await;
            let now = self.clock.now();
            if now.since(expired) >= EVERY_US {
                expired = now;
                self.expire_producers().await;
            }
            let appended = self.store.stats().append_bytes;
            if last.is_due(now.since(ended), appended) {
                self.checkpoint(appended - last.appended).await;
                ended = self.clock.now();
                let took_us = ended.since(now);
                tracing::debug!(
                    took_us,
                    bytes = appended - last.appended,
                    "checkpoint of the logs"
                );
                last = Last { took_us, appended };
            }
        }
    }

    async fn expire_producers(&self) {
        let now = self.clock.wall();
        let expiration_ms = i64::from(self.in_force.borrow().producer_id_expiration_ms);
        self.measure_coordinators();
        for replica in self.all_replicas() {
            replica.expire_producers(now, expiration_ms).await;
        }
    }

    /// - `appended`: bytes since the last one.
    async fn checkpoint(&self, appended: u64) {
        let mut large = Vec::new();
        for replica in self.all_replicas() {
            let untold = replica.log.untold_bytes();
            if untold > 0 && !replica.note_producers() {
                large.push((untold, replica));
            }
            rt::yield_if_needed().await;
        }
        write_most(large, appended / SPENT_PART).await;
        if let Err(error) = self.store.checkpoint().await {
            tracing::error!("checkpoint: {error}");
        }
    }
}

/// Writes the producers of the logs that have grown most, until little is left or `budget` bytes are spent: where each of
/// many logs has many producers, noting all of them each time would be more work than what they produce.
async fn write_most(mut logs: Vec<(u64, Rc<Replica>)>, budget: u64) {
    logs.sort_by_key(|(untold, _)| Reverse(*untold));
    let mut left: u64 = logs.iter().map(|(untold, _)| untold).sum();
    let mut spent = 0;
    for (untold, replica) in logs {
        if left <= UNTOLD_MAX || spent > budget {
            break;
        }
        spent += replica.write_producers().await;
        left -= untold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_after_a_time_or_much_but_not_all_the_time() {
        let last = Last {
            took_us: 500_000,
            appended: 1000,
        };
        assert!(!last.is_due(EVERY_US - 1, 1000 + EVERY_BYTES - 1));
        assert!(last.is_due(EVERY_US, 1000));
        assert!(last.is_due(1_500_000, 1000 + EVERY_BYTES));
        assert!(!last.is_due(1_499_999, 1000 + 10 * EVERY_BYTES));
    }
}
