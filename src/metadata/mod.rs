//! Cluster metadata: the records that change it, the image they build, and the decisions that make them.
//!
//! **Path.** A command comes from `api` over the controller's one `propose` door (in `shard`, on shard 0) →
//! [`decide`] reads the [`Image`] and answers records and a [`Reply`] → the shell frames the records as one
//! [`Entry`] and makes it durable (later: has the quorum commit it) → every shard [`Image::apply`]s the records to
//! its own copy → the reply leaves. Start-up is a [`Snapshot`] and the entries behind it through the same `apply`.
//!
//! **Invariants.** [`Image::apply`] is the only mutator; `decide` changes nothing, reads no clock and draws no
//! chance but what [`Context`] hands it. What `decide` returns for an image applies to that image without fault, as
//! a whole. Topic ids are unique; partitions are dense from 0; a leader is in the ISR and the ISR is in the
//! replicas; no override outlives its topic. An image equals the one rebuilt from its own snapshot.
//!
//! **Faults survived.** Bytes of the log and of a snapshot are untrusted: torn, flipped or foreign ones are a
//! [`FrameError`], a sequence that `decide` cannot have made is an [`ApplyError`], and neither panics or allocates
//! by a length field. A bad topic or resource of a request is a row of its reply; its siblings go on.
//!
//! **Not obvious.** An entry, not a record, has a log offset: an entry is what Raft commits, so its records come
//! in together or not at all. rkyv has no schema evolution and misreads silently, therefore every record is framed
//! with its own (kind, version), and each pair is one frozen type ([`record`]): a new field is a new version.
//! Counters that must never run backwards (broker epochs, the features' epoch) are records too, or a snapshot
//! would lose them. `decide` must be given an image that has applied everything proposed before it.

mod apply;
mod brokers;
mod command;
mod configs;
mod error;
mod frame;
mod image;
mod leaders;
mod owner;
mod partitions;
mod placement;
mod reassignments;
pub mod record;
mod topic_name;
mod topics;

#[cfg(test)]
mod tests;

pub use apply::ApplyError;
pub use command::{
    AllocateProducerIds, AlterConfigs, AlterPartitionReassignments, Bootstrap, Command,
    ConfigChange, ConfigEdit, ConfigOp, ConfigRow, ConfigRules, Context, CreatePartitions,
    CreateTopics, Decision, DeleteTopics, DeletedTopic, EditedResource, IncrementalAlterConfigs,
    ListOp, NewPartitions, NewReplicas, NewTopic, ProducerIdBlock, Registration, ReplicaAssignment,
    Reply, Supersede, TopicCreated, TopicRow, TopicTarget, decide,
};
pub use error::ApiError;
pub use frame::{
    ENTRY_BYTES_MAX, Entry, FRAME_HEADER_BYTES, FrameError, FrameHeader, Snapshot, decode_entry,
    decode_snapshot, encode_entry, encode_snapshot,
};
pub use image::{
    Broker, Endpoint, FeatureRange, Image, Overrides, Partition, Reassignment, ResourceKind, Topic,
};
pub use owner::shard_of;
pub use record::MetadataRecord;
pub use topic_name::{is_internal, validate_topic_name};
