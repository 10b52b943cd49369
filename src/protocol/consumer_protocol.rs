//! What consumers put into a classic group's opaque bytes: subscription and assignment of the type `consumer`.
//!
//! Subscription: v1 owned partitions (KIP-429) · v2 generation (KIP-792) · v3 rack (KIP-881). Never flexible. Newer
//! versions only append fields, so they are read as the newest known here.

use bytes::Bytes;

use crate::types::Str;

use super::message::message;
use super::reader::DecodeError;
use super::stored::{Stored, stored, stored_version};

message! {
    ConsumerProtocolSubscription {
        topics: Vec<Str>,
        user_data: Option<Bytes>,
        owned_partitions: Vec<TopicPartitions> [1..],
        generation_id: i32 [2..] = -1,
        rack_id: Option<Str> [3..],
    }

    ConsumerProtocolAssignment {
        assigned_partitions: Vec<TopicPartitions>,
        user_data: Option<Bytes>,
    }

    TopicPartitions {
        topic: Str,
        partitions: Vec<i32>,
    }
}

stored! {
    ConsumerProtocolSubscription: 0..=3;
    ConsumerProtocolAssignment: 0..=3;
}

impl ConsumerProtocolSubscription {
    /// Reads a member's metadata, of any version from 0 on.
    pub fn parse(metadata: &Bytes) -> Result<ConsumerProtocolSubscription, DecodeError> {
        parse(metadata)
    }
}

impl ConsumerProtocolAssignment {
    /// Reads a member's assignment, of any version from 0 on; empty bytes are an empty assignment.
    pub fn parse(assignment: &Bytes) -> Result<ConsumerProtocolAssignment, DecodeError> {
        if assignment.is_empty() {
            return Ok(ConsumerProtocolAssignment::default());
        }
        parse(assignment)
    }
}

fn parse<T: Stored>(bytes: &Bytes) -> Result<T, DecodeError> {
    let version = stored_version(bytes)?;
    T::decode_body(bytes.slice(2..), version.min(T::VERSIONS.1))
}
