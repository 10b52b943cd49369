//! One partition's records on their way into requests: the batch being filled, and those that are full.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::record::{BatchBuilder, BatchSeal, Codec, Codecs};
use crate::types::Timestamp;

/// A partition of one producer.
pub struct Slot {
    pub partition: i32,
    open: BatchBuilder,
    dues: Dues,
    value_bytes: u64,
    opened_ns: u64,
    ready: VecDeque<Batch>,
    /// Whether the link has it in its list of slots with something to send.
    pub is_active: bool,
}

/// A batch ready to send.
pub struct Batch {
    pub partition: i32,
    pub bytes: Bytes,
    pub dues: Dues,
    /// Keys and values.
    pub value_bytes: u64,
    /// What it counts for in the producer's buffer.
    pub buffered_bytes: usize,
}

/// When the records of a batch were due.
#[derive(Clone, Debug)]
pub enum Dues {
    /// Open loop: each by itself.
    Each(Vec<u64>),
    /// Closed loop: so many, when their request is submitted.
    AtSubmit(u64),
}

impl Slot {
    pub fn new(partition: i32, codec: Codec, batch_bytes: usize, dues: Dues) -> Slot {
        Slot {
            partition,
            // A batch of one record may be all that is wanted: memory beyond that comes as it is needed.
            open: BatchBuilder::new(codec, batch_bytes.min(CAPACITY_MAX)),
            dues,
            value_bytes: 0,
            opened_ns: 0,
            ready: VecDeque::new(),
            is_active: false,
        }
    }

    /// Adds a record; returns by how much the buffered bytes grew.
    pub fn append(
        &mut self,
        due_ns: u64,
        now_ns: u64,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> usize {
        if self.open.is_empty() {
            self.opened_ns = now_ns;
        }
        let before = self.open_bytes();
        self.open.append(timestamp, key, Some(value), &[]);
        match &mut self.dues {
            Dues::Each(dues) => dues.push(due_ns),
            Dues::AtSubmit(count) => *count += 1,
        }
        self.value_bytes += (key.map_or(0, <[u8]>::len) + value.len()) as u64;
        self.open_bytes() - before
    }

    /// Whether a record of `record_bytes` would take the batch being filled past `batch_bytes`.
    pub fn is_full(&self, record_bytes: usize, batch_bytes: usize) -> bool {
        !self.open.is_empty() && self.open.size() + record_bytes > batch_bytes
    }

    pub fn open_bytes(&self) -> usize {
        if self.open.is_empty() {
            0
        } else {
            self.open.size()
        }
    }

    /// Ends the batch being filled, if it has records.
    pub fn seal(&mut self, codecs: &mut Codecs) {
        if self.open.is_empty() {
            return;
        }
        let dues = match &mut self.dues {
            Dues::Each(dues) => Dues::Each(std::mem::take(dues)),
            Dues::AtSubmit(count) => Dues::AtSubmit(std::mem::take(count)),
        };
        let buffered_bytes = self.open.size();
        self.ready.push_back(Batch {
            partition: self.partition,
            bytes: self.open.build(&BatchSeal::default(), codecs),
            dues,
            value_bytes: std::mem::take(&mut self.value_bytes),
            buffered_bytes,
        });
    }

    /// The next batch to send: a full one, or the open one if it was opened at `lingered_ns` or before.
    pub fn take(&mut self, lingered_ns: u64, codecs: &mut Codecs) -> Option<Batch> {
        if self.ready.is_empty() && !self.open.is_empty() && self.opened_ns <= lingered_ns {
            self.seal(codecs);
        }
        self.ready.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty()
    }

    /// When the batch being filled was opened, if nothing is ready before it.
    pub fn opened_ns(&self) -> Option<u64> {
        (self.ready.is_empty() && !self.open.is_empty()).then_some(self.opened_ns)
    }
}

impl Dues {
    pub fn count(&self) -> u64 {
        match self {
            Dues::Each(dues) => dues.len() as u64,
            Dues::AtSubmit(count) => *count,
        }
    }
}

/// Memory taken ahead for a batch.
const CAPACITY_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(dues: Dues) -> Slot {
        Slot::new(3, Codec::None, 1000, dues)
    }

    fn append(slot: &mut Slot, due_ns: u64) -> usize {
        slot.append(due_ns, due_ns + 1, Timestamp(0), None, &[7; 100])
    }

    #[test]
    fn an_open_batch_is_taken_only_when_it_has_lingered() {
        let mut slot = slot(Dues::Each(Vec::new()));
        let mut codecs = Codecs::new();
        append(&mut slot, 10);
        append(&mut slot, 20);
        assert!(slot.take(10, &mut codecs).is_none(), "opened at 11");
        let batch = slot.take(11, &mut codecs).unwrap();
        assert!(matches!(batch.dues, Dues::Each(dues) if dues == [10, 20]));
        assert_eq!(batch.value_bytes, 200);
        assert!(slot.is_empty());
    }

    #[test]
    fn full_batches_go_first_and_the_bytes_add_up() {
        let mut slot = slot(Dues::AtSubmit(0));
        let mut codecs = Codecs::new();
        let mut buffered = 0;
        for due in 0..20 {
            if slot.is_full(110, 1000) {
                slot.seal(&mut codecs);
            }
            buffered += append(&mut slot, due);
        }
        let mut batches = Vec::new();
        while let Some(batch) = slot.take(u64::MAX, &mut codecs) {
            assert!(batch.bytes.len() <= 1000);
            batches.push(batch);
        }
        assert_eq!(batches.iter().map(|b| b.dues.count()).sum::<u64>(), 20);
        assert_eq!(
            batches.iter().map(|b| b.buffered_bytes).sum::<usize>(),
            buffered
        );
    }
}
