//! Background I/O of one directory, in classes: each has its share, all together are few, and all step back when commits
//! suffer.
//!
//! Appends and commits never wait here. Everything else that touches the device does: reads of history, what leaves the
//! journal, compaction, deletion. A device serves what it was given in an order of its own, so the only way to keep commits
//! short is to give it little else at a time. How little is found by the commits themselves: each tells what it took, and
//! where that is far above what a commit costs on the quiet device, half of the others' places are taken away. With time
//! they come back one by one, so slowly that few of a hundred commits suffer for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::rt::Clock;
use crate::types::Micros;

/// What an I/O in the background is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IoClass {
    /// Readers wait for it.
    ColdRead = 0,
    /// What the journal holds goes to the segments; too slow, and the journal has no room for commits.
    Drain = 1,
    Compaction = 2,
    /// Files that retention or a deletion took off.
    Removal = 3,
}

const CLASSES: usize = 4;
const ALL: [IoClass; CLASSES] = [
    IoClass::ColdRead,
    IoClass::Drain,
    IoClass::Compaction,
    IoClass::Removal,
];
/// Where several classes wait, each gets places in this proportion.
const SHARES: [u32; CLASSES] = [8, 4, 2, 1];
/// The most places of each: a fast device reaches its full rate with 8 reads of a chunk under way. What leaves the journal
/// of a thousand logs is as many small writes; with 8 of them at once the journal is full before they are done.
const PLACES_MAX: [u32; CLASSES] = [16, DRAINS_MAX, 2, 1];
/// What leaves the journal for so many logs may be under way at once.
pub(super) const DRAINS_MAX: u32 = 32;
/// and no more than so many while the journal has much room: commits are the shorter for each that is not under way.
const DRAINS_MIN: u32 = 4;
/// As so many they count to the others, at most: they are small then.
const DRAINS_COUNTED_MAX: u32 = 8;
/// The most of all of them together.
const TOTAL_MAX: u32 = 20;
/// A device with an arm serves one after the other, and each of them makes a commit wait.
const TOTAL_MAX_SLOW: u32 = 4;
/// The fewest. Beyond all of this each class always has one place: none starves, and a drain that waits for a log whose holder
/// reads from disk does not keep that read waiting.
const TOTAL_MIN: u32 = 2;
/// A sync from this on is a device's with an arm.
const SLOW_SYNC_US: u64 = 2_000;
/// Commits that take so many times what they cost on the quiet device suffer.
const SUFFERING: u64 = 4;
/// A commit below this does not suffer, however cheap it was: nobody notices.
const UNNOTICED_US: u64 = 1_000;
/// Places go at most once in this time: what was under way has to end before it shows.
const STEP_BACK_EVERY_US: u64 = 10_000;
/// A place comes back in this time.
const COME_BACK_US: u64 = 50_000;

/// The background of one directory on one shard.
pub(super) struct Lanes {
    in_flight: [Cell<u32>; CLASSES],
    waiting: [RefCell<VecDeque<Rc<Ticket>>>; CLASSES],
    /// Places taken away from the total.
    withdrawn: Cell<u32>,
    stepped_back: Cell<Micros>,
    /// When one last came back; before that, when they were taken.
    came_back: Cell<Micros>,
    clock: Clock,
    /// Places of what leaves the journal, as its room has it.
    drains: Cell<u32>,
    /// What a small commit costs on the quiet device; 0, not known.
    sync_us: Cell<u64>,
    /// Places that a self-test found right for this device.
    measured: Cell<Option<u32>>,
}

/// One I/O that waits for its turn.
#[derive(Default)]
struct Ticket {
    is_granted: Cell<bool>,
    is_gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One I/O's place; given back when dropped.
pub(super) struct Turn<'a> {
    lanes: &'a Lanes,
    class: IoClass,
}

impl Lanes {
    pub fn new(clock: Clock) -> Lanes {
        Lanes {
            in_flight: Default::default(),
            waiting: Default::default(),
            withdrawn: Cell::default(),
            stepped_back: Cell::default(),
            came_back: Cell::default(),
            clock,
            drains: Cell::new(DRAINS_MAX),
            sync_us: Cell::default(),
            measured: Cell::default(),
        }
    }

    /// The device was measured.
    pub fn set_sync_us(&self, sync_us: u64) {
        self.sync_us.set(sync_us);
    }

    /// A self-test found that so many I/Os may be under way beside commits; `None`: there is none, and the rules of thumb hold.
    pub fn set_places(&self, measured: Option<u32>) {
        self.measured.set(measured);
    }

