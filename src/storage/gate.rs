//! One at a time, in one thread, across awaits.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

/// Closed while someone is inside. Not fair: all who wait are woken, and the first to come enters.
#[derive(Default)]
pub struct Gate {
    closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Inside; leaves when dropped.
pub struct Inside<'a>(&'a Gate);

impl Gate {
    /// Waits until nobody is inside, and enters.
    pub async fn enter(&self) -> Inside<'_> {
        std::future::poll_fn(|cx| {
            if !self.closed.replace(true) {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|w| w.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.closed.set(false);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, yield_now, zip};

    #[test]
    fn lets_one_in_at_a_time() {
        let (gate, inside) = (Gate::default(), Cell::new(0));
        let visit = async || {
            for _ in 0..10 {
                let _inside = gate.enter().await;
                inside.set(inside.get() + 1);
                assert_eq!(inside.get(), 1);
                yield_now().await;
                inside.set(inside.get() - 1);
            }
        };
        block_on(zip(zip(visit(), visit()), visit()));
    }
}
