//! One producer of a run: makes records when they are due, batches them, counts what becomes of them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_lite::future::or;

use crate::client::{ClientError, partition_for_key};
use crate::protocol::ErrorCode;
use crate::record::{BatchBuilder, Codecs};
use crate::rt;
use crate::types::Timestamp;

use super::control::{Control, Stream};
use super::link::{Link, Outcome, Part};
use super::payload::{Keys, Payload, Stamp};
use super::plan::{Consume, Pace, Plan};
use super::schedule::Schedule;
use super::slot::{Dues, Slot};
use super::tally::{Tally, Window};
use super::target::{Place, Target};

/// A producer with its partitions and connections. It runs as one task.
pub struct Generator {
    plan: Arc<Plan>,
    control: Arc<Control>,
    run: u64,
    /// This producer's part of the rate and where it begins in the interval.
    phase: f64,
    links: Vec<Link>,
    slots: Vec<Slot>,
    /// The link of each slot.
    link_of: Vec<usize>,
    payload: Payload,
    codecs: Codecs,
    /// Records made so far, the open loop's place in its schedule.
    made: u64,
    /// The slot that keyless records of the open loop go to now.
    sticky: usize,
    buffered_bytes: usize,
    timestamp: Timestamp,
}

impl Generator {
    /// Connects the producer numbered `index` of the plan.
    pub async fn open(
        plan: Arc<Plan>,
        control: Arc<Control>,
        target: &Target,
        run: u64,
        index: usize,
    ) -> Result<Generator, ClientError> {
        let mut by_place: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        let mut slots = Vec::new();
        for partition in 0..target.partitions_count() as i32 {
            let place = target.place(partition)?;
            by_place.entry(place).or_default().push(slots.len());
            let dues = match plan.pace {
                Pace::Rate(_) => Dues::Each(Vec::new()),
                Pace::Maximum => Dues::AtSubmit(0),
            };
            slots.push(Slot::new(partition, plan.codec, plan.batch_bytes, dues));
        }
        let mut links = Vec::new();
        let mut link_of = vec![0; slots.len()];
        for (place, of_place) in by_place {
            let first = links.len();
            let count = plan.connections.min(of_place.len());
            for _ in 0..count {
                links.push(Link::open(target, place.clone(), &plan).await?);
            }
            for (nth, slot) in of_place.into_iter().enumerate() {
                let link = first + nth % count;
                link_of[slot] = link;
                links[link].slots.push(slot);
            }
        }
        let seed = plan.seed.wrapping_add(index as u64);
        let payload = Payload::new(plan.record_bytes, plan.batch_bytes, plan.producers, seed);
        Ok(Generator {
            phase: index as f64 / plan.producers as f64,
            // Producers begin at different partitions, so that they do not move in step.
            sticky: index % slots.len(),
            plan,
            control,
            run,
            links,
            slots,
            link_of,
            payload,
            codecs: Codecs::new(),
            made: 0,
            buffered_bytes: 0,
            timestamp: Timestamp::NONE,
        })
    }

    /// Runs from the start to the end of the drain.
    pub async fn run(mut self) -> Tally {
        let (start_ns, window) = loop {
            match self.control.begun() {
                Some(begun) => break begun,
                None if self.control.is_stopped() => {
                    let none = Window {
                        start_ns: 0,
                        end_ns: 1,
                    };
                    return Tally::new(none);
                }
                None => rt::sleep(Duration::from_millis(1)).await,
            }
        };
        let mut tally = self.control.tally(window, Stream::Produced);
        let schedule = match self.plan.pace {
            Pace::Rate(rate) => {
                let own = rate / self.plan.producers as f64;
                Some(Schedule::new(start_ns, own, self.phase))
            }
            Pace::Maximum => None,
        };
        let early = start_ns.saturating_sub(self.control.now_ns());
        rt::sleep(Duration::from_nanos(early)).await;
        while !self.step(&schedule, window, &mut tally).await {}
        tally
    }

