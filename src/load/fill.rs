//! How a producer makes records: those that are due, or as many as its connections take.

use smallvec::SmallVec;

use crate::client::partition_for_key;
use crate::record::{BatchBuilder, Header};

use super::super::check::Stamp;
use super::super::keys::{KeySource, Keys, Spread};
use super::super::payload::{Contents, Payload};
use super::super::plan::{HEADERS_MAX, Plan};
use super::super::schedule::Schedule;
use super::super::tally::SharedTally;
use super::super::template::{Form, Templates};
use super::super::transact::Transact;
use super::{Generator, Linger, Submitted};

/// What the records are made from.
pub(super) enum Source {
    /// All alike: see [`Templates`].
    Templates(Templates),
    Each(Payload, KeySource),
}

impl Generator {
    /// Open loop: makes every record that is due at `until_ns`, as far as the buffer has room.
    pub(super) fn make_due(&mut self, schedule: &mut Schedule, until_ns: u64, now_ns: u64) {
        let mut count = 0;
        while schedule.next_ns() <= until_ns && self.may_make() {
            self.make(schedule.next_ns(), now_ns);
            schedule.advance();
            count += 1;
        }
        let late_ns = now_ns.saturating_sub(self.planned_ns);
        self.worked.late(late_ns, count);
    }

    pub(super) fn may_make(&self) -> bool {
        self.buffered_bytes < BUFFER_BYTES_MAX
            && self.transact.as_ref().is_none_or(Transact::has_room)
    }

    /// Makes one record and puts it where it belongs.
    fn make(&mut self, due_ns: u64, now_ns: u64) {
        let (size, key) = match &mut self.source {
            Source::Templates(_) => (0, None),
            Source::Each(payload, keys) => (payload.next_size(self.plan.is_stamped()), keys.draw()),
        };
        let times = (due_ns, now_ns);
        let slot = match key {
            Some(key) => self.slot_of(key),
            None => self.sticky,
        };
        let is_full = self.seal_if_full(slot, size);
        let moves = is_full || self.plan.spread == Spread::RoundRobin;
        if !moves || key.is_some() {
            self.append(slot, size, times, key);
            return;
        }
        self.sticky = (self.sticky + 1) % self.slots.len();
        self.seal_if_full(self.sticky, size);
        self.append(self.sticky, size, times, key);
    }

    pub(super) fn is_sticky(&self) -> bool {
        self.plan.keys == Keys::None && self.plan.spread == Spread::Sticky
    }

    /// A key's topic by its number, its partition as Kafka's clients find it.
    fn slot_of(&self, key: u64) -> usize {
        let topics = &self.shared.layout.topics;
        let topic = &topics[(key % topics.len() as u64) as usize];
        let partition = partition_for_key(&key.to_be_bytes(), topic.partitions as u32);
        topic.first + partition as usize
    }

    fn seal_if_full(&mut self, slot: usize, size: usize) -> bool {
        let record_bytes = self.record_bytes(size);
        let is_full = self.slots[slot].is_full(record_bytes, self.plan.batch_bytes);
        if is_full {
            self.slots[slot].seal(slot, &mut self.sealing);
        }
        is_full
    }

    /// Puts the next record into a batch.
    ///
    /// - `size`: of its value, unless it is a template's.
    fn append(&mut self, slot: usize, size: usize, times: (u64, u64), key: Option<u64>) {
        let Source::Each(payload, _) = &mut self.source else {
            self.append_cast(slot, 1, times);
            return;
        };
        let into = &mut self.slots[slot];
        let stamp = self.plan.is_stamped().then(|| Stamp {
            run: self.shared.run,
            due_ns: times.0,
            producer: self.index as u32,
            sequence: into.made(),
        });
        let key = key.map(u64::to_be_bytes);
        let key = key.as_ref().map(|key| &key[..]);
        let value = payload.value(size, stamp, key);
        let (timestamp, sealing) = (self.timestamp, &mut self.sealing);
        self.buffered_bytes += match self.plan.headers.is_empty() {
            true => into.append(times, timestamp, key, value, &[], sealing),
            false => into.append(times, timestamp, key, value, &headers(&self.plan), sealing),
        };
        self.value_bytes += size as u64;
        self.appended(slot, 1);
    }

    /// Puts the next records of a template into a batch, as far as it has room.
    fn append_cast(&mut self, slot: usize, count_max: usize, times: (u64, u64)) {
        let Source::Templates(templates) = &self.source else {
            unreachable!("the caller has seen them");
        };
        let into = &mut self.slots[slot];
        let before = into.value_bytes();
        let (count, grown) = into.append_cast(count_max, times, self.timestamp, templates);
        self.buffered_bytes += grown;
        self.value_bytes += into.value_bytes() - before;
        self.appended(slot, count as u64);
    }

    fn appended(&mut self, slot: usize, count: u64) {
        if let Some(transact) = &mut self.transact {
            transact.made(slot, count);
        }
        if !std::mem::replace(&mut self.slots[slot].is_active, true) {
            self.links[self.link_of[slot]].active.push_back(slot);
        }
    }

