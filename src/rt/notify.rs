//! Waking the tasks of one shard: [`Signal`] for one waiter, [`Notify`] for many, [`oneshot`] with a value.
//!
//! All three are safe to drop while waiting, and keep one waker a waiting task: the executor counts wakers in 16 bits.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// A flag that one task waits for. Setting it before the wait is not lost; setting it twice is once.
#[derive(Default)]
pub struct Signal {
    set: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Signal {
    pub fn set(&self) {
        self.set.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Takes the flag down and says whether it was up.
    pub fn take(&self) -> bool {
        self.set.replace(false)
    }

    /// Waits until the flag is up and takes it down. One task at a time: a second one displaces the first.
    pub async fn wait(&self) {
        std::future::poll_fn(|context| self.poll_wait(context)).await;
    }

    /// As [`Signal::wait`], for hand-written futures.
    pub fn poll_wait(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        let waiter = match self.waiter.take() {
            Some(waiter) if waiter.will_wake(context.waker()) => waiter,
            _ => context.waker().clone(),
        };
        self.waiter.set(Some(waiter));
        Poll::Pending
    }
}

/// Wakes every task that waits at that moment; those that come later wait for the next time.
///
/// Check the condition, then wait, without an `.await` between: on one shard nothing can happen in between.
#[derive(Default)]
pub struct Notify {
    /// `None`: woken, not yet polled.
    waiters: RefCell<Slab<Option<Waker>>>,
}

impl Notify {
    pub fn notify_all(&self) {
        // Waking runs no task, only queues it: the borrow is safe.
        for (_, waiter) in self.waiters.borrow_mut().iter_mut() {
            if let Some(waker) = waiter.take() {
                waker.wake();
            }
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiters
            .borrow()
            .iter()
            .filter(|(_, waiter)| waiter.is_some())
            .count()
    }

    /// Waits for the next [`Notify::notify_all`] after the first poll.
    pub fn wait(&self) -> Notified<'_> {
        Notified {
            notify: self,
            key: None,
        }
    }
}

/// The future of [`Notify::wait`].
pub struct Notified<'a> {
    notify: &'a Notify,
    key: Option<usize>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.notify.waiters.borrow_mut();
        match self.key {
            None => {
                let key = waiters.insert(Some(context.waker().clone()));
                drop(waiters);
                self.key = Some(key);
                Poll::Pending
            }
            Some(key) => match &mut waiters[key] {
                None => {
                    waiters.remove(key);
                    drop(waiters);
                    self.key = None;
                    Poll::Ready(())
                }
                Some(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
            },
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.notify.waiters.borrow_mut().remove(key);
        }
    }
}

/// A value that one task of this shard gives to another.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Rc::new(Slot {
        value: Cell::new(None),
        signal: Signal::default(),
        closed: Cell::new(false),
    });
    (Sender(slot.clone()), Receiver(slot))
}

struct Slot<T> {
    value: Cell<Option<T>>,
    signal: Signal,
    /// Either end is gone.
    closed: Cell<bool>,
}

/// The giving end of [`oneshot`].
pub struct Sender<T>(Rc<Slot<T>>);

/// The taking end of [`oneshot`].
pub struct Receiver<T>(Rc<Slot<T>>);

/// The other end was dropped without giving a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl<T> Sender<T> {
    /// Gives the value; `Err` returns it if nobody waits any more.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.0.closed.get() {
            return Err(value);
        }
        self.0.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver is gone, so that the work may be spared.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.signal.set();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        if let Some(value) = self.0.value.take() {
            return Poll::Ready(Ok(value));
        }
        if self.0.closed.get() {
            return Poll::Ready(Err(Closed));
        }
        match self.0.signal.poll_wait(context) {
            // The sender sets the signal when it goes: look again.
            Poll::Ready(()) => Poll::Ready(self.0.value.take().ok_or(Closed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.closed.set(true);
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other end is gone")
    }
}

impl std::error::Error for Closed {}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::FutureExt;
    use futures_lite::future::{block_on, poll_once, zip};

    #[test]
    fn a_signal_set_before_the_wait_is_not_lost_and_counts_once() {
        block_on(async {
            let signal = Signal::default();
            signal.set();
            signal.set();
            signal.wait().await;
            assert_eq!(poll_once(signal.wait()).await, None);
            signal.set();
            assert!(signal.take());
        });
    }

    #[test]
    fn notify_wakes_those_who_wait_and_forgets_those_who_left() {
        block_on(async {
            let notify = Notify::default();
            let mut early = Box::pin(notify.wait());
            assert_eq!(poll_once(&mut early).await, None);
            {
                let mut left = Box::pin(notify.wait());
                assert_eq!(poll_once(&mut left).await, None);
                assert_eq!(notify.waiting(), 2);
            }
            assert_eq!(notify.waiting(), 1);
            notify.notify_all();
            let mut late = Box::pin(notify.wait());
            early.await;
            assert_eq!(
                poll_once(&mut late).await,
                None,
                "came after the notification"
            );
            zip(late, async { notify.notify_all() }).await;
            assert_eq!(notify.waiters.borrow().len(), 0);
        });
    }

    /// Trap E: 40 000 waits of one task must not clone its waker 40 000 times at once; waits that end give theirs back.
    #[test]
    fn waits_give_their_waker_back() {
        block_on(async {
            let notify = Notify::default();
            for _ in 0..40_000 {
                let mut wait = Box::pin(notify.wait());
                assert_eq!(poll_once(&mut wait).await, None);
            }
            assert_eq!(notify.waiting(), 0);
        });
    }

    #[test]
    fn a_oneshot_gives_its_value_or_says_that_it_is_closed() {
        block_on(async {
            let (sender, receiver) = oneshot();
            let (got, ()) = zip(receiver, async { sender.send(5).unwrap() }).await;
            assert_eq!(got, Ok(5));
            let (sender, receiver) = oneshot::<u8>();
            let (got, ()) = zip(receiver, async { drop(sender) }).await;
            assert_eq!(got, Err(Closed));
            let (sender, receiver) = oneshot();
            drop(receiver);
            assert!(sender.is_closed());
            assert_eq!(sender.send(7), Err(7));
            let (sender, receiver) = oneshot();
            sender.send(1).unwrap();
            assert_eq!(receiver.or(std::future::pending()).await, Ok(1));
        });
    }
}
