//! A budget of bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::{Receiver, Sender, oneshot};
use crate::types::Micros;

/// A budget of bytes. Past it nobody fails: who asks waits in line.
pub struct MemoryGate {
    limit: usize,
    used: Cell<usize>,
    waiting: RefCell<VecDeque<Waiting>>,
    share: Share,
}

/// What somebody who asks for bytes is given of a budget now: from its limit, what is used of it, and what is asked for.
/// `None`: nothing yet. Never that where nothing is used, for nothing would come back then.
pub type Share = fn(usize, usize, usize) -> Option<usize>;

struct Waiting {
    asked: usize,
    since: Micros,
    sender: Sender<Reservation>,
}

/// Bytes taken from a gate; they go back when it is dropped.
pub struct Reservation {
    gate: Rc<MemoryGate>,
    bytes: usize,
}

impl MemoryGate {
    pub fn new(limit: usize, share: Share) -> Rc<MemoryGate> {
        Rc::new(MemoryGate {
            limit,
            used: Cell::new(0),
            waiting: RefCell::default(),
            share,
        })
    }

    /// Takes memory now or in turn, as much as the gate's share of `asked` is.
    pub fn reserve(self: &Rc<Self>, asked: usize, now: Micros) -> Receiver<Reservation> {
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().push_back(Waiting {
            asked,
            since: now,
            sender,
        });
        self.grant();
        receiver
    }

    /// [`MemoryGate::reserve`] if it need not be waited for.
    pub fn try_reserve(self: &Rc<Self>, asked: usize) -> Option<Reservation> {
        if self.is_contended() {
            return None;
        }
        self.share(asked).map(|bytes| self.take(bytes))
    }

    /// Takes `bytes` at once, past the limit if need be: they are in memory already.
    pub fn take(self: &Rc<Self>, bytes: usize) -> Reservation {
        self.used.set(self.used.get() + bytes);
        Reservation {
            gate: self.clone(),
            bytes,
        }
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether more than the budget is taken.
    pub fn is_full(&self) -> bool {
        self.used.get() > self.limit
    }

    /// Whether with `more` bytes more than half of the budget were taken.
    pub fn is_short(&self, more: usize) -> bool {
        self.used.get() + more > self.limit / 2
    }

    /// Whether somebody waits for memory.
    pub fn is_contended(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// How long the first in line has waited, in microseconds; 0 where nobody does.
    pub fn longest_wait(&self, now: Micros) -> u64 {
        let waiting = self.waiting.borrow();
        let first = waiting.iter().find(|waiting| !waiting.sender.is_closed());
        first.map_or(0, |first| now.since(first.since))
    }

    fn share(&self, asked: usize) -> Option<usize> {
        (self.share)(self.limit, self.used.get(), asked)
    }

    fn grant(self: &Rc<Self>) {
        loop {
            let next = {
                let mut waiting = self.waiting.borrow_mut();
                let Some(front) = waiting.front() else { return };
                // Whoever went away only leaves the line.
                let share = match front.sender.is_closed() {
                    true => None,
                    false => match self.share(front.asked) {
                        Some(bytes) => Some(bytes),
                        None => return,
                    },
                };
                let front = waiting.pop_front().expect("it has a front");
                share.map(|bytes| (front.sender, bytes))
            };
            if let Some((sender, bytes)) = next {
                let _ = sender.send(self.take(bytes));
            }
        }
    }
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It turned out to be for so many bytes.
    pub fn resize(&mut self, bytes: usize) {
        let used = &self.gate.used;
        used.set(used.get() - self.bytes + bytes);
        let shrank = bytes < self.bytes;
        self.bytes = bytes;
        if shrank {
            self.gate.grant();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.gate.used.set(self.gate.used.get() - self.bytes);
        self.gate.grant();
    }
}
