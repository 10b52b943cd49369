//! Produce requests that wait for their commit, and the time they give it.
//!
//! A request says how long it may wait (`timeout_ms`). Disks commit within milliseconds, so no request has a timer: a
//! partition with waiting requests is on its shard's list, and the list is gone through a few times a second. What is
//! answered REQUEST_TIMED_OUT stays appended, as in Kafka: it may yet be committed, and a producer that sends it again is
//! known by its sequence.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use super::produce::{ProduceJoin, ProduceOutcome, Wait};
use crate::protocol::ErrorCode;
use crate::rt::{self, Signal};
use crate::types::{Micros, Offset, TopicId};

/// How late a request may learn that its time is over.
const SWEEP_EVERY: Duration = Duration::from_millis(200);

/// A request that waits until everything below `end` is committed.
pub(super) struct Waiter {
    pub end: Offset,
    pub join: Rc<ProduceJoin>,
    pub index: u32,
    pub outcome: ProduceOutcome,
    /// `None`: it waits however long it takes.
    pub deadline: Option<Micros>,
}

/// The requests that wait on one partition, by ascending end offset.
#[derive(Default)]
pub(super) struct Waiters {
    queue: RefCell<VecDeque<Waiter>>,
    /// The shard's list has this partition.
    is_listed: Cell<bool>,
}

/// Whether a partition has to be put on its shard's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Listing {
    Due,
    Done,
}

impl Wait {
    /// When a request that is appended at `now` has waited long enough; `None` if nobody waits. Less than the time between two sweeps is taken
    /// for that: a request is not to fail because a sweep happened to come right after it.
    pub(super) fn deadline(self, now: Micros) -> Option<Micros> {
        match self {
            Wait::No => None,
            Wait::Committed { timeout_ms } => {
                let least = SWEEP_EVERY.as_millis() as u64;
                Some(now.plus_ms(u64::try_from(timeout_ms).unwrap_or(0).max(least)))
            }
        }
    }
}

impl Waiters {
    pub fn park(&self, waiter: Waiter) -> Listing {
        let has_deadline = waiter.deadline.is_some();
        let mut queue = self.queue.borrow_mut();
        // Only a retried duplicate can wait for less than the last in line.
        let place = queue.partition_point(|parked| parked.end <= waiter.end);
        queue.insert(place, waiter);
        match has_deadline && !self.is_listed.replace(true) {
            true => Listing::Due,
            false => Listing::Done,
        }
    }

    /// Answers those that wait for nothing past `end`.
    pub fn wake(&self, end: Offset) {
        loop {
            let waiter = {
                let mut queue = self.queue.borrow_mut();
                match queue.front() {
                    Some(front) if front.end <= end => queue.pop_front().expect("it has a front"),
                    _ => return,
                }
            };
            waiter.join.put(waiter.index, waiter.outcome);
            waiter.join.part_done();
        }
    }

    /// Answers all with `error`.
    pub fn refuse(&self, error: ErrorCode) {
        for waiter in self.queue.take() {
            let refused = ProduceOutcome::refused(error);
            waiter.join.put(waiter.index, refused);
            waiter.join.part_done();
        }
    }

    /// Answers those whose time is over. Whether the partition goes back on the list.
    fn sweep(&self, now: Micros) -> Listing {
        let is_over = |waiter: &Waiter| waiter.deadline.is_some_and(|deadline| deadline <= now);
        let mut over = VecDeque::new();
        {
            let mut queue = self.queue.borrow_mut();
            if queue.iter().any(is_over) {
                let (ended, waiting) = queue.drain(..).partition(is_over);
                (over, *queue) = (ended, waiting);
            }
        }
        for waiter in over {
            let outcome = ProduceOutcome {
                error: ErrorCode::RequestTimedOut,
                ..waiter.outcome
            };
            waiter.join.put(waiter.index, outcome);
            waiter.join.part_done();
        }
        let goes_on = self.queue.borrow().iter().any(|w| w.deadline.is_some());
        self.is_listed.set(goes_on);
        match goes_on {
            true => Listing::Due,
            false => Listing::Done,
        }
    }
}

/// The partitions of a shard on which requests wait.
#[derive(Default)]
pub(super) struct WaitList {
    listed: RefCell<Vec<(TopicId, i32)>>,
    came: Signal,
}

