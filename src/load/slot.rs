//! One partition's records on their way into requests: the batch being filled, and those that are full.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::record::{BATCH_HEADER_BYTES, BatchBuilder, BatchSeal, Codec, Codecs, Header, Producer};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

use super::check::Stamp;
use super::target::Spot;
use super::template::{Template, Templates};

/// A partition of one producer.
pub struct Slot {
    pub spot: Spot,
    /// `None`: it has no records.
    open: Option<Open>,
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
    /// Nobody is known to lead it: nothing leaves before the leaders have been learned anew.
    pub is_adrift: bool,
    /// Whether the link has it in its list of slots with something to send.
    pub is_active: bool,
}

/// The batch being filled.
enum Open {
    /// Of records of any form.
    Each(BatchBuilder),
    /// Of the first records of a template, where all are alike.
    Cast(Cast),
}

struct Cast {
    template: Rc<Template>,
    count: usize,
    timestamp: Timestamp,
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
    /// The run and the producer that stamps of cast records tell, where they have any.
    pub stamped_by: Option<(u64, u32)>,
    codecs: Codecs,
    codec: Codec,
    batch_bytes: usize,
    /// Builders that no batch is in. As many are made as batches are open at once: a producer of 10,000 partitions has few.
    spare: Vec<BatchBuilder>,
}

impl Slot {
    pub fn new(spot: Spot, dues: Dues) -> Slot {
        Slot {
            spot,
            open: None,
            dues,
            value_bytes: 0,
            opened_ns: 0,
            ready: VecDeque::new(),
            made: 0,
            sequence: 0,
            in_flight: 0,
            is_held: false,
            is_adrift: false,
            is_active: false,
        }
    }

    /// Records made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Keys and values of the batch being filled.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// From now on records are of this kind; nothing must be open.
    pub fn set_dues(&mut self, dues: Dues) {
        assert!(self.open.is_none(), "a batch has dues of one kind");
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
        sealing: &mut Sealing,
    ) -> usize {
        let before = self.open_bytes();
        let open = self.open.get_or_insert_with(|| {
            self.opened_ns = now_ns;
            Open::Each(sealing.builder())
        });
        let Open::Each(open) = open else {
            unreachable!("records of templates are added by their number");
        };
        open.append(timestamp, key, Some(value), headers);
        let grown = open.size() - before;
        self.value_bytes += (key.map_or(0, <[u8]>::len) + value.len()) as u64;
        self.count(1, due_ns);
        grown
    }

    /// Adds the next `count_max` records of a template, or as many as its batch has room for. Returns how many these are
    /// and by how much the buffered bytes grew.
    pub fn append_cast(
        &mut self,
        count_max: usize,
        (due_ns, now_ns): (u64, u64),
        timestamp: Timestamp,
        templates: &Templates,
    ) -> (usize, usize) {
        let before = self.open_bytes();
        let open = self.open.get_or_insert_with(|| {
            self.opened_ns = now_ns;
            Open::Cast(Cast {
                template: templates.next(),
                count: 0,
                timestamp,
            })
        });
        let Open::Cast(cast) = open else {
            unreachable!("only with templates");
        };
        let count = count_max.min(cast.template.count() - cast.count);
        cast.count += count;
        self.value_bytes += (count * cast.template.value_bytes()) as u64;
        let grown = cast.bytes() - before;
        self.count(count as u64, due_ns);
        (count, grown)
    }

    fn count(&mut self, records: u64, due_ns: u64) {
        self.made += records;
        match &mut self.dues {
            Dues::Each(dues) => dues.extend((0..records).map(|_| due_ns)),
            Dues::AtSubmit(count) => *count += records,
        }
    }

    /// Whether a record of `record_bytes` would take the batch being filled past `batch_bytes`, or past its template.
    pub fn is_full(&self, record_bytes: usize, batch_bytes: usize) -> bool {
        match &self.open {
            None => false,
            Some(Open::Each(open)) => open.size() + record_bytes > batch_bytes,
            Some(Open::Cast(cast)) => cast.count == cast.template.count(),
        }
    }

    pub fn open_bytes(&self) -> usize {
        match &self.open {
            None => 0,
            Some(Open::Each(open)) => open.size(),
            Some(Open::Cast(cast)) => cast.bytes(),
        }
    }

