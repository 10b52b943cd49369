//! A coordinator's deadlines, in one order.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::types::{Micros, Str};

/// What a deadline is for. One of each can be set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Timer {
    /// Offsets that have expired are looked for.
    Expiry,
    /// A classic member, or a member id that was given out, has not been heard of.
    Session(Str, Str),
    /// The join phase of a classic group ends.
    Join(Str),
    /// Members of a classic group have not asked for their assignment.
    Sync(Str),
    /// A member of a consumer group has not been heard of.
    ConsumerSession(Str, Str),
    /// A member of a consumer group has not given up what it was told to.
    ConsumerRebalance(Str, Str),
    /// A member that speaks the classic protocol in a consumer group has not joined or synchronised again.
    ConsumerJoin(Str, Str),
}

impl Timer {
    /// The group that it is about.
    pub(super) fn group(&self) -> Option<&Str> {
        match self {
            Timer::Expiry => None,
            Timer::Join(group) | Timer::Sync(group) => Some(group),
            Timer::Session(group, _)
            | Timer::ConsumerSession(group, _)
            | Timer::ConsumerRebalance(group, _)
            | Timer::ConsumerJoin(group, _) => Some(group),
        }
    }
}

/// Deadlines by time and by purpose.
#[derive(Default, Debug)]
pub(super) struct Timers {
    order: BTreeSet<(Micros, Timer)>,
    at: HashMap<Timer, Micros>,
}

impl Timers {
    /// Sets the deadline, instead of the one there was.
    pub(super) fn set(&mut self, timer: Timer, at: Micros) {
        self.cancel(&timer);
        self.at.insert(timer.clone(), at);
        self.order.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    /// The deadline of this purpose, where it is set.
    pub(super) fn get(&self, timer: &Timer) -> Option<Micros> {
        self.at.get(timer).copied()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Micros> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline that has come.
    pub(super) fn pop_due(&mut self, now: Micros) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    /// Drops everything; loading begins.
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.at.clear();
    }
}
