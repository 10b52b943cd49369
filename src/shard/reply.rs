//! One-shot answers: to a task of this shard, or from another shard by the number of a slot.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// A value that will be set once, and one task that waits for it.
pub struct Reply<T>(Rc<Inner<T>>);

struct Inner<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Reply(self.0.clone())
    }
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply(Rc::new(Inner {
            value: Cell::new(None),
            waker: Cell::new(None),
        }))
    }
}

impl<T> Reply<T> {
    /// Whether nobody is left who could take the answer.
    pub fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    /// Gives the answer and wakes who waits. A second answer replaces one not yet taken.
    pub fn set(&self, value: T) {
        self.0.value.set(Some(value));
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.0.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.0.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// The calls of this shard that other shards have yet to answer, by slot.
#[derive(Default)]
pub struct Calls(RefCell<Slab<Reply<Box<dyn Any + Send>>>>);

impl Calls {
    /// A slot for one call, and the future of its answer.
    pub fn open(&self) -> (u32, Reply<Box<dyn Any + Send>>) {
        let reply = Reply::default();
        let slot = self.0.borrow_mut().insert(reply.clone());
        (slot as u32, reply)
    }

    /// The answer for a slot has come home.
    pub fn answer(&self, slot: u32, value: Box<dyn Any + Send>) {
        let reply = self.0.borrow_mut().try_remove(slot as usize);
        reply.expect("a call is answered once").set(value);
    }
}
