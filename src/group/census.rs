//! How many groups, members and offsets there are, and what they take in memory.

use super::GroupCoordinator;
use super::classic::State;
use super::consumer::Phase;
use super::coordinator::Group;

/// A coordinator's groups by state, and how much there is of the rest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// Classic groups: empty, preparing a rebalance, completing one, stable.
    pub classic: [usize; 4],
    /// Consumer groups: empty, assigning, reconciling, stable.
    pub consumer: [usize; 4],
    pub classic_members: usize,
    pub consumer_members: usize,
    /// Committed ones.
    pub offsets: usize,
    /// Of all of it, roughly.
    pub bytes: usize,
}

impl Census {
    /// Adds another coordinator's.
    pub fn add(&mut self, other: &Census) {
        let add = |mine: &mut [usize; 4], theirs: &[usize; 4]| {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        };
        add(&mut self.classic, &other.classic);
        add(&mut self.consumer, &other.consumer);
        self.classic_members += other.classic_members;
        self.consumer_members += other.consumer_members;
        self.offsets += other.offsets;
        self.bytes += other.bytes;
    }
}

impl GroupCoordinator {
    /// Counts everything; looks at every group and at every member of consumer groups.
    pub fn census(&self) -> Census {
        let mut census = Census {
            offsets: self.offsets.count(),
            bytes: self.kept_bytes(),
            ..Census::default()
        };
        for group in self.groups.values() {
            match group {
                Group::Classic(group) => {
                    let place = match group.state {
                        State::Empty => 0,
                        State::PreparingRebalance => 1,
                        State::CompletingRebalance => 2,
                        State::Stable => 3,
                    };
                    census.classic[place] += 1;
                    census.classic_members += group.members.len();
                }
                Group::Consumer(group) => {
                    let place = match group.phase() {
                        Phase::Empty => 0,
                        Phase::Assigning => 1,
                        Phase::Reconciling => 2,
                        Phase::Stable => 3,
                    };
                    census.consumer[place] += 1;
                    census.consumer_members += group.members_count();
                }
            }
        }
        census
    }
}
