//! How far groups are behind, measured when somebody looks: nothing is kept for it while groups commit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use super::super::Shard;
use super::super::replica::Replica;
use super::all;
use super::groups::Groups;
use crate::metrics::{
    GROUP_COMMITTED_OFFSET, GROUP_LAG_RECORDS, GROUP_LAG_TIME, GROUP_LOG_END, Sample, Value,
};
use crate::record::split;
use crate::rt;
use crate::types::{Offset, Str, Timestamp, TopicId};

/// Offsets that are looked up at a time; between two such rounds others get their turn.
const LOOKED_UP_AT_ONCE: usize = 2000;

/// A partition that a group has committed an offset for. Ordered by lag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Behind {
    lag: i64,
    log_end: i64,
    committed: i64,
    group: Str,
    topic: Str,
    topic_id: TopicId,
    partition: i32,
}

impl Shard {
    /// The lag of the groups whose coordinators are on this shard, of the `partitions_max` partitions that lag most.
    pub(in crate::shard) async fn group_lags(
        self: &Rc<Self>,
        partitions_max: usize,
    ) -> Vec<Sample> {
        let mut most: BinaryHeap<Reverse<Behind>> = BinaryHeap::new();
        let mut untold = 0;
        for coordinator in all(&self.coordinators.groups) {
            let committed = coordinator.look(Groups::committed).unwrap_or_default();
            for chunk in committed.chunks(LOOKED_UP_AT_ONCE) {
                for behind in self.behind(chunk).await {
                    most.push(Reverse(behind));
                    if most.len() > partitions_max {
                        most.pop();
                        untold += 1;
                    }
                }
                rt::yield_if_needed().await;
            }
        }
        self.metrics.group_partitions_untold.set(untold);
        let mut all: Vec<Behind> = most.into_iter().map(|Reverse(behind)| behind).collect();
        all.sort_unstable_by(|a, b| {
            (&a.group, &a.topic, a.partition).cmp(&(&b.group, &b.topic, b.partition))
        });
        let mut samples = Vec::with_capacity(all.len() * 4);
        for chunk in all.chunks(LOOKED_UP_AT_ONCE) {
            let ages = self.ages(chunk).await;
            for (behind, age_us) in chunk.iter().zip(ages) {
                samples.extend(behind.samples(age_us));
            }
            rt::yield_if_needed().await;
        }
        samples
    }

    /// Of each group whose coordinator is on this shard: how many partitions it has committed, and their lag in records.
    pub(in crate::shard) async fn group_totals(self: &Rc<Self>) -> Vec<(Str, usize, i64)> {
        let mut totals: BTreeMap<Str, (usize, i64)> = BTreeMap::new();
        for coordinator in all(&self.coordinators.groups) {
            let committed = coordinator.look(Groups::committed).unwrap_or_default();
            for chunk in committed.chunks(LOOKED_UP_AT_ONCE) {
                for behind in self.behind(chunk).await {
                    let total = totals.entry(behind.group).or_default();
                    *total = (total.0 + 1, total.1 + behind.lag);
                }
                rt::yield_if_needed().await;
            }
        }
        let totals = totals.into_iter();
        totals
            .map(|(group, (count, lag))| (group, count, lag))
            .collect()
    }

    /// Where the logs of committed offsets end now; topics that are gone are left out.
    async fn behind(self: &Rc<Self>, committed: &[(Str, Str, i32, i64)]) -> Vec<Behind> {
        let known: Vec<Behind> = {
            let image = self.image();
            let row = |(group, topic, partition, offset): &(Str, Str, i32, i64)| {
                Some(Behind {
                    lag: 0,
                    log_end: 0,
                    committed: *offset,
                    group: group.clone(),
                    topic: topic.clone(),
                    topic_id: image.topic(topic)?.id,
                    partition: *partition,
                })
            };
            committed.iter().filter_map(row).collect()
        };
        let items = known.iter().map(|b| (b.topic_id, b.partition, ()));
        let ends = self.on_owners(items.collect(), |_, replica, ()| async move {
            replica.core().high_watermark().0
        });
        let ends = ends.await;
        let measured = known.into_iter().zip(ends);
        measured
            .filter_map(|(behind, end)| {
                let log_end = end?;
                Some(Behind {
                    lag: (log_end - behind.committed).max(0),
                    log_end,
                    ..behind
                })
            })
            .collect()
    }

    /// How long each has been behind, in microseconds, or at least how long where only the device could tell.
    async fn ages(self: &Rc<Self>, behind: &[Behind]) -> Vec<i64> {
        let items = behind.iter().map(|b| {
            let range = (Offset(b.committed), Offset(b.log_end));
            (b.topic_id, b.partition, range)
        });
        let times = self.on_owners(items.collect(), |_, replica, (from, end)| async move {
            match from < end {
                true => time_at(&replica, from, end),
                // Nothing is behind.
                false => None,
            }
        });
        let now = self.clock.wall();
        let age = |time: Timestamp| now.0.saturating_sub(time.0).max(0).saturating_mul(1000);
        let times = times.await.into_iter();
        times.map(|time| time.flatten().map_or(0, age)).collect()
    }
}

/// The time of the batch at an offset; where it is not in memory, or carries none, as late as it may be from. `None`: what the
/// group has not read is deleted, and nothing waits for it.
fn time_at(replica: &Replica, from: Offset, end: Offset) -> Option<Timestamp> {
    let from = from.max(replica.core().log_start());
    time_in_memory(replica, from, end).or_else(|| replica.log.not_after(from))
}

fn time_in_memory(replica: &Replica, from: Offset, end: Offset) -> Option<Timestamp> {
    let read = replica.log.try_read(from, end, 1, true).ok()?.ok()?;
    let first = read.slices.first()?;
    let time = split(first).next()?.ok()?.header.max_timestamp();
    (time.0 >= 0).then_some(time)
}

impl Behind {
    fn samples(&self, age_us: i64) -> impl Iterator<Item = Sample> {
        let partition = Str::from(self.partition.to_string());
        let labels = [self.group.clone(), self.topic.clone(), partition];
        let rows = [
            (&GROUP_COMMITTED_OFFSET, self.committed),
            (&GROUP_LOG_END, self.log_end),
            (&GROUP_LAG_RECORDS, self.lag),
            (&GROUP_LAG_TIME, age_us),
        ];
        rows.into_iter().map(move |(metric, value)| {
            Sample::new(metric, labels.iter().cloned(), Value::Gauge(value))
        })
    }
}

#[cfg(test)]
#[path = "lag_tests.rs"]
mod tests;
