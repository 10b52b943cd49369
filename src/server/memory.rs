//! The bytes that requests in flight may take on one shard.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::rt::{Receiver, Sender, oneshot};

/// A budget of bytes. Past it nobody fails: who asks waits in line, and its socket is not read meanwhile.
pub struct MemoryGate {
    limit: usize,
    used: Cell<usize>,
    waiting: RefCell<VecDeque<Waiting>>,
}

struct Waiting {
    bytes: usize,
    sender: Sender<Reservation>,
}

/// Bytes taken from a gate; they go back when it is dropped.
pub struct Reservation {
    gate: Rc<MemoryGate>,
    bytes: usize,
}

impl MemoryGate {
    pub fn new(limit: usize) -> Rc<MemoryGate> {
        Rc::new(MemoryGate {
            limit,
            used: Cell::new(0),
            waiting: RefCell::default(),
        })
    }

    /// Takes `bytes` now or in turn. A request larger than the whole budget is let in alone.
    pub fn reserve(self: &Rc<Self>, bytes: usize) -> Receiver<Reservation> {
        let (sender, receiver) = oneshot();
        self.waiting
            .borrow_mut()
            .push_back(Waiting { bytes, sender });
        self.grant();
        receiver
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

    /// Whether the budget is used up: nothing more is read until some of it comes back.
    pub fn is_full(&self) -> bool {
        self.used.get() > self.limit
    }

    /// Whether somebody waits for memory.
    pub fn is_contended(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn grant(self: &Rc<Self>) {
        loop {
            let next = {
                let mut waiting = self.waiting.borrow_mut();
                let Some(front) = waiting.front() else { return };
                let used = self.used.get();
                let fits = used + front.bytes <= self.limit || used == 0;
                // Whoever went away (its connection closed) only leaves the line.
                if !front.sender.is_closed() && !fits {
                    return;
                }
                waiting.pop_front().expect("it has a front")
            };
            if !next.sender.is_closed() {
                let _ = next.sender.send(self.take(next.bytes));
            }
        }
    }
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.gate.used.set(self.gate.used.get() - self.bytes);
        self.gate.grant();
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn granted(waiting: &mut Receiver<Reservation>) -> Option<Reservation> {
        block_on(poll_once(waiting)).map(|granted| granted.expect("the gate stands"))
    }

    #[test]
    fn waits_in_line_and_lets_one_large_request_in_alone() {
        let gate = MemoryGate::new(100);
        let first = granted(&mut gate.reserve(60));
        let (mut large, mut small) = (gate.reserve(500), gate.reserve(10));
        assert!(granted(&mut large).is_none());
        assert!(granted(&mut small).is_none(), "nobody overtakes");
        drop(first);
        let alone = granted(&mut large);
        assert!(alone.is_some() && granted(&mut small).is_none());
        drop(alone);
        assert!(granted(&mut small).is_some());
        assert_eq!(gate.used.get(), 0);
    }

    #[test]
    fn whoever_went_away_blocks_nobody() {
        let gate = MemoryGate::new(100);
        let first = granted(&mut gate.reserve(60));
        let gone = gate.reserve(90);
        let mut next = gate.reserve(90);
        drop(gone);
        drop(first);
        assert!(granted(&mut next).is_some());
        assert!(!gate.is_contended());
    }

    #[test]
    fn what_is_read_already_counts_past_the_limit() {
        let gate = MemoryGate::new(100);
        let taken = gate.take(150);
        assert!(gate.is_full());
        drop(taken);
        assert!(!gate.is_full());
    }
}