    /// The journal file in use is full so far. What is in the other has to reach the segments before it is full: in no hurry
    /// while it is nearly empty, and with all places from a quarter on.
    pub fn pace_drains(&self, used: u64, size: u64) {
        let places = u64::from(DRAINS_MAX) * 4 * used / size.max(1);
        let places = (places as u32).clamp(DRAINS_MIN, DRAINS_MAX);
        if self.drains.replace(places) < places {
            self.grant();
        }
    }

    /// Waits for a place. Who holds one may wait for nothing that waits for a place of the same class.
    pub async fn turn(&self, class: IoClass) -> Turn<'_> {
        let lane = class as usize;
        if self.come_back() {
            self.grant();
        }
        if self.has_place(class) && self.waiting[lane].borrow().is_empty() {
            self.in_flight[lane].set(self.in_flight[lane].get() + 1);
            return Turn { lanes: self, class };
        }
        let ticket = Rc::new(Ticket::default());
        self.waiting[lane].borrow_mut().push_back(ticket.clone());
        let mut waits = Waits {
            lanes: self,
            class,
            ticket: Some(ticket.clone()),
        };
        std::future::poll_fn(|context| {
            if ticket.is_granted.get() {
                return Poll::Ready(());
            }
            let mut waker = ticket.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        waits.ticket = None;
        Turn { lanes: self, class }
    }

    /// A small commit took so long on the device: the places there are follow from it.
    pub fn on_commit(&self, took_us: u64) {
        let quiet_us = self.sync_us.get();
        let suffers = took_us > (quiet_us * SUFFERING).max(UNNOTICED_US);
        if quiet_us == 0 || !suffers || self.total_in_flight() == 0 {
            return;
        }
        let now = self.clock.now();
        if now.since(self.stepped_back.get()) >= STEP_BACK_EVERY_US {
            self.come_back();
            self.stepped_back.set(now);
            self.came_back.set(now);
            let left = self.total() / 2;
            self.withdrawn.set(self.total_max() - left.max(TOTAL_MIN));
        }
    }

    /// Gives back the places whose time has come; true if there were any.
    fn come_back(&self) -> bool {
        if self.withdrawn.get() == 0 {
            return false;
        }
        let now = self.clock.now();
        let due = now.since(self.came_back.get()) / COME_BACK_US;
        if due > 0 {
            self.came_back.set(now);
            let withdrawn = u64::from(self.withdrawn.get());
            self.withdrawn.set(withdrawn.saturating_sub(due) as u32);
        }
        due > 0
    }

    fn total_max(&self) -> u32 {
        match (self.measured.get(), self.sync_us.get() >= SLOW_SYNC_US) {
            (Some(measured), _) => measured.max(TOTAL_MIN),
            (None, true) => TOTAL_MAX_SLOW,
            (None, false) => TOTAL_MAX,
        }
    }

    /// Places of one class. On a device that was found to bear more than usual those of readers grow with the whole.
    fn places_max(&self, class: IoClass) -> u32 {
        let usual = PLACES_MAX[class as usize];
        match class {
            IoClass::ColdRead => (usual * self.total_max() / TOTAL_MAX).max(usual),
            IoClass::Drain => self.drains.get(),
            IoClass::Compaction | IoClass::Removal => usual,
        }
    }

    /// Places that a class has whatever the others do. Where the drain is held up the journal fills, and commits wait for far
    /// longer than its small writes take; large ones go one at a time as it is. An arm is another matter.
    fn sure(&self, class: IoClass) -> u32 {
        match class {
            IoClass::Drain if self.sync_us.get() < SLOW_SYNC_US => self.drains.get(),
            _ => 1,
        }
    }

    /// Places there are now.
    fn total(&self) -> u32 {
        self.total_max() - self.withdrawn.get().min(self.total_max() - TOTAL_MIN)
    }

    fn total_in_flight(&self) -> u32 {
        let drains = self.in_flight[IoClass::Drain as usize].get();
        let all: u32 = self.in_flight.iter().map(Cell::get).sum();
        all - drains.saturating_sub(DRAINS_COUNTED_MAX)
    }

    fn has_place(&self, class: IoClass) -> bool {
        let own = self.in_flight[class as usize].get();
        let is_room = own < self.sure(class) || self.total_in_flight() < self.total();
        own < self.places_max(class) && is_room
    }

    /// Gives free places to those that wait: each to the class that has the least for its share.
    fn grant(&self) {
        loop {
            for queue in &self.waiting {
                let mut queue = queue.borrow_mut();
                while queue.front().is_some_and(|ticket| ticket.is_gone.get()) {
                    queue.pop_front();
                }
            }
            let waits = |class: &IoClass| !self.waiting[*class as usize].borrow().is_empty();
            let next = ALL
                .into_iter()
                .filter(|class| waits(class) && self.has_place(*class))
                .min_by_key(|class| {
                    // In twenty-fourths, so that shares divide it.
                    let held = self.in_flight[*class as usize].get() + 1;
                    held * 24 / SHARES[*class as usize]
                });
            let Some(class) = next else { return };
            let lane = class as usize;
            let ticket = self.waiting[lane].borrow_mut().pop_front();
            let ticket = ticket.expect("one of this class waits");
            self.in_flight[lane].set(self.in_flight[lane].get() + 1);
            ticket.is_granted.set(true);
            if let Some(waker) = ticket.waker.take() {
                waker.wake();
            }
        }
    }

    fn give_back(&self, class: IoClass) {
        let held = &self.in_flight[class as usize];
        held.set(held.get() - 1);
        self.come_back();
        self.grant();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lanes.give_back(self.class);
    }
}

/// Whoever is dropped while it waits leaves the line, or gives back what it was just given.
struct Waits<'a> {
    lanes: &'a Lanes,
    class: IoClass,
    ticket: Option<Rc<Ticket>>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        match ticket.is_granted.get() {
            true => self.lanes.give_back(self.class),
            false => ticket.is_gone.set(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::Context;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::SimClock;
    use crate::types::Timestamp;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Turn<'a>> + 'a>>;

    fn lanes_on_a_clock() -> Lanes {
        Lanes::new(Clock::Sim(SimClock::starting_at(Timestamp(0))))
    }

    fn now_or_never<'a>(lanes: &'a Lanes, class: IoClass) -> Option<Turn<'a>> {
        block_on(poll_once(lanes.turn(class)))
    }