    /// One turn: answers, new records, requests, and waiting for the next thing to do. True at the end.
    async fn step(
        &mut self,
        schedule: &Option<Schedule>,
        window: Window,
        tally: &mut Tally,
    ) -> bool {
        self.take_answers(tally).await;
        let now_ns = self.control.now_ns();
        let is_over = now_ns >= window.end_ns || self.control.is_stopped();
        self.timestamp = wall();
        match schedule {
            Some(schedule) => self.make_due(schedule, now_ns.min(window.end_ns - 1), now_ns),
            None if !is_over => self.fill(now_ns, tally),
            None => {}
        }
        self.submit(now_ns, is_over, tally);
        let unmade = schedule.as_ref().map_or(0, |s| {
            s.due_count(window.end_ns - 1).saturating_sub(self.made)
        });
        if is_over && (self.control.is_stopped() || now_ns > window.end_ns + self.drain_ns()) {
            self.give_up(schedule, window, unmade, tally);
            return true;
        }
        if is_over && unmade == 0 && self.links.iter().all(Link::is_idle) {
            return true;
        }
        for link in &mut self.links {
            link.mend(now_ns).await;
        }
        let wake_ns = self.wake_ns(schedule, now_ns, is_over);
        self.wait(wake_ns.saturating_sub(now_ns)).await;
        false
    }

    async fn take_answers(&mut self, tally: &mut Tally) {
        for index in 0..self.links.len() {
            while let Some(outcome) = self.links[index].take_answer().await {
                self.count(outcome, tally);
            }
        }
    }

    fn count(&mut self, outcome: Outcome, tally: &mut Tally) {
        let now_ns = self.control.now_ns();
        for (index, part) in outcome.parts.iter().enumerate() {
            self.buffered_bytes -= part.buffered_bytes;
            let why = match &outcome.answer {
                Err(error) => Some(reason(error)),
                Ok(codes) => match codes[index] {
                    Some(0) => None,
                    Some(code) => Some(code_name(code)),
                    None => Some("missing in the answer".to_owned()),
                },
            };
            match why {
                None => self.count_acked(part, outcome.submitted_ns, now_ns, tally),
                Some(why) => self.count_failed(part, outcome.submitted_ns, &why, tally),
            }
        }
    }

    fn count_acked(&self, part: &Part, submitted_ns: u64, now_ns: u64, tally: &mut Tally) {
        let count = part.dues.count();
        self.control.count_acked(count);
        tally.received(now_ns, count, part.value_bytes);
        match &part.dues {
            Dues::AtSubmit(count) => tally.latency(submitted_ns, now_ns, *count),
            Dues::Each(dues) => {
                for &due_ns in dues {
                    tally.latency(due_ns, now_ns, 1);
                }
            }
        }
    }

    fn count_failed(&self, part: &Part, submitted_ns: u64, why: &str, tally: &mut Tally) {
        self.control.count_errors(part.dues.count());
        match &part.dues {
            Dues::AtSubmit(count) => tally.failed(submitted_ns, *count, why),
            Dues::Each(dues) => {
                for &due_ns in dues {
                    tally.failed(due_ns, 1, why);
                }
            }
        }
    }

    /// Open loop: makes every record that is due at `until_ns`, as far as the buffer has room.
    fn make_due(&mut self, schedule: &Schedule, until_ns: u64, now_ns: u64) {
        let due_count = schedule.due_count(until_ns);
        while self.made < due_count && self.buffered_bytes < BUFFER_BYTES_MAX {
            let due_ns = schedule.due_ns(self.made);
            self.made += 1;
            self.make(due_ns, now_ns);
        }
    }

    /// Makes one record and puts it where it belongs.
    fn make(&mut self, due_ns: u64, now_ns: u64) {
        let (slot, key) = match self.plan.keys {
            Keys::None => (self.sticky, None),
            Keys::Uniform { count } => {
                let key = self.payload.next_key(count);
                let slot = partition_for_key(&key, self.slots.len() as u32);
                (slot as usize, Some(key))
            }
        };
        let was_full = self.seal_if_full(slot);
        if was_full && key.is_none() {
            self.sticky = (self.sticky + 1) % self.slots.len();
            self.seal_if_full(self.sticky);
        }
        let slot = if key.is_none() { self.sticky } else { slot };
        self.append(slot, due_ns, now_ns, key);
    }

    fn seal_if_full(&mut self, slot: usize) -> bool {
        let is_full = self.slots[slot].is_full(self.record_bytes(), self.plan.batch_bytes);
        if is_full {
            self.slots[slot].seal(&mut self.codecs);
        }
        is_full
    }

    fn append(&mut self, slot: usize, due_ns: u64, now_ns: u64, key: Option<[u8; 8]>) {
        let value = match self.plan.consume {
            Consume::No => self.payload.next_value(),
            Consume::Yes => self.payload.next_stamped(Stamp {
                run: self.run,
                due_ns,
            }),
        };
        let key = key.as_ref().map(|key| &key[..]);
        let into = &mut self.slots[slot];
        self.buffered_bytes += into.append(due_ns, now_ns, self.timestamp, key, value);
        if !std::mem::replace(&mut into.is_active, true) {
            self.links[self.link_of[slot]].active.push_back(slot);
        }
    }

