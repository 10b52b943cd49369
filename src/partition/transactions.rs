//! The transactions that hold a partition's last stable offset (KIP-98).

use std::collections::BTreeMap;

use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// A producer's open transaction on one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenTransaction {
    /// Of its first batch here.
    pub first_offset: Offset,
    /// The broker's clock when that batch was appended.
    pub started: Timestamp,
}

/// What a transaction coordinator's marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkerFacts {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// The leader epoch of the coordinator's partition: fences coordinators that were deposed.
    pub coordinator_epoch: i32,
    /// `false`: aborted.
    pub committed: bool,
    /// Of the control record.
    pub timestamp: Timestamp,
}

/// Why a marker was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerRefusal {
    /// A newer producer has written here, or a marker of version 2 does not bump the epoch: INVALID_PRODUCER_EPOCH.
    StaleEpoch { current: ProducerEpoch },
    /// A newer coordinator has written a marker for this producer: TRANSACTION_COORDINATOR_FENCED.
    CoordinatorFenced { current: i32 },
    /// The log directory is offline: KAFKA_STORAGE_ERROR.
    Offline,
}

/// A transaction that had records here and has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// Of its marker.
    pub marker_offset: Offset,
    pub committed: bool,
    /// All transactions that began below it have ended, this one the last of them: what the index of aborted
    /// transactions calls the last stable offset.
    pub stable_end: Offset,
}

/// The transactions below whose first offset nothing is open, in the order of their offsets.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Transactions {
    /// First offset to producer, of those that are open.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset to the offset after the marker, of those whose marker is not below the high watermark.
    ending: BTreeMap<Offset, Offset>,
}

impl Transactions {
    pub fn begin(&mut self, producer: ProducerId, first_offset: Offset) {
        let before = self.open.insert(first_offset, producer);
        assert!(before.is_none(), "two transactions begin at {first_offset}");
    }

    /// A transaction that a snapshot tells of. Two of one offset would count as one.
    pub fn reopen(&mut self, producer: ProducerId, first_offset: Offset) {
        self.open.insert(first_offset, producer);
    }

    /// The transaction that began at `first_offset` has its marker in the log.
    ///
    /// Returns where the log is stable once that marker is committed, but for others that end before it.
    pub fn end(&mut self, first_offset: Offset, marker_offset: Offset) -> Offset {
        let begun = self.open.remove(&first_offset);
        assert!(begun.is_some(), "no transaction began at {first_offset}");
        self.ending.insert(first_offset, marker_offset.plus(1));
        match self.open.first_key_value() {
            Some((first_open, _)) => *first_open,
            None => marker_offset.plus(1),
        }
    }

    /// The first offset of the earliest transaction that is open or whose end is not committed.
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let ending = self.ending.first_key_value().map(|(first, _)| *first);
        match (open, ending) {
            (Some(open), Some(ending)) => Some(open.min(ending)),
            (open, ending) => open.or(ending),
        }
    }

    /// Everything below `high_watermark` is committed: markers there hold nothing any more.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.ending.is_empty() {
            self.ending
                .retain(|_, marker_end| *marker_end > high_watermark);
        }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn clear(&mut self) {
        self.open.clear();
        self.ending.clear();
    }
}
