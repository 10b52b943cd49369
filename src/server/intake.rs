//! The memory of the frames that one connection is sending: reserved before more of a large one is read, counted when it
//! is here.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::connections::{Handle, Receiving};
use crate::rt::{MemoryGate, Receiver, Reservation};
use crate::types::Micros;

/// Frames up to this size need no reservation: every connection may have one.
const FREE_LEN: usize = 16 << 10;

/// See the module.
pub struct Intake {
    gate: Rc<MemoryGate>,
    handle: Rc<Handle>,
    /// What the frame being read has reserved, and what it waits for.
    reserved: Option<Reservation>,
    reserving: Option<Receiver<Reservation>>,
}

impl Intake {
    pub fn new(gate: Rc<MemoryGate>, handle: Rc<Handle>) -> Intake {
        Intake {
            gate,
            handle,
            reserved: None,
            reserving: None,
        }
    }

    /// Whether memory is waited for: nothing is read meanwhile.
    pub fn is_waiting(&self) -> bool {
        self.reserving.is_some()
    }

    /// Ready when the memory that was waited for is there.
    pub fn poll(&mut self, task: &mut Context<'_>) -> Poll<()> {
        if let Some(reserving) = &mut self.reserving
            && let Poll::Ready(Ok(reservation)) = Pin::new(reserving).poll(task)
        {
            self.reserving = None;
            if reservation.bytes() > 0 {
                self.reserved = Some(reservation);
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Where the budget is used up, waits from now on until some of it comes back; returns whether it does.
    pub fn waits_for_room(&mut self, now: impl FnOnce() -> Micros) -> bool {
        let is_full = self.gate.is_full();
        if is_full {
            self.reserving = Some(self.gate.reserve(0, now()));
        }
        is_full
    }

    /// A frame of `bytes` is whole: what it takes in memory until it is dropped.
    pub fn take(&mut self, bytes: usize) -> Option<Reservation> {
        self.handle.receiving.set(None);
        self.reserving = None;
        // A frame that came whole with one read is here already: it is counted, and reading stops until there is room
        // again.
        let reserved = self.reserved.take();
        reserved.or_else(|| (bytes > FREE_LEN).then(|| self.gate.take(bytes)))
    }

    /// No whole frame is here. Of a large one that has begun the memory is reserved before more of it is read.
    ///
    /// - `len`: of the frame that has begun; `None` if none has.
    /// - `bytes`: what is here of it.
    pub fn on_partial(&mut self, len: Option<usize>, bytes: usize, now: impl FnOnce() -> Micros) {
        let Some(len) = len.filter(|len| *len > FREE_LEN) else {
            return;
        };
        let since = match self.handle.receiving.get() {
            Some(receiving) => receiving.since,
            None => {
                let now = now();
                self.reserving = Some(self.gate.reserve(len, now));
                now
            }
        };
        self.handle.receiving.set(Some(Receiving { since, bytes }));
    }
}