    /// Closed loop: makes a request's worth of records for every connection that has room.
    fn fill(&mut self, now_ns: u64, tally: &mut Tally) {
        for link in 0..self.links.len() {
            while self.links[link].has_room() {
                if self.links[link].active.is_empty() {
                    match self.plan.keys {
                        Keys::None => self.fill_batches(link, now_ns),
                        Keys::Uniform { .. } => self.fill_keyed(link, now_ns),
                    }
                }
                match self.submit_link(link, now_ns, Linger::Over) {
                    // No key of all that were drawn belongs to this connection.
                    Submitted::Nothing => break,
                    Submitted::Request => {}
                    Submitted::Failed(outcome) => self.count(outcome, tally),
                }
            }
        }
    }

    /// Whole batches for one partition after the other.
    fn fill_batches(&mut self, link: usize, now_ns: u64) {
        let record_bytes = self.record_bytes();
        let mut bytes = 0;
        for _ in 0..self.links[link].slots.len() {
            let cursor = self.links[link].cursor;
            self.links[link].cursor = (cursor + 1) % self.links[link].slots.len();
            let slot = self.links[link].slots[cursor];
            loop {
                self.append(slot, now_ns, now_ns, None);
                if self.slots[slot].is_full(record_bytes, self.plan.batch_bytes) {
                    break;
                }
            }
            bytes += self.slots[slot].open_bytes();
            if bytes + self.plan.batch_bytes > self.plan.request_bytes {
                return;
            }
        }
    }

    /// A request's worth of records, each where its key sends it. Those of other connections wait there.
    fn fill_keyed(&mut self, link: usize, now_ns: u64) {
        let enough = self
            .plan
            .request_bytes
            .min(self.plan.batch_bytes * self.slots.len());
        let before = self.buffered_bytes;
        while self.buffered_bytes < BUFFER_BYTES_MAX
            && (self.buffered_bytes - before < enough || self.links[link].active.is_empty())
        {
            self.make(now_ns, now_ns);
        }
    }

    /// Submits what is ready on every connection that has room.
    fn submit(&mut self, now_ns: u64, is_over: bool, tally: &mut Tally) {
        let linger = match is_over || self.plan.pace == Pace::Maximum {
            true => Linger::Over,
            false => Linger::Wait,
        };
        for link in 0..self.links.len() {
            while self.links[link].has_room() {
                match self.submit_link(link, now_ns, linger) {
                    Submitted::Nothing => break,
                    Submitted::Request => {}
                    Submitted::Failed(outcome) => self.count(outcome, tally),
                }
            }
        }
    }

    /// One request of at most one batch of each partition, which is what Kafka takes.
    fn submit_link(&mut self, link: usize, now_ns: u64, linger: Linger) -> Submitted {
        let lingered_ns = match linger {
            Linger::Over => u64::MAX,
            Linger::Wait => now_ns.saturating_sub(self.plan.linger.as_nanos() as u64),
        };
        let mut batches = Vec::new();
        let mut bytes = 0;
        let slot_count = self.slots.len();
        for _ in 0..self.links[link].active.len() {
            let Some(slot) = self.links[link].active.pop_front() else {
                break;
            };
            let from = &mut self.slots[slot];
            if let Some(batch) = from.take(lingered_ns, &mut self.codecs) {
                bytes += batch.bytes.len();
                batches.push(batch);
                // The next keyless records go to the next partition, as Kafka's clients do.
                if slot == self.sticky {
                    self.sticky = (self.sticky + 1) % slot_count;
                }
            }
            // It stays in the list as long as it has anything.
            from.is_active = !from.is_empty();
            if from.is_active {
                self.links[link].active.push_back(slot);
            }
            if bytes >= self.plan.request_bytes {
                break;
            }
        }
        if batches.is_empty() {
            return Submitted::Nothing;
        }
        let timeout = self.plan.cluster.connection.request_timeout;
        match self.links[link].submit(timeout, batches, now_ns) {
            None => Submitted::Request,
            Some(outcome) => Submitted::Failed(outcome),
        }
    }

