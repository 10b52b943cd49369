//! Runs many futures side by side inside one task, a bounded number at a time.
//!
//! Not spawned tasks: a commit round must also run where there is no executor (the simulated disk), and must
//! not outlive the store that it works for. Each child has its own waker, so a completion polls one child.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Runs `futures`, at most `depth` at a time, and returns their results in order.
pub async fn join_bounded<F: Future>(
    futures: impl IntoIterator<Item = F>,
    depth: usize,
) -> Vec<F::Output> {
    let mut source = futures.into_iter().enumerate();
    let mut results: Vec<Option<F::Output>> = Vec::new();
    let mut running: Vec<Child<F>> = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            while running.len() < depth.max(1) {
                let Some((slot, future)) = source.next() else {
                    break;
                };
                results.push(None);
                running.push(Child::new(slot, future));
            }
            if running.is_empty() {
                return Poll::Ready(());
            }
            let mut finished = false;
            let mut i = 0;
            while i < running.len() {
                match running[i].poll(cx) {
                    Poll::Ready(output) => {
                        results[running[i].slot] = Some(output);
                        running.swap_remove(i);
                        finished = true;
                    }
                    Poll::Pending => i += 1,
                }
            }
            if !finished {
                return Poll::Pending;
            }
        }
    })
    .await;
    results
        .into_iter()
        .map(|r| r.expect("every child has ended"))
        .collect()
}

/// [`join_bounded`] of what may fail: all are run to their ends, and the error is that of the first in order that failed.
pub async fn try_join_bounded<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl IntoIterator<Item = F>,
    depth: usize,
) -> Result<Vec<T>, E> {
    join_bounded(futures, depth).await.into_iter().collect()
}

struct Child<F: Future> {
    slot: usize,
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
    waker: Waker,
}

/// Wakes the parent's task, and says which child it was for.
struct Flag {
    ready: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl<F: Future> Child<F> {
    fn new(slot: usize, future: F) -> Child<F> {
        let flag = Arc::new(Flag {
            ready: AtomicBool::new(true),
            parent: Mutex::new(None),
        });
        Child {
            slot,
            future: Box::pin(future),
            waker: Waker::from(flag.clone()),
            flag,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.flag.remember(cx.waker());
        if !self.flag.ready.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }
}

impl Flag {
    /// Keeps one clone of the parent's waker, made only when the parent's task changed: glommio counts
    /// a task's wakers in 16 bits.
    fn remember(&self, parent: &Waker) {
        let mut slot = self
            .parent
            .lock()
            .expect("never poisoned: nothing panics under this lock");
        if !slot.as_ref().is_some_and(|known| known.will_wake(parent)) {
            *slot = Some(parent.clone());
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.ready.swap(true, Ordering::AcqRel) {
            let parent = self
                .parent
                .lock()
                .expect("never poisoned: nothing panics under this lock");
            if let Some(waker) = parent.as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_lite::future::{block_on, yield_now};

    use super::*;

    #[test]
    fn keeps_the_order_and_the_bound() {
        let (now, peak) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let work = (0..20).map(|i| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                now.set(now.get() + 1);
                peak.set(peak.get().max(now.get()));
                for _ in 0..(i * 7) % 5 {
                    yield_now().await;
                }
                now.set(now.get() - 1);
                i
            }
        });
        let results = block_on(join_bounded(work, 4));
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        assert_eq!(peak.get(), 4);
    }

    #[test]
    fn nothing_to_do_ends_at_once() {
        let none: Vec<std::future::Ready<()>> = Vec::new();
        assert!(block_on(join_bounded(none, 8)).is_empty());
    }
}
