//! Groups of the consumer protocol (KIP-848): members heartbeat, the coordinator assigns.
//!
//! **Path.** [`heartbeat`] finds, begins or migrates the group → [`ConsumerGroup`] decides, applying each [`Change`] as
//! it is decided → the changes are records, the deadlines the coordinator's. One heartbeat runs through: profile →
//! subscriptions and epoch → target (an [`Assignor`], at most once an interval) → one step of this member towards it.
//!
//! **Invariants.** A partition has one owner at a time: who has it, or has still to give it back, bars all others.
//! Epochs never go back. [`ConsumerGroup::apply`] is the only mutator of what is stored. A request that is refused has
//! changed nothing.
//!
//! **Faults survived.** Members that vanish, repeat a request whose answer was lost, claim epochs of the past or the
//! future, or never give back what they must; expressions made to explode; records in any order compaction leaves.
//!
//! **Not obvious.** The first subscription makes epoch 2, as in Kafka. Expressions are evaluated in the heartbeat that
//! brings them, not later in the background as Kafka does: the first answer has the assignment already. A change of
//! the metadata is looked at with the group's next heartbeat. Where the target waits for its interval, a member is
//! led to the old target without the topics it no longer asks for.

mod assign;
#[cfg(test)]
mod assign_tests;
mod change;
mod classic;
mod describe;
mod door;
mod group;
mod heartbeat;
mod leave;
mod migrate;
mod reconcile;
mod regex;
mod subscribers;
#[cfg(test)]
mod tests;
mod topics;

pub(super) use door::{
    apply, classic_heartbeat, classic_join, classic_leave, classic_sync, describe, heartbeat,
    on_loaded, on_timer,
};
pub(super) use group::{ConsumerGroup, Phase};
pub(super) use subscribers::Subscribers;
