//! One partition's records on their way: the batch being filled, those that are full, those in flight.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::record::{self, BatchBuilder, BatchSeal, Codec, Codecs};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// See the module.
pub(super) struct Queue {
    open: BatchBuilder,
    /// When the open batch got its first record.
    opened_at: Option<Instant>,
    ready: VecDeque<Batch>,
    in_flight: usize,
    sequence_next: i32,
    /// Counted from 0 over the partition, to name records in errors.
    records: u64,
    /// It stands in a list of those that have something to send, and need not be put there again.
    pub listed: bool,
}

/// A finished batch.
pub(super) struct Batch {
    pub partition: usize,
    pub bytes: Bytes,
    pub count: i32,
    pub first_record: u64,
    /// What it counts for in the buffer.
    pub buffered_bytes: usize,
}

/// Batches of one partition in flight, at most: a broker remembers so many of an idempotent producer (KIP-98).
const IN_FLIGHT_MAX: usize = 5;

impl Queue {
    pub fn new(codec: Codec) -> Queue {
        Queue {
            open: BatchBuilder::new(codec, 0),
            opened_at: None,
            ready: VecDeque::new(),
            in_flight: 0,
            sequence_next: 0,
            records: 0,
            listed: false,
        }
    }

    /// Bytes of the open batch; 0 where the next record begins one.
    pub fn open_bytes(&self) -> usize {
        if self.open.is_empty() {
            0
        } else {
            self.open.size()
        }
    }

    /// Adds a record to the open batch; returns by how many bytes it grew.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> usize {
        let before = self.open_bytes();
        if before == 0 {
            self.opened_at = Some(Instant::now());
        }
        self.open.append(timestamp, key, value, &[]);
        self.records += 1;
        self.open.size() - before
    }

    /// Ends the batch being filled, if it has any records.
    pub fn seal(
        &mut self,
        partition: usize,
        identity: Option<(ProducerId, ProducerEpoch)>,
        codecs: &mut Codecs,
    ) {
        if self.open.is_empty() {
            return;
        }
        let count = self.open.count();
        let base_sequence = self.sequence_next;
        let seal = BatchSeal {
            producer: identity.map(|(id, epoch)| record::Producer {
                id,
                epoch,
                base_sequence,
            }),
            ..Default::default()
        };
        let batch = Batch {
            partition,
            buffered_bytes: self.open.size(),
            count,
            first_record: self.records - count as u64,
            bytes: self.open.build(&seal, codecs),
        };
        // Sequences go from the largest number back to 0 (KIP-98).
        self.sequence_next = base_sequence.wrapping_add(count) & i32::MAX;
        self.ready.push_back(batch);
        self.opened_at = None;
    }

    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Whether a batch may be sent now.
    pub fn may_send(&self) -> bool {
        !self.ready.is_empty() && self.in_flight < IN_FLIGHT_MAX
    }

    /// The size of the batch that [`Queue::take`] would give.
    pub fn next_bytes(&self) -> usize {
        self.ready.front().map_or(0, |batch| batch.bytes.len())
    }

    /// The next batch to send, in flight from now on.
    pub fn take(&mut self) -> Option<Batch> {
        if !self.may_send() {
            return None;
        }
        self.in_flight += 1;
        self.ready.pop_front()
    }

    /// A batch has come back, acknowledged or not.
    pub fn landed(&mut self) {
        self.in_flight -= 1;
    }

    /// Puts a batch that failed back in front: call it with the last one first.
    pub fn put_back(&mut self, batch: Batch) {
        self.ready.push_front(batch);
    }
}
