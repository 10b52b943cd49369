//! Calls to other shards: each waits in a slot, whose number comes home with the answer.

use std::any::Any;
use std::cell::RefCell;

use slab::Slab;

use crate::rt::{Receiver, Sender, oneshot};

/// What a call answers, of the type that its caller knows.
pub type Answer = Box<dyn Any + Send>;

/// The calls of this shard that other shards have yet to answer.
#[derive(Default)]
pub struct Calls(RefCell<Slab<Sender<Answer>>>);

impl Calls {
    /// A slot for one call, and the future of its answer.
    pub fn open(&self) -> (u32, Receiver<Answer>) {
        let (sender, receiver) = oneshot();
        let slot = self.0.borrow_mut().insert(sender);
        (slot as u32, receiver)
    }

    /// The answer for a slot has come home. If its caller has gone away, so does the answer.
    pub fn answer(&self, slot: u32, value: Answer) {
        let sender = self.0.borrow_mut().try_remove(slot as usize);
        let _ = sender.expect("a call is answered once").send(value);
    }
}
