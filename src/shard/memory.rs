//! Who holds the memory of one shard, counted when somebody looks.
//!
//! The budget (`memory.bytes`) has three parts that are bounded: the cache, requests in flight and groups. Producers and
//! indexes are bounded by what they describe (their expiry, the segments there are) and are told beside it.

use std::rc::Rc;

use super::Shard;
use crate::metrics::Metrics;
use crate::rt;

/// Tells what an owner outside this room holds.
pub(super) type Measure = Box<dyn Fn(&Metrics)>;

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
        for measure in self.measures.borrow().iter() {
            measure(metrics);
        }
        let replicas: Vec<_> = self.replicas.borrow().values().cloned().collect();
        let (mut producers, mut indexes) = (0, 0);
        for replica in replicas {
            producers += replica.core().producers().memory_bytes();
            indexes += replica.log.index_memory_bytes();
            rt::yield_if_needed().await;
        }
        metrics.memory_producers.set(producers as i64);
        metrics.memory_indexes.set(indexes as i64);
    }
}
