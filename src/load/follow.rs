//! How a producer follows leaders that move, and mends connections that break.
//!
//! A batch that was refused for its leader, or whose connection was lost, gives cause for doubt; until the leaders have been
//! learned anew, what waits for a partition that nobody is known to lead stays. A partition that is led elsewhere then goes
//! over to a connection to there with everything that has not been sent. Where batches carry sequences, nothing leaves on
//! the new way before all that went the old one is answered: it would be out of sequence.

use super::{Generator, Link, Place};

impl Generator {
    /// Takes in what was learned of the leaders, and connects to where there is something to send.
    pub(super) fn follow(&mut self, now_ns: u64) {
        let generation = self.leaders.generation();
        if self.generation != generation {
            self.generation = generation;
            self.go_where_they_lead();
        }
        if self.is_doubtful {
            self.leaders.doubt();
        }
        for link in &mut self.links {
            link.mend(now_ns);
        }
    }

    fn go_where_they_lead(&mut self) {
        // A connection that cannot be made is no explanation: the leader may be about to move.
        self.is_doubtful = self.links.iter().any(Link::is_broken);
        for slot in 0..self.slots.len() {
            match self.leaders.place(self.slots[slot].spot) {
                Ok(place) => {
                    self.slots[slot].is_adrift = false;
                    if *self.links[self.link_of[slot]].place() != place {
                        self.hand_over(slot, place);
                    }
                }
                Err(_) => {
                    self.slots[slot].is_adrift = true;
                    self.is_doubtful = true;
                }
            }
        }
    }

    /// Gives a slot to a connection to `place`.
    fn hand_over(&mut self, slot: usize, place: Place) {
        let old = self.link_of[slot];
        self.links[old].let_go(slot);
        let there = self.links.iter().enumerate();
        let there = there.filter(|(_, link)| *link.place() == place);
        let count = there.clone().count();
        let least = there.min_by_key(|(_, link)| link.slots.len());
        let new = match least {
            Some((index, link)) if count >= self.plan.connections || link.slots.is_empty() => index,
            _ => {
                let target = self.leaders.target();
                self.links.push(Link::closed(&target, place, &self.plan));
                self.links.len() - 1
            }
        };
        if self.sealing.identity.is_some() {
            self.slots[slot].hold();
        }
        self.link_of[slot] = new;
        self.links[new].slots.push(slot);
        if self.slots[slot].is_active {
            self.links[new].active.push_back(slot);
        }
    }
}
