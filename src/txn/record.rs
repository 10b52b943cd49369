//! The records of `__transaction_state`, in Kafka's schemas: TransactionLogKey v0, TransactionLogValue v0 and v1.
//!
//! Key: int16 version 0 · string transactional id.
//!
//! Value, after its int16 version:
//!
//! | field | type | when |
//! |---|---|---|
//! | producer id | int64 | |
//! | producer epoch | int16 | |
//! | time-out, milliseconds | int32 | |
//! | state | int8 | [`TxnState`] |
//! | partitions | nullable array of (string topic, array of int32) | null exactly in state Empty |
//! | last update, wall clock | int64 | |
//! | start, wall clock | int64 | −1 while no transaction was begun |
//! | tags 0, 1, 2, 3 | previous and next producer id, client's transaction version, next epoch | v1 only |
//!
//! v0 is in the classic encoding, v1 in the flexible one; a null value is a tombstone.

use std::fmt;

use bytes::Bytes;

use super::TxnState;
use crate::protocol::{DecodeError, Reader, Writer};
use crate::types::{ProducerEpoch, ProducerId, Str, Timestamp};

/// One record: what a transactional id has become, or that it is forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnRecord {
    pub transactional_id: Str,
    /// `None`: a tombstone.
    pub value: Option<TxnValue>,
}

/// What is remembered of a transactional id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnValue {
    /// In which version it is written. v0 has none of the tagged fields, which are lost with it.
    pub version: i16,
    pub producer_id: ProducerId,
    /// The producer id before the last change of state; differs from the present one right after a rotation.
    pub previous_producer_id: ProducerId,
    /// What the producer goes on with once the markers are written; −1 unless its epochs are used up.
    pub next_producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// The epoch that belongs to the next producer id (KIP-939); kept, not used.
    pub next_producer_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub state: TxnState,
    /// Topic and index, sorted, each once.
    pub partitions: Vec<(Str, i32)>,
    pub last_update: Timestamp,
    /// When the transaction that is open, or was last, began.
    pub start: Timestamp,
    /// What the client spoke when it last added partitions or decided: 2 from KIP-890 on, else 0.
    pub client_version: i16,
}

/// Bytes in a transaction's log that are none of its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The bytes do not decode.
    Malformed(DecodeError),
    /// A record without a key.
    NoKey,
    /// A state with no meaning.
    State(i8),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Malformed(error) => write!(f, "not a record of a transaction: {error}"),
            RecordError::NoKey => f.write_str("a record of a transaction must have a key"),
            RecordError::State(code) => write!(f, "no transaction has state {code}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> RecordError {
        RecordError::Malformed(error)
    }
}

const KEY_VERSION: i16 = 0;
const VALUE_VERSION_MAX: i16 = 1;

impl TxnRecord {
    /// The key's bytes, and the value's unless it is a tombstone.
    ///
    /// Panics if the value's version is not 0 or 1: whoever made it has not looked.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut w = Writer::new();
        w.i16(KEY_VERSION);
        w.string(Some(&self.transactional_id));
        (w.take().0, self.value.as_ref().map(TxnValue::encode))
    }

    /// Reads a record of the log.
    ///
    /// - `Ok(None)`: its key or value is of a version from the future, to be passed over.
    /// - `Err`: the bytes are not what they say; untrusted, so nothing panics or allocates by a length field.
    pub fn decode(
        key: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<Option<TxnRecord>, RecordError> {
        let mut r = Reader::new(key.ok_or(RecordError::NoKey)?);
        if r.i16()? != KEY_VERSION {
            return Ok(None);
        }
        let transactional_id = r.string()?.ok_or(DecodeError::Null)?.detach();
        r.finish()?;
        let Some(value) = value else {
            return Ok(Some(TxnRecord {
                transactional_id,
                value: None,
            }));
        };
        let value = TxnValue::decode(value)?;
        Ok(value.map(|value| TxnRecord {
            transactional_id,
            value: Some(value),
        }))
    }
}

