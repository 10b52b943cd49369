//! Reading Kafka's primitive types out of one frame.

use std::fmt;

use bytes::Bytes;

use crate::types::{Str, Uuid};

/// The longest string Kafka writes or accepts, in bytes, also where the compact form could hold more.
pub(super) const STRING_MAX: usize = i16::MAX as usize;

/// A frame may make the decoder allocate this many bytes for each of its own …
const BUDGET_PER_BYTE: usize = 16;
/// … and this many besides, so that a small frame full of empty strings is still read.
const BUDGET_FLOOR: usize = 16 * 1024;

/// Why bytes are not the message they were said to be. Nothing was changed, and the connection they came
/// from cannot be trusted any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// A field reaches past the end of the frame, or past the end of its tagged section.
    Truncated,
    /// Bytes are left after the last field.
    Trailing,
    /// A length below −1, or a string longer than Kafka allows.
    Length,
    /// A null where this version of the field has none.
    Null,
    /// A variable-length integer of more than five bytes, or past 32 bits.
    Varint,
    /// A string that is not UTF-8.
    Utf8,
    /// Tagged fields out of order, twice, or of another size than they announce.
    Tag,
    /// More array elements than a frame of this size may ask memory for.
    Budget,
    /// The message does not exist in this version.
    Version,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "a field reaches past the end of the frame",
            DecodeError::Trailing => "bytes are left after the last field",
            DecodeError::Length => "a length is negative or past the limit",
            DecodeError::Null => "a field is null that may not be",
            DecodeError::Varint => "a variable-length integer does not end",
            DecodeError::Utf8 => "a string is not UTF-8",
            DecodeError::Tag => "tagged fields are unsorted, repeated or mis-sized",
            DecodeError::Budget => "arrays ask for more memory than the frame can justify",
            DecodeError::Version => "the message has no such version",
        })
    }
}

impl std::error::Error for DecodeError {}

/// A cursor over one frame. Strings, bytes and records that it yields are slices that share the frame.
///
/// The bytes are untrusted: every method returns `Err` instead of reading past the end, and all arrays together
/// may allocate at most 16 bytes for each byte of the frame and 16 KiB more.
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// Where reading must stop: the frame's end, or the end of the tagged field being read.
    end: usize,
    budget: usize,
    flexible: bool,
}

impl Reader {
    /// Reads `frame` (without its length prefix) from the start, in the classic encoding.
    pub fn new(frame: Bytes) -> Reader {
        let end = frame.len();
        let budget = end.saturating_mul(BUDGET_PER_BYTE) + BUDGET_FLOOR;
        Reader {
            frame,
            position: 0,
            end,
            budget,
            flexible: false,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// `Err(Trailing)` unless all was read: Kafka's messages fill their frames.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }

    /// Whether compact lengths and tagged fields are in force (KIP-482).
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Chooses between the classic and the compact encoding for what is read next.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// One byte; anything but 0 is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array()?))
    }

    /// An unsigned base-128 integer of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let first = self.i8()? as u8;
        if first < 0x80 {
            return Ok(first as u32);
        }
        let mut value = (first & 0x7f) as u32;
        for shift in [7, 14, 21, 28] {
            let byte = self.i8()? as u8;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= ((byte & 0x7f) as u32) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A string's text, or `None` for null.
    pub fn string(&mut self) -> Result<Option<Str>, DecodeError> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            classic(self.i16()? as i32)?
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_MAX {
            return Err(DecodeError::Length);
        }
        let text = Str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(text))
    }

    /// A byte string sharing the frame, or `None` for null.
    pub fn bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.length()? {
            Some(length) => Ok(Some(self.take(length)?)),
            None => Ok(None),
        }
    }

    /// How many elements an array has, or `None` for null. Elements take at least `wire_min` bytes each on the wire
    /// and `size` in memory; a count that the rest of the frame or the budget cannot justify is an error, so the
    /// caller may allocate what is returned.
    pub fn array_length(
        &mut self,
        wire_min: usize,
        size: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if length > self.remaining() / wire_min.max(1) {
            return Err(DecodeError::Truncated);
        }
        // No overflow: the length is at most the frame's, and `size` is that of a struct.
        self.budget = self
            .budget
            .checked_sub(length * size)
            .ok_or(DecodeError::Budget)?;
        Ok(Some(length))
    }

    /// Reads a section of tagged fields. `known` reads the field of the tag it is given and answers true, or
    /// answers false and the field is skipped.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        let mut next_tag = 0u64;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if (tag as u64) < next_tag {
                return Err(DecodeError::Tag);
            }
            next_tag = tag as u64 + 1;
            let size = self.uvarint()? as usize;
            if size > self.remaining() {
                return Err(DecodeError::Truncated);
            }
            self.tagged_field(tag, size, &mut known)?;
        }
        Ok(())
    }

    /// Reads one tagged field inside its announced size.
    fn tagged_field(
        &mut self,
        tag: u32,
        size: usize,
        known: &mut impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let outer_end = self.end;
        let field_end = self.position + size;
        self.end = field_end;
        if !known(self, tag)? {
            self.position = field_end;
        }
        if self.position != field_end {
            return Err(DecodeError::Tag);
        }
        self.end = outer_end;
        Ok(())
    }

    /// The length of bytes or of an array: four bytes, or the compact form.
    fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            self.compact_length()
        } else {
            classic(self.i32()?)
        }
    }

    /// The compact form of a length: one more than it, 0 for null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let raw = self.uvarint()?;
        if raw > i32::MAX as u32 {
            return Err(DecodeError::Length);
        }
        Ok((raw as usize).checked_sub(1))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.frame[..self.end]
            .get(self.position..)
            .and_then(|rest| rest.first_chunk::<N>());
        let bytes = *bytes.ok_or(DecodeError::Truncated)?;
        self.position += N;
        Ok(bytes)
    }
}

