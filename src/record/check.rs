//! The one gate: bytes of unknown origin become a [`CheckedBatch`] or a [`RecordError`].

use bytes::Bytes;

use super::header::{CRC_START, MAGIC, TimestampType};
use super::iterate::RecordFields;
use super::{
    BATCH_HEADER_BYTES, BatchHeader, Codec, Codecs, RecordError, RecordFault, RecordFaultKind, Why,
    crc32c,
};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// What a batch is held against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The whole batch as it came, `max.message.bytes`.
    pub bytes_max: usize,
    /// Its records inflated; looked at only when they are inflated.
    pub inflated_bytes_max: usize,
    pub origin: Origin,
    pub walk: Walk,
    pub timestamps: TimestampRule,
}

/// Who sent the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A producer: base offset 0, records counted from 0 without a gap, no control batch.
    Client,
    /// A leader or our own disk: stamped, perhaps compacted, perhaps empty, perhaps control.
    Log,
}

/// How far the check goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walk {
    /// Header and CRC.
    Headers,
    /// Uncompressed records too. Compressed ones only if the timestamps cannot be judged without.
    Records,
    /// All records, inflated if need be: what Kafka does with a producer's batch.
    Inflated,
    /// All records, inflated if need be, and each must have a key: compacted topics.
    Keys,
}

/// `message.timestamp.type` and its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampRule {
    /// Whatever stands there.
    Any,
    /// Each record's own must lie in `[earliest, latest]`; −1 always may. A compressed batch is believed its max
    /// timestamp unless there is an `earliest`, or the max lies beyond `latest`.
    CreateTime {
        earliest: Timestamp,
        latest: Timestamp,
    },
    /// The broker will stamp its own; the producer may not claim to have.
    LogAppendTime,
}

/// What the check learnt about a batch.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub header: BatchHeader,
    /// The smallest timestamp of a record that has one; `None` if the records were not walked or have none.
    pub min_timestamp: Option<Timestamp>,
    /// The largest timestamp of a record; the header's word where the records were not walked.
    pub max_timestamp: Timestamp,
    /// What [`stamp_max_timestamp`](super::stamp_max_timestamp) must write into the copy that is kept, because the
    /// header says otherwise, as Kafka does. `None` for nearly every batch.
    pub restamp: Option<(TimestampType, Timestamp)>,
}

/// Exactly one batch, checked. Shares the frame it came in.
#[derive(Clone, Debug)]
pub struct CheckedBatch {
    bytes: Bytes,
    facts: Facts,
}

/// Checks `bytes`, which must be exactly one batch: length, magic, size, CRC (one pass), header, records.
///
/// - `limits`: what it is held against; [`Limits::client`] and [`Limits::log`] are where to begin.
/// - `codecs`: used only for what `limits` makes necessary to inflate.
/// - `Err`: the first fault, in the order in which Kafka's broker finds them; for single records, all of them.
/// - Source: record batch v2, KIP-98; Kafka 4.3's answers to the same bytes, see [`RecordError`].
pub fn check(
    bytes: Bytes,
    limits: &Limits,
    codecs: &mut Codecs,
) -> Result<CheckedBatch, RecordError> {
    let facts = check_slice(&bytes, limits, codecs)?;
    Ok(CheckedBatch { bytes, facts })
}

/// The same check for bytes that stay where they are: recovery over pages of a file.
pub fn check_slice(
    batch: &[u8],
    limits: &Limits,
    codecs: &mut Codecs,
) -> Result<Facts, RecordError> {
    let header = check_shape(batch, limits)?;
    check_crc(batch, header)?;
    let codec = check_header(header, limits)?;
    let unwalked = Facts {
        header: *header,
        min_timestamp: None,
        max_timestamp: header.max_timestamp(),
        restamp: None,
    };
    let facts = match limits.must_walk(header, codec) {
        false => unwalked,
        true => {
            let compressed = &batch[BATCH_HEADER_BYTES..];
            let records = codecs.inflate(codec, compressed, limits.inflated_bytes_max)?;
            check_records(header, records, limits)?
        }
    };
    Ok(facts.with_restamp(limits))
}

