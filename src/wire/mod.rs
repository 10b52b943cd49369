//! The native wire: how Ringlog's own clients, and brokers among themselves, speak. Frames of a fixed header, an rkyv
//! control part that is read in place, and record batches as they are.
//!
//! **Path.** A socket's bytes → [`FrameBuffer`] cuts a [`Frame`] → [`Frame::read`] validates its control part and lends it
//! in place → `api` and `client`; the other way [`encode`] writes header and control, and the body follows from where it
//! lies. Uses `types`, `protocol` (its error codes).
//!
//! **Invariants.** A message's type is frozen: it is one (kind, version), and its bytes are held still by golden tests.
//! Which versions two ends use is agreed by ranges and schema fingerprints before anything else is said ([`agree`]), because
//! rkyv misreads another layout without noticing. Nothing of a frame is believed before the checksum over its header and
//! control part was seen, but the lengths, and these only as bounds. Bodies carry their own checksums, batch by batch.
//!
//! **Faults survived.** Any bytes: a wrong magic, lengths past the limits, a wrong checksum, an archive that does not
//! validate, lengths inside that do not add up. What [`FrameBuffer`] refuses ends the stream, which has lost its place; what
//! [`Frame::read`] refuses is answered, and so is a kind that is not known: both are skipped by their lengths.
//!
//! **Not obvious.** rkyv's `unaligned` and little-endian 32-bit offsets are part of the format: no other crate may change
//! these features. Enumerations are numbers here, because a closed enum of another size would be misread. A length
//! allocates nothing: memory grows with the bytes that arrive, at most twofold.

mod buffer;
mod error;
mod fetch;
mod frame;
mod handshake;
mod input;
mod kind;
mod metadata;
mod offsets;
mod produce;
mod raft;
mod replication;
mod schema;

pub use buffer::{FrameBuffer, FrameLimits};
pub use error::ErrorV1;
pub use fetch::{AbortedV1, BatchesV1, CreditsV1, SubscribeV1, SubscribedV1, UnsubscribeV1};
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, encode, reseal};
pub use handshake::{Agreed, AuthenticationV1, HelloV1, RangeV1, WelcomeV1, agree, offer};
pub use input::{Input, READ_MIN, TRUST_MAX};
pub use kind::{Control, KINDS, Kind, KindRow};
pub use metadata::{
    EndpointV1, MetadataRequestV1, MetadataResponseV1, PartitionV1, TopicV1, UNKNOWN_ENDPOINT,
    UNKNOWN_SHARD,
};
pub use offsets::{
    FoundOffsetV1, OffsetQueryV1, OffsetsRequestV1, OffsetsResponseV1, ProducerIdsRequestV1,
    ProducerIdsResponseV1,
};
pub use produce::{ProduceBatchV1, ProduceRequestV1, ProduceResponseV1, ProducedV1};
pub use raft::{RaftEntryV1, RaftMessageV1, RaftSnapshotChunkV1, RaftSnapshotV1, RaftVotersV1};
pub use replication::{
    ReplicaAckV1, ReplicaBatchesV1, ReplicaDurableV1, ReplicaPartV1, ReplicaPartitionV1,
    ReplicaSubscribeV1,
};
pub use schema::Schema;
