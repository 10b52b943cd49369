//! The step a member takes towards its target: what it may keep, must give back, and gets now (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use super::assign::Partitions;
use crate::types::TopicId;

/// A member's partitions with the epoch at which each was given to it (KIP-1251). Ordered, as in its record.
pub type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// Where a member stands between its assignment and its target; the numbers are those of its record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(i8)]
pub enum MemberState {
    /// It has what it shall have at its epoch.
    #[default]
    Stable = 0,
    /// It must give partitions back before it may go on to the next epoch.
    UnrevokedPartitions = 1,
    /// It waits for partitions that others have not given back.
    UnreleasedPartitions = 2,
    /// Written by a later version; the member starts anew.
    Unknown = 127,
}

impl MemberState {
    /// The state of a record's number.
    pub fn from_i8(number: i8) -> MemberState {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}

/// What a member has, as its record `ConsumerGroupCurrentMemberAssignment` keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Current {
    /// −1 before the first assignment; −2 while a static member is away.
    pub epoch: i32,
    /// Accepted once more from a member that missed the answer which gave it the present one.
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Owned,
    pub revoking: Owned,
}

impl Default for Current {
    fn default() -> Current {
        Current {
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
        }
    }
}

/// What a member that is not yet there is led to.
pub struct Goal<'a> {
    pub target: &'a Partitions,
    /// The epoch of the target assignment.
    pub epoch: i32,
    /// The topics the member asks for at this moment, where they are fewer than those of the target.
    pub subscribed: Option<&'a BTreeSet<TopicId>>,
}

impl Current {
    /// The next state of the member; equal to this one where it cannot go on.
    ///
    /// - `owned`: what the member says it owns; `None` where it did not say.
    /// - `free`: whether nobody holds a partition, be it that it still has to give it back.
    /// - A member in [`MemberState::Unknown`] needs to own nothing, or `None` comes back: it must be fenced.
    /// - Source: KIP-848, "Reconciliation of the group", and what Kafka 4.3.1 was seen to write.
    pub fn step(
        &self,
        goal: &Goal<'_>,
        owned: Option<&Partitions>,
        free: &dyn Fn(TopicId, i32) -> bool,
    ) -> Option<Current> {
        match self.state {
            MemberState::Stable if self.epoch == goal.epoch && !self.exceeds(goal) => {
                Some(self.clone())
            }
            MemberState::Stable | MemberState::UnreleasedPartitions => {
                Some(self.towards(self.epoch, goal, owned, free))
            }
            MemberState::UnrevokedPartitions => {
                if still_owns(owned, &self.revoking) {
                    return Some(self.clone());
                }
                Some(self.towards(self.epoch, goal, owned, free))
            }
            MemberState::Unknown => owned
                .is_some_and(BTreeMap::is_empty)
                .then(|| self.towards(goal.epoch, goal, owned, free)),
        }
    }

    /// Whether the member has a topic it does not ask for any more.
    fn exceeds(&self, goal: &Goal<'_>) -> bool {
        let subscribed = goal.subscribed;
        subscribed.is_some_and(|some| self.assigned.keys().any(|topic| !some.contains(topic)))
    }

    fn towards(
        &self,
        epoch: i32,
        goal: &Goal<'_>,
        owned: Option<&Partitions>,
        free: &dyn Fn(TopicId, i32) -> bool,
    ) -> Current {
        let wanted = |topic: &TopicId| goal.subscribed.is_none_or(|some| some.contains(topic));
        let mut keeps = Owned::new();
        let mut revoking = Owned::new();
        for (topic, partitions) in &self.assigned {
            let target = goal.target.get(topic).filter(|_| wanted(topic));
            for (&partition, &since) in partitions {
                let stays = target.is_some_and(|target| target.contains(&partition));
                let side = if stays { &mut keeps } else { &mut revoking };
                side.entry(*topic).or_default().insert(partition, since);
            }
        }
        // The member goes on at once where it says that it has none of them.
        if !revoking.is_empty() && still_owns(owned, &revoking) {
            return Current {
                epoch,
                previous_epoch: self.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: keeps,
                revoking,
            };
        }
        let mut unreleased = false;
        let mut gained = Vec::new();
        for (topic, partitions) in goal.target.iter().filter(|(topic, _)| wanted(topic)) {
            let kept = keeps.get(topic);
            for &partition in partitions {
                if kept.is_some_and(|kept| kept.contains_key(&partition)) {
                    continue;
                }
                // What it gives up in this very step is its own and free.
                if free(*topic, partition) {
                    gained.push((*topic, partition));
                } else {
                    unreleased = true;
                }
            }
        }
        for (topic, partition) in gained {
            let of_topic = keeps.entry(topic).or_default();
            of_topic.insert(partition, goal.epoch);
        }
        Current {
            epoch: goal.epoch,
            previous_epoch: self.epoch,
            state: match unreleased {
                true => MemberState::UnreleasedPartitions,
                false => MemberState::Stable,
            },
            assigned: keeps,
            revoking: Owned::new(),
        }
    }
}

/// Whether a member must be taken to own some of `partitions`: it says so, or does not say.
fn still_owns(owned: Option<&Partitions>, partitions: &Owned) -> bool {
    owned.is_none_or(|owned| {
        partitions.iter().any(|(topic, of_topic)| {
            let said = owned.get(topic);
            said.is_some_and(|said| of_topic.keys().any(|partition| said.contains(partition)))
        })
    })
}

/// Whether everything `owned` is among `assigned`; false where the member did not say.
pub fn is_subset(owned: Option<&Partitions>, assigned: &Owned) -> bool {
    owned.is_some_and(|owned| {
        owned.iter().all(|(topic, partitions)| {
            let has = assigned.get(topic);
            let has = |partition| has.is_some_and(|has| has.contains_key(partition));
            partitions.iter().all(has)
        })
    })
}

/// Without the epochs, as requests and answers have them.
pub fn plain(owned: &Owned) -> Partitions {
    owned
        .iter()
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}
