//! One frame: header, control part, body.

use std::fmt;
use std::mem::{offset_of, size_of};

use bytes::Bytes;
use rkyv::rancor::Failure;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Control, FrameLimits};

/// The first bytes of every frame, little-endian:
///
/// | offset | size | field | meaning | trusted |
/// |---|---|---|---|---|
/// | 0 | 4 | magic | `RLNW` | at once |
/// | 4 | 1 | layout | 1: of this header | once magic is right |
/// | 5 | 1 | flags | none is defined: 0 | at once, any other is refused |
/// | 6 | 2 | kind | see `Kind` | once crc is right |
/// | 8 | 2 | version | of the kind | once crc is right |
/// | 10 | 2 | reserved | 0 | at once, any other is refused |
/// | 12 | 4 | control length | bytes of archive | as a bound: never allocated by |
/// | 16 | 4 | body length | bytes after the archive | as a bound: never allocated by |
/// | 20 | 4 | crc | CRC-32C of bytes 0–19, 24–31 and the archive | it decides |
/// | 24 | 8 | correlation | the opener's number of the request, which its answer repeats | once crc is right |
///
/// The body is not under the checksum: record batches carry their own.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FrameHeader {
    magic: [u8; 4],
    layout: u8,
    flags: u8,
    kind: U16,
    version: U16,
    reserved: U16,
    control_length: U32,
    body_length: U32,
    crc: U32,
    correlation: U64,
}

/// Bytes of a [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 32;

const _: () = {
    assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);
    assert!(offset_of!(FrameHeader, layout) == 4);
    assert!(offset_of!(FrameHeader, flags) == 5);
    assert!(offset_of!(FrameHeader, kind) == 6);
    assert!(offset_of!(FrameHeader, version) == 8);
    assert!(offset_of!(FrameHeader, reserved) == 10);
    assert!(offset_of!(FrameHeader, control_length) == 12);
    assert!(offset_of!(FrameHeader, body_length) == 16);
    assert!(offset_of!(FrameHeader, crc) == 20);
    assert!(offset_of!(FrameHeader, correlation) == 24);
};

const MAGIC: [u8; 4] = *b"RLNW";
const LAYOUT: u8 = 1;

/// A whole frame whose checksum is right. Its parts share the buffer they were read into.
#[derive(Clone, Debug)]
pub struct Frame {
    /// See `Kind`; may be one that this release does not know.
    pub kind: u16,
    pub version: u16,
    pub correlation: u64,
    pub control: Bytes,
    pub body: Bytes,
}

/// Why bytes are not a frame, or a frame not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The stream is not of this wire, or lost its place.
    Magic,
    /// The header is of a newer release.
    Layout(u8),
    /// Flags or reserved bytes that this release does not know.
    Flags,
    /// Longer than this side takes.
    TooLong { bytes: usize, bytes_max: usize },
    /// Header or control part were changed on the way.
    Crc,
    /// The frame is of another kind or version than was asked for.
    Kind { kind: u16, version: u16 },
    /// The control part is no valid archive of its type.
    Archive { kind: u16, version: u16 },
    /// The lengths inside the control part do not add up to the body.
    Body,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Magic => f.write_str("not a frame of the native wire"),
            FrameError::Layout(layout) => write!(f, "frame layout {layout} is not known"),
            FrameError::Flags => f.write_str("flags or reserved bytes that are not known"),
            FrameError::TooLong { bytes, bytes_max } => {
                write!(f, "a part of {bytes} bytes, and may have {bytes_max}")
            }
            FrameError::Crc => f.write_str("checksum mismatch"),
            FrameError::Kind { kind, version } => {
                write!(
                    f,
                    "a frame of kind {kind}, version {version} is not expected here"
                )
            }
            FrameError::Archive { kind, version } => {
                write!(
                    f,
                    "the control part of kind {kind}, version {version} does not validate"
                )
            }
            FrameError::Body => f.write_str("the lengths inside do not add up to the body"),
        }
    }
}

impl std::error::Error for FrameError {}

