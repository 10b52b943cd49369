//! The bytes of one connection that are read and not yet served, and how much of what comes next is read with them. The
//! Kafka listener has its own frames and the same memory.

use bytes::{Bytes, BytesMut};

/// See the module. Frames of any kind that tell their length in a header of fixed size.
pub struct Input {
    bytes: BytesMut,
    header_bytes: usize,
    /// Size of recent frames: what a read makes room for, so that a usual frame needs no second buffer.
    usual_bytes: usize,
}

/// Room for reading where nothing is known of the other side yet.
pub const READ_MIN: usize = 1 << 10;
/// A frame longer than this is read into memory of its own.
const LARGE_BYTES: usize = 32 << 10;
/// A frame longer than this gets room as its bytes arrive, not because it says so.
pub const TRUST_MAX: usize = 1 << 20;

impl Input {
    /// - `header_bytes`: what a frame begins with, until its length is known.
    /// - `bytes`: what was read before.
    pub fn new(header_bytes: usize, bytes: BytesMut) -> Input {
        Input {
            bytes,
            header_bytes,
            usual_bytes: READ_MIN,
        }
    }

    /// The buffer to read into, and how many bytes of what comes next: the frame that has begun to its end, or as much
    /// as usual frames take. There is always room for a byte.
    ///
    /// A large frame is read into memory of its own, and of the next one only its header with it: what is read of a
    /// frame before its length is known is copied once, and that must not be much.
    ///
    /// - `whole`: length of the frame that has begun, with its header, if it is known.
    /// - `trusted`: what a length alone may reserve.
    pub fn read_buffer(&mut self, whole: Option<usize>, trusted: usize) -> (&mut BytesMut, usize) {
        let have = self.bytes.len();
        // One that is here and waits for its turn says nothing of what comes.
        let Some(whole) = whole.filter(|whole| *whole > have) else {
            let (wanted, limit) = match self.usual_bytes > LARGE_BYTES {
                true => (READ_MIN, READ_MIN),
                false => (self.usual_bytes, usize::MAX),
            };
            self.make_room(wanted.max(have + self.header_bytes));
            return (&mut self.bytes, limit);
        };
        // Doubling bounds what a lie about the length costs, and keeps the copies of a truth few.
        let wanted = (whole + self.header_bytes).min(trusted.max(have * 2));
        self.make_room(wanted);
        match whole > LARGE_BYTES {
            true => (&mut self.bytes, wanted - have),
            false => (&mut self.bytes, usize::MAX),
        }
    }

    /// Room for `wanted` bytes, those that are here included.
    fn make_room(&mut self, wanted: usize) {
        if self.bytes.capacity() >= wanted {
            return;
        }
        // Not by growing: the old memory may be that of a frame that is being served.
        let mut bytes = BytesMut::with_capacity(wanted);
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
    }

    /// The frame of `whole` bytes that has begun, header and all; `None` until all of it is here.
    pub fn take(&mut self, whole: usize) -> Option<Bytes> {
        if self.bytes.len() < whole {
            return None;
        }
        // Grows at once, shrinks slowly: a burst of small requests does not forget the large ones.
        self.usual_bytes = whole
            .max(self.usual_bytes - self.usual_bytes / 16)
            .clamp(READ_MIN, TRUST_MAX);
        Some(self.bytes.split_to(whole).freeze())
    }

    /// Bytes that are missing of a large frame that has begun; 0 if there is none.
    pub fn missing(&self, whole: Option<usize>) -> usize {
        let whole = whole.unwrap_or(0);
        match whole > LARGE_BYTES {
            true => whole.saturating_sub(self.bytes.len()),
            false => 0,
        }
    }

    /// Size of recent frames.
    pub fn usual_bytes(&self) -> usize {
        self.usual_bytes
    }

    /// What was read and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.usual_bytes = READ_MIN;
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}
