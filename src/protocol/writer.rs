//! Writing Kafka's primitive types into one reusable buffer.

use crate::types::{Str, Uuid};

use super::reader::STRING_MAX;

/// A place where bytes that are not in the writer's buffer belong in the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Splice {
    /// Position in the buffer before which the foreign bytes go.
    pub at: usize,
    /// How many bytes go there.
    pub len: usize,
}

/// One or more frames being built. Foreign bytes (records in pinned cache pages) are only counted and marked.
#[derive(Default, Debug)]
pub struct Writer {
    buf: Vec<u8>,
    splices: Vec<Splice>,
    splices_len: usize,
    flexible: bool,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Empties the writer and keeps its memory for the next frame.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.splices.clear();
        self.splices_len = 0;
    }

    /// What was written, without the foreign bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.buf
    }

    /// Where foreign bytes go, by ascending position.
    pub fn splices(&self) -> &[Splice] {
        &self.splices
    }

    /// Takes the buffer and the splices out, leaving the writer empty.
    pub fn take(&mut self) -> (Vec<u8>, Vec<Splice>) {
        self.splices_len = 0;
        (
            std::mem::take(&mut self.buf),
            std::mem::take(&mut self.splices),
        )
    }

    /// Bytes on the wire: the buffer's and the foreign ones.
    pub fn total_len(&self) -> usize {
        self.buf.len() + self.splices_len
    }

    pub fn reserve(&mut self, bytes: usize) {
        self.buf.reserve(bytes);
    }

    /// Chooses between the classic and the compact encoding (KIP-482) for what is written next.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn flexible(&self) -> bool {
        self.flexible
    }

    pub fn i8(&mut self, value: i8) {
        self.buf.push(value as u8);
    }

    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.i8(value as i8);
    }

    pub fn uuid(&mut self, value: &Uuid) {
        self.raw(&value.0);
    }

    /// An unsigned base-128 integer, low seven bits first.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buf.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buf.push(value as u8);
    }

    /// A string, or null. Text past Kafka's 32,767 bytes is cut at a character: only messages for people get so
    /// long, and a shorter message is worth more than none.
    pub fn string(&mut self, value: Option<&Str>) {
        let text = value.map(|text| {
            let text = text.as_bytes();
            if text.len() <= STRING_MAX {
                text
            } else {
                cut(text)
            }
        });
        if self.flexible {
            self.uvarint(text.map_or(0, |text| text.len() as u32 + 1));
        } else {
            self.i16(text.map_or(-1, |text| text.len() as i16));
        }
        self.raw(text.unwrap_or_default());
    }

    /// A byte string, or null.
    pub fn bytes(&mut self, value: Option<&[u8]>) {
        self.length(value.map(<[u8]>::len));
        self.raw(value.unwrap_or_default());
    }

    /// A byte string of `len` bytes that the sender puts here from elsewhere.
    pub fn external(&mut self, len: usize) {
        self.length(Some(len));
        if len > 0 {
            self.splices.push(Splice {
                at: self.buf.len(),
                len,
            });
            self.splices_len += len;
        }
    }

    /// The length of bytes or of an array, or null.
    pub fn length(&mut self, length: Option<usize>) {
        let length = length.map(|length| i32::try_from(length).expect("a frame is below 2 GiB"));
        if self.flexible {
            self.uvarint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i32(length.unwrap_or(-1));
        }
    }

    /// One tagged field: tag, size, and what `body` writes.
    pub fn tagged(&mut self, tag: u32, body: impl FnOnce(&mut Writer)) {
        self.uvarint(tag);
        let start = self.buf.len();
        let splices_len = self.splices_len;
        body(self);
        assert_eq!(
            self.splices_len, splices_len,
            "Kafka puts no records into tagged fields"
        );
        // The size comes before the body and is known after it; nearly always it is one byte.
        let size = self.buf.len() - start;
        self.uvarint(size as u32);
        let prefix = self.buf.len() - start - size;
        self.buf[start..].rotate_right(prefix);
    }

    /// Writes a frame: four bytes of length, then what `body` writes.
    pub fn frame(&mut self, body: impl FnOnce(&mut Writer)) {
        let start = self.buf.len();
        self.i32(0);
        let before = self.total_len();
        body(self);
        let length = i32::try_from(self.total_len() - before).expect("a frame is below 2 GiB");
        self.buf[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }
}

/// The longest beginning of `text` that is within Kafka's limit and does not end inside a character.
fn cut(text: &[u8]) -> &[u8] {
    let mut end = STRING_MAX;
    while text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_bytes_count_in_the_frame_and_leave_a_splice() {
        let mut writer = Writer::new();
        writer.frame(|w| {
            w.i8(1);
            w.external(1000);
            w.i8(2);
        });
        assert_eq!(writer.as_slice(), [0, 0, 3, 0xee, 1, 0, 0, 3, 0xe8, 2]);
        assert_eq!(writer.splices(), [Splice { at: 9, len: 1000 }]);
        assert_eq!(writer.total_len(), 1010);
        writer.clear();
        assert_eq!(writer.total_len(), 0);
    }

    #[test]
    fn tagged_fields_carry_their_size_before_them() {
        let mut writer = Writer::new();
        writer.tagged(5, |w| w.i16(0x0102));
        assert_eq!(writer.as_slice(), [5, 2, 1, 2]);
        writer.clear();
        writer.tagged(0, |w| (0..300u16).for_each(|i| w.i8(i as i8)));
        assert_eq!(writer.as_slice()[..5], [0, 0xac, 0x02, 0, 1]);
        assert_eq!(writer.as_slice().len(), 303);
    }

    #[test]
    fn an_overlong_string_is_cut_at_a_character() {
        let mut writer = Writer::new();
        writer.string(Some(&Str::from("é".repeat(20_000))));
        assert_eq!(writer.as_slice()[..2], 32_766u16.to_be_bytes());
        assert_eq!(writer.as_slice().len(), 2 + 32_766);
    }
}
