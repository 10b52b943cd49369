//! The classic protocol: a group's members elect a leader among themselves, who assigns.

mod group;
mod join;
mod pending;
mod rebalance;
mod sync;

pub(in crate::group) use group::{CONSUMER, ClassicGroup, ClassicMember, State};
pub(super) use join::join;
pub(in crate::group) use rebalance::prepare_rebalance;
pub(super) use rebalance::{
    on_commit, on_join_expired, on_loaded, on_session_expired, on_sync_expired,
};
pub(super) use sync::{heartbeat, leave, sync};
