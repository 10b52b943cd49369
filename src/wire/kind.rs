//! The table of message kinds and their versions.

use rkyv::Portable;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::ArenaHandle;

use super::{
    BatchesV1, CreditsV1, ErrorV1, HelloV1, MetadataRequestV1, MetadataResponseV1,
    OffsetsRequestV1, OffsetsResponseV1, ProduceRequestV1, ProduceResponseV1, ProducerIdsRequestV1,
    ProducerIdsResponseV1, RaftMessageV1, RaftSnapshotChunkV1, ReplicaAckV1, ReplicaBatchesV1,
    ReplicaSubscribeV1, Schema, SubscribeV1, UnsubscribeV1, WelcomeV1,
};

/// A frozen type that is the control part of one kind at one version.
pub trait Control:
    Sized
    + rkyv::Archive<
        Archived: Portable
                      + for<'a> CheckBytes<HighValidator<'a, Failure>>
                      + rkyv::Deserialize<Self, HighDeserializer<Failure>>,
    > + for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Failure>>
    + Schema
{
    const KIND: Kind;
    const VERSION: u16;
}

/// One (kind, version) and its layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindRow {
    pub kind: Kind,
    pub version: u16,
    pub fingerprint: u64,
}

/// `Name = number: version => Type, …;` per kind. Numbers are for ever; versions of a kind are dense and ascend.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $number:literal: $($version:literal => $type:ident),+;)*) => {
        /// What a frame is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$meta])* $kind = $number,)*
        }

        impl Kind {
            /// Every kind, ascending.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];

            /// The kind of this number; `None` for one that this release does not know.
            pub fn from_u16(number: u16) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$kind),)*
                    _ => None,
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => stringify!($kind),)*
                }
            }
        }

        /// Every (kind, version) of this release, by ascending kind and version.
        pub static KINDS: &[KindRow] = &[
            $($(KindRow {
                kind: Kind::$kind,
                version: $version,
                fingerprint: <$type as Schema>::FINGERPRINT,
            },)+)*
        ];

        $($(impl Control for $type {
            const KIND: Kind = Kind::$kind;
            const VERSION: u16 = $version;
        })+)*
    };
}

kinds! {
    /// The first frame of a connection, from whoever opened it.
    Hello = 1: 1 => HelloV1;
    /// Its answer.
    Welcome = 2: 1 => WelcomeV1;
    /// The answer to a frame that cannot be served; also the last word before a connection is closed.
    Error = 3: 1 => ErrorV1;
    MetadataRequest = 16: 1 => MetadataRequestV1;
    MetadataResponse = 17: 1 => MetadataResponseV1;
    /// Body: the batches, in the order of the control part.
    ProduceRequest = 18: 1 => ProduceRequestV1;
    ProduceResponse = 19: 1 => ProduceResponseV1;
    ProducerIdsRequest = 20: 1 => ProducerIdsRequestV1;
    ProducerIdsResponse = 21: 1 => ProducerIdsResponseV1;
    OffsetsRequest = 22: 1 => OffsetsRequestV1;
    OffsetsResponse = 23: 1 => OffsetsResponseV1;
    /// Begins a stream of [`Kind::Batches`]; its correlation number names the stream. Not answered otherwise.
    Subscribe = 24: 1 => SubscribeV1;
    /// Pushed. Body: whole batches of one partition.
    Batches = 25: 1 => BatchesV1;
    /// Lets more bytes of a stream come. Not answered.
    Credits = 26: 1 => CreditsV1;
    /// Ends a stream. Not answered; what is on its way still arrives.
    Unsubscribe = 27: 1 => UnsubscribeV1;
    /// Follower to leader: begins the replication of some partitions.
    ReplicaSubscribe = 64: 1 => ReplicaSubscribeV1;
    /// Leader to follower, pushed. Body: the batches of its parts, in order.
    ReplicaBatches = 65: 1 => ReplicaBatchesV1;
    /// Follower to leader: what is durable, and credits.
    ReplicaAck = 66: 1 => ReplicaAckV1;
    /// Between voters. Body: the entries' data in order, then the snapshot's.
    RaftMessage = 96: 1 => RaftMessageV1;
    /// A piece of a snapshot too large for one message. Body: the piece.
    RaftSnapshotChunk = 97: 1 => RaftSnapshotChunkV1;
}

impl Kind {
    /// What a broker serves to clients on its native listeners, and what it answers them with.
    pub const CLIENT: &'static [Kind] = &[
        Kind::Hello,
        Kind::Welcome,
        Kind::Error,
        Kind::MetadataRequest,
        Kind::MetadataResponse,
        Kind::ProduceRequest,
        Kind::ProduceResponse,
        Kind::ProducerIdsRequest,
        Kind::ProducerIdsResponse,
        Kind::OffsetsRequest,
        Kind::OffsetsResponse,
        Kind::Subscribe,
        Kind::Batches,
        Kind::Credits,
        Kind::Unsubscribe,
    ];

    /// What answering a frame of this kind is called among Kafka's APIs, where both wires' requests are told; what a
    /// stream pushes is [`Kind::Batches`], and [`Kind::Error`] what is refused before its kind is looked at.
    ///
    /// - `None`: nothing is answered to it.
    pub fn api(self) -> Option<&'static str> {
        Some(match self {
            Kind::MetadataRequest => "NativeMetadata",
            Kind::ProduceRequest => "NativeProduce",
            Kind::ProducerIdsRequest => "NativeProducerIds",
            Kind::OffsetsRequest => "NativeOffsets",
            Kind::Batches => "NativePush",
            Kind::Error => "NativeRefused",
            _ => return None,
        })
    }

    /// The kind's versions in this release, ascending.
    pub fn rows(self) -> impl Iterator<Item = &'static KindRow> {
        KINDS.iter().filter(move |row| row.kind == self)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
