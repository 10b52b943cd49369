//! What the readers of one audience share, whichever threads they run on. An audience reads everything once: readers
//! without a group, or the members of one group for each topic.
//!
//! A partition is read by one reader at a time, but a group may give it to a member on another thread: what is known of it
//! is behind a lock of its own, which is taken once for each answer and found free.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::Offset;

use super::check::{Checker, Reach};
use super::control::Control;
use super::generator::Shared;
use super::tally::{Tally, Window};
use super::target::TopicLayout;

/// See the room's file.
pub struct Audience {
    /// By partition number: what has come of its records.
    checkers: Vec<Mutex<Checker>>,
    /// By partition number: the next offset that is not read yet.
    read_to: Vec<AtomicI64>,
    /// Where each partition ended when the run began, for a run that only reads.
    ends: Mutex<BTreeMap<u32, Offset>>,
    /// Records that came, each counted once.
    distinct: AtomicU64,
    /// When something came last, by the run's clock.
    arrived_ns: AtomicU64,
    is_group: bool,
    /// Partitions of each member of a group.
    assigned: Mutex<BTreeMap<usize, usize>>,
    /// By topic: whether it is settled where a group begins, so that members may join.
    placed: Vec<AtomicBool>,
    is_partway: AtomicBool,
}

/// What the readers of an audience that run on one thread have counted.
pub struct Part {
    pub tally: Tally,
    /// All records that came, whosesoever, and their bytes; and when the last did.
    pub records: u64,
    pub bytes: u64,
    pub last_ns: u64,
}

/// What an audience has heard.
pub struct Heard {
    pub part: Part,
    pub checker: Checker,
    pub reach: Reach,
}

impl Audience {
    pub fn new(shared: &Shared) -> Audience {
        let partitions = shared.layout.partitions_count();
        let checker = || Mutex::new(Checker::new(shared.run));
        let topics = shared.layout.topics.iter();
        Audience {
            checkers: (0..partitions).map(|_| checker()).collect(),
            read_to: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            ends: Mutex::default(),
            distinct: AtomicU64::new(0),
            arrived_ns: AtomicU64::new(shared.control.now_ns()),
            is_group: shared.plan.consume.as_ref().is_some_and(|c| c.groups > 0),
            assigned: Mutex::default(),
            placed: topics.map(|_| AtomicBool::new(false)).collect(),
            is_partway: AtomicBool::new(false),
        }
    }

    /// What is known of a partition, for the one who reads it now.
    pub fn checker(&self, partition: u32) -> MutexGuard<'_, Checker> {
        lock(&self.checkers[partition as usize])
    }

    /// An answer was counted: `distinct` more records, and the partition is read up to `next`.
    pub fn counted(&self, partition: u32, distinct: u64, next: Offset) {
        self.distinct.fetch_add(distinct, Ordering::AcqRel);
        self.read_to[partition as usize].fetch_max(next.0, Ordering::AcqRel);
    }

    /// Something came, or may come from now on.
    pub fn arrived(&self, now_ns: u64) {
        self.arrived_ns.fetch_max(now_ns, Ordering::AcqRel);
    }

    /// A run that only reads is over when it has read so far.
    pub fn expect(&self, topic: &TopicLayout, ends: BTreeMap<i32, Offset>) {
        let ends = ends.into_iter();
        let numbered = ends.map(|(index, end)| ((topic.first + index as usize) as u32, end));
        lock(&self.ends).extend(numbered);
    }

    /// It is settled where a group begins in the topic of that number.
    pub fn place(&self, topic: usize) {
        self.placed[topic].store(true, Ordering::Release);
    }

    pub fn is_placed(&self, topic: usize) -> bool {
        self.placed[topic].load(Ordering::Acquire)
    }

    /// A member has so many partitions now.
    pub fn assign(&self, member: usize, partitions: usize) {
        lock(&self.assigned).insert(member, partitions);
    }

    pub fn assigned_count(&self) -> usize {
        lock(&self.assigned).values().sum()
    }

    /// A reader has stopped before the end.
    pub fn stopped(&self) {
        self.is_partway.store(true, Ordering::Release);
    }

    /// Whether a run that only reads has read what there was.
    fn is_at_ends(&self) -> bool {
        let ends = lock(&self.ends);
        ends.iter().all(|(&partition, &end)| {
            self.read_to[partition as usize].load(Ordering::Acquire) >= end.0
        })
    }

    /// Whether there is nothing more to come, and if so, how far it came.
    ///
    /// - `producers`: of the run. `is_slow`: the reader takes no more than it is allowed.
    pub fn is_over(
        &self,
        producers: usize,
        control: &Control,
        window: Window,
        is_slow: bool,
    ) -> Option<Reach> {
        let now_ns = control.now_ns();
        let is_past = now_ns >= window.end_ns;
        let quiet_ns = now_ns.saturating_sub(self.arrived_ns.load(Ordering::Acquire));
        if control.is_stopped() {
            return Some(Reach::Partway);
        }
        if producers == 0 {
            return match self.is_at_ends() {
                true => Some(Reach::End),
                false => is_past.then_some(Reach::Partway),
            };
        }
        if control.is_producing() {
            return None;
        }
        // What comes twice may come behind everything else.
        if self.distinct.load(Ordering::Acquire) >= control.acked() && quiet_ns > QUIET_NS {
            return Some(Reach::End);
        }
        if is_slow && is_past {
            return Some(Reach::Partway);
        }
        let is_joining = self.is_group && self.assigned_count() == 0;
        let patience_ns = match is_joining {
            true => JOIN_PATIENCE_NS,
            false => PATIENCE_NS,
        };
        (quiet_ns > patience_ns).then_some(Reach::End)
    }

    /// What all of its readers together have heard, when they have ended.
    ///
    /// - `parts`: of each thread that had some of them; `empty`: that of one that had none.
    pub fn heard(&self, parts: impl Iterator<Item = Part>, empty: Part) -> Heard {
        let part = parts.fold(empty, |mut all, own| {
            all.merge(&own);
            all
        });
        let checkers = self.checkers.iter().map(|checker| {
            let none = Checker::new(lock(checker).run());
            std::mem::replace(&mut *lock(checker), none)
        });
        let whole = checkers.reduce(|mut all, own| {
            all.absorb(own);
            all
        });
        Heard {
            part,
            checker: whole.expect("what is read has a partition"),
            reach: match self.is_partway.load(Ordering::Acquire) {
                true => Reach::Partway,
                false => Reach::End,
            },
        }
    }
}

impl Part {
    pub fn new(tally: Tally) -> Part {
        Part {
            tally,
            records: 0,
            bytes: 0,
            last_ns: 0,
        }
    }

    fn merge(&mut self, other: &Part) {
        self.tally.merge(&other.tally);
        self.records += other.records;
        self.bytes += other.bytes;
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

/// Counts are whole between two calls, whoever has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long nothing may come behind the last record that is awaited.
const QUIET_NS: u64 = 200_000_000;
/// How long nothing may come before the rest is called missing.
const PATIENCE_NS: u64 = 3_000_000_000;
/// and before a group has its first member: brokers wait for more of them, three seconds by default.
const JOIN_PATIENCE_NS: u64 = 60_000_000_000;
