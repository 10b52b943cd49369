//! The memory of answers that are not sent yet: what slow readers keep from being used for anything else.
//!
//! An answer to a Fetch pins pages of the cache, also those that the cache itself has let go, until the socket has taken the
//! last of them, which is up to the client. So each reserves its bytes before it reads, and is given the fewer the less is
//! left: one alone gets what it asks for, and where many are under way none takes much of what is left for those that come.
//! Where not even a first batch has room, readers wait in line and their requests keep nothing (KIP-74's progress is kept to,
//! only later); a reader that is found not to take its answer meanwhile is closed, so that they do not wait for ever.
//!
//! An answer that waits for its client is counted with the pages that it keeps. Past half of the budget it gets copies of what
//! it needs of pages that it needs little of (see [`ReadData::compact`](super::fetch::ReadData::compact)).

use std::rc::Rc;

use super::Shard;
use crate::rt::MemoryGate;
use crate::types::Micros;

/// Of what is left of the first half of the budget, one answer gets this part at most,
const PART_OF_HALF: usize = 4;
/// or of all that is left, this one: a few readers of much are not held back, and hundreds that do not read leave enough for
/// one that does.
const PART_OF_REST: usize = 64;
/// What a first batch is taken for before it was read: as large as `message.max.bytes` has it by default.
const FIRST_BYTES: usize = 1 << 20;
/// The part of the budget that a first batch is taken for at most.
const FIRST_PART: usize = 8;
/// Readers that wait in line for longer are starved.
const STARVED_US: u64 = 1_000_000;

/// The gate of so many bytes for all answers that are not sent. Shared with what other owners of the cache's memory leave.
pub(super) fn answers(limit: usize) -> Rc<MemoryGate> {
    MemoryGate::new(limit, share)
}

/// What an answer that asks for so many bytes gets now; `None` if a first batch has no room.
fn share(limit: usize, used: usize, asked: usize) -> Option<usize> {
    let left = limit.saturating_sub(used);
    let left_of_half = (limit / 2).saturating_sub(used);
    let share = (left_of_half / PART_OF_HALF).max(left / PART_OF_REST);
    let first = FIRST_BYTES.min(limit / FIRST_PART);
    let bytes = asked.min(share).max(first);
    (bytes <= left || used == 0).then_some(bytes)
}

fn is_starved(answers: &MemoryGate, now: Micros) -> bool {
    answers.longest_wait(now) > STARVED_US
}

impl Shard {
    /// Whether somebody has waited for memory for an answer for long.
    pub fn are_readers_starved(&self, now: Micros) -> bool {
        is_starved(&self.answers, now)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::{Receiver, Reservation};

    const MB: usize = 1 << 20;

    fn granted(waiting: &mut Receiver<Reservation>) -> Option<Reservation> {
        block_on(poll_once(waiting)).map(|granted| granted.expect("the gate stands"))
    }

    /// Goal: what slow readers hold is bounded, however many there are, and leaves something for one that comes then.
    /// Method: readers that ask for 50 MB each and give nothing back.
    #[test]
    fn many_that_give_nothing_back_stay_inside_and_leave_a_share() {
        let answers = answers(512 * MB);
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(answers.try_reserve(50 * MB).expect("there is room"));
        }
        assert_eq!(held[0].bytes(), 50 * MB, "one alone gets what it asks for");
        assert!(held[9].bytes() >= 4 * MB, "{}", held[9].bytes());
        while let Some(mut more) = answers.try_reserve(50 * MB) {
            let bytes = more.bytes().min(50 * MB);
            more.resize(bytes);
            held.push(more);
            assert!(answers.used() <= 512 * MB);
        }
        assert!(held.len() > 150, "{}", held.len());
        // Small first batches go on where large ones are past.
        held.pop();
        for _ in 0..200 {
            let mut small = answers.try_reserve(50 * MB).expect("there is room");
            assert!(small.bytes() >= MB, "a first batch");
            small.resize(1_000);
            held.push(small);
        }
    }

    #[test]
    fn who_waits_goes_on_in_turn_when_an_answer_is_sent() {
        let answers = answers(8 * MB);
        let first = answers.take(8 * MB);
        let mut one = answers.reserve(MB, Micros(0));
        let mut two = answers.reserve(1, Micros(5));
        assert!(granted(&mut one).is_none() && granted(&mut two).is_none());
        assert!(answers.try_reserve(1).is_none(), "nobody overtakes");
        assert!(!is_starved(&answers, Micros(STARVED_US)));
        assert!(is_starved(&answers, Micros(STARVED_US + 1)));
        drop(first);
        let (one, two) = (granted(&mut one), granted(&mut two));
        assert_eq!(one.map(|held| held.bytes()), Some(MB));
        assert_eq!(two.map(|held| held.bytes()), Some(MB), "for a first batch");
        assert_eq!(answers.used(), 0);
    }

    #[test]
    fn whoever_went_away_holds_up_nobody() {
        let answers = answers(8 * MB);
        let mut first = answers.take(8 * MB);
        let gone = answers.reserve(MB, Micros(0));
        let mut next = answers.reserve(MB, Micros(2 * STARVED_US));
        drop(gone);
        assert!(!is_starved(&answers, Micros(2 * STARVED_US)));
        first.resize(7 * MB);
        assert!(granted(&mut next).is_some());
    }

    #[test]
    fn a_budget_smaller_than_a_batch_serves_one_after_the_other() {
        let answers = answers(1_000);
        let mut held = answers.try_reserve(500).expect("alone");
        held.resize(50_000);
        assert!(answers.try_reserve(500).is_none());
        drop(held);
        assert!(answers.try_reserve(500).is_some());
    }
}
