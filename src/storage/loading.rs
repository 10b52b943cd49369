//! Chunks on their way from disk: whoever wants one that is being read waits for that read, and is given what it brought.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use hashbrown::HashMap;

use super::cache::ChunkKey;
use crate::rt::Page;

/// Reads under way, by what they read.
#[derive(Default)]
pub(super) struct Loading(RefCell<HashMap<ChunkKey, Rc<Flight>>>);

#[derive(Default)]
struct Flight {
    is_over: Cell<bool>,
    page: RefCell<Option<Page>>,
    waiters: RefCell<Vec<Waker>>,
}

/// What comes of asking for a chunk.
pub(super) enum Begun<'a> {
    /// The caller reads it, and says what came of it.
    Reads(Reading<'a>),
    /// Another read it; `None`: that came to nothing.
    WasRead(Option<Page>),
}

/// A read that others may wait for. They do not wait for ever if it is dropped.
pub(super) struct Reading<'a> {
    loading: &'a Loading,
    key: ChunkKey,
    flight: Rc<Flight>,
}

impl Loading {
    /// Begins to read a chunk, or waits for the read that is under way.
    pub async fn begin(&self, key: ChunkKey) -> Begun<'_> {
        let known = self.0.borrow().get(&key).cloned();
        let Some(flight) = known else {
            let flight = Rc::new(Flight::default());
            self.0.borrow_mut().insert(key, flight.clone());
            return Begun::Reads(Reading {
                loading: self,
                key,
                flight,
            });
        };
        std::future::poll_fn(|context| {
            if flight.is_over.get() {
                return Poll::Ready(());
            }
            let mut waiters = flight.waiters.borrow_mut();
            if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        let page = flight.page.borrow().clone();
        Begun::WasRead(page)
    }
}

impl Reading<'_> {
    /// Gives what was read to all who wait.
    pub fn finish(self, page: Page) {
        self.flight.page.replace(Some(page));
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.loading.0.borrow_mut().remove(&self.key);
        self.flight.is_over.set(true);
        for waker in self.flight.waiters.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::Buffer;
    use crate::storage::LogId;
    use crate::types::Offset;

    const KEY: ChunkKey = ChunkKey {
        log: LogId(0),
        generation: 0,
        base: Offset(0),
        number: 3,
    };

    #[test]
    fn one_reads_and_all_are_given_the_page() {
        let loading = Loading::default();
        let Begun::Reads(reading) = block_on(loading.begin(KEY)) else {
            panic!("nobody reads it yet")
        };
        let (mut one, mut two) = (Box::pin(loading.begin(KEY)), Box::pin(loading.begin(KEY)));
        assert!(block_on(poll_once(&mut one)).is_none());
        assert!(block_on(poll_once(&mut two)).is_none());
        reading.finish(Buffer::copy_of(&[5; 4096]).freeze());
        for waiter in [one, two] {
            let Begun::WasRead(Some(page)) = block_on(waiter) else {
                panic!("given the page")
            };
            assert_eq!(page[..2], [5, 5]);
        }
        assert!(matches!(block_on(loading.begin(KEY)), Begun::Reads(_)));
    }

    #[test]
    fn who_waits_for_a_read_that_is_given_up_reads_itself() {
        let loading = Loading::default();
        let Begun::Reads(reading) = block_on(loading.begin(KEY)) else {
            panic!("nobody reads it yet")
        };
        let mut waiter = Box::pin(loading.begin(KEY));
        assert!(block_on(poll_once(&mut waiter)).is_none());
        drop(reading);
        assert!(matches!(block_on(waiter), Begun::WasRead(None)));
        assert!(matches!(block_on(loading.begin(KEY)), Begun::Reads(_)));
    }
}
