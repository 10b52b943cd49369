//! What can be wrong with a batch, and which of Kafka's answers each fault deserves.

use std::fmt;

use super::Codec;

/// Why a batch was refused. [`RecordError::verdict`] says which Kafka error it becomes; the numbers in the
/// comments are Kafka 4.3's own answers to the same bytes, where they differ from ours that is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// Fewer bytes than a header, or than the header's length. INVALID_RECORD (87): "no batch".
    Truncated { bytes: usize, needed: usize },
    /// Bytes after the batch: a producer sends exactly one (KIP-98). INVALID_RECORD (87); Kafka drops what is no whole
    /// batch and answers so only to a second one.
    Trailing { bytes: usize },
    /// A length that no batch can have. CORRUPT_MESSAGE (2).
    Length { length: i32 },
    /// Not a v2 batch. 0 and 1, message formats gone with Kafka 4.0: INVALID_RECORD (87); others: CORRUPT_MESSAGE (2).
    Magic { magic: i8 },
    /// Larger than `max.message.bytes` as sent. MESSAGE_TOO_LARGE (10).
    TooLarge { bytes: usize, bytes_max: usize },
    /// The CRC in the header is not that of the bytes. CORRUPT_MESSAGE (2).
    Crc { stated: u32, computed: u32 },
    /// A codec id that nobody has defined. UNSUPPORTED_COMPRESSION_TYPE (76); Kafka: UNKNOWN_SERVER_ERROR.
    CodecId { id: u8 },
    /// A producer's batch must begin at offset 0. INVALID_RECORD (87).
    BaseOffset { base_offset: i64 },
    /// The count is not positive, or not what the last offset delta says. INVALID_RECORD (87).
    Count { count: i32, last_offset_delta: i32 },
    /// A client may not write control records. INVALID_RECORD (87).
    Control,
    /// A producer id without an epoch or a sequence. INVALID_RECORD (87); Kafka lets the epoch be −1.
    Producer {
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    },
    /// The producer set the timestamp type to log append time. INVALID_TIMESTAMP (32).
    LogAppendTime,
    /// A record is malformed. INVALID_RECORD (87).
    Record { index: i32, why: Why },
    /// Bytes after the last record. INVALID_RECORD (87).
    RecordsTrailing { bytes: usize },
    /// The compressed records do not inflate. CORRUPT_MESSAGE (2); Kafka: UNKNOWN_SERVER_ERROR for most codecs.
    Inflate { codec: Codec },
    /// The compressed records inflate to more than is allowed. MESSAGE_TOO_LARGE (10). Kafka has no such bound.
    InflatedTooLarge { bytes_max: usize },
    /// Every record is well formed, but some may not be in this topic. Goes out with one `record_errors` row each.
    /// INVALID_TIMESTAMP (32) if a timestamp is among the reasons, else INVALID_RECORD (87).
    Refused { faults: Vec<RecordFault> },
}

/// One record that its topic does not accept; a row of the response's `record_errors`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordFault {
    /// The record's index in its batch, from 0.
    pub index: i32,
    pub kind: RecordFaultKind,
}

/// Why a well-formed record is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordFaultKind {
    /// A compacted topic needs a key.
    NoKey,
    /// Outside `message.timestamp.before.max.ms` / `.after.max.ms`.
    Timestamp {
        timestamp: i64,
        earliest: i64,
        latest: i64,
    },
}

/// What is malformed in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Its length is negative or past the end of the batch.
    Length,
    /// Its fields take fewer or more bytes than its length.
    Size,
    /// A varint is cut short or too long.
    Varint,
    /// Its timestamp does not fit 64 bits.
    Timestamp,
    /// Its offset delta is not its index (or, in a log, does not ascend within the batch). Kafka does not look at it in
    /// uncompressed batches, and then serves offsets that are wrong.
    OffsetDelta,
    /// The key's length is below −1 (null, for Kafka) or past the record's end.
    Key,
    /// The value's length is below −1 (null, for Kafka) or past the record's end.
    Value,
    /// A header's count, key or value is negative or past the record's end.
    Headers,
}

/// The closed list of answers to a refused batch; each is one Kafka error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// CORRUPT_MESSAGE (2): the bytes changed on the way; clients send again.
    Corrupt,
    /// MESSAGE_TOO_LARGE (10): clients split the batch and send again.
    TooLarge,
    /// INVALID_TIMESTAMP (32).
    InvalidTimestamp,
    /// UNSUPPORTED_COMPRESSION_TYPE (76).
    UnsupportedCodec,
    /// INVALID_RECORD (87).
    InvalidRecord,
}