/// One whole v2 batch, no byte more, of a size that may be.
fn check_shape<'a>(batch: &'a [u8], limits: &Limits) -> Result<&'a BatchHeader, RecordError> {
    let header = BatchHeader::view(batch)?;
    let size = header.size()?;
    if header.magic != MAGIC {
        return Err(RecordError::Magic {
            magic: header.magic,
        });
    }
    if batch.len() < size {
        return Err(RecordError::Truncated {
            bytes: batch.len(),
            needed: size,
        });
    }
    if batch.len() > size {
        return Err(RecordError::Trailing {
            bytes: batch.len() - size,
        });
    }
    if limits.origin == Origin::Client && header.base_offset.get() != 0 {
        return Err(RecordError::BaseOffset {
            base_offset: header.base_offset.get(),
        });
    }
    if size > limits.bytes_max {
        return Err(RecordError::TooLarge {
            bytes: size,
            bytes_max: limits.bytes_max,
        });
    }
    Ok(header)
}

fn check_crc(batch: &[u8], header: &BatchHeader) -> Result<(), RecordError> {
    let (stated, computed) = (header.crc(), crc32c(&batch[CRC_START..]));
    match stated == computed {
        true => Ok(()),
        false => Err(RecordError::Crc { stated, computed }),
    }
}

/// The header's fields against each other.
fn check_header(header: &BatchHeader, limits: &Limits) -> Result<Codec, RecordError> {
    let (count, last) = (header.count(), header.last_offset_delta());
    let counted = match limits.origin {
        Origin::Client => count > 0 && last == count - 1,
        Origin::Log => count >= 0 && last >= 0 && count - 1 <= last,
    };
    if !counted {
        return Err(RecordError::Count {
            count,
            last_offset_delta: last,
        });
    }
    if limits.origin == Origin::Client {
        check_claims(header, limits)?;
    }
    header.codec().ok_or(RecordError::CodecId {
        id: header.codec_id(),
    })
}

/// What a client may not say of its batch.
fn check_claims(header: &BatchHeader, limits: &Limits) -> Result<(), RecordError> {
    if header.is_control() {
        return Err(RecordError::Control);
    }
    let idempotent = header.producer_id().0 >= 0;
    if idempotent && (header.base_sequence() < 0 || header.producer_epoch().0 < 0) {
        return Err(RecordError::Producer {
            producer_id: header.producer_id().0,
            producer_epoch: header.producer_epoch().0,
            base_sequence: header.base_sequence(),
        });
    }
    if limits.timestamps == TimestampRule::LogAppendTime
        && header.timestamp_type() == TimestampType::LogAppendTime
    {
        return Err(RecordError::LogAppendTime);
    }
    Ok(())
}

/// Every record well formed and in its place, then what the topic accepts.
fn check_records(
    header: &BatchHeader,
    records: &[u8],
    limits: &Limits,
) -> Result<Facts, RecordError> {
    let walked = walk(header, records)?;
    let in_bounds = match limits.timestamps {
        TimestampRule::CreateTime { earliest, latest } => {
            walked.min_timestamp.is_none_or(|min| min >= earliest) && walked.max_timestamp <= latest
        }
        _ => true,
    };
    if !in_bounds || (walked.has_keyless && limits.walk == Walk::Keys) {
        return Err(RecordError::Refused {
            faults: faults(header, records, limits),
        });
    }
    Ok(Facts {
        header: *header,
        min_timestamp: walked.min_timestamp,
        max_timestamp: walked.max_timestamp,
        restamp: None,
    })
}

struct Walked {
    min_timestamp: Option<Timestamp>,
    max_timestamp: Timestamp,
    has_keyless: bool,
}

/// One pass over inflated records that looks at nothing but lengths and deltas.
fn walk(header: &BatchHeader, records: &[u8]) -> Result<Walked, RecordError> {
    let base = header.base_timestamp.get();
    let (mut min, mut max) = (i64::MAX, Timestamp::NONE.0);
    let mut has_keyless = false;
    let mut fields = RecordFields::new(header, records);
    while let Some(record) = fields.next() {
        let record = record?;
        let timestamp = record.timestamp(base).ok_or(RecordError::Record {
            index: fields.index - 1,
            why: Why::Timestamp,
        })?;
        if timestamp != Timestamp::NONE {
            min = min.min(timestamp.0);
        }
        max = max.max(timestamp.0);
        has_keyless |= record.key.is_none();
    }
    Ok(Walked {
        min_timestamp: (min != i64::MAX).then_some(Timestamp(min)),
        max_timestamp: Timestamp(max),
        has_keyless,
    })
}

/// The walk alone, for records that were inflated for another reason.
pub(super) fn check_walk(header: &BatchHeader, records: &[u8]) -> Result<(), RecordError> {
    walk(header, records).map(|_| ())
}

