//! Which transactions a cleaning meets, in the order of the log: aborted data goes, and markers when nothing is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::{HashMap, HashSet};

use super::super::aborted::AbortedTransaction;
use crate::record::{BatchHeader, EndMarker};
use crate::types::{Offset, ProducerId};

/// The transactions open at the place that the walk has reached, as Kafka's `CleanedTransactionMetadata`.
#[derive(Default)]
pub(super) struct WalkedTransactions {
    /// Those that were not aborted, and of which a batch was met.
    committed: HashSet<ProducerId>,
    aborted: HashMap<ProducerId, Aborting>,
    /// Known to have been aborted, by their first offsets; their data is still to come.
    coming: BinaryHeap<Reverse<AbortedTransaction>>,
}

struct Aborting {
    transaction: AbortedTransaction,
    has_batches: bool,
}

/// What becomes of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MarkerFate {
    /// Something of its transaction is still in the log.
    Needed,
    /// The same, of one that was aborted: the index of the new segment must tell.
    NeededAborted(AbortedTransaction),
    /// Nothing of its transaction was met.
    Unneeded,
}

impl WalkedTransactions {
    /// Takes in what the log's index tells of the part that comes next. One that was told before does no harm.
    pub fn expect(&mut self, aborted: impl IntoIterator<Item = AbortedTransaction>) {
        self.coming.extend(aborted.into_iter().map(Reverse));
    }

    fn reach(&mut self, offset: Offset) {
        while self
            .coming
            .peek()
            .is_some_and(|Reverse(next)| next.first_offset <= offset)
        {
            let Reverse(transaction) = self.coming.pop().expect("looked at just above");
            self.aborted
                .entry(transaction.producer_id)
                .or_insert(Aborting {
                    transaction,
                    has_batches: false,
                });
        }
    }

    /// A batch of data was met. Returns whether it belongs to an aborted transaction.
    pub fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id()) {
            Some(aborting) => {
                aborting.has_batches = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id());
                false
            }
        }
    }

    /// A control batch was met; `marker` is what it says, if it ends a transaction.
    pub fn on_control(&mut self, header: &BatchHeader, marker: Option<EndMarker>) -> MarkerFate {
        self.reach(header.last_offset());
        let producer = header.producer_id();
        match marker {
            // Its record went earlier.
            None if header.count() == 0 => MarkerFate::Unneeded,
            // Of no transaction.
            None => MarkerFate::Needed,
            Some(marker) if marker.committed => match self.committed.remove(&producer) {
                true => MarkerFate::Needed,
                false => MarkerFate::Unneeded,
            },
            Some(_) => match self.aborted.remove(&producer) {
                Some(aborting) if aborting.has_batches => {
                    MarkerFate::NeededAborted(aborting.transaction)
                }
                _ => MarkerFate::Unneeded,
            },
        }
    }
}
