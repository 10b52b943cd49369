//! Batches made here: by the client and the load generator, by coordinators, and by recompression.

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::check::check_walk;
use super::header::{BatchHeader, CRC_START, MAGIC, UNCOUNTED_BYTES};
use super::varint::{put, size};
use super::{BATCH_HEADER_BYTES, CheckedBatch, Codec, Codecs, Facts, Header, RecordError, crc32c};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Puts records into a batch, and starts over with the next. No allocation per record, one or two per batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    level: Option<i32>,
    capacity: usize,
    /// Room for the header, then the records as they are before compression.
    batch: Vec<u8>,
    count: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

/// What a batch says of itself beside its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSeal {
    /// 0 from a producer.
    pub base_offset: Offset,
    /// [`LeaderEpoch::NONE`] from a producer.
    pub leader_epoch: LeaderEpoch,
    /// `None`: not idempotent.
    pub producer: Option<Producer>,
    pub is_transactional: bool,
    pub is_control: bool,
}

/// The idempotent producer's part (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub base_sequence: i32,
}

/// The most bytes that a record's fields take beside key, value and headers: five varints of five bytes, one of ten.
const PREFIX_BYTES_MAX: usize = 36;

impl Default for BatchSeal {
    /// A plain producer's.
    fn default() -> BatchSeal {
        BatchSeal {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            producer: None,
            is_transactional: false,
            is_control: false,
        }
    }
}

impl BatchBuilder {
    /// An empty batch.
    ///
    /// - `capacity`: bytes of memory taken ahead; a batch may grow past it.
    pub fn new(codec: Codec, capacity: usize) -> BatchBuilder {
        let mut builder = BatchBuilder {
            codec,
            level: None,
            capacity: capacity.max(BATCH_HEADER_BYTES),
            batch: Vec::new(),
            count: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
        };
        builder.clear();
        builder
    }

    /// Compresses at another level than the codec's own: `compression.gzip.level`, `compression.lz4.level`,
    /// `compression.zstd.level`. A level outside the codec's range is taken to its nearest end; snappy has none.
    pub fn with_level(mut self, level: i32) -> BatchBuilder {
        self.level = Some(level);
        self
    }

    /// Adds one record. The caller keeps the batch below 2 GiB by looking at [`BatchBuilder::size`].
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let body = 1
            + size(timestamp_delta)
            + size(self.count as i64)
            + nullable_size(key)
            + nullable_size(value)
            + size(headers.len() as i64)
            + headers.iter().map(header_size).sum::<usize>();

        let mut prefix = [0; PREFIX_BYTES_MAX];
        let mut at = put(&mut prefix, body as i64);
        at += 1; // The attributes of a record: none are defined.
        at += put(&mut prefix[at..], timestamp_delta);
        at += put(&mut prefix[at..], self.count as i64);
        at += put(&mut prefix[at..], key.map_or(-1, |key| key.len() as i64));
        self.batch.reserve(body + 5);
        self.batch.extend_from_slice(&prefix[..at]);
        self.batch.extend_from_slice(key.unwrap_or_default());
        put_nullable(&mut self.batch, value);
        put_varint(&mut self.batch, headers.len() as i64);
        for header in headers {
            put_nullable(&mut self.batch, Some(header.key));
            put_nullable(&mut self.batch, header.value);
        }
        self.count += 1;
    }

    /// The records that were added, as they are before compression and without the batch's header.
    pub fn records(&self) -> &[u8] {
        &self.batch[BATCH_HEADER_BYTES..]
    }

    /// Puts records into an empty batch that were encoded before: the first `count` of [`BatchBuilder::records`] of a
    /// batch whose records all had one timestamp, which is `timestamp` now.
    ///
    /// - Returns them, so that the caller may write over values.
    /// - Panics if records were added before: these would not count from 0.
    pub fn fill(&mut self, timestamp: Timestamp, records: &[u8], count: i32) -> &mut [u8] {
        assert!(self.count == 0, "{} records are there already", self.count);
        self.base_timestamp = timestamp;
        self.max_timestamp = timestamp;
        self.count = count;
        self.batch.extend_from_slice(records);
        &mut self.batch[BATCH_HEADER_BYTES..]
    }

    /// How many records were added.
    pub fn count(&self) -> i32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    pub fn size(&self) -> usize {
        self.batch.len()
    }

    /// Bytes that one more record adds to [`BatchBuilder::size`] at most.
    pub fn record_size_max(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> usize {
        PREFIX_BYTES_MAX
            + nullable_size(key)
            + nullable_size(value)
            + headers.iter().map(header_size).sum::<usize>()
    }

    /// Bytes that headers, and the number of them, take behind the value of a record.
    pub fn headers_size(headers: &[Header<'_>]) -> usize {
        size(headers.len() as i64) + headers.iter().map(header_size).sum::<usize>()
    }

    /// Finishes the batch and starts an empty one.
    ///
    /// - Panics if no record was added, or past 2 GiB: no reader accepts either.
    pub fn build(&mut self, seal: &BatchSeal, codecs: &mut Codecs) -> Bytes {
        assert!(self.count > 0, "a batch without records cannot be sent");
        let mut header = self.header(seal);
        let batch = match self.codec {
            Codec::None => std::mem::replace(&mut self.batch, Vec::with_capacity(self.capacity)),
            codec => {
                let records = &self.batch[BATCH_HEADER_BYTES..];
                let mut out = Vec::with_capacity(BATCH_HEADER_BYTES + records.len() / 2 + 64);
                out.resize(BATCH_HEADER_BYTES, 0);
                codecs.deflate(codec, self.level, records, &mut out);
                out
            }
        };
        let batch = seal_batch(batch, &mut header);
        self.clear();
        batch
    }

    /// Forgets what was added.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.batch.reserve(self.capacity);
        self.batch.resize(BATCH_HEADER_BYTES, 0);
        self.count = 0;
        self.max_timestamp = Timestamp::NONE;
    }

    fn header(&self, seal: &BatchSeal) -> BatchHeader {
        let producer = seal.producer.unwrap_or(Producer {
            id: ProducerId::NONE,
            epoch: ProducerEpoch(-1),
            base_sequence: -1,
        });
        let mut header = BatchHeader {
            base_offset: seal.base_offset.0.into(),
            length: 0.into(),
            leader_epoch: seal.leader_epoch.0.into(),
            magic: MAGIC,
            crc: 0.into(),
            attributes: 0.into(),
            last_offset_delta: (self.count - 1).into(),
            base_timestamp: self.base_timestamp.0.into(),
            max_timestamp: self.max_timestamp.0.into(),
            producer_id: producer.id.0.into(),
            producer_epoch: producer.epoch.0.into(),
            base_sequence: producer.base_sequence.into(),
            count: self.count.into(),
        };
        header.set_codec(self.codec);
        if seal.is_transactional {
            header.set_transactional();
        }
        if seal.is_control {
            header.set_control();
        }
        header
    }
}

