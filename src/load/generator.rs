//! One producer of a run: makes records when they are due, batches them, sends them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::ClientError;
use crate::rt;
use crate::types::Timestamp;
use futures_lite::future::or;

use super::check::Made;
use super::control::{Control, Stream};
use super::leaders::Leaders;
use super::link::{Link, Outcome};
use super::pause::Services;
use super::plan::{Delivery, Pace, Plan};
use super::run::LoadError;
use super::schedule::{Curve, Schedule};
use super::slot::{Dues, Sealing, Slot};
use super::tally::{SharedTally, Tally, Window};
use super::target::{Layout, Place, Target};
use super::transact::Transact;
use super::worker::Worked;
use fill::{Source, overhead_bytes};

#[path = "fill.rs"]
mod fill;
#[path = "follow.rs"]
mod follow;
#[path = "settle.rs"]
mod settle;

/// What all producers of a run share.
pub struct Shared {
    pub plan: Arc<Plan>,
    /// What is written to,
    pub layout: Arc<Layout>,
    /// and what is read: the same partitions by the same numbers, and behind them those that are idle.
    pub reading: Arc<Layout>,
    pub control: Arc<Control>,
    /// Of the partitions that are written to.
    pub services: Services,
    /// The curve of the open loop.
    pub curve: Option<Arc<Curve>>,
    /// Random for each run.
    pub run: u64,
}

/// A producer with its partitions and connections. It runs as one task.
pub struct Generator {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    index: usize,
    leaders: Rc<Leaders>,
    /// What [`Leaders::generation`] was when the slots were last given to links.
    generation: u64,
    /// Something was said or seen that the present leaders do not explain.
    is_doubtful: bool,
    links: Vec<Link>,
    slots: Vec<Slot>,
    /// The link of each slot.
    link_of: Vec<usize>,
    /// What became of each slot's records.
    made: Vec<Made>,
    source: Source,
    /// What a record takes in a batch beside its value, at most.
    overhead_bytes: usize,
    sealing: Sealing,
    transact: Option<Transact>,
    /// The slot that keyless records of the open loop go to now.
    sticky: usize,
    buffered_bytes: usize,
    /// Of values, ever.
    value_bytes: u64,
    timestamp: Timestamp,
    /// When the present turn should have begun.
    planned_ns: u64,
    /// Why the producer cannot go on.
    fatal: Option<LoadError>,
    worked: Worked,
}

