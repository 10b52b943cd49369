//! Member ids that were given out and have not joined yet.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::types::Str;

/// As many ids as one group keeps; past it the oldest is forgotten, and its client asks for another.
pub(super) const PENDING_IDS_MAX: usize = 16_384;

/// A bounded set of ids that knows the oldest.
#[derive(Default, Debug)]
pub(super) struct PendingIds {
    numbers: HashMap<Str, u64>,
    order: BTreeMap<u64, Str>,
    next: u64,
}

impl PendingIds {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.numbers.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds an id that is not in the set; returns the one that had to go for it.
    pub(super) fn insert(&mut self, id: Str) -> Option<Str> {
        let oldest = match self.numbers.len() >= PENDING_IDS_MAX {
            true => self.order.first_key_value().map(|(_, id)| id.clone()),
            false => None,
        };
        if let Some(oldest) = &oldest {
            self.remove(oldest);
        }
        self.order.insert(self.next, id.clone());
        self.numbers.insert(id, self.next);
        self.next += 1;
        oldest
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(number) = self.numbers.remove(id) {
            self.order.remove(&number);
        }
    }
}
