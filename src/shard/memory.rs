//! Who holds the memory of one shard, and what the cache gives up for it.
//!
//! The budget (`memory.bytes`) has three shares that are kept to where memory is taken: the cache, requests in flight, groups.
//! What else there is comes out of the cache's share, and the cache is kept so much smaller:
//!
//! - answers that are not sent (see [`super::answers`]), up to a quarter of it;
//! - producers, up to a quarter of it. Past that, those are forgotten early that were silent for longest, as if
//!   `producer.id.expiration.ms` were shorter, but none that wrote just now or has a transaction open. Forgetting is the safer
//!   side: one that was forgotten and writes again is taken as Kafka takes one that expired (KIP-360), while refusing new ones
//!   would shut out those that do nothing wrong. Only a batch that is sent once more after so long a silence is not known again;
//!   clients give up on a batch sooner (`delivery.timeout.ms`, two minutes), and where less than that is left it is told;
//! - indexes, which the segments there are bound.
//!
//! An eighth of its share the cache keeps whatever the others take.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::replica::Replica;
use crate::metrics::Metrics;
use crate::rt;
use crate::types::Micros;

/// Tells what an owner outside this room holds.
pub(super) type Measure = Box<dyn Fn(&Metrics)>;

/// What the owners of a shard's memory may hold, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// The share of the cache, and of whoever takes from it.
    pub cache: usize,
    pub groups: usize,
}

/// What producers and indexes were found to hold.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Held {
    producers: usize,
    indexes: usize,
}

/// When the log was last told that producers are forgotten early.
#[derive(Default)]
pub(super) struct Warned(Cell<Option<Micros>>);

/// The part of the cache's share that answers may take, and producers.
const ANSWERS_PART: usize = 4;
const PRODUCERS_PART: usize = 4;
/// The part of it that the cache keeps.
const CACHE_PART_MIN: usize = 8;
/// How often it is looked at least, and so many times what a look takes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REST: u32 = 200;
/// Producers that wrote in this time are never forgotten for want of memory: what clients have sent is answered or sent again
/// within it (Java's `request.timeout.ms`).
const SILENT_MS_MIN: i64 = 30_000;
/// As long a client tries to send a batch, by default.
const DELIVERY_MS: i64 = 120_000;
/// Microseconds between two lines of the log about it.
const WARN_EVERY_US: u64 = 60_000_000;

impl Budget {
    pub(super) fn answers(&self) -> usize {
        self.cache / ANSWERS_PART
    }

    pub(super) fn producers(&self) -> usize {
        self.cache / PRODUCERS_PART
    }

    /// What is left to the cache itself where others hold so much of its share.
    fn cache_beside(&self, held: usize) -> usize {
        let least = self.cache / CACHE_PART_MIN;
        self.cache.saturating_sub(held).max(least)
    }
}

impl Shard {
    /// Has an owner of memory tell what it holds whenever the metrics are looked at.
    pub fn on_measure(&self, measure: impl Fn(&Metrics) + 'static) {
        self.measures.borrow_mut().push(Box::new(measure));
    }

    /// Counts what everybody holds now.
    pub(super) async fn measure_memory(self: &Rc<Self>) {
        let stats = self.store.stats();
        let metrics = &self.metrics;
        metrics.memory_tails.set(stats.tail_bytes as i64);
        metrics.memory_chunks.set(stats.chunk_bytes as i64);
        metrics.memory_answers.set(self.answers.used() as i64);
        for measure in self.measures.borrow().iter() {
            measure(metrics);
        }
        self.measure_held().await;
    }

    async fn measure_held(&self) -> Held {
        let mut held = Held::default();
        for replica in self.all_replicas() {
            held.producers += replica.core().producers().memory_bytes();
            held.indexes += replica.log.index_memory_bytes();
            rt::yield_if_needed().await;
        }
        self.metrics.memory_producers.set(held.producers as i64);
        self.metrics.memory_indexes.set(held.indexes as i64);
        held
    }

    /// For ever: keeps the cache to what others leave of its share, and producers to theirs.
    pub(super) async fn keep_memory(self: Rc<Self>) {
        let mut pause = LOOK_EVERY;
        let mut held = Held::default();
        let mut appended = None;
        loop {
            rt::sleep(pause).await;
            let began = self.clock.now();
            // Neither grows but by appends: a broker that is idle walks through nothing.
            let appended_now = Some(self.store.stats().append_bytes);
            if appended_now != std::mem::replace(&mut appended, appended_now) {
                held = self.measure_held().await;
            }
            if held.producers > self.budget.producers() {
                held = self.forget_producers(held).await;
            }
            let beside = held.producers + held.indexes + self.answers.used();
            let cache = self.budget.cache_beside(beside);
            self.metrics.memory_budget_cache.set(cache as i64);
            self.store.limit_cache(cache).await;
            let took = Duration::from_micros(self.clock.now().since(began));
            pause = LOOK_EVERY.max(took * REST);
        }
    }

    /// Forgets the producers that were silent for longest, until the others are few enough or none may go.
    async fn forget_producers(&self, mut held: Held) -> Held {
        let before = held.producers;
        let mut silent_ms = i64::from(self.in_force.borrow().producer_id_expiration_ms);
        let mut count = 0;
        while held.producers > self.budget.producers() && silent_ms > SILENT_MS_MIN {
            silent_ms = (silent_ms / 2).max(SILENT_MS_MIN);
            let now = self.clock.wall();
            for replica in self.all_replicas() {
                count += replica.expire_producers(now, silent_ms).await;
            }
            held = self.measure_held().await;
        }
        self.metrics.producers_forgotten.add(count as u64);
        if count > 0 {
            self.tell_forgotten(before, count, silent_ms);
        }
        held
    }

    fn tell_forgotten(&self, bytes: usize, count: usize, silent_ms: i64) {
        let now = self.clock.now();
        let warned = &self.producers_warned.0;
        if warned.get().is_some_and(|at| now.since(at) < WARN_EVERY_US) {
            return;
        }
        warned.set(Some(now));
        let risk = match silent_ms < DELIVERY_MS {
            true => "; a batch that one of them sends once more now may be taken twice",
            false => "",
        };
        tracing::warn!(
            "producer ids took {bytes} bytes on shard {}, and may take {} (memory.bytes): {count} that were silent for \
             {silent_ms} ms are forgotten before producer.id.expiration.ms{risk}",
            self.id,
            self.budget.producers(),
        );
    }

    pub(super) fn all_replicas(&self) -> Vec<Rc<Replica>> {
        self.replicas.borrow().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_gives_way_to_others_and_keeps_a_part() {
        let budget = Budget {
            cache: 800,
            groups: 100,
        };
        assert_eq!((budget.answers(), budget.producers()), (200, 200));
        assert_eq!(budget.cache_beside(0), 800);
        assert_eq!(budget.cache_beside(300), 500);
        assert_eq!(budget.cache_beside(750), 100);
        assert_eq!(budget.cache_beside(usize::MAX), 100);
    }
}
