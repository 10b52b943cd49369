//! A shard's timers: two hashed wheels of 256 slots, O(1) to set and to cancel, and one executor timer for all.
//!
//! The near wheel has a slot a millisecond, the far one a slot for 256 of them; what is later still waits in a list until
//! the far wheel comes round (65.5 s). The shard sleeps until the next occupied slot, and not at all when there is none.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_lite::FutureExt;
use slab::Slab;

use super::clock::Clock;
use super::notify::Signal;
use super::task::sleep;
use crate::types::Micros;

/// Timers that each carry a `T`. Precise to a millisecond, never early.
pub struct Wheel<T> {
    slots: RefCell<Slots<T>>,
    /// What [`Wheel::run`] sleeps to; an earlier timer wakes it.
    asleep_until: Cell<u64>,
    earlier: Signal,
}

/// Names one timer; worthless once it fired or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

const SLOTS: usize = 256;
/// Slot numbers: the near wheel's, the far wheel's, and the list of what is later.
const FAR: usize = SLOTS;
const LATER: usize = 2 * SLOTS;
const NONE: u32 = u32::MAX;

struct Slots<T> {
    timers: Slab<Timer<T>>,
    /// First timer of each slot.
    heads: Vec<u32>,
    /// Which slots are not empty, a bit each.
    occupied: [u64; (LATER / 64) + 1],
    /// The last tick that was processed.
    tick: u64,
    generation: u32,
}

struct Timer<T> {
    item: T,
    tick: u64,
    generation: u32,
    slot: u16,
    previous: u32,
    next: u32,
}

impl<T> Wheel<T> {
    pub fn new(now: Micros) -> Wheel<T> {
        let slots = Slots {
            timers: Slab::new(),
            heads: vec![NONE; LATER + 1],
            occupied: [0; LATER / 64 + 1],
            tick: now.0 / TICK_US,
            generation: 0,
        };
        Wheel {
            slots: RefCell::new(slots),
            asleep_until: Cell::new(0),
            earlier: Signal::default(),
        }
    }

    /// Fires `item` at `deadline`, or at the next tick if that is past.
    pub fn insert(&self, deadline: Micros, item: T) -> TimerKey {
        let tick = deadline.0.div_ceil(TICK_US);
        let key = self.slots.borrow_mut().insert(tick, item);
        if tick < self.asleep_until.get() {
            self.earlier.set();
        }
        key
    }

    /// Takes the timer back; `None` if it fired or was cancelled already.
    pub fn cancel(&self, key: TimerKey) -> Option<T> {
        let mut slots = self.slots.borrow_mut();
        let timer = slots.timers.get(key.index as usize)?;
        (timer.generation == key.generation).then(|| slots.take(key.index))
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.slots.borrow().timers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends everything that is due at `now` to `fired`, in the order of the deadlines' milliseconds.
    pub fn advance(&self, now: Micros, fired: &mut Vec<T>) {
        self.slots.borrow_mut().advance(now.0 / TICK_US, fired);
    }

    /// When [`Wheel::advance`] has something to do next; `None` without timers.
    pub fn next_due(&self) -> Option<Micros> {
        self.slots
            .borrow()
            .next_tick()
            .map(|tick| Micros(tick * TICK_US))
    }

    /// Fires timers for ever as `clock` goes; sleeps in between, and costs nothing while there is no timer.
    ///
    /// `fire` may set and cancel timers. Never returns: run it in `or` with the shard's shutdown.
    pub async fn run(&self, clock: &Clock, mut fire: impl FnMut(T)) {
        let mut fired = Vec::new();
        loop {
            let now = clock.now();
            self.advance(now, &mut fired);
            fired.drain(..).for_each(&mut fire);
            match self.next_due() {
                None => {
                    self.asleep_until.set(u64::MAX);
                    self.earlier.wait().await;
                }
                Some(due) => {
                    self.asleep_until.set(due.0 / TICK_US);
                    let time = Duration::from_micros(due.since(clock.now()));
                    sleep(time).or(self.earlier.wait()).await;
                }
            }
        }
    }
}

impl<T> Slots<T> {
    fn insert(&mut self, tick: u64, item: T) -> TimerKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let tick = tick.max(self.tick + 1);
        let timer = Timer {
            item,
            tick,
            generation,
            slot: 0,
            previous: NONE,
            next: NONE,
        };
        let index = u32::try_from(self.timers.insert(timer)).expect("fewer than 2^32 timers");
        self.link(index);
        TimerKey { index, generation }
    }