    /// Closed loop: makes a request's worth of records for every connection that has room, until so many bytes of values
    /// were made.
    pub(super) fn fill(&mut self, now_ns: u64, value_bytes_max: u64, tally: &SharedTally) {
        for link in 0..self.links.len() {
            let mut slots = self.links[link].slots.iter();
            if !slots.any(|&slot| self.slots[slot].is_sendable()) {
                continue;
            }
            while self.links[link].has_room()
                && self.value_bytes < value_bytes_max
                && self.transact.as_ref().is_none_or(Transact::is_joined)
            {
                if !self.has_sendable(link) && self.may_make() {
                    match self.is_sticky() {
                        true => self.fill_batches(link, now_ns),
                        false => self.fill_spread(link, now_ns),
                    }
                }
                if self.transact.as_ref().is_some_and(|t| !t.is_joined()) {
                    break;
                }
                match self.submit_link(link, now_ns, Linger::Over) {
                    // No key of all that were drawn belongs to this connection.
                    Submitted::Nothing => break,
                    Submitted::Request => {}
                    Submitted::Failed(outcome) => self.settle(outcome, tally),
                }
            }
        }
    }

    /// Whether a slot of the link has something that may leave.
    fn has_sendable(&self, link: usize) -> bool {
        let mut active = self.links[link].active.iter();
        active.any(|&slot| self.slots[slot].is_sendable())
    }

    /// Whole batches for one partition after the other.
    fn fill_batches(&mut self, link: usize, now_ns: u64) {
        let mut bytes = 0;
        for _ in 0..self.links[link].slots.len() {
            let cursor = self.links[link].cursor;
            self.links[link].cursor = (cursor + 1) % self.links[link].slots.len();
            let slot = self.links[link].slots[cursor];
            // One that waits for its leader, or for answers, has enough already.
            if !self.slots[slot].is_sendable() {
                continue;
            }
            self.fill_batch(slot, (now_ns, now_ns));
            bytes += self.slots[slot].open_bytes();
            if bytes + self.plan.batch_bytes > self.plan.request_bytes || !self.may_make() {
                return;
            }
        }
    }

    fn fill_batch(&mut self, slot: usize, times: (u64, u64)) {
        if let Source::Templates(_) = self.source {
            let room = self.transact.as_ref().map_or(u64::MAX, Transact::room);
            self.append_cast(slot, room.try_into().unwrap_or(usize::MAX), times);
            return;
        }
        let mut size = self.next_size();
        loop {
            self.append(slot, size, times, None);
            size = self.next_size();
            let record_bytes = self.record_bytes(size);
            if self.slots[slot].is_full(record_bytes, self.plan.batch_bytes) || !self.may_make() {
                return;
            }
        }
    }

    fn next_size(&mut self) -> usize {
        match &mut self.source {
            Source::Templates(_) => 0,
            Source::Each(payload, _) => payload.next_size(self.plan.is_stamped()),
        }
    }

    /// A request's worth of records, each where its key sends it. Those of other connections wait there.
    fn fill_spread(&mut self, link: usize, now_ns: u64) {
        let enough = self
            .plan
            .request_bytes
            .min(self.plan.batch_bytes * self.slots.len());
        let before = self.buffered_bytes;
        while self.may_make() && (self.buffered_bytes - before < enough || !self.has_sendable(link))
        {
            self.make(now_ns, now_ns);
        }
    }

    /// What a record with a value of `size` takes in a batch at most.
    pub(super) fn record_bytes(&self, size: usize) -> usize {
        self.overhead_bytes + size
    }
}

impl Source {
    /// That of producer `index`.
    pub(super) fn new(plan: &Plan, index: usize, overhead_bytes: usize) -> Source {
        let mut payload = Payload::new(plan, index);
        let is_alike = plan.keys == Keys::None
            && plan.sizes.min() == plan.sizes.max()
            && !matches!(plan.contents, Contents::Lines(_));
        if !is_alike {
            let share = (index, plan.producers);
            let keys = KeySource::new(plan.keys, share, plan.seed.wrapping_add(index as u64));
            return Source::Each(payload, keys);
        }
        let form = Form {
            value_bytes: plan.sizes.max(),
            headers: &headers(plan),
            record_bytes: overhead_bytes + plan.sizes.max(),
            batch_bytes: plan.batch_bytes,
        };
        Source::Templates(Templates::new(form, &mut payload))
    }
}

/// What a record takes in a batch beside its value, at most: room for a key is in it.
pub(super) fn overhead_bytes(plan: &Plan) -> usize {
    let headers = plan.headers.iter();
    let headers = headers.map(|(key, value)| key.len() + value.len() + 10);
    BatchBuilder::record_size_max(None, None, &[]) + 16 + headers.sum::<usize>()
}

/// Those of every record.
fn headers(plan: &Plan) -> SmallVec<[Header<'_>; HEADERS_MAX]> {
    let headers = plan.headers.iter().map(|(key, value)| Header {
        key: key.as_bytes(),
        value: Some(value.as_bytes()),
    });
    headers.collect()
}

/// Records made and not answered, in bytes, beyond which the open loop makes no more; they stay due.
const BUFFER_BYTES_MAX: usize = 64 << 20;
