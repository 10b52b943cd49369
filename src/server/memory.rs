//! The bytes that requests in flight may take on one shard.

use std::rc::Rc;

use crate::rt::MemoryGate;

/// The gate of so many bytes. A socket is not read while its request waits; one larger than all of it is let in alone.
pub fn request_gate(limit: usize) -> Rc<MemoryGate> {
    MemoryGate::new(limit, |limit, used, asked| {
        (used + asked <= limit || used == 0).then_some(asked)
    })
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::rt::{Receiver, Reservation};
    use crate::types::Micros;

    const NOW: Micros = Micros(0);

    fn granted(waiting: &mut Receiver<Reservation>) -> Option<Reservation> {
        block_on(poll_once(waiting)).map(|granted| granted.expect("the gate stands"))
    }

    #[test]
    fn waits_in_line_and_lets_one_large_request_in_alone() {
        let gate = request_gate(100);
        let first = granted(&mut gate.reserve(60, NOW));
        let (mut large, mut small) = (gate.reserve(500, NOW), gate.reserve(10, NOW));
        assert!(granted(&mut large).is_none());
        assert!(granted(&mut small).is_none(), "nobody overtakes");
        drop(first);
        let alone = granted(&mut large);
        assert!(alone.is_some() && granted(&mut small).is_none());
        drop(alone);
        assert!(granted(&mut small).is_some());
        assert_eq!(gate.used(), 0);
    }

    #[test]
    fn whoever_went_away_blocks_nobody() {
        let gate = request_gate(100);
        let first = granted(&mut gate.reserve(60, NOW));
        let gone = gate.reserve(90, NOW);
        let mut next = gate.reserve(90, NOW);
        drop(gone);
        drop(first);
        assert!(granted(&mut next).is_some());
        assert!(!gate.is_contended());
    }

    #[test]
    fn what_is_read_already_counts_past_the_limit() {
        let gate = request_gate(100);
        let taken = gate.take(150);
        assert!(gate.is_full());
        drop(taken);
        assert!(!gate.is_full());
    }
}