    /// Counts what was not answered when the drain's time is over.
    fn give_up(
        &mut self,
        schedule: &Option<Schedule>,
        window: Window,
        unmade: u64,
        tally: &mut Tally,
    ) {
        for link in 0..self.links.len() {
            for part in self.links[link].abandon() {
                self.count_failed(&part, window.start_ns, "not answered", tally);
            }
        }
        for slot in 0..self.slots.len() {
            while let Some(batch) = self.slots[slot].take(u64::MAX, &mut self.codecs) {
                let part = Part {
                    partition: batch.partition,
                    dues: batch.dues,
                    value_bytes: batch.value_bytes,
                    buffered_bytes: batch.buffered_bytes,
                };
                self.count_failed(&part, window.start_ns, "not sent", tally);
            }
        }
        if let Some(schedule) = schedule {
            self.control.count_errors(unmade);
            for n in self.made..self.made + unmade {
                tally.failed(schedule.due_ns(n), 1, "not sent");
            }
        }
    }

    /// When there is something to do even if no answer comes.
    fn wake_ns(&self, schedule: &Option<Schedule>, now_ns: u64, is_over: bool) -> u64 {
        let mut wake_ns = now_ns + LOOK_NS;
        if self.links.iter().any(Link::needs_look) {
            wake_ns = now_ns + LOOK_SOON_NS;
        }
        if let Some(schedule) = schedule
            && !is_over
        {
            if self.buffered_bytes < BUFFER_BYTES_MAX {
                wake_ns = wake_ns.min(self.make_ns(schedule, now_ns));
            }
            let linger_ns = self.plan.linger.as_nanos() as u64;
            for link in self.links.iter().filter(|link| link.has_room()) {
                let opened = link
                    .active
                    .iter()
                    .filter_map(|&slot| self.slots[slot].opened_ns());
                wake_ns = opened
                    .min()
                    .map_or(wake_ns, |first| wake_ns.min(first + linger_ns));
            }
        }
        wake_ns
    }

    /// When records must be made again. Those that only join a batch that lingers are made when it fills or ends:
    /// they keep their own due times, and the client's core is not woken for each.
    fn make_ns(&self, schedule: &Schedule, now_ns: u64) -> u64 {
        let next_ns = schedule.due_ns(self.made);
        let linger_ns = self.plan.linger.as_nanos() as u64;
        match self.plan.keys {
            Keys::Uniform { .. } => next_ns.max(now_ns + (linger_ns / 4).min(LOOK_SOON_NS)),
            Keys::None if linger_ns == 0 => next_ns,
            Keys::None => match self.slots[self.sticky].open_bytes() {
                0 => next_ns,
                open => {
                    let room = self.plan.batch_bytes.saturating_sub(open);
                    schedule.due_ns(self.made + (room / self.record_bytes()) as u64)
                }
            },
        }
    }

    /// Waits for an answer, at most `wait_ns`.
    async fn wait(&self, wait_ns: u64) {
        let answered = poll_fn(|context| {
            // Every link is asked, so that each keeps the waker.
            let ready = self.links.iter().filter(|link| link.poll_answered(context));
            match ready.count() {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        });
        // A shorter sleep would only spin: the sockets are looked at when the executor is idle.
        let sleeping = rt::sleep(Duration::from_nanos(wait_ns.max(SLEEP_NS_MIN)));
        or(answered, sleeping).await;
    }

    /// How long answers are waited for after the measured part.
    fn drain_ns(&self) -> u64 {
        let timeout = self.plan.cluster.connection.request_timeout;
        timeout.as_nanos() as u64
    }

    /// What a record takes in a batch at most.
    fn record_bytes(&self) -> usize {
        let overhead = BatchBuilder::record_size_max(None, None, &[]) + 16;
        overhead + self.plan.record_bytes
    }
}

/// Whether batches that have not lingered are sent too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linger {
    Wait,
    Over,
}

enum Submitted {
    Nothing,
    Request,
    Failed(Outcome),
}

/// A short name for an error, under which it is counted.
fn reason(error: &ClientError) -> String {
    match error {
        ClientError::Closed { .. } => "connection closed".to_owned(),
        ClientError::Timeout { .. } => "timed out".to_owned(),
        ClientError::Refused { .. } => "connection refused".to_owned(),
        other => other.to_string(),
    }
}

fn code_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| code.to_string())
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.unwrap_or_default().as_millis() as i64)
}

/// Records made and not answered, in bytes, beyond which the open loop makes no more; they stay due.
const BUFFER_BYTES_MAX: usize = 64 << 20;
/// A producer looks around at least so often.
const LOOK_NS: u64 = 50_000_000;
/// and so often where only looking tells.
const LOOK_SOON_NS: u64 = 1_000_000;
const SLEEP_NS_MIN: u64 = 20_000;