impl WaitList {
    pub fn add(&self, topic_id: TopicId, partition: i32) {
        self.listed.borrow_mut().push((topic_id, partition));
        self.came.set();
    }
}

impl Shard {
    /// Answers the requests whose time is over, for as long as the shard lives. Costs nothing while none waits.
    pub(super) async fn time_out_produces(self: Rc<Self>) {
        loop {
            self.wait_list.came.wait().await;
            while !self.wait_list.listed.borrow().is_empty() {
                rt::sleep(SWEEP_EVERY).await;
                self.sweep_waiters().await;
            }
        }
    }

    async fn sweep_waiters(&self) {
        let now = self.clock.now();
        for (topic_id, partition) in self.wait_list.listed.take() {
            rt::yield_if_needed().await;
            // One that was deleted meanwhile has answered its requests.
            let Some(replica) = self.replica(topic_id, partition) else {
                continue;
            };
            if replica.waiters.sweep(now) == Listing::Due {
                self.wait_list
                    .listed
                    .borrow_mut()
                    .push((topic_id, partition));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    /// One request that appended a batch which ends at `end`.
    fn parked(waiters: &Waiters, end: i64, deadline: Option<u64>) -> (Rc<ProduceJoin>, Listing) {
        let join = ProduceJoin::local(1);
        join.expect_part();
        let listing = waiters.park(Waiter {
            end: Offset(end),
            join: join.clone(),
            index: 0,
            outcome: ProduceOutcome {
                error: ErrorCode::None,
                base_offset: Offset(end - 1),
                append_time: Timestamp::NONE,
                log_start: Offset(0),
                fault: None,
            },
            deadline: deadline.map(Micros),
        });
        join.part_done();
        (join, listing)
    }

    fn answer(join: &ProduceJoin) -> Option<(ErrorCode, i64)> {
        assert!(join.is_done() || join.take_outcomes().is_empty());
        let outcome = join.take_outcomes().pop()?.1;
        Some((outcome.error, outcome.base_offset.0))
    }

    #[test]
    fn a_request_that_waits_too_long_is_told_and_its_batch_stays() {
        let waiters = Waiters::default();
        let (first, listing) = parked(&waiters, 1, Some(1000));
        assert_eq!(listing, Listing::Due);
        let (second, listing) = parked(&waiters, 2, Some(5000));
        assert_eq!(listing, Listing::Done, "the partition is listed already");
        let (third, _) = parked(&waiters, 3, Some(1000));
        assert_eq!(waiters.sweep(Micros(999)), Listing::Due);
        assert!(answer(&first).is_none() && answer(&third).is_none());
        assert_eq!(waiters.sweep(Micros(1000)), Listing::Due, "one waits still");
        assert_eq!(answer(&first), Some((ErrorCode::RequestTimedOut, 0)));
        assert_eq!(answer(&third), Some((ErrorCode::RequestTimedOut, 2)));
        assert_eq!(answer(&second), None);
        waiters.wake(Offset(3));
        assert_eq!(answer(&second), Some((ErrorCode::None, 1)));
        assert_eq!(waiters.sweep(Micros(9000)), Listing::Done);
        assert_eq!(answer(&first), None, "nobody is answered twice");
        assert_eq!(
            parked(&waiters, 4, Some(9000)).1,
            Listing::Due,
            "listed anew"
        );
    }

    #[test]
    fn who_waits_without_a_deadline_is_left_alone() {
        let waiters = Waiters::default();
        let (marker, listing) = parked(&waiters, 1, None);
        assert_eq!(listing, Listing::Done);
        assert_eq!(waiters.sweep(Micros(u64::MAX)), Listing::Done);
        assert_eq!(answer(&marker), None);
        waiters.refuse(ErrorCode::KafkaStorageError);
        assert_eq!(answer(&marker), Some((ErrorCode::KafkaStorageError, -1)));
    }

    #[test]
    fn a_short_timeout_is_one_sweep_at_least() {
        let of = |timeout_ms| Wait::Committed { timeout_ms }.deadline(Micros(7));
        assert_eq!(of(0), Some(Micros(200_007)));
        assert_eq!(of(-5), Some(Micros(200_007)));
        assert_eq!(of(30_000), Some(Micros(30_000_007)));
        assert_eq!(of(i32::MAX), Some(Micros(7 + i32::MAX as u64 * 1000)));
        assert_eq!(Wait::No.deadline(Micros(7)), None);
    }
}
