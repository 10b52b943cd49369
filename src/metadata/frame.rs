//! Log entries and snapshots as bytes: one fixed header, then records, each with its own kind and version.

use std::fmt;
use std::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::record::MetadataRecord;
use crate::types::{Offset, Timestamp};

/// A log entry: records that were decided together and come in together or not at all. May be empty (a new Raft
/// leader's first entry).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The entry's number in the metadata log; entries are numbered densely.
    pub offset: Offset,
    /// The Raft term it was proposed in.
    pub epoch: i64,
    /// When it was proposed, by the controller's clock; for people only.
    pub timestamp: Timestamp,
    pub records: Vec<MetadataRecord>,
}

/// The whole image as records, standing for every entry up to and with `last_offset`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// −1 for the image before the first entry.
    pub last_offset: Offset,
    /// The term of the entry at `last_offset`.
    pub last_epoch: i64,
    pub timestamp: Timestamp,
    pub records: Vec<MetadataRecord>,
}

/// The first bytes of every frame, little-endian:
///
/// | offset | size | field | meaning | trusted |
/// |---|---|---|---|---|
/// | 0 | 4 | magic | `RLMD` | at once |
/// | 4 | 2 | version | 1 | once magic is right |
/// | 6 | 2 | kind | 1 entry, 2 snapshot | once crc is right |
/// | 8 | 4 | length | bytes after the header | as a bound: never allocated by; once crc is right |
/// | 12 | 4 | crc | CRC-32C of bytes 0–11, 16–47 and the payload | it decides |
/// | 16 | 8 | offset | the entry's, or a snapshot's last one | once crc is right |
/// | 24 | 8 | epoch | Raft term | once crc is right |
/// | 32 | 8 | timestamp | ms since the Unix epoch | once crc is right |
/// | 40 | 4 | count | records in the payload | once crc is right |
/// | 44 | 4 | reserved | 0 | once crc is right |
///
/// The payload is `count` times: kind u16, version u16, length u32, then so many bytes of rkyv archive (features
/// `unaligned`, little-endian, 32-bit offsets).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FrameHeader {
    magic: [u8; 4],
    version: U16,
    kind: U16,
    length: U32,
    crc: U32,
    offset: I64,
    epoch: I64,
    timestamp: I64,
    count: U32,
    reserved: U32,
}

/// Bytes of a [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 48;

const _: () = {
    assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);
    assert!(offset_of!(FrameHeader, version) == 4);
    assert!(offset_of!(FrameHeader, kind) == 6);
    assert!(offset_of!(FrameHeader, length) == 8);
    assert!(offset_of!(FrameHeader, crc) == 12);
    assert!(offset_of!(FrameHeader, offset) == 16);
    assert!(offset_of!(FrameHeader, epoch) == 24);
    assert!(offset_of!(FrameHeader, timestamp) == 32);
    assert!(offset_of!(FrameHeader, count) == 40);
    assert!(offset_of!(FrameHeader, reserved) == 44);
    assert!(size_of::<RecordHeader>() == 8);
};

/// A record's place inside a payload: offsets 0 kind, 2 version, 4 length.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RecordHeader {
    kind: U16,
    version: U16,
    length: U32,
}

/// No entry is longer, header and all; a reader refuses a length above it before it has the bytes. `decide` makes
/// at most 10,000 records for one command, which is a fraction of this.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"RLMD";
const VERSION: u16 = 1;
const KIND_ENTRY: u16 = 1;
const KIND_SNAPSHOT: u16 = 2;

/// Why bytes are not a frame of the metadata log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The frame is cut off: so many bytes are needed from its start on. At the end of a log this is a torn write.
    Short {
        needed: usize,
    },
    Magic,
    /// Written by a newer release.
    Version(u16),
    /// Not the kind of frame that was asked for.
    Kind(u16),
    /// The length field is above what this kind may have.
    TooLong(usize),
    Crc,
    /// The records do not fill the payload as the header says.
    Count,
    /// A record that this release does not know: a newer one wrote it.
    UnknownRecord {
        kind: u16,
        version: u16,
    },
    /// A record's bytes are not a valid archive of its type.
    Archive {
        kind: u16,
        version: u16,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Short { needed } => write!(f, "cut off: {needed} bytes are needed"),
            FrameError::Magic => f.write_str("not a frame of the metadata log"),
            FrameError::Version(version) => {
                write!(f, "frame version {version} is newer than this release")
            }
            FrameError::Kind(kind) => write!(f, "frame of kind {kind} is not expected here"),
            FrameError::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            FrameError::Crc => f.write_str("checksum mismatch"),
            FrameError::Count => f.write_str("the records do not fill the frame"),
            FrameError::UnknownRecord { kind, version } => {
                write!(
                    f,
                    "record kind {kind} version {version} is unknown to this release"
                )
            }
            FrameError::Archive { kind, version } => {
                write!(f, "record kind {kind} version {version} does not validate")
            }
        }
    }
}

impl std::error::Error for FrameError {}

impl FrameHeader {
    /// Reads the header at the start of `bytes` without looking at the payload.
    ///
    /// Only [`frame_bytes`](FrameHeader::frame_bytes) may be used before the checksum was seen, as a hint of how far
    /// to read. `Err(Short)`, `Err(Magic)` and `Err(Version)` are the faults found here.
    pub fn peek(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        let (header, _) = FrameHeader::read_from_prefix(bytes).map_err(|_| FrameError::Short {
            needed: FRAME_HEADER_BYTES,
        })?;
        if header.magic != MAGIC {
            return Err(FrameError::Magic);
        }
        match header.version.get() {
            VERSION => Ok(header),
            version => Err(FrameError::Version(version)),
        }
    }

