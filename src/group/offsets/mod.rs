//! Committed offsets: stored, pending in transactions, fetched, deleted and expired.

mod commit;
mod expire;
mod fetch;
mod store;

pub(super) use commit::{commit, commit_in_txn};
pub(super) use expire::{delete, drop_deleted_topics, expire};
pub(super) use fetch::fetch;
pub use store::CommittedOffset;
pub(super) use store::OffsetStore;
