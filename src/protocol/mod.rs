//! Kafka's wire protocol: every message that is served, read and written at every version.
//!
//! **Path.** `server` cuts the stream into frames → here [`RequestHeader::decode`] and the body's [`Message::decode`]
//! → `api` serves it → here [`write_response`] → `server` sends the buffer, with cache pages at its splices.
//!
//! **Invariants.** A message is defined once, by `message!`, in the file of its API; its row in the table of
//! [`ApiKey`] has the versions. What decodes at a version encodes to the same bytes, but for unknown tagged fields.
//! Names are Kafka's, in Rust's spelling. Only Kafka 4.3's versions exist.
//!
//! **Faults survived.** Any bytes: decoding returns [`DecodeError`], reads nothing outside the frame, and allocates
//! at most 16 bytes for each byte of the frame (and 16 KiB). Malformed input that Kafka lets pass (trailing bytes,
//! lengths below −1, repeated tags) is refused.
//!
//! **Not obvious.** Strings, bytes and records are slices that keep their whole frame alive. A nullable field defaults
//! to null, even where Kafka's own default is empty, so that what was never set is never sent as text; tagged fields
//! keep Kafka's default, which decides whether they are sent. Error codes in messages are bare `i16`: a newer broker
//! may send one that [`ErrorCode`] does not know. The header of the answer to ApiVersions is always version 0.
//! [`ApiKey::ALL`] is what can be read and written; what is served, and so advertised, is `api`'s to say.

mod api_key;
mod error_code;
mod header;
mod message;
mod reader;
mod stored;
#[cfg(test)]
mod tests;
mod writer;

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod consumer_protocol;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod group_records;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod write_txn_markers;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use header::{RequestHeader, ResponseHeader, read_response, write_request, write_response};
pub use message::{Message, Records, Request};
pub use reader::{DecodeError, Reader};
pub use stored::{Stored, stored_version};
pub use writer::{Splice, Writer};