    #[test]
    fn a_class_has_its_places_and_all_together_are_few() {
        let lanes = lanes_on_a_clock();
        let mut held: Vec<Turn<'_>> = Vec::new();
        for class in ALL {
            for _ in 0..PLACES_MAX[class as usize] {
                held.extend(now_or_never(&lanes, class));
            }
        }
        assert_eq!(
            held.len() as u32,
            PLACES_MAX[0] + DRAINS_MAX + 2,
            "the last classes have one place each all the same"
        );
        for class in ALL {
            assert!(now_or_never(&lanes, class).is_none(), "{class:?}");
        }
        held.clear();
        assert_eq!(
            lanes.total_in_flight(),
            0,
            "who was dropped waiting holds nothing"
        );
        let first = now_or_never(&lanes, IoClass::Removal);
        assert!(first.is_some() && now_or_never(&lanes, IoClass::Removal).is_none());
        assert!(now_or_never(&lanes, IoClass::Compaction).is_some());
    }

    #[test]
    fn places_go_by_shares_where_all_wait() {
        let lanes = lanes_on_a_clock();
        lanes.set_sync_us(SLOW_SYNC_US);
        lanes.set_places(Some(TOTAL_MAX));
        lanes.withdrawn.set(TOTAL_MAX - 8);
        let mut held: Vec<Turn<'_>> = Vec::new();
        for class in [
            IoClass::Compaction,
            IoClass::Compaction,
            IoClass::Drain,
            IoClass::Removal,
        ] {
            held.extend(now_or_never(&lanes, class));
        }
        for _ in 0..4 {
            held.extend(now_or_never(&lanes, IoClass::ColdRead));
        }
        assert_eq!(held.len(), 8);
        let mut waiting: Vec<(IoClass, Waiting<'_>)> = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        for class in ALL {
            for _ in 0..6 {
                let mut turn: Waiting<'_> = Box::pin(lanes.turn(class));
                assert!(turn.as_mut().poll(&mut context).is_pending());
                waiting.push((class, turn));
            }
        }
        held.clear();
        let mut granted = [0; CLASSES];
        for (class, turn) in &mut waiting {
            if let Poll::Ready(turn) = turn.as_mut().poll(&mut context) {
                granted[*class as usize] += 1;
                held.push(turn);
            }
        }
        assert_eq!(
            granted,
            [4, 2, 1, 1],
            "readers most, drains half as many, and so on"
        );
        drop(waiting);
        held.clear();
        assert_eq!(lanes.total_in_flight(), 0);
        assert!(now_or_never(&lanes, IoClass::ColdRead).is_some());
    }

