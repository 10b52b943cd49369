//! One file per Kafka API: from a message to what the shard does for it, and back.
//!
//! **Path.** `server/connection` cuts a frame → here [`start`] decodes it and begins its work → `shard` appends, reads,
//! proposes → here the response is encoded as a [`Frame`] → `server/connection` sends it in the order of the requests.
//!
//! [`native`] does the same for the frames of Ringlog's own wire.
//!
//! **Invariants.** One row per API in [`ROWS`], and ApiVersions tells just these rows. What a Produce appends is
//! appended before [`start`] returns, so requests of one connection keep their order. A handler holds no borrow of the
//! image across an await.
//!
//! **Faults survived.** Frames that do not decode, APIs and versions that are not served (the connection is closed, as
//! Kafka does), topics that come and go while a request runs.
//!
//! **Not obvious.** Every error inside a response is Kafka's code for it; where a request can only be refused as a whole
//! and Kafka would leave the client to its time-out, the fitting code is answered instead.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_replica_log_dirs;
mod api_versions;
mod broker_loggers;
mod by_partition;
mod configs;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod context;
mod delete_groups;
mod delete_records;
mod describe_cluster;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod end_txn;
mod fetch;
mod fetch_session;
mod find_coordinator;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
pub mod native;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod reassignments;
mod rows;
mod sync_group;
mod topics;
mod txn_offset_commit;
mod write_txn_markers;

pub use context::{Context, Frame, Outcome, Times, Work};
pub use fetch_session::Sessions;
pub use rows::{ROWS, Refused, Route, Row, is_produce, key_and_version, start};
