//! Consumer groups and the offsets they commit: one coordinator for each partition of `__consumer_offsets`.
//!
//! **Path.** A request comes from `api` over `shard`, which finds the partition by the group's name →
//! [`GroupCoordinator::handle`] decides, applies its own records and answers, now or later → the shell appends
//! [`GroupOutput::writes`] and lets [`GroupOutput::replies`] go once they are durable. Loading is
//! [`GroupCoordinator::replay`] over the partition's log, then [`GroupCoordinator::on_loaded`].
//!
//! **Invariants.** `apply` is the only thing that changes what is stored, live and in replay. Everything else (who
//! waits, who has joined the coming generation, deadlines) is soft: it is lost with the process, and clients bring
//! it back. Every token is answered once, or forgotten. A name is a classic group's or a consumer group's, never both.
//! What outlives its request is copied out of the request's frame.
//!
//! **Faults survived.** Requests of members that are gone, fenced or of another generation; members that fall silent in
//! any phase; a refused append: the shell throws the coordinator away and loads it again, so nothing here is undone.
//! Records that are not of any kind known here are passed over. A hostile client can neither make a record that does
//! not fit a batch, nor keep more bytes of member metadata than a group could ever store, nor take all groups together
//! past their share of memory: whatever would be new is refused there, and what is there goes on.
//!
//! **Not obvious.** The rebalance of a classic group is soft until its leader hands in the assignment: only then
//! one record makes the generation. An offset committed in a transaction is pending until the marker comes, and then
//! yields to an offset committed later outside it, because compaction would keep that one too. A group exists as
//! soon as it has an offset: "simple" consumers never join. Which topics exist is asked of the image, here and not in
//! `api`, so that one place says it for names and ids.

mod admin;
mod census;
mod classic;
mod consumer;
mod coordinator;
mod offsets;
mod record;
mod request;
#[cfg(test)]
mod tests;
mod timers;

pub use census::Census;
pub use coordinator::GroupCoordinator;
pub use offsets::CommittedOffset;
pub use record::GroupRecord;
pub use request::{
    Caller, GroupContext, GroupOutput, GroupReply, GroupRequest, GroupWrite, InTransaction,
    ListFilter, RequireStable,
};
