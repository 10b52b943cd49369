//! The 61 bytes before a batch's records, seen in place.

use std::fmt;
use std::mem::{offset_of, size_of};

use zerocopy::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Codec, RecordError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// The header of a record batch v2, big-endian, as it travels and rests (KIP-98).
///
/// | offset | size | field | may be trusted |
/// |---|---|---|---|
/// | 0 | 8 | base offset: of the first record | from a producer 0; ours once stamped |
/// | 8 | 4 | length: bytes after this field | once held against the bytes at hand |
/// | 12 | 4 | leader epoch | ours once stamped; −1 from a producer |
/// | 16 | 1 | magic: 2 | once compared |
/// | 17 | 4 | CRC-32C of bytes 21 to the end | once computed |
/// | 21 | 2 | attributes: bits 0–2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon | after the CRC, once the codec is known |
/// | 23 | 4 | last offset delta | after the check (not `count` − 1 once compacted) |
/// | 27 | 8 | base timestamp: of the first record, or the delete horizon | after the CRC |
/// | 35 | 8 | max timestamp | a producer's word until the records are walked |
/// | 43 | 8 | producer id, −1 none | after the check; whether it is owed is the partition's question |
/// | 51 | 2 | producer epoch | the same |
/// | 53 | 4 | base sequence | the same |
/// | 57 | 4 | count of records | after the check |
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    pub(super) base_offset: I64,
    pub(super) length: I32,
    pub(super) leader_epoch: I32,
    pub(super) magic: i8,
    pub(super) crc: U32,
    pub(super) attributes: I16,
    pub(super) last_offset_delta: I32,
    pub(super) base_timestamp: I64,
    pub(super) max_timestamp: I64,
    pub(super) producer_id: I64,
    pub(super) producer_epoch: I16,
    pub(super) base_sequence: I32,
    pub(super) count: I32,
}

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// Each record carries the time its producer gave it.
    CreateTime,
    /// Every record has the batch's max timestamp: the time the broker appended it.
    LogAppendTime,
}

/// Bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = size_of::<BatchHeader>();
/// Base offset and length: what the length field does not count.
pub(super) const UNCOUNTED_BYTES: usize = 12;
/// The CRC covers the attributes and all that follows.
pub const CRC_START: usize = offset_of!(BatchHeader, attributes);
pub(super) const MAGIC: i8 = 2;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

const _: () = assert!(BATCH_HEADER_BYTES == 61);
const _: () = assert!(offset_of!(BatchHeader, base_offset) == 0);
const _: () = assert!(offset_of!(BatchHeader, length) == 8);
const _: () = assert!(offset_of!(BatchHeader, leader_epoch) == 12);
const _: () = assert!(offset_of!(BatchHeader, magic) == 16);
const _: () = assert!(offset_of!(BatchHeader, crc) == 17);
const _: () = assert!(offset_of!(BatchHeader, attributes) == 21);
const _: () = assert!(offset_of!(BatchHeader, last_offset_delta) == 23);
const _: () = assert!(offset_of!(BatchHeader, base_timestamp) == 27);
const _: () = assert!(offset_of!(BatchHeader, max_timestamp) == 35);
const _: () = assert!(offset_of!(BatchHeader, producer_id) == 43);
const _: () = assert!(offset_of!(BatchHeader, producer_epoch) == 51);
const _: () = assert!(offset_of!(BatchHeader, base_sequence) == 53);
const _: () = assert!(offset_of!(BatchHeader, count) == 57);

impl BatchHeader {
    /// The header at the front of `bytes`, without a copy; nothing in it is checked.
    ///
    /// - `Err(Truncated)`: fewer than 61 bytes.
    pub fn view(bytes: &[u8]) -> Result<&BatchHeader, RecordError> {
        match BatchHeader::ref_from_prefix(bytes) {
            Ok((header, _)) => Ok(header),
            Err(_) => Err(RecordError::Truncated {
                bytes: bytes.len(),
                needed: BATCH_HEADER_BYTES,
            }),
        }
    }

    /// The same, to be changed in place.
    pub(super) fn view_mut(bytes: &mut [u8]) -> &mut BatchHeader {
        let length = bytes.len();
        match BatchHeader::mut_from_prefix(bytes) {
            Ok((header, _)) => header,
            Err(_) => panic!("a batch to change has a header; this one has {length} bytes"),
        }
    }