impl Generator {
    /// Connects the producer numbered `index` of the plan.
    pub async fn open(
        shared: Arc<Shared>,
        leaders: Rc<Leaders>,
        index: usize,
    ) -> Result<Generator, ClientError> {
        let plan = shared.plan.clone();
        let target = &leaders.target();
        let overhead_bytes = overhead_bytes(&plan);
        let source = Source::new(&plan, index, overhead_bytes);
        let mut by_place: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        let mut slots = Vec::new();
        for spot in shared.layout.spots() {
            by_place
                .entry(target.place(spot)?)
                .or_default()
                .push(slots.len());
            slots.push(Slot::new(spot, Dues::AtSubmit(0)));
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
        let (sealing, transact) = identify(&shared, target, index).await?;
        Ok(Generator {
            made: vec![Made::default(); slots.len()],
            source,
            overhead_bytes,
            generation: leaders.generation(),
            leaders,
            is_doubtful: false,
            // Producers begin at different partitions, so that they do not move in step.
            sticky: index % slots.len(),
            shared,
            plan,
            index,
            links,
            slots,
            link_of,
            sealing,
            transact,
            buffered_bytes: 0,
            value_bytes: 0,
            timestamp: Timestamp::NONE,
            planned_ns: u64::MAX,
            fatal: None,
            worked: Worked::default(),
        })
    }

    /// Writes its part of the backlog, with nothing measured.
    pub async fn build_backlog(&mut self) -> Result<(), LoadError> {
        let share = self.plan.backlog_bytes() / self.plan.producers as u64;
        let tally = SharedTally::new(Tally::new(NEVER));
        loop {
            self.take_answers(&tally).await;
            let now_ns = self.shared.control.now_ns();
            self.timestamp = wall();
            let is_over = self.value_bytes >= share;
            if !is_over {
                self.fill(now_ns, share, &tally);
            }
            self.turn_transaction(is_over, &tally).await;
            self.submit(now_ns, Linger::Over, &tally);
            let failed = self.worked.failed_records;
            if self.fatal.is_none() && failed > 0 {
                let why = format!("the backlog could not be written: {failed} records failed");
                self.fatal = Some(LoadError::Worker(why));
            }
            if let Some(error) = self.fatal.take() {
                return Err(error);
            }
            if self.shared.control.is_stopped() || (is_over && self.is_idle()) {
                self.worked.backlog_records = tally.borrow().records_ever;
                return Ok(());
            }
            self.follow(now_ns);
            let wake_ns = self.wake_ns(&None, now_ns, is_over);
            self.wait(wake_ns.saturating_sub(now_ns)).await;
        }
    }

    /// Makes ready what takes its time with many partitions, before the start.
    pub fn prepare(&mut self) {
        if matches!(self.plan.pace, Pace::Open { .. }) {
            for slot in &mut self.slots {
                slot.set_dues(Dues::Each(Vec::new()));
            }
        }
    }

    /// Runs from the start to the end of the drain.
    ///
    /// - `tally`: of the thread. The first of its producers makes it when the start is known.
    pub async fn run(&mut self, tally: &OnceCell<SharedTally>) -> Result<(), LoadError> {
        let (start_ns, window) = loop {
            match self.shared.control.begun() {
                Some(begun) => break begun,
                None if self.shared.control.is_stopped() => return Err(stopped()),
                None => rt::sleep(Duration::from_millis(1)).await,
            }
        };
        let made = || SharedTally::new(self.shared.control.tally(window, Stream::Produced));
        let tally = tally.get_or_init(made);
        tally.borrow_mut().records_ever += self.worked.backlog_records;
        if self.plan.pace == Pace::Silent {
            return Ok(());
        }
        let mut schedule = self.schedule(start_ns);
        let early = start_ns.saturating_sub(self.shared.control.now_ns());
        rt::sleep(Duration::from_nanos(early)).await;
        while !self.step(&mut schedule, window, tally).await {}
        self.fatal.take().map_or(Ok(()), Err)
    }

    /// This producer's part of the open loop.
    fn schedule(&self, start_ns: u64) -> Option<Schedule> {
        let Pace::Open { arrivals, .. } = self.plan.pace else {
            return None;
        };
        let curve = self.shared.curve.clone()?;
        let share = (self.index, self.plan.producers);
        let seed = self
            .plan
            .seed
            .wrapping_mul(31)
            .wrapping_add(self.index as u64);
        Some(Schedule::new(curve, start_ns, share, arrivals, seed))
    }

    /// One turn: answers, new records, requests, and waiting for the next thing to do. True at the end.
    async fn step(
        &mut self,
        schedule: &mut Option<Schedule>,
        window: Window,
        tally: &SharedTally,
    ) -> bool {
        self.take_answers(tally).await;
        let now_ns = self.shared.control.now_ns();
        let is_stopped = self.shared.control.is_stopped() || self.fatal.is_some();
        let is_over = now_ns >= window.end_ns || is_stopped;
        self.timestamp = wall();
        match schedule {
            Some(schedule) => self.make_due(schedule, now_ns.min(window.end_ns - 1), now_ns),
            None if !is_over => self.fill(now_ns, u64::MAX, tally),
            None => {}
        }
        let all_made = is_over
            && schedule
                .as_ref()
                .is_none_or(|s| s.next_ns() >= window.end_ns);
        self.turn_transaction(all_made, tally).await;
        let linger = match is_over || schedule.is_none() || self.must_flush() {
            true => Linger::Over,
            false => Linger::Wait,
        };
        self.submit(now_ns, linger, tally);
        if is_over && (is_stopped || now_ns > window.end_ns + self.drain_ns()) {
            self.give_up(schedule, window, tally);
            return true;
        }
        if all_made && self.is_idle() {
            return true;
        }
        self.follow(now_ns);
        let wake_ns = self.wake_ns(schedule, now_ns, is_over);
        self.planned_ns = wake_ns;
        self.wait(wake_ns.saturating_sub(now_ns)).await;
        false
    }

    async fn take_answers(&mut self, tally: &SharedTally) {
        for index in 0..self.links.len() {
            while let Some(outcome) = self.links[index].take_answer().await {
                self.settle(outcome, tally);
            }
        }
    }

    /// Submits what is ready on every connection that has room.
    fn submit(&mut self, now_ns: u64, linger: Linger, tally: &SharedTally) {
        if self.transact.as_ref().is_some_and(|t| !t.is_joined()) {
            return;
        }
        for link in 0..self.links.len() {
            while self.links[link].has_room() {
                match self.submit_link(link, now_ns, linger) {
                    Submitted::Nothing => break,
                    Submitted::Request => {}
                    Submitted::Failed(outcome) => self.settle(outcome, tally),
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
            if let Some(batch) = from.take(slot, lingered_ns, &mut self.sealing) {
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
        let id = self.transact.as_ref().map(|transact| &transact.id);
        match self.links[link].submit(timeout, id, batches, now_ns) {
            None => Submitted::Request,
            Some(outcome) => Submitted::Failed(outcome),
        }
    }

    /// Nothing is on its way, nor waits to be.
    fn is_idle(&self) -> bool {
        let is_ended = self.transact.as_ref().is_none_or(|t| !t.is_begun());
        is_ended && self.links.iter().all(Link::is_idle)
    }

    /// When there is something to do even if no answer comes.
    fn wake_ns(&self, schedule: &Option<Schedule>, now_ns: u64, is_over: bool) -> u64 {
        let mut wake_ns = now_ns + LOOK_NS;
        if self.is_doubtful || self.links.iter().any(Link::needs_look) {
            wake_ns = now_ns + LOOK_SOON_NS;
        }
        if let Some(schedule) = schedule
            && !is_over
        {
            if self.may_make() {
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
        let next_ns = schedule.next_ns();
        let linger_ns = self.plan.linger.as_nanos() as u64;
        match self.slots[self.sticky].open_bytes() {
            _ if !self.is_sticky() => next_ns.max(now_ns + (linger_ns / 4).min(LOOK_SOON_NS)),
            0 => next_ns,
            _ if linger_ns == 0 => next_ns,
            open => {
                let room = self.plan.batch_bytes.saturating_sub(open);
                let mean = self.plan.value_bytes_mean() as usize;
                schedule.ahead_ns((room / self.record_bytes(mean)) as u64)
            }
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
}

/// The producer's id and epoch, where it needs them, and its transactions.
async fn identify(
    shared: &Shared,
    target: &Target,
    index: usize,
) -> Result<(Sealing, Option<Transact>), ClientError> {
    let mut sealing = Sealing::new(shared.plan.codec, shared.plan.batch_bytes);
    if shared.plan.is_stamped() {
        sealing.stamped_by = Some((shared.run, index as u32));
    }
    let mut transact = None;
    match (shared.plan.delivery, target) {
        (Delivery::Once, _) => {}
        (Delivery::Idempotent, Target::Kafka(cluster, _)) => {
            sealing.identity = Some(cluster.producer_id().await?);
        }
        (Delivery::Idempotent, Target::Native(client, _)) => {
            let id = client.producer_id().await?;
            sealing.identity = Some((id, crate::types::ProducerEpoch(0)));
        }
        (Delivery::Transactions { records }, Target::Kafka(cluster, _)) => {
            let id = format!("ringlog-load-{:016x}-{index}", shared.run);
            let opening = Transact::open(cluster.clone(), id, records, TRANSACTION_TIMEOUT_MS);
            let opened = opening.await?;
            sealing.identity = Some(opened.identity());
            sealing.is_transactional = true;
            transact = Some(opened);
        }
        (Delivery::Transactions { .. }, Target::Native(..)) => {
            unreachable!("a plan with both is refused")
        }
    }
    Ok((sealing, transact))
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

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(since.unwrap_or_default().as_millis() as i64)
}

/// Another worker has failed, and says why.
pub fn stopped() -> LoadError {
    LoadError::Worker("another worker has failed".to_owned())
}

/// A window in which nothing is.
pub const NEVER: Window = Window {
    start_ns: u64::MAX - 1,
    end_ns: u64::MAX,
};
/// A producer looks around at least so often.
const LOOK_NS: u64 = 50_000_000;
/// and so often where only looking tells.
const LOOK_SOON_NS: u64 = 1_000_000;
const SLEEP_NS_MIN: u64 = 20_000;
/// After so long without an end, the broker aborts a transaction.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
