//! One partition's records on their way into requests: the batch being filled, and those that are full.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::record::{BatchBuilder, BatchSeal, Codec, Codecs, Header, Producer};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

use super::target::Spot;

/// A partition of one producer.
pub struct Slot {
    pub spot: Spot,
    open: BatchBuilder,
    dues: Dues,
    value_bytes: u64,
    opened_ns: u64,
    ready: VecDeque<Batch>,
    /// Records made so far: the number of the next one.
    made: u64,
    /// Of the next batch, to the broker.
    sequence: i32,
    /// Batches submitted and not answered.
    in_flight: usize,
    /// Batches came back to be sent again: nothing leaves before all that were in flight with them are answered, so that
    /// their order holds.
    is_held: bool,
    /// Whether the link has it in its list of slots with something to send.
    pub is_active: bool,
}

/// A batch ready to send, or on its way: what is left of it to be counted.
pub struct Batch {
    /// The slot's number.
    pub slot: usize,
    pub spot: Spot,
    /// Empty once sent, where it is not kept to be sent again.
    pub bytes: Bytes,
    pub dues: Dues,
    /// Keys and values.
    pub value_bytes: u64,
    /// What it counts for in the producer's buffer.
    pub buffered_bytes: usize,
    /// The number of its first record.
    pub first: u64,
}

/// When the records of a batch were due.
#[derive(Clone, Debug)]
pub enum Dues {
    /// Open loop: each by itself.
    Each(Vec<u64>),
    /// Closed loop: so many, when their request is submitted.
    AtSubmit(u64),
}

/// How batches are sealed, and the memory for it.
pub struct Sealing {
    pub identity: Option<(ProducerId, ProducerEpoch)>,
    pub is_transactional: bool,
    pub codecs: Codecs,
}

impl Slot {
    pub fn new(spot: Spot, codec: Codec, batch_bytes: usize, dues: Dues) -> Slot {
        Slot {
            spot,
            // A batch of one record may be all that is wanted: memory beyond that comes as it is needed.
            open: BatchBuilder::new(codec, batch_bytes.min(CAPACITY_MAX)),
            dues,
            value_bytes: 0,
            opened_ns: 0,
            ready: VecDeque::new(),
            made: 0,
            sequence: 0,
            in_flight: 0,
            is_held: false,
            is_active: false,
        }
    }

    /// Records made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// From now on records are of this kind; nothing must be open.
    pub fn set_dues(&mut self, dues: Dues) {
        assert!(self.open.is_empty(), "a batch has dues of one kind");
        self.dues = dues;
    }