    /// Bytes of the whole frame, header and all, as its length field says.
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.length.get() as usize
    }

    fn checksum(&self, payload: &[u8]) -> u32 {
        let header = self.as_bytes();
        let crc = crc32c::crc32c(&header[..offset_of!(FrameHeader, crc)]);
        let crc = crc32c::crc32c_append(crc, &header[offset_of!(FrameHeader, offset)..]);
        crc32c::crc32c_append(crc, payload)
    }
}

/// The entry as one frame.
///
/// `Err(TooLong)`: it would exceed [`ENTRY_BYTES_MAX`]; nothing that `decide` makes does.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, FrameError> {
    encode(
        KIND_ENTRY,
        entry.offset,
        entry.epoch,
        entry.timestamp,
        &entry.records,
    )
}

/// Reads the entry at the start of `bytes`; returns it and the bytes it took.
///
/// At the end of a log `Err(Short)` and `Err(Crc)` mean a torn write; anywhere else any error is corruption.
pub fn decode_entry(bytes: &[u8]) -> Result<(Entry, usize), FrameError> {
    let (header, records) = decode(KIND_ENTRY, bytes)?;
    let entry = Entry {
        offset: Offset(header.offset.get()),
        epoch: header.epoch.get(),
        timestamp: Timestamp(header.timestamp.get()),
        records,
    };
    Ok((entry, header.frame_bytes()))
}

/// The snapshot as one frame, below 4 GiB. `Err(TooLong)` past that.
pub fn encode_snapshot(snapshot: &Snapshot) -> Result<Vec<u8>, FrameError> {
    encode(
        KIND_SNAPSHOT,
        snapshot.last_offset,
        snapshot.last_epoch,
        snapshot.timestamp,
        &snapshot.records,
    )
}

/// Reads a snapshot; bytes behind it (a file padded to blocks) are not looked at.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, FrameError> {
    let (header, records) = decode(KIND_SNAPSHOT, bytes)?;
    Ok(Snapshot {
        last_offset: Offset(header.offset.get()),
        last_epoch: header.epoch.get(),
        timestamp: Timestamp(header.timestamp.get()),
        records,
    })
}

fn bytes_max(kind: u16) -> usize {
    match kind {
        KIND_ENTRY => ENTRY_BYTES_MAX,
        _ => u32::MAX as usize,
    }
}

fn encode(
    kind: u16,
    offset: Offset,
    epoch: i64,
    timestamp: Timestamp,
    records: &[MetadataRecord],
) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    for record in records {
        let (kind, version) = record.kind_and_version();
        let header_start = frame.len();
        let archive_start = header_start + size_of::<RecordHeader>();
        frame.resize(archive_start, 0);
        record.archive(&mut frame);
        let length = frame.len() - archive_start;
        let header = RecordHeader {
            kind: kind.into(),
            version: version.into(),
            length: U32::new(u32::try_from(length).map_err(|_| FrameError::TooLong(length))?),
        };
        frame[header_start..archive_start].copy_from_slice(header.as_bytes());
    }
    if frame.len() > bytes_max(kind) {
        return Err(FrameError::TooLong(frame.len()));
    }
    let mut header = FrameHeader {
        magic: MAGIC,
        version: VERSION.into(),
        kind: kind.into(),
        length: U32::new((frame.len() - FRAME_HEADER_BYTES) as u32),
        crc: U32::new(0),
        offset: offset.0.into(),
        epoch: epoch.into(),
        timestamp: timestamp.0.into(),
        count: U32::new(records.len() as u32),
        reserved: U32::new(0),
    };
    header.crc = header.checksum(&frame[FRAME_HEADER_BYTES..]).into();
    frame[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
    Ok(frame)
}

fn decode(kind: u16, bytes: &[u8]) -> Result<(FrameHeader, Vec<MetadataRecord>), FrameError> {
    let header = FrameHeader::peek(bytes)?;
    if header.kind.get() != kind {
        return Err(FrameError::Kind(header.kind.get()));
    }
    let needed = header.frame_bytes();
    if needed > bytes_max(kind) {
        return Err(FrameError::TooLong(needed));
    }
    let payload = bytes
        .get(FRAME_HEADER_BYTES..needed)
        .ok_or(FrameError::Short { needed })?;
    if header.checksum(payload) != header.crc.get() {
        return Err(FrameError::Crc);
    }
    if header.reserved.get() != 0 {
        return Err(FrameError::Version(header.version.get()));
    }
    let records = decode_records(header.count.get(), payload)?;
    Ok((header, records))
}

fn decode_records(count: u32, mut payload: &[u8]) -> Result<Vec<MetadataRecord>, FrameError> {
    // Every record takes its header at least, which bounds what a count can reserve by the bytes that are there.
    let room = payload.len() / size_of::<RecordHeader>();
    let mut records = Vec::with_capacity(room.min(count as usize));
    while !payload.is_empty() {
        let (header, rest) =
            RecordHeader::read_from_prefix(payload).map_err(|_| FrameError::Count)?;
        let (archive, rest) = rest
            .split_at_checked(header.length.get() as usize)
            .ok_or(FrameError::Count)?;
        records.push(MetadataRecord::read(
            header.kind.get(),
            header.version.get(),
            archive,
        )?);
        payload = rest;
    }
    if records.len() != count as usize {
        return Err(FrameError::Count);
    }
    Ok(records)
}
