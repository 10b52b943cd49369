//! What the readers of one audience share, whichever threads they run on. An audience reads everything once: readers
//! without a group, or the members of one group for each topic.
//!
//! A partition is read by one reader at a time, but a group may give it to a member on another thread: what is known of it
//! is behind a lock of its own, which is taken once for each answer and found free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::types::Offset;

use super::check::{Checker, Ledger, Reach, Verdict};
use super::control::Control;
use super::generator::Shared;
use super::plan::Plan;
use super::tally::{Tally, Window};
use super::target::TopicLayout;

/// See the room's file.
pub struct Audience {
    aim: Aim,
    /// Each takes no more than it is allowed.
    is_slow: bool,
    /// By partition number: what has come of its records.
    checkers: Vec<Mutex<Checker>>,
    /// By partition number: the next offset that is not read yet.
    read_to: Vec<AtomicI64>,
    /// Where each partition ended when the run began, for a cold read.
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
    /// How its readers ended, and what kept them from reading then.
    endings: Mutex<Vec<(Ending, Option<String>)>>,
}

/// What an audience reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    /// What the run produces.
    Produced,
    /// What was there when the run began.
    Cold,
    /// Whatever others write in the time of the run, which may be nothing.
    Tail,
}

/// How a reader ended; of several, the greatest is that of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// Everything came that was awaited, or nothing more did; at the tail, the time was over.
    AtTheEnd,
    /// It takes no more than it is allowed: that it lags is what it is for.
    Slow,
    /// The measured part was over before a cold read was.
    CutOff,
    /// Some partitions were given to no member of the group.
    Unassigned,
    /// Something kept it from reading.
    Kept,
    /// Another worker has failed.
    Stopped,
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
    ending: Ending,
    /// What kept readers from reading when they ended, once for each of them.
    pub kept: Vec<String>,
}

/// How a backlog was read, from the start of the run to its last record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Drained {
    pub records: u64,
    pub seconds: f64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// Whether it was read to its end; `None` in results of earlier versions.
    #[serde(default)]
    pub is_complete: Option<bool>,
}