impl FrameHeader {
    /// Reads the header at the front of `bytes`: `None` while it is not whole.
    ///
    /// The checksum is not looked at: only [`FrameHeader::frame_bytes`] may be used of what is returned, as a bound.
    pub(super) fn peek(
        bytes: &[u8],
        limits: &FrameLimits,
    ) -> Result<Option<FrameHeader>, FrameError> {
        let Ok((header, _)) = FrameHeader::read_from_prefix(bytes) else {
            // Four bytes tell a stranger already.
            return match bytes.first_chunk::<4>() {
                Some(magic) if *magic != MAGIC => Err(FrameError::Magic),
                _ => Ok(None),
            };
        };
        if header.magic != MAGIC {
            return Err(FrameError::Magic);
        }
        if header.layout != LAYOUT {
            return Err(FrameError::Layout(header.layout));
        }
        if header.flags != 0 || header.reserved.get() != 0 {
            return Err(FrameError::Flags);
        }
        let parts = [
            (
                header.control_length.get() as usize,
                limits.control_bytes_max,
            ),
            (header.body_length.get() as usize, limits.body_bytes_max),
        ];
        for (bytes, bytes_max) in parts {
            if bytes > bytes_max {
                return Err(FrameError::TooLong { bytes, bytes_max });
            }
        }
        Ok(Some(header))
    }

    /// Bytes of the whole frame as its lengths have it.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.control_length.get() as usize + self.body_length.get() as usize
    }

    /// The frame of this header, which stands at the front of `whole` and nothing else does.
    pub(super) fn open(&self, whole: Bytes) -> Result<Frame, FrameError> {
        assert_eq!(whole.len(), self.frame_bytes(), "the frame is whole");
        let control_end = FRAME_HEADER_BYTES + self.control_length.get() as usize;
        let control = whole.slice(FRAME_HEADER_BYTES..control_end);
        if self.checksum(&control) != self.crc.get() {
            return Err(FrameError::Crc);
        }
        Ok(Frame {
            kind: self.kind.get(),
            version: self.version.get(),
            correlation: self.correlation.get(),
            control,
            body: whole.slice(control_end..),
        })
    }

    fn checksum(&self, control: &[u8]) -> u32 {
        let header = self.as_bytes();
        let crc = crc32c::crc32c(&header[..offset_of!(FrameHeader, crc)]);
        let crc = crc32c::crc32c_append(crc, &header[offset_of!(FrameHeader, correlation)..]);
        crc32c::crc32c_append(crc, control)
    }
}

impl Frame {
    /// How long it was on the wire.
    pub fn wire_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.control.len() + self.body.len()
    }

    /// Validates the control part and lends it in place; costs no allocation.
    ///
    /// - `Err(Kind)`: the frame is of another kind or version. `Err(Archive)`: its bytes are not that type's.
    pub fn read<M: Control>(&self) -> Result<&M::Archived, FrameError> {
        let (kind, version) = (self.kind, self.version);
        if kind != M::KIND as u16 || version != M::VERSION {
            return Err(FrameError::Kind { kind, version });
        }
        rkyv::access::<M::Archived, Failure>(&self.control)
            .map_err(|_| FrameError::Archive { kind, version })
    }

    /// The control part as a value of its own; it takes memory in proportion to its bytes.
    pub fn read_owned<M: Control>(&self) -> Result<M, FrameError> {
        let (kind, version) = (self.kind, self.version);
        rkyv::deserialize::<M, Failure>(self.read::<M>()?)
            .map_err(|_| FrameError::Archive { kind, version })
    }
}

/// Appends a frame's header and control part to `out`; `body_bytes` of body must follow on the wire.
///
/// Panics on a part of 4 GiB or more: its maker does not know its limits.
pub fn encode<M: Control>(out: &mut Vec<u8>, correlation: u64, control: &M, body_bytes: usize) {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    let written = rkyv::api::high::to_bytes_in::<_, Failure>(control, std::mem::take(out));
    *out = written.expect("writing to memory cannot fail");
    let control_bytes = out.len() - start - FRAME_HEADER_BYTES;
    let length = |bytes: usize| U32::new(u32::try_from(bytes).expect("a part is below 4 GiB"));
    let header = FrameHeader {
        magic: MAGIC,
        layout: LAYOUT,
        flags: 0,
        kind: (M::KIND as u16).into(),
        version: M::VERSION.into(),
        reserved: 0.into(),
        control_length: length(control_bytes),
        body_length: length(body_bytes),
        crc: 0.into(),
        correlation: correlation.into(),
    };
    out[start..start + FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
    reseal(&mut out[start..]);
}

/// Puts the checksum of the frame at the front of `bytes` right, whatever else is wrong with it: for tests of what the
/// checksum would hide, and for whoever changes a header in place. Bytes too short for what they say are left alone.
pub fn reseal(bytes: &mut [u8]) {
    let Ok((mut header, rest)) = FrameHeader::read_from_prefix(bytes) else {
        return;
    };
    let Some(control) = rest.get(..header.control_length.get() as usize) else {
        return;
    };
    header.crc = header.checksum(control).into();
    bytes[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
}
