//! One file per Kafka API: from a message to what the shard does for it, and back.
//!
//! **Path.** `server/connection` cuts a frame → here [`start`] decodes it and begins its work → `shard` appends, reads,
//! proposes → here the response is encoded as a [`Frame`] → `server/connection` sends it in the order of the requests.
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

mod api_versions;
mod by_partition;
mod configs;
mod context;
mod delete_records;
mod describe_cluster;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod fetch;
mod fetch_session;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod rows;
mod topics;

pub use context::{Context, Frame, Outcome, Work};
pub use fetch_session::Sessions;
pub use rows::{ROWS, Refused, Route, Row, is_produce, start};