    /// Bytes of the whole batch as its length field has it.
    ///
    /// - `Err(Length)`: shorter than a header.
    pub fn size(&self) -> Result<usize, RecordError> {
        let length = self.length.get();
        match usize::try_from(length) {
            Ok(counted) if counted >= BATCH_HEADER_BYTES - UNCOUNTED_BYTES => {
                Ok(counted + UNCOUNTED_BYTES)
            }
            _ => Err(RecordError::Length { length }),
        }
    }

    pub fn base_offset(&self) -> Offset {
        Offset(self.base_offset.get())
    }

    /// The offset of the batch's last record, or of the last it had before compaction.
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .get()
                .wrapping_add(self.last_offset_delta.get() as i64),
        )
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.get())
    }

    pub fn magic(&self) -> i8 {
        self.magic
    }

    pub fn crc(&self) -> u32 {
        self.crc.get()
    }

    /// How the records are compressed; `None` for an id that nobody has defined.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_id(self.codec_id())
    }

    pub(super) fn codec_id(&self) -> u8 {
        (self.attributes.get() & CODEC_MASK) as u8
    }

    pub(super) fn set_codec(&mut self, codec: Codec) {
        self.attributes
            .set(self.attributes.get() & !CODEC_MASK | codec.id() as i16);
    }

    pub fn timestamp_type(&self) -> TimestampType {
        match self.has(LOG_APPEND_TIME) {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        }
    }

    pub(super) fn set_timestamp_type(&mut self, kind: TimestampType) {
        let rest = self.attributes.get() & !LOG_APPEND_TIME;
        self.attributes.set(match kind {
            TimestampType::CreateTime => rest,
            TimestampType::LogAppendTime => rest | LOG_APPEND_TIME,
        });
    }

    pub fn is_transactional(&self) -> bool {
        self.has(TRANSACTIONAL)
    }

    pub(super) fn set_transactional(&mut self) {
        self.attributes.set(self.attributes.get() | TRANSACTIONAL);
    }

    pub fn is_control(&self) -> bool {
        self.has(CONTROL)
    }

    pub(super) fn set_control(&mut self) {
        self.attributes.set(self.attributes.get() | CONTROL);
    }

    /// When tombstones of this batch may go (KIP-534); only a compacted batch has it.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.has(DELETE_HORIZON)
            .then(|| Timestamp(self.base_timestamp.get()))
    }

    pub(super) fn set_delete_horizon(&mut self, horizon: Option<Timestamp>) {
        let rest = self.attributes.get() & !DELETE_HORIZON;
        match horizon {
            None => self.attributes.set(rest),
            Some(horizon) => {
                self.attributes.set(rest | DELETE_HORIZON);
                self.base_timestamp.set(horizon.0);
            }
        }
    }

    pub fn last_offset_delta(&self) -> i32 {
        self.last_offset_delta.get()
    }

    pub fn base_timestamp(&self) -> Timestamp {
        Timestamp(self.base_timestamp.get())
    }

    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp(self.max_timestamp.get())
    }

    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.producer_id.get())
    }

    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer_epoch.get())
    }

    /// The sequence number of the first record; −1 where the batch is not idempotent.
    pub fn base_sequence(&self) -> i32 {
        self.base_sequence.get()
    }

    /// The sequence number of the last record: sequences run from 0 to `i32::MAX` and start over.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence.get() {
            none @ ..0 => none,
            base => {
                let last = base as i64 + self.last_offset_delta.get() as i64;
                (last & i32::MAX as i64) as i32
            }
        }
    }

    /// How many records the batch holds now.
    pub fn count(&self) -> i32 {
        self.count.get()
    }

    fn has(&self, bit: i16) -> bool {
        self.attributes.get() & bit != 0
    }
}

impl fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHeader")
            .field("base_offset", &self.base_offset.get())
            .field("length", &self.length.get())
            .field("leader_epoch", &self.leader_epoch.get())
            .field("magic", &self.magic)
            .field("crc", &format_args!("{:#010x}", self.crc.get()))
            .field(
                "attributes",
                &format_args!("{:#06x}", self.attributes.get()),
            )
            .field("last_offset_delta", &self.last_offset_delta.get())
            .field("base_timestamp", &self.base_timestamp.get())
            .field("max_timestamp", &self.max_timestamp.get())
            .field("producer_id", &self.producer_id.get())
            .field("producer_epoch", &self.producer_epoch.get())
            .field("base_sequence", &self.base_sequence.get())
            .field("count", &self.count.get())
            .finish()
    }
}
