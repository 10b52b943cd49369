//! What members of a classic consumer group tell each other through the broker: subscriptions and assignments.
//!
//! The broker keeps both as bytes. Every version begins as the ones before, so a reader takes what it knows and leaves
//! the rest: subscription v1 owned partitions · v2 generation (KIP-792) · v3 rack (KIP-881). Nothing is flexible.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::{DecodeError, Reader, Writer};
use crate::types::Str;

/// Partitions by topic.
pub type Partitions = BTreeMap<Str, Vec<i32>>;

/// What a member wants to read, and what it reads already.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Subscription {
    pub topics: Vec<Str>,
    /// Empty also where the member's assignor does not tell.
    pub owned: Partitions,
    /// The generation in which `owned` was handed out; −1: not told.
    pub generation: i32,
}

impl Subscription {
    /// Version 2, with the generation in the user data as well: where older sticky members look for it.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.i16(2);
        w.length(Some(self.topics.len()));
        for topic in &self.topics {
            w.string(Some(topic));
        }
        w.bytes(Some(&self.generation.to_be_bytes()));
        write_partitions(&mut w, &self.owned);
        w.i32(self.generation);
        Bytes::from(w.take().0)
    }

    /// Reads any version; `Err` where the bytes are something else.
    pub fn decode(bytes: &Bytes) -> Result<Subscription, DecodeError> {
        let mut r = Reader::new(bytes.clone());
        let version = r.i16()?;
        let count = r.array_length(2, size_of::<Str>())?.unwrap_or(0);
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            topics.push(r.string()?.unwrap_or_default().detach());
        }
        let user_data = r.bytes()?.unwrap_or_default();
        let mut found = Subscription {
            topics,
            owned: Partitions::new(),
            generation: sticky_generation(&user_data),
        };
        if version >= 1 {
            found.owned = read_partitions(&mut r)?;
        }
        if version >= 2 {
            found.generation = r.i32()?;
        }
        Ok(found)
    }
}

/// An assignment's bytes, version 1.
pub fn encode_assignment(partitions: &Partitions) -> Bytes {
    let mut w = Writer::new();
    w.i16(1);
    write_partitions(&mut w, partitions);
    w.bytes(None);
    Bytes::from(w.take().0)
}

/// Reads an assignment of any version; no bytes at all are an empty one.
pub fn decode_assignment(bytes: &Bytes) -> Result<Partitions, DecodeError> {
    if bytes.is_empty() {
        return Ok(Partitions::new());
    }
    let mut r = Reader::new(bytes.clone());
    r.i16()?;
    read_partitions(&mut r)
}

/// The generation that a cooperative-sticky member of before KIP-792 tells in its user data.
fn sticky_generation(user_data: &Bytes) -> i32 {
    user_data
        .get(..4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(-1, i32::from_be_bytes)
}

fn write_partitions(w: &mut Writer, partitions: &Partitions) {
    w.length(Some(partitions.len()));
    for (topic, indexes) in partitions {
        w.string(Some(topic));
        w.length(Some(indexes.len()));
        for index in indexes {
            w.i32(*index);
        }
    }
}

fn read_partitions(r: &mut Reader) -> Result<Partitions, DecodeError> {
    let topics = r
        .array_length(6, size_of::<(Str, Vec<i32>)>())?
        .unwrap_or(0);
    let mut found = Partitions::new();
    for _ in 0..topics {
        let topic = r.string()?.unwrap_or_default().detach();
        let count = r.array_length(4, size_of::<i32>())?.unwrap_or(0);
        let indexes: &mut Vec<i32> = found.entry(topic).or_default();
        for _ in 0..count {
            indexes.push(r.i32()?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    //! Goal: what other clients write is understood. Method: bytes as Kafka's Java client lays them out, there and back.

    use super::*;

    fn partitions(rows: &[(&str, &[i32])]) -> Partitions {
        rows.iter()
            .map(|(topic, indexes)| (Str::from(*topic), indexes.to_vec()))
            .collect()
    }

    #[test]
    fn a_subscription_survives_its_bytes() {
        let subscription = Subscription {
            topics: vec!["a".into(), "b".into()],
            owned: partitions(&[("a", &[0, 3])]),
            generation: 7,
        };
        assert_eq!(
            Subscription::decode(&subscription.encode()),
            Ok(subscription)
        );
    }

    #[test]
    fn the_first_and_the_newest_version_are_read() {
        // v0: topic "t", no user data.
        let v0 = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        let read = Subscription::decode(&v0).unwrap();
        assert_eq!((read.topics, read.generation), (vec!["t".into()], -1));
        // v3: the same, partition 5 of it owned since generation 2, and a rack.
        let v3 = Bytes::from_static(
            b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\x02\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\0\0\0\x02\0\x01r",
        );
        let read = Subscription::decode(&v3).unwrap();
        assert_eq!(
            (read.owned, read.generation),
            (partitions(&[("t", &[5])]), 2)
        );
    }

    #[test]
    fn assignments_survive_their_bytes_and_nothing_is_an_empty_one() {
        let assigned = partitions(&[("a", &[1, 2]), ("b", &[])]);
        assert_eq!(
            decode_assignment(&encode_assignment(&assigned)),
            Ok(assigned)
        );
        assert_eq!(decode_assignment(&Bytes::new()), Ok(Partitions::new()));
    }

    #[test]
    fn rubbish_and_lengths_that_lie_are_errors() {
        for bytes in [
            &b"\0"[..],
            b"\0\x01\x7f\xff\xff\xff",
            b"\0\x01\0\0\0\x01\0\x05ab",
        ] {
            assert!(
                decode_assignment(&Bytes::from_static(bytes)).is_err(),
                "{bytes:?}"
            );
            assert!(
                Subscription::decode(&Bytes::from_static(bytes)).is_err(),
                "{bytes:?}"
            );
        }
    }
}