/// Every record that the topic does not accept; only when at least one is known to exist.
#[cold]
fn faults(header: &BatchHeader, records: &[u8], limits: &Limits) -> Vec<RecordFault> {
    let base = header.base_timestamp.get();
    let mut faults = Vec::new();
    for (index, fields) in RecordFields::new(header, records).flatten().enumerate() {
        let timestamp = fields.timestamp(base).unwrap_or(Timestamp::NONE);
        let kind = match limits.timestamps {
            _ if limits.walk == Walk::Keys && fields.key.is_none() => RecordFaultKind::NoKey,
            TimestampRule::CreateTime { earliest, latest }
                if timestamp != Timestamp::NONE && !(earliest..=latest).contains(&timestamp) =>
            {
                RecordFaultKind::Timestamp {
                    timestamp: timestamp.0,
                    earliest: earliest.0,
                    latest: latest.0,
                }
            }
            _ => continue,
        };
        faults.push(RecordFault {
            index: index as i32,
            kind,
        });
    }
    faults
}

impl Limits {
    /// What a producer's batch is held against, before what its topic adds.
    pub fn client(bytes_max: usize, inflated_bytes_max: usize) -> Limits {
        Limits {
            bytes_max,
            inflated_bytes_max,
            origin: Origin::Client,
            walk: Walk::Records,
            timestamps: TimestampRule::Any,
        }
    }

    /// What a batch from our own disk or from a leader is held against: length, CRC and header.
    pub fn log() -> Limits {
        Limits {
            bytes_max: usize::MAX,
            inflated_bytes_max: usize::MAX,
            origin: Origin::Log,
            walk: Walk::Headers,
            timestamps: TimestampRule::Any,
        }
    }

    fn must_walk(&self, header: &BatchHeader, codec: Codec) -> bool {
        match self.walk {
            Walk::Headers => false,
            Walk::Inflated | Walk::Keys => true,
            Walk::Records if codec == Codec::None => true,
            Walk::Records => match self.timestamps {
                TimestampRule::CreateTime { earliest, latest } => {
                    earliest.0 > Timestamp::NONE.0 || header.max_timestamp() > latest
                }
                TimestampRule::Any | TimestampRule::LogAppendTime => false,
            },
        }
    }
}

impl Facts {
    fn with_restamp(mut self, limits: &Limits) -> Facts {
        let stated = (self.header.timestamp_type(), self.header.max_timestamp());
        let due = (TimestampType::CreateTime, self.max_timestamp);
        if let TimestampRule::CreateTime { .. } = limits.timestamps
            && stated != due
        {
            self.restamp = Some(due);
        }
        self
    }
}

impl CheckedBatch {
    /// A batch that this room made itself.
    pub(super) fn vouched(bytes: Bytes, facts: Facts) -> CheckedBatch {
        CheckedBatch { bytes, facts }
    }

    /// The batch as it came: base offset and leader epoch not yet stamped.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn header(&self) -> &BatchHeader {
        &self.facts.header
    }

    /// Bytes of the batch, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn codec(&self) -> Codec {
        self.header().codec().expect("checked")
    }

    pub fn count(&self) -> i32 {
        self.header().count()
    }

    pub fn base_offset(&self) -> Offset {
        self.header().base_offset()
    }

    pub fn last_offset_delta(&self) -> i32 {
        self.header().last_offset_delta()
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.header().leader_epoch()
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.header().timestamp_type()
    }

    pub fn base_timestamp(&self) -> Timestamp {
        self.header().base_timestamp()
    }

    /// The largest timestamp of a record, as far as the check went: [`Facts::max_timestamp`].
    pub fn max_timestamp(&self) -> Timestamp {
        self.facts.max_timestamp
    }

    /// What the copy that is kept must be stamped with: [`Facts::restamp`].
    pub fn restamp(&self) -> Option<(TimestampType, Timestamp)> {
        self.facts.restamp
    }

    pub fn is_transactional(&self) -> bool {
        self.header().is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.header().is_control()
    }

    pub fn producer_id(&self) -> ProducerId {
        self.header().producer_id()
    }

    pub fn producer_epoch(&self) -> ProducerEpoch {
        self.header().producer_epoch()
    }

    pub fn base_sequence(&self) -> i32 {
        self.header().base_sequence()
    }

    /// The sequence number of the last record, past `i32::MAX` from 0 again.
    pub fn last_sequence(&self) -> i32 {
        self.header().last_sequence()
    }
}