/// A length in the classic form: −1 is null, other negative numbers are not lengths.
fn classic(length: i32) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        0.. => Ok(Some(length as usize)),
        _ => Err(DecodeError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8], flexible: bool) -> Reader {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        reader.set_flexible(flexible);
        reader
    }

    #[test]
    fn strings_share_the_frame() {
        let frame = Bytes::from_static(&[0, 3, b'a', b'b', b'c']);
        let text = Reader::new(frame.clone()).string().unwrap().unwrap();
        assert_eq!(text.as_bytes().as_ptr(), frame[2..].as_ptr());
    }

    #[test]
    fn null_and_empty_differ_in_both_encodings() {
        assert_eq!(reader(&[0xff, 0xff], false).string(), Ok(None));
        assert_eq!(reader(&[0, 0], false).string(), Ok(Some(Str::EMPTY)));
        assert_eq!(reader(&[0], true).string(), Ok(None));
        assert_eq!(reader(&[1], true).string(), Ok(Some(Str::EMPTY)));
    }

    #[test]
    fn refuses_negative_lengths_other_than_null() {
        assert_eq!(
            reader(&[0xff, 0xfe], false).string(),
            Err(DecodeError::Length)
        );
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xfe], false).bytes(),
            Err(DecodeError::Length)
        );
        // A compact length of 0xffff_ffff stands for 2^32 − 2, which Java reads as a negative number.
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).bytes(),
            Err(DecodeError::Length)
        );
    }

    #[test]
    fn refuses_strings_past_kafkas_limit_and_bytes_that_are_not_utf8() {
        let mut long = vec![0x81, 0x80, 0x02];
        long.extend([b'x'; 0x8000]);
        assert_eq!(reader(&long, true).string(), Err(DecodeError::Length));
        assert_eq!(
            reader(&[0, 1, 0xff], false).string(),
            Err(DecodeError::Utf8)
        );
    }

    #[test]
    fn varints_end_within_32_bits() {
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).uvarint(),
            Ok(u32::MAX)
        );
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x1f], true).uvarint(),
            Err(DecodeError::Varint)
        );
        assert_eq!(
            reader(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], true).uvarint(),
            Err(DecodeError::Varint)
        );
        assert_eq!(reader(&[0x80], true).uvarint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn an_array_longer_than_the_frame_can_hold_allocates_nothing() {
        let frame = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
        assert_eq!(
            reader(&frame, false).array_length(4, 4),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            reader(&[0, 0, 0, 1, 0, 0, 0, 1], false).array_length(4, 4),
            Ok(Some(1))
        );
    }

    #[test]
    fn arrays_together_stay_within_the_frames_budget() {
        let mut frame = vec![0, 1, 0, 0];
        frame.resize(70_000, 0);
        let mut reader = reader(&frame, false);
        assert_eq!(reader.array_length(1, 17), Ok(Some(65_536)));
        assert_eq!(reader.array_length(1, 1), Ok(Some(0)));
        reader.position = 0;
        assert_eq!(reader.array_length(1, 17), Err(DecodeError::Budget));
    }

    #[test]
    fn unknown_tags_are_skipped_within_bounds() {
        let mut seen = Vec::new();
        let mut reader = reader(&[2, 0, 1, 7, 9, 2, 8, 8, 42], true);
        reader
            .tags(|r, tag| {
                seen.push(tag);
                if tag == 0 {
                    r.i8().map(|_| true)
                } else {
                    Ok(false)
                }
            })
            .unwrap();
        assert_eq!((seen, reader.i8()), (vec![0, 9], Ok(42)));
    }

    #[test]
    fn refuses_tags_unsorted_repeated_or_missized() {
        let skip = |_: &mut Reader, _| Ok(false);
        assert_eq!(
            reader(&[2, 3, 0, 1, 0], true).tags(skip),
            Err(DecodeError::Tag)
        );
        assert_eq!(
            reader(&[2, 3, 0, 3, 0], true).tags(skip),
            Err(DecodeError::Tag)
        );
        assert_eq!(
            reader(&[1, 0, 9, 0], true).tags(skip),
            Err(DecodeError::Truncated)
        );
        let known = |r: &mut Reader, _| r.i8().map(|_| true);
        assert_eq!(
            reader(&[1, 0, 2, 5, 5], true).tags(known),
            Err(DecodeError::Tag)
        );
        // The field may not read past its size into what follows.
        let greedy = |r: &mut Reader, _| r.i16().map(|_| true);
        assert_eq!(
            reader(&[1, 0, 1, 5, 5], true).tags(greedy),
            Err(DecodeError::Truncated)
        );
    }
}
