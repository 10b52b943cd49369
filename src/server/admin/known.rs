//! What can be known of the shards without asking them: how far they have come, their threads, and whether they still turn.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::process;
use crate::types::ShardId;

/// How far a start has come, for `/readyz`; shared with whoever asks.
#[derive(Default)]
pub(in crate::server) struct Progress(AtomicU8);

/// A step of the start, or its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Step {
    /// The metadata is read and every shard has its logs.
    Recovered = 1,
    /// Clients are served.
    Listening = 2,
    Stopping = 4,
}

/// Shared by the shards, which note it, and the threads beside them, which look.
pub(in crate::server) struct Known {
    pub progress: Progress,
    /// Each shard's thread, as the kernel numbers it; 0 before it runs.
    threads: Vec<AtomicU32>,
    /// When each shard's loop last came by, in milliseconds from [`Known::began`] on; [`NOT_RUNNING`] before it runs, and
    /// after its end.
    turns: Vec<AtomicU64>,
    began: Instant,
}

const NOT_RUNNING: u64 = u64::MAX;
/// A shard comes by four times a second: one that has not for so long is stuck, on whatever machine.
const STUCK_AFTER: Duration = Duration::from_secs(5);

impl Progress {
    pub fn note(&self, step: Step) {
        self.0.fetch_or(step as u8, Ordering::Release);
    }

    pub fn has(&self, step: Step) -> bool {
        self.0.load(Ordering::Acquire) & step as u8 != 0
    }
}

impl Known {
    pub fn new(shards_count: u16) -> Known {
        Known {
            progress: Progress::default(),
            threads: (0..shards_count).map(|_| AtomicU32::new(0)).collect(),
            turns: (0..shards_count)
                .map(|_| AtomicU64::new(NOT_RUNNING))
                .collect(),
            began: Instant::now(),
        }
    }

    /// This thread is that shard's.
    pub fn note_thread(&self, shard: ShardId) {
        if let Some(thread) = process::own_thread() {
            self.threads[shard.index()].store(thread, Ordering::Relaxed);
        }
    }

    /// The shard's loop comes by.
    pub fn note_turn(&self, shard: ShardId) {
        self.note_turn_at(shard, Instant::now());
    }

    fn note_turn_at(&self, shard: ShardId, now: Instant) {
        self.turns[shard.index()].store(self.ms(now), Ordering::Relaxed);
    }

    /// The shard has done all that it had to.
    pub fn note_end(&self, shard: ShardId) {
        self.turns[shard.index()].store(NOT_RUNNING, Ordering::Relaxed);
    }

    /// The shards that run, and whose loop has not come by for too long.
    pub fn stuck(&self) -> Vec<usize> {
        self.stuck_at(Instant::now())
    }

    fn stuck_at(&self, now: Instant) -> Vec<usize> {
        let now = self.ms(now);
        let is_stuck = |turn: &AtomicU64| match turn.load(Ordering::Relaxed) {
            NOT_RUNNING => false,
            last => now.saturating_sub(last) > STUCK_AFTER.as_millis() as u64,
        };
        let shards = self.turns.iter().enumerate();
        let stuck = shards.filter(|(_, turn)| is_stuck(turn));
        stuck.map(|(shard, _)| shard).collect()
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    pub(super) fn threads(&self) -> impl Iterator<Item = u32> {
        self.threads
            .iter()
            .map(|thread| thread.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_runs_and_does_not_come_by_is_stuck() {
        let known = Known::new(3);
        let after = |ms| known.began + Duration::from_millis(ms);
        assert_eq!(known.stuck_at(after(1 << 40)), [0; 0], "none runs yet");
        known.note_turn_at(ShardId(0), after(0));
        known.note_turn_at(ShardId(2), after(3000));
        assert_eq!(known.stuck_at(after(5000)), [0; 0]);
        assert_eq!(known.stuck_at(after(5001)), [0]);
        assert_eq!(known.stuck_at(after(8001)), [0, 2]);
        known.note_turn_at(ShardId(0), after(8000));
        assert_eq!(known.stuck_at(after(8001)), [2]);
        known.note_end(ShardId(2));
        assert_eq!(known.stuck_at(after(8001)), [0; 0], "it has ended");
    }
}