/// The same batch with its records in another codec (`compression.type` that is not the producer's).
///
/// - `level`: as [`BatchBuilder::with_level`]; the codec's own if `None`.
/// - `inflated_bytes_max`: the most that its records may inflate to.
/// - Returns a batch that differs in codec, length and CRC only; it may be larger than it was, so its size has to be
///   held against `max.message.bytes` again.
/// - `Err`: its records do not inflate or are malformed, as [`check`](super::check) would say.
pub fn recompress(
    batch: &CheckedBatch,
    codec: Codec,
    level: Option<i32>,
    inflated_bytes_max: usize,
    codecs: &mut Codecs,
) -> Result<CheckedBatch, RecordError> {
    let source = batch.codec();
    if source == codec {
        return Ok(batch.clone());
    }
    let mut header = *batch.header();
    let compressed = &batch.bytes()[BATCH_HEADER_BYTES..];
    let bytes = codecs
        .inflate(source, compressed, inflated_bytes_max)?
        .len();
    // The scratch is taken for a moment: it is read here while the other half of `codecs` compresses.
    let scratch = std::mem::take(&mut codecs.inflated);
    let records = match source {
        Codec::None => compressed,
        _ => &scratch[..bytes],
    };
    let checked = check_walk(&header, records);
    let mut out = Vec::with_capacity(BATCH_HEADER_BYTES + bytes / 2 + 64);
    if checked.is_ok() {
        out.resize(BATCH_HEADER_BYTES, 0);
        codecs.deflate(codec, level, records, &mut out);
    }
    codecs.inflated = scratch;
    checked?;
    header.set_codec(codec);
    let bytes = seal_batch(out, &mut header);
    Ok(CheckedBatch::vouched(
        bytes,
        Facts {
            header,
            ..*batch.facts()
        },
    ))
}

/// Writes length and CRC into `header`, and `header` over the front of `batch`.
pub(super) fn seal_batch(mut batch: Vec<u8>, header: &mut BatchHeader) -> Bytes {
    let length = i32::try_from(batch.len() - UNCOUNTED_BYTES)
        .expect("a batch past 2 GiB is a caller that does not look at its size");
    header.length.set(length);
    batch[..BATCH_HEADER_BYTES].copy_from_slice(header.as_bytes());
    header.crc.set(crc32c(&batch[CRC_START..]));
    batch[..BATCH_HEADER_BYTES].copy_from_slice(header.as_bytes());
    Bytes::from(batch)
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; 10];
    let count = put(&mut bytes, value);
    out.extend_from_slice(&bytes[..count]);
}

pub(super) fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    put_varint(out, field.map_or(-1, |field| field.len() as i64));
    out.extend_from_slice(field.unwrap_or_default());
}

pub(super) fn nullable_size(field: Option<&[u8]>) -> usize {
    match field {
        None => 1,
        Some(field) => size(field.len() as i64) + field.len(),
    }
}

fn header_size(header: &Header<'_>) -> usize {
    nullable_size(Some(header.key)) + nullable_size(header.value)
}
