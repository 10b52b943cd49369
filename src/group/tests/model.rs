//! A model of committed and pending offsets, which knows nothing of groups and records.

use std::collections::BTreeMap;

/// What offsets should be, told from requests and answers alone.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Model {
    /// Partition to offset, and when it was stored.
    pub(super) committed: BTreeMap<i32, (i64, u64)>,
    /// The same, by the producer in whose transaction it is.
    pending: BTreeMap<i64, BTreeMap<i32, (i64, u64)>>,
    sequence: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Effect {
    Commit(i32, i64),
    Pend(i64, i32, i64),
    End(i64, bool),
}

impl Model {
    pub(super) fn apply(&mut self, effect: &Effect) {
        self.sequence += 1;
        match *effect {
            Effect::Commit(partition, offset) => {
                self.committed.insert(partition, (offset, self.sequence));
            }
            Effect::Pend(producer, partition, offset) => {
                let pending = self.pending.entry(producer).or_default();
                pending.insert(partition, (offset, self.sequence));
            }
            Effect::End(producer, committed) => {
                for (partition, offset) in self.pending.remove(&producer).unwrap_or_default() {
                    let newer = self
                        .committed
                        .get(&partition)
                        .is_none_or(|o| o.1 < offset.1);
                    if committed && newer {
                        self.committed.insert(partition, offset);
                    }
                }
            }
        }
    }

    pub(super) fn is_pending(&self, partition: i32) -> bool {
        let mut all = self.pending.values();
        all.any(|offsets| offsets.contains_key(&partition))
    }
}