impl Audience {
    pub fn new(shared: &Shared) -> Audience {
        let partitions = shared.reading.partitions_count();
        let checker = || Mutex::new(Checker::new(shared.run));
        let topics = shared.reading.topics.iter();
        let consume = shared.plan.consume.as_ref();
        Audience {
            aim: Aim::of(&shared.plan),
            is_slow: consume.is_some_and(|consume| consume.rate.is_some()),
            checkers: (0..partitions).map(|_| checker()).collect(),
            read_to: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            ends: Mutex::default(),
            distinct: AtomicU64::new(0),
            arrived_ns: AtomicU64::new(shared.control.now_ns()),
            is_group: consume.is_some_and(|consume| consume.groups > 0),
            assigned: Mutex::default(),
            placed: topics.map(|_| AtomicBool::new(false)).collect(),
            endings: Mutex::default(),
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

    /// A partition is read from here on.
    pub fn begins(&self, partition: u32, at: Offset) {
        self.counted(partition, 0, at);
    }

    /// Something came, or may come from now on.
    pub fn arrived(&self, now_ns: u64) {
        self.arrived_ns.fetch_max(now_ns, Ordering::AcqRel);
    }

    /// A cold read is over when it has come so far.
    pub fn expect(&self, topic: &TopicLayout, ends: BTreeMap<i32, Offset>) {
        let ends = ends.into_iter();
        let numbered = ends.map(|(index, end)| (topic.number(index), end));
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

    /// A reader has ended.
    ///
    /// - `kept`: what keeps it from reading now.
    pub fn ended(&self, ending: Ending, kept: Option<String>) {
        let ending = match kept {
            Some(_) => ending.max(Ending::Kept),
            None => ending,
        };
        lock(&self.endings).push((ending, kept));
    }

    /// Whether a cold read has come to the end of what there was.
    fn is_at_ends(&self) -> bool {
        let ends = lock(&self.ends);
        ends.iter().all(|(&partition, &end)| {
            self.read_to[partition as usize].load(Ordering::Acquire) >= end.0
        })
    }

    /// Whether a reader has nothing more to do, and why.
    pub fn is_over(&self, control: &Control, window: Window) -> Option<Ending> {
        let now_ns = control.now_ns();
        let is_past = now_ns >= window.end_ns;
        if control.is_stopped() {
            return Some(Ending::Stopped);
        }
        match self.aim {
            Aim::Produced if control.is_producing() => None,
            Aim::Produced => {
                let quiet_ns = now_ns.saturating_sub(self.arrived_ns.load(Ordering::Acquire));
                self.is_read_back(control, quiet_ns, is_past)
            }
            Aim::Cold if self.is_at_ends() => Some(Ending::AtTheEnd),
            Aim::Cold if self.is_slow => is_past.then_some(Ending::Slow),
            Aim::Cold => is_past.then_some(Ending::CutOff),
            Aim::Tail => is_past.then_some(Ending::AtTheEnd),
        }
    }

    /// [`Audience::is_over`] when nothing is produced any more, and nothing has come for `quiet_ns`.
    fn is_read_back(&self, control: &Control, quiet_ns: u64, is_past: bool) -> Option<Ending> {
        // A record that failed may have come, in the place of one that was acknowledged and is still to come.
        let awaited = control.acked() + control.errors();
        // What comes twice may come behind everything else.
        if self.distinct.load(Ordering::Acquire) >= awaited && quiet_ns > QUIET_NS {
            return Some(Ending::AtTheEnd);
        }
        if self.is_slow && is_past {
            return Some(Ending::Slow);
        }
        let assigned = self.assigned_count();
        let patience_ns = match self.is_group && assigned == 0 {
            true => JOIN_PATIENCE_NS,
            false => PATIENCE_NS,
        };
        let ending = match self.is_group && assigned < self.checkers.len() {
            true => Ending::Unassigned,
            false => Ending::AtTheEnd,
        };
        (quiet_ns > patience_ns).then_some(ending)
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
        let endings = std::mem::take(&mut *lock(&self.endings));
        let ending = endings.iter().map(|(ending, _)| *ending).max();
        Heard {
            part,
            checker: whole.expect("what is read has a partition"),
            // Without any its threads have failed, which the run tells.
            ending: ending.unwrap_or(Ending::Stopped),
            kept: endings.into_iter().filter_map(|(_, kept)| kept).collect(),
        }
    }
}

impl Aim {
    fn of(plan: &Plan) -> Aim {
        match plan.is_cold() {
            _ if plan.producers > 0 => Aim::Produced,
            true => Aim::Cold,
            false => Aim::Tail,
        }
    }
}

impl Heard {
    /// Holds what was read against what was made, where the run made anything.
    ///
    /// A reader that was kept from reading, or cut off, is at the end nonetheless where everything came: what keeps it
    /// then keeps nothing from it.
    pub fn judge(&mut self, ledger: &Ledger) -> Option<Verdict> {
        if ledger.is_empty() {
            return None;
        }
        let whole = self.checker.verdict(ledger, Reach::End);
        if whole.lost + whole.unconfirmed == 0 {
            self.ending = Ending::AtTheEnd;
        }
        match self.ending {
            Ending::AtTheEnd => Some(whole),
            _ => Some(self.checker.verdict(ledger, Reach::Partway)),
        }
    }

    /// Why it did not come to the end of what it was to read, for people; a slow one was to lag.
    pub fn unfinished(&self) -> Option<String> {
        match self.ending {
            Ending::AtTheEnd | Ending::Slow => None,
            Ending::CutOff => {
                Some("the measured part was over before everything was read".to_owned())
            }
            Ending::Unassigned => {
                Some("no member of the group had some of the partitions".to_owned())
            }
            Ending::Kept => {
                let whys: BTreeSet<&str> = self.kept.iter().map(String::as_str).collect();
                let whys: Vec<&str> = whys.into_iter().collect();
                Some(format!(
                    "readers were kept from reading: {}",
                    whys.join("; ")
                ))
            }
            Ending::Stopped => Some("another worker has failed".to_owned()),
        }
    }
}

impl Drained {
    /// - `begun_ns`: when the run began.
    pub fn of(heard: &[Heard], begun_ns: u64) -> Drained {
        let parts = || heard.iter().map(|heard| &heard.part);
        let last_ns = parts().map(|part| part.last_ns).max();
        let seconds = last_ns.unwrap_or(0).saturating_sub(begun_ns).max(1) as f64 / 1e9;
        let records = parts().map(|part| part.records).sum();
        let bytes: u64 = parts().map(|part| part.bytes).sum();
        Drained {
            records,
            seconds,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            is_complete: Some(heard.iter().all(|heard| heard.ending == Ending::AtTheEnd)),
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
/// How long nothing may come before nothing more is awaited.
const PATIENCE_NS: u64 = 3_000_000_000;
/// and before a group has its first member: brokers wait for more of them, three seconds by default.
const JOIN_PATIENCE_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::load::check::{Made, Stamp};
    use crate::load::pause::Services;
    use crate::load::plan::Consume;
    use crate::load::target::Layout;

    const RUN: u64 = 7;
    const WINDOW: Window = Window {
        start_ns: 1,
        end_ns: 2,
    };

    fn shared(plan: Plan) -> Shared {
        let layout = Layout::new([("a".to_owned(), 2)].into_iter());
        let layout = Arc::new(layout);
        let second = Duration::from_secs(1);
        Shared {
            control: Arc::new(Control::new(Duration::ZERO, second, 1, 1, second)),
            plan: Arc::new(plan),
            reading: layout.clone(),
            services: Services::new(2),
            layout,
            curve: None,
            run: RUN,
        }
    }

    fn reading(change: impl FnOnce(&mut Plan)) -> Shared {
        let mut plan = Plan {
            consume: Some(Consume::at_the_tail()),
            ..Plan::default()
        };
        change(&mut plan);
        shared(plan)
    }

    /// Ten records acknowledged in partition 0, of which the first `read` were read when the reader ended.
    fn heard(read: u64, ending: Ending, kept: Option<&str>) -> (Heard, Option<Verdict>) {
        let shared = reading(|_| ());
        let audience = Audience::new(&shared);
        for sequence in 0..read {
            let stamp = Stamp {
                run: RUN,
                due_ns: 1,
                producer: 0,
                sequence,
            };
            audience.checker(0).saw(0, stamp);
        }
        audience.ended(Ending::AtTheEnd, None);
        audience.ended(ending, kept.map(str::to_owned));
        let mut heard = audience.heard([].into_iter(), Part::new(Tally::new(WINDOW)));
        let made = Made {
            count: 10,
            ..Made::default()
        };
        let verdict = heard.judge(&Ledger::from([((0, 0), made)]));
        (heard, verdict)
    }

    #[test]
    fn what_a_reader_was_kept_from_is_not_lost_but_unfinished() {
        let lost = |verdict: Option<Verdict>| verdict.expect("something was made").lost;
        let (whole, verdict) = heard(6, Ending::AtTheEnd, None);
        assert_eq!((lost(verdict), whole.unfinished()), (4, None));
        let (kept, verdict) = heard(6, Ending::AtTheEnd, Some("LEADER_NOT_AVAILABLE"));
        assert_eq!(lost(verdict), 0, "nobody knows");
        let why = kept.unfinished().expect("it did not come to the end");
        assert!(why.contains("LEADER_NOT_AVAILABLE"), "{why}");
        let (alone, verdict) = heard(6, Ending::Unassigned, None);
        assert_eq!(lost(verdict), 0);
        assert!(alone.unfinished().is_some_and(|why| why.contains("group")));
        // That it lags is what it is for.
        let (slow, verdict) = heard(6, Ending::Slow, None);
        assert_eq!((lost(verdict), slow.unfinished()), (0, None));
    }

    #[test]
    fn where_everything_came_nothing_was_kept_from_anyone() {
        let (heard, verdict) = heard(10, Ending::AtTheEnd, Some("CONNECTION CLOSED"));
        assert_eq!(heard.unfinished(), None);
        assert_eq!(verdict.expect("something was made").checked, 10);
    }

    #[test]
    fn records_that_failed_and_came_do_not_stand_for_those_that_are_still_to_come() {
        let shared = reading(|_| ());
        let (audience, control) = (Audience::new(&shared), &shared.control);
        control.count_acked(10, 1);
        control.count_errors(5);
        control.producer_ended();
        let quiet_ns = 2 * QUIET_NS;
        audience.counted(0, 10, Offset(10));
        assert_eq!(audience.is_read_back(control, quiet_ns, false), None);
        audience.counted(0, 5, Offset(15));
        let over = audience.is_read_back(control, quiet_ns, false);
        assert_eq!(over, Some(Ending::AtTheEnd));
    }

    #[test]
    fn a_cold_read_is_over_at_the_end_of_what_was_there_or_cut_off() {
        let start = |plan: &mut Plan| {
            plan.producers = 0;
            plan.consume.as_mut().expect("it reads").from = crate::load::plan::From::Start;
        };
        let shared = reading(start);
        let audience = Audience::new(&shared);
        let (topic, control) = (&shared.reading.topics[0], &shared.control);
        let later = Window {
            start_ns: 0,
            end_ns: u64::MAX,
        };
        audience.expect(topic, BTreeMap::from([(0, Offset(100)), (1, Offset(40))]));
        // Retention has taken all of partition 1.
        audience.begins(1, Offset(40));
        assert_eq!(audience.is_over(control, later), None);
        assert_eq!(audience.is_over(control, WINDOW), Some(Ending::CutOff));
        audience.counted(0, 100, Offset(100));
        assert_eq!(audience.is_over(control, later), Some(Ending::AtTheEnd));
        let slow = reading(|plan| {
            start(plan);
            plan.consume.as_mut().expect("it reads").rate = Some(1.0);
        });
        let audience = Audience::new(&slow);
        audience.expect(topic, BTreeMap::from([(0, Offset(100))]));
        assert_eq!(audience.is_over(control, WINDOW), Some(Ending::Slow));
    }

    #[test]
    fn without_producers_the_tail_is_read_until_the_time_is_over() {
        let shared = reading(|plan| plan.producers = 0);
        let audience = Audience::new(&shared);
        let later = Window {
            start_ns: 0,
            end_ns: u64::MAX,
        };
        assert_eq!(audience.is_over(&shared.control, later), None);
        let over = audience.is_over(&shared.control, WINDOW);
        assert_eq!(over, Some(Ending::AtTheEnd));
    }
}
