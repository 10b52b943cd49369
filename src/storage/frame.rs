//! How small files of our own (checkpoints, producer snapshots, metadata entries) are framed.
//!
//! | offset | bytes | meaning | trusted when |
//! |---|---|---|---|
//! | 0 | 4 | magic `RLGF` | always read first |
//! | 4 | 2 | kind ([`Kind`]) | the CRC holds |
//! | 6 | 2 | version of that kind | the CRC holds |
//! | 8 | 8 | sequence or offset, as the kind says | the CRC holds |
//! | 16 | 4 | payload bytes | bounded by what is there, then by the CRC |
//! | 20 | 4 | CRC-32C of bytes 0..20 and the payload | itself |
//! | 24 | n | payload | the CRC holds |
//!
//! Little-endian. A torn, stale or foreign frame is told apart by the CRC and the sequence, never by the file's length.

/// Bytes before the payload.
pub(super) const FRAME_HEADER_BYTES: usize = 24;

pub(super) const MAGIC: [u8; 4] = *b"RLGF";

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Kind {
    /// A shard's checkpoint of its logs in one directory.
    Checkpoint = 1,
    /// A partition's producer state; the sequence is the log offset it was taken at.
    Producers = 2,
    /// One append to the metadata log; the sequence counts them.
    Metadata = 3,
    /// A snapshot of the metadata; the sequence is that of the last entry in it.
    MetadataSnapshot = 4,
    /// One commit round's small runs in the journal; the sequence counts rounds.
    Journal = 5,
}

/// A frame whose CRC holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub sequence: u64,
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub size: usize,
}

const VERSION: u16 = 1;

/// The 24 bytes that go before a payload, while it is being put together: its parts are summed one by one.
pub(super) struct Header {
    bytes: [u8; FRAME_HEADER_BYTES],
    crc: u32,
}

impl Header {
    /// - `size`: bytes of the payload.
    pub fn new(kind: Kind, sequence: u64, size: usize) -> Header {
        let size = u32::try_from(size).expect("a frame's payload stays below 4 GiB");
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&(kind as u16).to_le_bytes());
        bytes[6..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&size.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..20]);
        Header { bytes, crc }
    }

    /// The payload goes on with this.
    pub fn add(&mut self, part: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, part);
    }

    /// All of the payload was added.
    pub fn finish(mut self) -> [u8; FRAME_HEADER_BYTES] {
        self.bytes[20..].copy_from_slice(&self.crc.to_le_bytes());
        self.bytes
    }
}

/// A whole frame in memory of its own.
pub(super) fn encode(kind: Kind, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    append(&mut out, kind, sequence, payload);
    out
}

/// A whole frame after what is there.
pub(super) fn append(out: &mut Vec<u8>, kind: Kind, sequence: u64, payload: &[u8]) {
    let mut header = Header::new(kind, sequence, payload.len());
    header.add(payload);
    out.extend_from_slice(&header.finish());
    out.extend_from_slice(payload);
}

/// The frame that `bytes` begin with; `None` if there is none of that kind whose CRC holds.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.get(..FRAME_HEADER_BYTES)?;
    if head[..4] != MAGIC
        || head[4..6] != (kind as u16).to_le_bytes()
        || head[6..8] != VERSION.to_le_bytes()
    {
        return None;
    }
    let size = payload_size(head)?;
    let payload = bytes.get(FRAME_HEADER_BYTES..)?.get(..size)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), payload);
    if head[20..24] != crc.to_le_bytes() {
        return None;
    }
    Some(Frame {
        sequence: u64::from_le_bytes(head[8..16].try_into().expect("eight bytes")),
        payload,
        size: FRAME_HEADER_BYTES + size,
    })
}

/// What a header says its payload's size is: a claim, to be bounded by the caller. `None` without the magic.
pub(super) fn payload_size(head: &[u8]) -> Option<usize> {
    if head.len() < FRAME_HEADER_BYTES || head[..4] != MAGIC {
        return None;
    }
    Some(u32::from_le_bytes(head[16..20].try_into().expect("four bytes")) as usize)
}

/// Reads little-endian fields out of a payload; every read is bounded by what is left.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// A byte string with a u32 length before it.
    pub fn block(&mut self) -> Option<&'a [u8]> {
        let size = self.u32()? as usize;
        self.bytes(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let bytes = encode(Kind::Producers, 42, b"state");
        let frame = decode(Kind::Producers, &bytes).expect("whole");
        assert_eq!(
            (frame.sequence, frame.payload, frame.size),
            (42, &b"state"[..], bytes.len())
        );
        assert_eq!(decode(Kind::Checkpoint, &bytes), None, "another kind");
        let mut header = Header::new(Kind::Producers, 42, 5);
        header.add(b"st");
        header.add(b"ate");
        assert_eq!(header.finish()[..], bytes[..24]);
    }

    #[test]
    fn no_prefix_and_no_flipped_bit_passes() {
        let bytes = encode(Kind::Metadata, 7, b"a payload of some bytes");
        for end in 0..bytes.len() {
            assert_eq!(decode(Kind::Metadata, &bytes[..end]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Kind::Metadata, &bad), None, "bit {bit}");
        }
    }
}