impl TxnValue {
    fn encode(&self) -> Vec<u8> {
        assert!(
            (0..=VALUE_VERSION_MAX).contains(&self.version),
            "there is no value of version {}",
            self.version
        );
        let flexible = self.version >= 1;
        let mut w = Writer::new();
        w.i16(self.version);
        w.set_flexible(flexible);
        w.i64(self.producer_id.0);
        w.i16(self.producer_epoch.0);
        w.i32(self.timeout_ms);
        w.i8(self.state.code());
        self.encode_partitions(&mut w);
        w.i64(self.last_update.0);
        w.i64(self.start.0);
        if flexible {
            self.encode_tags(&mut w);
        }
        w.take().0
    }

    fn encode_partitions(&self, w: &mut Writer) {
        if self.state == TxnState::Empty {
            return w.length(None);
        }
        let topics = || self.partitions.chunk_by(|a, b| a.0 == b.0);
        w.length(Some(topics().count()));
        for topic in topics() {
            w.string(Some(&topic[0].0));
            w.length(Some(topic.len()));
            for (_, index) in topic {
                w.i32(*index);
            }
            if w.flexible() {
                w.uvarint(0);
            }
        }
    }

    /// Tagged fields are written only where they differ from their defaults, by ascending tag.
    fn encode_tags(&self, w: &mut Writer) {
        let previous = self.previous_producer_id != ProducerId::NONE;
        let next = self.next_producer_id != ProducerId::NONE;
        let client = self.client_version != 0;
        let epoch = self.next_producer_epoch != ProducerEpoch::NONE;
        w.uvarint([previous, next, client, epoch].map(u32::from).iter().sum());
        if previous {
            w.tagged(0, |w| w.i64(self.previous_producer_id.0));
        }
        if next {
            w.tagged(1, |w| w.i64(self.next_producer_id.0));
        }
        if client {
            w.tagged(2, |w| w.i16(self.client_version));
        }
        if epoch {
            w.tagged(3, |w| w.i16(self.next_producer_epoch.0));
        }
    }

    fn decode(bytes: Bytes) -> Result<Option<TxnValue>, RecordError> {
        let mut r = Reader::new(bytes);
        let version = r.i16()?;
        if !(0..=VALUE_VERSION_MAX).contains(&version) {
            return Ok(None);
        }
        r.set_flexible(version >= 1);
        let producer_id = ProducerId(r.i64()?);
        let producer_epoch = ProducerEpoch(r.i16()?);
        let timeout_ms = r.i32()?;
        let code = r.i8()?;
        let mut value = TxnValue {
            version,
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            producer_epoch,
            next_producer_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TxnState::from_code(code).ok_or(RecordError::State(code))?,
            partitions: decode_partitions(&mut r)?,
            last_update: Timestamp(r.i64()?),
            start: Timestamp(r.i64()?),
            client_version: 0,
        };
        if r.flexible() {
            r.tags(|r, tag| {
                match tag {
                    0 => value.previous_producer_id = ProducerId(r.i64()?),
                    1 => value.next_producer_id = ProducerId(r.i64()?),
                    2 => value.client_version = r.i16()?,
                    3 => value.next_producer_epoch = ProducerEpoch(r.i16()?),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        r.finish()?;
        Ok(Some(value))
    }
}

/// Sorted, each once, in memory of their own: they outlive the block of the log they are read from.
fn decode_partitions(r: &mut Reader) -> Result<Vec<(Str, i32)>, DecodeError> {
    let mut partitions = Vec::new();
    let skip = |_: &mut Reader, _| Ok(false);
    let topic_bytes_min = if r.flexible() { 3 } else { 6 };
    for _ in 0..r.array_length(topic_bytes_min, 0)?.unwrap_or(0) {
        let topic = r.string()?.ok_or(DecodeError::Null)?.detach();
        let indexes = r
            .array_length(4, size_of::<(Str, i32)>())?
            .ok_or(DecodeError::Null)?;
        for _ in 0..indexes {
            partitions.push((topic.clone(), r.i32()?));
        }
        if r.flexible() {
            r.tags(skip)?;
        }
    }
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}