    /// Puts a timer into the slot that its tick belongs to as of now.
    fn link(&mut self, index: u32) {
        let tick = self.timers[index as usize].tick;
        let slot = if tick - self.tick < SLOTS as u64 {
            tick as usize % SLOTS
        } else if (tick >> 8) - (self.tick >> 8) < SLOTS as u64 {
            FAR + (tick >> 8) as usize % SLOTS
        } else {
            LATER
        };
        let head = std::mem::replace(&mut self.heads[slot], index);
        if head != NONE {
            self.timers[head as usize].previous = index;
        }
        let timer = &mut self.timers[index as usize];
        (timer.slot, timer.previous, timer.next) = (slot as u16, NONE, head);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Removes a timer from its slot and the slab.
    fn take(&mut self, index: u32) -> T {
        let timer = self.timers.remove(index as usize);
        if timer.next != NONE {
            self.timers[timer.next as usize].previous = timer.previous;
        }
        if timer.previous != NONE {
            self.timers[timer.previous as usize].next = timer.next;
        } else {
            self.set_head(timer.slot as usize, timer.next);
        }
        timer.item
    }

    fn set_head(&mut self, slot: usize, head: u32) {
        self.heads[slot] = head;
        if head == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    fn advance(&mut self, target: u64, fired: &mut Vec<T>) {
        while self.tick < target {
            let Some(next) = self.next_tick().filter(|next| *next <= target) else {
                // Nothing until the target, and no slot changes its meaning unseen: `next_tick` names every turn of the
                // far wheel that has something to move.
                self.tick = target;
                return;
            };
            self.tick = next;
            if next.is_multiple_of(SLOTS as u64) {
                if next.is_multiple_of((SLOTS * SLOTS) as u64) {
                    self.cascade(LATER);
                }
                self.cascade(FAR + (next >> 8) as usize % SLOTS);
            }
            // Newest first in the list, so that popping from the back of it is oldest first.
            let slot = next as usize % SLOTS;
            let first = fired.len();
            while self.heads[slot] != NONE {
                let head = self.heads[slot];
                fired.push(self.take(head));
            }
            fired[first..].reverse();
        }
    }

    /// Puts the timers of a slot where they belong now.
    fn cascade(&mut self, slot: usize) {
        let mut index = self.heads[slot];
        self.set_head(slot, NONE);
        while index != NONE {
            let next = self.timers[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// The next tick at which a timer is due or a slot must be moved nearer.
    fn next_tick(&self) -> Option<u64> {
        if self.timers.is_empty() {
            return None;
        }
        let near = self
            .distance(0, self.tick as usize % SLOTS)
            .map(|distance| self.tick + distance);
        let turn = self.tick >> 8;
        let far = self
            .distance(FAR, turn as usize % SLOTS)
            .map(|distance| (turn + distance) << 8);
        let later = (self.heads[LATER] != NONE).then(|| ((self.tick >> 16) + 1) << 16);
        [near, far, later].into_iter().flatten().min()
    }

    /// How many slots after `from` the next occupied one of a wheel is: 1 to 255. The slot `from` itself is empty.
    fn distance(&self, wheel: usize, from: usize) -> Option<u64> {
        let mut distance = 1;
        while distance < SLOTS {
            let slot = wheel + (from + distance) % SLOTS;
            let rest = self.occupied[slot / 64] >> (slot % 64);
            if rest != 0 {
                let found = distance + rest.trailing_zeros() as usize;
                return (found < SLOTS).then_some(found as u64);
            }
            distance += 64 - slot % 64;
        }
        None
    }
}

const TICK_US: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Prng;

    fn at_ms(ms: u64) -> Micros {
        Micros(ms * 1000)
    }

    fn fired(wheel: &Wheel<u64>, now: Micros) -> Vec<u64> {
        let mut fired = Vec::new();
        wheel.advance(now, &mut fired);
        fired
    }

    #[test]
    fn fires_in_order_never_early_and_once() {
        let wheel = Wheel::new(at_ms(7));
        wheel.insert(Micros(9_001), 2);
        wheel.insert(at_ms(9), 1);
        wheel.insert(at_ms(9), 11);
        wheel.insert(at_ms(3), 0);
        assert_eq!(fired(&wheel, at_ms(7)), [0u64; 0]);
        assert_eq!(fired(&wheel, Micros(8_999)), [0]);
        assert_eq!(fired(&wheel, Micros(9_999)), [1, 11]);
        assert_eq!(wheel.next_due(), Some(at_ms(10)));
        assert_eq!(fired(&wheel, at_ms(10)), [2]);
        assert_eq!((wheel.next_due(), wheel.len()), (None, 0));
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_key_is_worthless() {
        let wheel = Wheel::new(at_ms(0));
        let key = wheel.insert(at_ms(5), 1);
        let other = wheel.insert(at_ms(5), 2);
        assert_eq!(wheel.cancel(key), Some(1));
        assert_eq!(wheel.cancel(key), None);
        let reused = wheel.insert(at_ms(6), 3);
        assert_eq!(wheel.cancel(key), None, "the slot is another timer's now");
        assert_eq!(fired(&wheel, at_ms(6)), [2, 3]);
        assert_eq!((wheel.cancel(other), wheel.cancel(reused)), (None, None));
    }

    /// The wheel against a sorted list, over hours and with jumps of every size.
    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 0..30 {
            let mut prng = Prng::new(seed);
            let mut now = prng.below(1 << 40);
            let wheel = Wheel::new(Micros(now));
            let mut model: Vec<(u64, u64, TimerKey)> = Vec::new();
            for step in 0..2000 {
                match prng.below(4) {
                    0 | 1 => {
                        let scale = 1 << prng.below(34);
                        let deadline = now + prng.below(scale);
                        let tick = deadline.div_ceil(1000).max(now / 1000 + 1);
                        model.push((tick, step, wheel.insert(Micros(deadline), step)));
                    }
                    2 if !model.is_empty() => {
                        let (_, item, key) =
                            model.swap_remove(prng.below(model.len() as u64) as usize);
                        assert_eq!(wheel.cancel(key), Some(item), "seed {seed} step {step}");
                    }
                    _ => {
                        let scale = 1 << prng.below(30);
                        now += prng.below(scale);
                        let mut due: Vec<u64> = Vec::new();
                        model.retain(|(tick, item, _)| {
                            let is_due = *tick <= now / 1000;
                            if is_due {
                                due.push(*item);
                            }
                            !is_due
                        });
                        let mut got = fired(&wheel, Micros(now));
                        got.sort();
                        due.sort();
                        assert_eq!(got, due, "seed {seed} step {step}");
                        if let Some(next) = wheel.next_due() {
                            let first = model.iter().map(|(tick, ..)| *tick).min().unwrap();
                            assert!(
                                next.0 > now && next.0 / 1000 <= first,
                                "seed {seed} step {step}"
                            );
                        }
                    }
                }
                assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