    /// Adds a record; returns by how much the buffered bytes grew.
    pub fn append(
        &mut self,
        (due_ns, now_ns): (u64, u64),
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: &[u8],
        headers: &[Header<'_>],
    ) -> usize {
        if self.open.is_empty() {
            self.opened_ns = now_ns;
        }
        let before = self.open_bytes();
        self.open.append(timestamp, key, Some(value), headers);
        self.made += 1;
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
    ///
    /// - `number`: its own among the slots.
    pub fn seal(&mut self, number: usize, sealing: &mut Sealing) {
        if self.open.is_empty() {
            return;
        }
        let dues = match &mut self.dues {
            Dues::Each(dues) => Dues::Each(std::mem::take(dues)),
            Dues::AtSubmit(count) => Dues::AtSubmit(std::mem::take(count)),
        };
        let count = self.open.count();
        let producer = sealing.identity.map(|(id, epoch)| Producer {
            id,
            epoch,
            base_sequence: self.sequence,
        });
        let seal = BatchSeal {
            producer,
            is_transactional: sealing.is_transactional,
            ..BatchSeal::default()
        };
        // Sequences begin again at 0 after the last.
        self.sequence = (self.sequence.wrapping_add(count)) & i32::MAX;
        let buffered_bytes = self.open.size();
        self.ready.push_back(Batch {
            slot: number,
            spot: self.spot,
            bytes: self.open.build(&seal, &mut sealing.codecs),
            dues,
            value_bytes: std::mem::take(&mut self.value_bytes),
            buffered_bytes,
            first: self.made - count as u64,
        });
    }

    /// The producer begins anew, with another id or epoch; nothing must be left of the old one.
    pub fn restart_sequence(&mut self) {
        assert!(self.is_empty(), "its batches carry the old id");
        self.sequence = 0;
    }

    /// The next batch to send: a full one, or the open one if it was opened at `lingered_ns` or before.
    pub fn take(
        &mut self,
        number: usize,
        lingered_ns: u64,
        sealing: &mut Sealing,
    ) -> Option<Batch> {
        if self.is_held {
            return None;
        }
        if self.ready.is_empty() && !self.open.is_empty() && self.opened_ns <= lingered_ns {
            self.seal(number, sealing);
        }
        let batch = self.ready.pop_front()?;
        self.in_flight += 1;
        Some(batch)
    }

    /// One of its batches is answered, or lost.
    pub fn answered(&mut self) {
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.is_held = false;
        }
    }

    /// Puts a batch that failed back to be sent again, before [`Slot::answered`] is called for it.
    pub fn put_back(&mut self, batch: Batch) {
        self.is_held = true;
        let place = self
            .ready
            .iter()
            .position(|other| other.first > batch.first);
        self.ready.insert(place.unwrap_or(self.ready.len()), batch);
    }

    /// Whether an earlier batch has failed and those in flight behind it are bound to.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Everything that is not in flight, for counting.
    pub fn abandon(&mut self, number: usize, sealing: &mut Sealing) -> VecDeque<Batch> {
        self.seal(number, sealing);
        std::mem::take(&mut self.ready)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty()
    }

    /// When the batch being filled was opened, if nothing is ready before it.
    pub fn opened_ns(&self) -> Option<u64> {
        (self.ready.is_empty() && !self.open.is_empty()).then_some(self.opened_ns)
    }
}

impl Batch {
    /// The numbers of its records.
    pub fn sequences(&self) -> Range<u64> {
        self.first..self.first + self.dues.count()
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

impl Sealing {
    pub fn new() -> Sealing {
        Sealing {
            identity: None,
            is_transactional: false,
            codecs: Codecs::new(),
        }
    }
}

/// Memory taken ahead for a batch.
const CAPACITY_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::split;

    fn slot(dues: Dues) -> Slot {
        let spot = Spot {
            topic: 0,
            partition: 3,
        };
        Slot::new(spot, Codec::None, 1000, dues)
    }

    fn append(slot: &mut Slot, due_ns: u64) -> usize {
        slot.append((due_ns, due_ns + 1), Timestamp(0), None, &[7; 100], &[])
    }

    fn filled(count: u64, sealing: &mut Sealing) -> (Slot, usize) {
        let mut slot = slot(Dues::AtSubmit(0));
        let mut buffered = 0;
        for due in 0..count {
            if slot.is_full(110, 1000) {
                slot.seal(0, sealing);
            }
            buffered += append(&mut slot, due);
        }
        (slot, buffered)
    }

    #[test]
    fn an_open_batch_is_taken_only_when_it_has_lingered() {
        let mut slot = slot(Dues::Each(Vec::new()));
        let mut sealing = Sealing::new();
        append(&mut slot, 10);
        append(&mut slot, 20);
        assert!(slot.take(0, 10, &mut sealing).is_none(), "opened at 11");
        let batch = slot.take(0, 11, &mut sealing).unwrap();
        assert_eq!(batch.sequences(), 0..2);
        assert!(matches!(batch.dues, Dues::Each(dues) if dues == [10, 20]));
        assert_eq!(batch.value_bytes, 200);
        assert!(slot.is_empty());
    }

    #[test]
    fn full_batches_go_first_and_the_bytes_add_up() {
        let mut sealing = Sealing::new();
        let (mut slot, buffered) = filled(20, &mut sealing);
        let mut batches = Vec::new();
        while let Some(batch) = slot.take(0, u64::MAX, &mut sealing) {
            assert!(batch.bytes.len() <= 1000);
            batches.push(batch);
        }
        let numbers: Vec<u64> = batches.iter().flat_map(Batch::sequences).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        let bytes = batches.iter().map(|b| b.buffered_bytes);
        assert_eq!(bytes.sum::<usize>(), buffered);
    }

    #[test]
    fn what_failed_is_sent_again_in_its_order_and_not_before_all_is_answered() {
        let mut sealing = Sealing::new();
        sealing.identity = Some((ProducerId(4), ProducerEpoch(0)));
        let (mut slot, _) = filled(30, &mut sealing);
        let mut taken: Vec<Batch> = (0..3)
            .map(|_| slot.take(0, u64::MAX, &mut sealing).unwrap())
            .collect();
        let base = |batch: &Batch| {
            let batch = split(&batch.bytes).next().unwrap().unwrap();
            batch.header.base_sequence()
        };
        let sequences: Vec<i32> = taken.iter().map(base).collect();
        assert!(sequences.is_sorted() && sequences[0] == 0);
        // The second and the first fail, the third is still under way.
        let third = taken.pop().unwrap();
        for batch in taken.into_iter().rev() {
            slot.put_back(batch);
            slot.answered();
        }
        assert!(slot.take(0, u64::MAX, &mut sealing).is_none());
        slot.put_back(third);
        slot.answered();
        let again: Vec<i32> = std::iter::from_fn(|| slot.take(0, u64::MAX, &mut sealing))
            .map(|batch| base(&batch))
            .collect();
        assert_eq!(again[..3], sequences);
        assert!(again.is_sorted());
    }
}