    #[test]
    fn the_background_steps_back_while_commits_suffer_and_comes_back() {
        let clock = SimClock::starting_at(Timestamp(0));
        let lanes = Lanes::new(Clock::Sim(clock.clone()));
        lanes.set_sync_us(300);
        let held: Vec<_> = (0..16)
            .filter_map(|_| now_or_never(&lanes, IoClass::ColdRead))
            .collect();
        assert_eq!(held.len(), 16);
        clock.advance_us(STEP_BACK_EVERY_US);
        lanes.on_commit(1_100);
        assert_eq!(
            lanes.total(),
            TOTAL_MAX,
            "four times as long is not long yet"
        );
        for wanted in [10, 5, 2, 2] {
            clock.advance_us(STEP_BACK_EVERY_US);
            lanes.on_commit(5_000);
            lanes.on_commit(5_000);
            assert_eq!(lanes.total(), wanted);
        }
        let mut waiting = pin!(lanes.turn(IoClass::ColdRead));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        for _ in 0..100 {
            lanes.on_commit(300);
        }
        assert_eq!(lanes.total(), TOTAL_MIN, "not by commits, but by time");
        drop(held);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        clock.advance_us(3 * COME_BACK_US);
        drop(now_or_never(&lanes, IoClass::ColdRead));
        assert_eq!(lanes.total(), TOTAL_MIN + 3);
        clock.advance_us(1_000 * COME_BACK_US);
        drop(now_or_never(&lanes, IoClass::ColdRead));
        assert_eq!(lanes.total(), TOTAL_MAX, "though nobody commits");
        let idle = lanes_on_a_clock();
        idle.set_sync_us(100);
        idle.on_commit(50_000);
        assert_eq!(idle.total(), TOTAL_MAX, "nobody else was there");
    }

    #[test]
    fn places_that_come_back_go_to_whoever_waits() {
        let clock = SimClock::starting_at(Timestamp(0));
        let lanes = Lanes::new(Clock::Sim(clock.clone()));
        lanes.set_sync_us(300);
        let mut held: Vec<_> = (0..16)
            .filter_map(|_| now_or_never(&lanes, IoClass::ColdRead))
            .collect();
        clock.advance_us(STEP_BACK_EVERY_US);
        lanes.on_commit(5_000);
        held.truncate(lanes.total() as usize);
        let mut waiting = pin!(lanes.turn(IoClass::ColdRead));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        clock.advance_us(COME_BACK_US);
        assert!(now_or_never(&lanes, IoClass::ColdRead).is_none());
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_device_with_an_arm_gets_few_at_a_time() {
        let clock = SimClock::starting_at(Timestamp(0));
        let lanes = Lanes::new(Clock::Sim(clock.clone()));
        lanes.set_sync_us(8_000);
        let held: Vec<_> = (0..10)
            .filter_map(|_| now_or_never(&lanes, IoClass::ColdRead))
            .collect();
        assert_eq!(held.len() as u32, TOTAL_MAX_SLOW);
        clock.advance_us(STEP_BACK_EVERY_US);
        lanes.on_commit(60_000);
        assert_eq!(lanes.total(), TOTAL_MIN);
    }

    #[test]
    fn what_leaves_the_journal_hurries_as_it_fills() {
        let lanes = lanes_on_a_clock();
        lanes.pace_drains(1, 1_000);
        let mut held: Vec<_> = (0..100)
            .filter_map(|_| now_or_never(&lanes, IoClass::Drain))
            .collect();
        assert_eq!(held.len() as u32, DRAINS_MIN);
        let mut waiting = pin!(lanes.turn(IoClass::Drain));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        lanes.pace_drains(125, 1_000);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        held.extend((0..100).filter_map(|_| now_or_never(&lanes, IoClass::Drain)));
        assert_eq!(held.len() as u32, DRAINS_MAX / 2);
        lanes.pace_drains(250, 1_000);
        held.extend((0..100).filter_map(|_| now_or_never(&lanes, IoClass::Drain)));
        assert_eq!(held.len() as u32, DRAINS_MAX);
    }

    #[test]
    fn what_a_self_test_found_takes_the_place_of_the_rules_of_thumb() {
        let places = |measured, sync_us, class| {
            let lanes = lanes_on_a_clock();
            lanes.set_sync_us(sync_us);
            lanes.set_places(measured);
            let held: Vec<_> = (0..100)
                .filter_map(|_| now_or_never(&lanes, class))
                .collect();
            held.len() as u32
        };
        assert_eq!(places(Some(6), 100, IoClass::ColdRead), 6);
        assert_eq!(
            places(Some(8), 8_000, IoClass::ColdRead),
            8,
            "a fast array of slow disks"
        );
        assert_eq!(places(Some(60), 100, IoClass::ColdRead), 48);
        assert_eq!(places(Some(60), 100, IoClass::Drain), DRAINS_MAX);
        assert_eq!(places(None, 8_000, IoClass::Drain), TOTAL_MAX_SLOW);
        assert_eq!(places(Some(60), 100, IoClass::Compaction), 2);
        assert_eq!(places(None, 100, IoClass::ColdRead), PLACES_MAX[0]);
    }
}