impl RecordError {
    /// Which Kafka error this becomes.
    pub fn verdict(&self) -> Verdict {
        use RecordError::*;
        match self {
            Length { .. } | Crc { .. } | Inflate { .. } => Verdict::Corrupt,
            Magic { magic: 0 | 1 } => Verdict::InvalidRecord,
            Magic { .. } => Verdict::Corrupt,
            TooLarge { .. } | InflatedTooLarge { .. } => Verdict::TooLarge,
            CodecId { .. } => Verdict::UnsupportedCodec,
            LogAppendTime => Verdict::InvalidTimestamp,
            Refused { faults } => match faults.iter().any(RecordFault::is_timestamp) {
                true => Verdict::InvalidTimestamp,
                false => Verdict::InvalidRecord,
            },
            Truncated { .. }
            | Trailing { .. }
            | BaseOffset { .. }
            | Count { .. }
            | Control
            | Producer { .. }
            | Record { .. }
            | RecordsTrailing { .. } => Verdict::InvalidRecord,
        }
    }

    /// Whether the bytes are no single v2 batch, so that nothing in them has been looked at.
    pub fn is_shape(&self) -> bool {
        use RecordError::*;
        matches!(
            self,
            Truncated { .. } | Trailing { .. } | Length { .. } | Magic { .. }
        )
    }

    /// The rows of the response's `record_errors`; empty where the fault is not one of single records.
    pub fn faults(&self) -> &[RecordFault] {
        match self {
            RecordError::Refused { faults } => faults,
            _ => &[],
        }
    }
}

impl RecordFault {
    fn is_timestamp(&self) -> bool {
        matches!(self.kind, RecordFaultKind::Timestamp { .. })
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RecordFaultKind::NoKey => {
                f.write_str("a compacted topic does not accept a record without a key")
            }
            RecordFaultKind::Timestamp {
                timestamp,
                earliest,
                latest,
            } => write!(f, "timestamp {timestamp} is outside [{earliest}, {latest}]"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Length => "its length leaves the batch",
            Why::Size => "its fields do not fill its length",
            Why::Varint => "a varint is malformed",
            Why::Timestamp => "its timestamp does not fit 64 bits",
            Why::OffsetDelta => "its offset delta is out of order",
            Why::Key => "its key's length is malformed",
            Why::Value => "its value's length is malformed",
            Why::Headers => "its headers are malformed",
        })
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RecordError::*;
        match self {
            Truncated { bytes, needed } => write!(f, "{bytes} bytes where a batch needs {needed}"),
            Trailing { bytes } => write!(f, "{bytes} bytes after the one batch allowed"),
            Length { length } => write!(f, "no batch has length {length}"),
            Magic { magic } => write!(f, "magic {magic} where only 2 is supported"),
            TooLarge { bytes, bytes_max } => {
                write!(f, "the batch has {bytes} bytes, more than {bytes_max}")
            }
            Crc { stated, computed } => {
                write!(
                    f,
                    "CRC {computed:#010x} where the batch says {stated:#010x}"
                )
            }
            CodecId { id } => write!(f, "unknown compression codec {id}"),
            BaseOffset { base_offset } => write!(f, "base offset {base_offset} where 0 is due"),
            Count {
                count,
                last_offset_delta,
            } => write!(
                f,
                "{count} records do not fit last offset delta {last_offset_delta}"
            ),
            Control => f.write_str("clients may not write control records"),
            Producer {
                producer_id,
                producer_epoch,
                base_sequence,
            } => write!(
                f,
                "producer {producer_id} does not fit epoch {producer_epoch} and sequence {base_sequence}"
            ),
            LogAppendTime => f.write_str("a producer may not set log append time"),
            Record { index, why } => write!(f, "record {index}: {why}"),
            RecordsTrailing { bytes } => write!(f, "{bytes} bytes after the last record"),
            Inflate { codec } => write!(f, "the records are not valid {codec}"),
            InflatedTooLarge { bytes_max } => {
                write!(f, "the records inflate to more than {bytes_max} bytes")
            }
            Refused { faults } => {
                write!(f, "{} records refused", faults.len())?;
                match faults.first() {
                    Some(first) => write!(f, ", the first, {}: {first}", first.index),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for RecordError {}