    /// Ends the batch being filled, if it has records.
    ///
    /// - `number`: its own among the slots.
    pub fn seal(&mut self, number: usize, sealing: &mut Sealing) {
        let buffered_bytes = self.open_bytes();
        let Some(open) = self.open.take() else {
            return;
        };
        let dues = match &mut self.dues {
            Dues::Each(dues) => Dues::Each(std::mem::take(dues)),
            Dues::AtSubmit(count) => Dues::AtSubmit(std::mem::take(count)),
        };
        let count = dues.count();
        let first = self.made - count;
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
        self.sequence = (self.sequence.wrapping_add(count as i32)) & i32::MAX;
        let bytes = match open {
            Open::Each(builder) => sealing.build(builder, &seal),
            Open::Cast(cast) => sealing.cast(&cast, first, &dues, self.opened_ns, &seal),
        };
        self.ready.push_back(Batch {
            slot: number,
            spot: self.spot,
            bytes,
            dues,
            value_bytes: std::mem::take(&mut self.value_bytes),
            buffered_bytes,
            first,
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
        if !self.is_sendable() {
            return None;
        }
        if self.ready.is_empty() && self.open.is_some() && self.opened_ns <= lingered_ns {
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

    /// Holds back what is not sent until everything in flight is answered: it goes another way from now on, on which it must
    /// not come first.
    pub fn hold(&mut self) {
        self.is_held = self.in_flight > 0;
    }

    /// Whether its batches may leave now.
    pub fn is_sendable(&self) -> bool {
        !self.is_held && !self.is_adrift
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
        self.open.is_none() && self.ready.is_empty()
    }

    /// When the batch being filled was opened, if nothing is ready before it.
    pub fn opened_ns(&self) -> Option<u64> {
        (self.ready.is_empty() && self.open.is_some()).then_some(self.opened_ns)
    }
}

impl Batch {
    /// The numbers of its records.
    pub fn sequences(&self) -> Range<u64> {
        self.first..self.first + self.dues.count()
    }

    /// Since when its first record waits.
    ///
    /// - `submitted_ns`: when its request was.
    pub fn waited_ns(&self, submitted_ns: u64) -> u64 {
        match &self.dues {
            Dues::Each(dues) => dues.first().copied().unwrap_or(submitted_ns),
            Dues::AtSubmit(_) => submitted_ns,
        }
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

impl Cast {
    fn bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.template.bytes(self.count)
    }
}

impl Sealing {
    pub fn new(codec: Codec, batch_bytes: usize) -> Sealing {
        Sealing {
            identity: None,
            is_transactional: false,
            stamped_by: None,
            codecs: Codecs::new(),
            codec,
            batch_bytes,
            spare: Vec::new(),
        }
    }

    /// An empty one, for a batch that is opened.
    fn builder(&mut self) -> BatchBuilder {
        // A batch of one record may be all that is wanted: memory beyond that comes as it is needed.
        let capacity = self.batch_bytes.min(CAPACITY_MAX);
        let spare = self.spare.pop();
        spare.unwrap_or_else(|| BatchBuilder::new(self.codec, capacity))
    }

    fn build(&mut self, mut builder: BatchBuilder, seal: &BatchSeal) -> Bytes {
        let bytes = builder.build(seal, &mut self.codecs);
        self.spare.push(builder);
        bytes
    }

    /// The batch of a template's first records, whose numbers begin at `first`.
    fn cast(
        &mut self,
        cast: &Cast,
        first: u64,
        dues: &Dues,
        opened_ns: u64,
        seal: &BatchSeal,
    ) -> Bytes {
        let stamp = self.stamped_by.map(|(run, producer)| {
            move |place: usize, value: &mut [u8]| {
                let stamp = Stamp {
                    run,
                    due_ns: match dues {
                        Dues::Each(dues) => dues[place],
                        Dues::AtSubmit(_) => opened_ns,
                    },
                    producer,
                    sequence: first + place as u64,
                };
                stamp.write(value, None);
            }
        });
        let (template, count) = (&cast.template, cast.count);
        let mut builder = self.builder();
        template.cast(count, cast.timestamp, &mut builder, stamp);
        self.build(builder, seal)
    }
}

/// Memory taken ahead for a batch.
const CAPACITY_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::Payload;
    use crate::load::plan::Plan;
    use crate::load::sizes::Sizes;
    use crate::load::template::Form;
    use crate::record::{records, split};

    fn slot(dues: Dues) -> Slot {
        let spot = Spot {
            topic: 0,
            partition: 3,
        };
        Slot::new(spot, dues)
    }

    fn append(slot: &mut Slot, due_ns: u64, sealing: &mut Sealing) -> usize {
        let times = (due_ns, due_ns + 1);
        slot.append(times, Timestamp(0), None, &[7; 100], &[], sealing)
    }

    fn filled(count: u64, sealing: &mut Sealing) -> (Slot, usize) {
        let mut slot = slot(Dues::AtSubmit(0));
        let mut buffered = 0;
        for due in 0..count {
            if slot.is_full(110, 1000) {
                slot.seal(0, sealing);
            }
            buffered += append(&mut slot, due, sealing);
        }
        (slot, buffered)
    }

    #[test]
    fn an_open_batch_is_taken_only_when_it_has_lingered() {
        let mut slot = slot(Dues::Each(Vec::new()));
        let mut sealing = Sealing::new(Codec::None, 1000);
        append(&mut slot, 10, &mut sealing);
        append(&mut slot, 20, &mut sealing);
        assert!(slot.take(0, 10, &mut sealing).is_none(), "opened at 11");
        let batch = slot.take(0, 11, &mut sealing).unwrap();
        assert_eq!(batch.sequences(), 0..2);
        assert!(matches!(batch.dues, Dues::Each(dues) if dues == [10, 20]));
        assert_eq!(batch.value_bytes, 200);
        assert!(slot.is_empty());
    }

    #[test]
    fn memory_is_held_for_open_batches_only() {
        let mut sealing = Sealing::new(Codec::None, 1000);
        for due in 0..100 {
            let mut slot = slot(Dues::AtSubmit(0));
            append(&mut slot, due, &mut sealing);
            assert!(sealing.spare.is_empty());
            slot.seal(0, &mut sealing);
            assert_eq!(sealing.spare.len(), 1);
        }
    }

    #[test]
    fn full_batches_go_first_and_the_bytes_add_up() {
        let mut sealing = Sealing::new(Codec::None, 1000);
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
        let mut sealing = Sealing::new(Codec::None, 1000);
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

    #[test]
    fn stamps_of_cast_records_tell_what_stamps_of_records_made_one_by_one_tell() {
        let plan = Plan {
            sizes: Sizes::fixed(100),
            batch_bytes: 1000,
            ..Plan::default()
        };
        let form = Form {
            value_bytes: 100,
            headers: &[],
            record_bytes: 140,
            batch_bytes: 1000,
        };
        let templates = Templates::new(form, &mut Payload::new(&plan, 0));
        let mut sealing = Sealing::new(Codec::Lz4, 1000);
        sealing.stamped_by = Some((77, 3));
        let spot = Spot {
            topic: 0,
            partition: 1,
        };
        for dues in [Dues::Each(Vec::new()), Dues::AtSubmit(0)] {
            let is_each = matches!(dues, Dues::Each(_));
            let mut slot = Slot::new(spot, dues);
            let (mut made, mut buffered) = (0, 0);
            while made < 20 {
                if slot.is_full(0, 0) {
                    slot.seal(0, &mut sealing);
                }
                let times = (made * 10, 1000 + made);
                let (count, grown) = slot.append_cast(1, times, Timestamp(5), &templates);
                (made, buffered) = (made + count as u64, buffered + grown);
            }
            let mut opened = 0;
            while let Some(batch) = slot.take(0, u64::MAX, &mut sealing) {
                let mut codecs = Codecs::new();
                let found = records(&batch.bytes, 1 << 20, &mut codecs).unwrap();
                for (record, sequence) in found.zip(batch.sequences()) {
                    let value = record.unwrap().value.unwrap();
                    let stamp = Stamp::read(value, None, 77).unwrap().unwrap();
                    let due_ns = match is_each {
                        true => sequence * 10,
                        false => 1000 + batch.first,
                    };
                    let wanted = Stamp {
                        run: 77,
                        due_ns,
                        producer: 3,
                        sequence,
                    };
                    assert_eq!(stamp, wanted);
                    opened += 1;
                }
                assert_eq!(batch.value_bytes, batch.dues.count() * 100);
                buffered -= batch.buffered_bytes;
            }
            assert_eq!((opened, buffered), (20, 0));
        }
    }

    #[test]
    fn what_is_adrift_or_held_does_not_leave() {
        let mut sealing = Sealing::new(Codec::None, 1000);
        let (mut slot, _) = filled(20, &mut sealing);
        slot.is_adrift = true;
        assert!(slot.take(0, u64::MAX, &mut sealing).is_none());
        slot.is_adrift = false;
        assert!(slot.take(0, u64::MAX, &mut sealing).is_some());
        // One is in flight on the old way: the next waits for its answer.
        slot.hold();
        assert!(slot.take(0, u64::MAX, &mut sealing).is_none());
        slot.answered();
        assert!(slot.take(0, u64::MAX, &mut sealing).is_some());
        slot.answered();
        slot.hold();
        assert!(slot.is_sendable(), "nothing was in flight");
    }
}
